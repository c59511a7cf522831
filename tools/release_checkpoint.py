"""Weights of a run that was cut: its moving average, as training releases it at its end.

python tools/release_checkpoint.py RECIPE FOLDER

RECIPE is a name in configs/train or a YAML file, FOLDER the run's, with a whole or a light
checkpoint. Writes FOLDER/<name>.safetensors (float16) and FOLDER/card.json.
"""

import argparse
from pathlib import Path

import torch

from driv3r.config import find_config, load_config
from driv3r.training.config import TrainConfig
from driv3r.training.trainer import release, start_run


def main() -> None:
    """Restore and release."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    config = load_config(find_config(options.recipe, "train"), TrainConfig)
    run = start_run(config, options.folder, torch.device("cpu"))
    if run.progress.step == 0:
        raise SystemExit(f"{options.folder} holds no checkpoint; give a run's folder")
    print(f"{release(run, options.folder)}: {run.progress.step} steps")


if __name__ == "__main__":
    main()
