"""nuScenes v1.0 folders (real or generated), with the official splits."""

from pathlib import Path
from typing import ClassVar

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.nuscenes.layouts import NUSCENES, Layout
from driv3r.datasets.nuscenes.splits import OfficialSplitsReader, official_splits


class NuScenesReader(OfficialSplitsReader):
    """Scenes of a nuScenes folder by name; with `sweeps` all camera frames, not just keyframes.

    Its ego origin is the middle of the rear axle put down onto the road, so that `ground_z_m` is 0.
    """

    layout: ClassVar[Layout] = NUSCENES
    card: ClassVar[DatasetCard] = DatasetCard(
        title="nuScenes",
        sensors="6 cameras 1600x900, 32-beam LiDAR, boxes; keyframes 2 Hz, with --sweeps 12 Hz",
        splits=("train", "val", "test", "mini_train", "mini_val"),
        licence="CC BY-NC-SA 4.0 with the nuScenes terms of use (no commercial use)",
        source="https://www.nuscenes.org/nuscenes#download after registration: metadata and any of "
        "the file blobs, mini 4 GB; `driv3r world make` generates a small world in its layout",
        layout="""\
v1.0-trainval/                    or v1.0-mini, v1.0-test: the JSON tables
samples/CAM_FRONT/*.jpg           and five more cameras: keyframes
samples/LIDAR_TOP/*.pcd.bin
sweeps/CAM_FRONT/*.jpg            frames between, for --sweeps
sweeps/LIDAR_TOP/*.pcd.bin""",
        ground="on the road below the middle of the rear axle, by the heights of its calibrations",
    )

    def official(self) -> dict[str, list[str]]:
        """Those of nuScenes' devkit."""
        return official_splits()

    @property
    def root(self) -> Path:
        """The top folder, which paths of views are relative to."""
        return self._root.path
