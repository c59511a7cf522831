"""nuScenes v1.0 folders (real or generated), with the official splits."""

import json
from functools import cache
from pathlib import Path
from typing import ClassVar

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.nuscenes.layouts import NUSCENES, Layout
from driv3r.datasets.nuscenes.tables_reader import TablesReader
from driv3r.errors import ConfigError, DatasetError


class NuScenesReader(TablesReader):
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

    @property
    def root(self) -> Path:
        """The top folder, which paths of views are relative to."""
        return self._root.path

    def scenes(self, split: str) -> tuple[str, ...]:
        """Scene names of an official split that the tables hold; `all` for every one they hold.

        Raises ConfigError on an unknown split, DatasetError when the tables hold none of it.
        """
        official = official_splits()
        if split == "all":
            return super().scenes(split)
        if split not in official:
            raise ConfigError(f"unknown split {split!r}; known are all, {', '.join(official)}")
        version = self._version_for(split)
        held = self._open(version).scene_named
        found = tuple(name for name in official[split] if name in held)
        if not found:
            if not held:
                self._refuse_empty()
            some = ", ".join(list(held)[:5]) + (", ..." if len(held) > 5 else "")
            raise DatasetError(
                f"{self._root.path / version} holds no scene of split {split!r}; it holds "
                f"{len(held)}: {some}. Take them with --split all"
            )
        return found

    def _version_for(self, split: str) -> str:
        suited = "v1.0-test" if split == "test" else "v1.0-trainval"
        if split.startswith("mini_"):
            suited = "v1.0-mini"
        if suited in self._versions:
            return suited
        if len(self._versions) == 1:
            return next(iter(self._versions))
        raise DatasetError(
            f"split {split!r} is read from {suited}, but {self._root.path} has only "
            f"{', '.join(self._versions)}; take a split of those, or --split all"
        )

    def _rank(self, version: str, scene_id: str) -> tuple[bool, ...]:
        last = "v1.0-trainval" if scene_id in official_splits()["test"] else "v1.0-test"
        return (*super()._rank(version, scene_id), version == last)


@cache
def official_splits() -> dict[str, list[str]]:
    """Scene names of every official split, in the devkit's order."""
    numbers = json.loads(Path(__file__).with_name("splits.json").read_text())
    return {split: [f"scene-{n:04d}" for n in of_split] for split, of_split in numbers.items()}
