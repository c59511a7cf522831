"""Fit the factor on sigma that makes its 90 % interval cover 90 % of held-out clips.

python tools/fit_sigma.py WEIGHTS [--clips runs/clips] [--count 24]

The clips are rendered as those of training (finer cameras, shrunk) where they are not there; their
seeds are neither trained on nor evaluated.
Only pixels at the elevations that a LiDAR sweeps count, as only those are scored.
The factor is written into the card inside of WEIGHTS.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from driv3r.network.checkpoints import load_weights, save_weights
from driv3r.pipelines.batches import collate, make_example
from driv3r.pipelines.train import FIRST_CHECK_SEED
from driv3r.world.clips import ClipRecipe, ensure_clip, read_clip
from driv3r.world.lidar import ELEVATION_DEG

NEAREST_M, FARTHEST_M = 0.1, 80.0


def main() -> None:
    """Run the network over the clips and take the 90 % quantile of |error| / sigma."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--clips", type=Path, default=Path("runs/clips"))
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    model, card = load_weights(options.weights)
    ratios = []
    for i in range(options.count):
        path = ensure_clip(options.clips / "check", FIRST_CHECK_SEED + i, ClipRecipe(finest=1.6))
        example = make_example(read_clip(path), 6, 0.0, np.random.default_rng(i), plain=True)
        inputs, targets = collate([example], torch.device("cpu"))
        with torch.no_grad():
            outputs, _ = model(inputs)
        depth_m = targets.depth_m
        seen = (depth_m > NEAREST_M) & (depth_m < FARTHEST_M) & is_swept(inputs.rays)[:, None]
        off = (outputs.log_depth - depth_m.clamp(min=NEAREST_M).log()).abs()
        ratios.append((off / outputs.log_sigma.exp())[seen].numpy())
    factor = float(np.quantile(np.concatenate(ratios), 0.9) / math.log(10))
    save_weights(
        options.weights, model.config, model.state_dict(), card | {"sigma_scale": round(factor, 4)}
    )
    print(f"{options.weights}: sigma x {factor:.4f}, fitted on {options.count} clips")


def is_swept(rays: torch.Tensor) -> torch.Tensor:
    """Which pixels [b v h w] look where the generated LiDAR does; `rays` as encode_rays gives."""
    low, high = (math.sin(math.radians(angle)) for angle in ELEVATION_DEG)
    return (rays[:, :, 2] > low) & (rays[:, :, 2] < high)


if __name__ == "__main__":
    main()
