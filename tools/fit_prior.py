"""Fit the positional prior (a baseline) on the plain-rig clips that training rendered."""

import argparse
from pathlib import Path

import numpy as np

from driv3r.evaluation.baselines import SHIPPED_PRIOR, PriorFitter
from driv3r.simulator.export.clips import read_clip
from driv3r.simulator.scene.camera_rig import make_rig


def main() -> None:
    """Read every clip of the original rig and write the weighted medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, default=Path("runs/clips"))
    parser.add_argument("--out", type=Path, default=SHIPPED_PRIOR)
    options = parser.parse_args()
    rig = make_rig((128, 224))
    K = np.stack([camera.K for camera in rig.cameras])
    ego_T_cam = np.stack([camera.ego_T_cam for camera in rig.cameras])
    fitter, used = PriorFitter(len(K), (128, 224)), 0
    for path in sorted(options.clips.glob("*.npz")):
        clip = read_clip(path)
        if (
            clip.K.shape == K.shape
            and np.allclose(clip.K, K)
            and np.allclose(clip.ego_T_cam, ego_T_cam)
        ):
            used += 1
            for depth_m in clip.depth_m:
                fitter.add(depth_m)
    fitter.fit(ego_T_cam[:, :3, 2]).save(options.out)
    print(f"{options.out}: fitted on {used} clips of the plain rig")


if __name__ == "__main__":
    main()
