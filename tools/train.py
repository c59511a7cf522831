"""Train a recipe: python tools/train.py driv3r-s [--out runs/driv3r-s]. As `driv3r train`."""

import sys

from driv3r.cli.app import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]])
