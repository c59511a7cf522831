"""Holds tracks against nuScenes' annotated boxes, as one would before labelling with them.

    driv3r export out/demo/scene-0012.zarr --to nuscenes-tracking --root data/nuscenes
    python examples/check_auto_labels.py data/nuscenes out/demo/export/scene-0012

The boxes lie in the world, so that the drift of the path counts: labels are better made of logs
that were processed with --ego-poses given.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

NEAR_M = 2.0  # nuScenes' own threshold for true positives, between centres on the ground
MOVES_MPS = 0.5


def match(found: np.ndarray, truth: np.ndarray) -> list[tuple[int, int, float]]:
    """Pairs of rows and their distance (m) in x and y: the assignment of least total distance."""
    distance_m = np.linalg.norm(found[:, None, :2] - truth[None, :, :2], axis=-1)
    pairs = zip(*linear_sum_assignment(np.minimum(distance_m, NEAR_M)), strict=True)
    return [(i, k, float(distance_m[i, k])) for i, k in pairs if distance_m[i, k] < NEAR_M]


def read_truth(nusc: Any, sample_token: str) -> np.ndarray:
    """Centres [n 3] of the sample's boxes that move."""
    tokens = nusc.get("sample", sample_token)["anns"]
    moving = [t for t in tokens if np.linalg.norm(nusc.box_velocity(t)[:2]) > MOVES_MPS]
    rows = [nusc.get("sample_annotation", token)["translation"] for token in moving]
    return np.array(rows, np.float64).reshape(-1, 3)


def main() -> None:
    """Print how many boxes were found, how exactly, and how many tracks are of nothing."""
    from nuscenes.nuscenes import NuScenes

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="The nuScenes folder.")
    parser.add_argument("export", type=Path, help="The exported log.")
    parser.add_argument("--version", default="v1.0-trainval")
    options = parser.parse_args()
    path = options.export / "nuscenes-tracking/tracking.json"
    nusc = NuScenes(options.version, str(options.root), verbose=False)
    results = json.loads(path.read_text())["results"]
    distances_m: list[float] = []
    boxes = states = 0
    for token, rows in results.items():
        found = np.array([row["translation"] for row in rows], np.float64).reshape(-1, 3)
        truth = read_truth(nusc, token)
        distances_m += [distance for _, _, distance in match(found, truth)]
        boxes, states = boxes + len(truth), states + len(found)
    print(f"{boxes} boxes move, {states} states of tracks, {len(distances_m)} pairs within 2 m")
    if distances_m:
        print(f"their centres are {np.median(distances_m):.2f} m apart (median)")


if __name__ == "__main__":
    main()
