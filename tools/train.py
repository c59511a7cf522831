"""Train a recipe: python tools/train.py driv3r-s --out runs/driv3r-s. A cut run goes on."""

import argparse
from pathlib import Path

from driv3r.pipelines.recipe import find_recipe, load_recipe
from driv3r.pipelines.train import TrainRecipe, train


def main() -> None:
    """Parse the command line and train, a line of figures every few steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", help="a name in configs/train, or a YAML file")
    parser.add_argument("--out", type=Path, help="run folder (default runs/<name>)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--helpers", type=int, default=1, help="processes that render clips ahead")
    options = parser.parse_args()
    recipe = load_recipe(find_recipe(options.recipe, "train"), TrainRecipe)
    out = options.out or Path("runs") / recipe.name
    path = train(recipe, out, options.device, lambda row: print(row, flush=True), options.helpers)
    print(f"weights: {path}")


if __name__ == "__main__":
    main()
