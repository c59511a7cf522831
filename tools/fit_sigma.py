"""Fit the factor on sigma that makes its 90 % interval cover 90 % of held-out clips.

python tools/fit_sigma.py WEIGHTS [--clips runs/clips] [--count 24]

The clips are rendered as those of training (finer cameras, shrunk) where they are not there; their
seeds are neither trained on nor evaluated.
Only pixels at the elevations that a LiDAR sweeps count, as only those are scored.
The factor is written into the card inside of WEIGHTS. It is 1 at least: in photographs the network
errs more than in clips, so that a sigma which is too wide for these is not narrowed.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from driv3r.config import find_config, load_config
from driv3r.models.checkpoints import load_weights, save_network
from driv3r.simulator.rendering.lidar import ELEVATION_DEG
from driv3r.training.config import TrainConfig
from driv3r.training.validation import validation_batches

NEAREST_M, FARTHEST_M = 0.1, 80.0
NARROWEST = 1.0


def main() -> None:
    """Run the network over the clips and take the 90 % quantile of |error| / sigma."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--clips", type=Path, default=Path("runs/clips"))
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    model, card = load_weights(options.weights)
    ratios = []
    recipe = load_config(find_config("driv3r-s", "train"), TrainConfig).data.clips
    held_out = validation_batches(options.clips, recipe, options.count, 6, torch.device("cpu"))
    for inputs, targets in held_out:
        with torch.no_grad():
            outputs, _ = model(inputs)
        depth_m = targets.depth_m
        seen = (depth_m > NEAREST_M) & (depth_m < FARTHEST_M) & is_swept(inputs.rays)[:, None]
        off = (outputs.log_depth - depth_m.clamp(min=NEAREST_M).log()).abs()
        ratios.append((off / outputs.log_sigma.exp())[seen].numpy())
    fitted = float(np.quantile(np.concatenate(ratios), 0.9) / math.log(10))
    factor = max(fitted, NARROWEST)
    save_network(options.weights, model, card | {"sigma_scale": round(factor, 4)})
    print(f"{options.weights}: sigma x {factor:.4f} ({fitted:.4f} on {options.count} clips)")


def is_swept(rays: torch.Tensor) -> torch.Tensor:
    """Which pixels [b v h w] look where the generated LiDAR does; `rays` as encode_rays gives."""
    low, high = (math.sin(math.radians(angle)) for angle in ELEVATION_DEG)
    return (rays[:, :, 2] > low) & (rays[:, :, 2] < high)


if __name__ == "__main__":
    main()
