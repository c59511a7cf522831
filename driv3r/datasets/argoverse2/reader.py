"""Argoverse 2 sensor folders: `<split>/<log>` with Feather tables, JPEGs and LiDAR sweeps."""

import os
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from driv3r.datasets.argoverse2.annotations import Annotations
from driv3r.datasets.argoverse2.log import Log
from driv3r.datasets.argoverse2.tables import read_table, stack
from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.reader import Datum, Root
from driv3r.datasets.remote.layout import RemoteLayout
from driv3r.datasets.scenes import PLAIN_NAME, make_scene
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Repair, Rig, Scene, Transform

SPLITS = ("train", "val", "test")
GROUND_Z_M = -0.33  # the ego origin is the rear axle's middle; see docs/datasets/argoverse2.md


class Argoverse2Reader:
    """Logs of an Argoverse 2 sensor folder by their ids.

    A frame is a LiDAR sweep (10 Hz) with each camera's nearest exposure, and a keyframe: all are
    annotated, but for those of the test split. With `sweeps` the exposures between sweeps are
    frames too, without points (20 Hz). Images are taken as the pinholes that they are: they were
    undistorted before they were published, and k1, k2, k3 tell of the lens that took them.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="Argoverse 2 Sensor",
        sensors="7 ring and 2 stereo cameras 2048x1550 (the front centre one upright), two 32-beam "
        "LiDARs as one cloud, boxes; 10 Hz, with --sweeps 20 Hz",
        splits=SPLITS,
        licence="CC BY-NC-SA 4.0 with Argoverse's terms of use (no commercial use)",
        source="1 TB without registration, single logs too: `s5cmd --no-sign-request cp "
        "'s3://argoverse/datasets/av2/sensor/*' FOLDER`, https://www.argoverse.org/av2.html; "
        "`driv3r world make --layout argoverse2` generates a small world in its layout",
        layout="""\
val/                                  or train, test
  <log>/                              such as 7fab2350-7eaf-3b7e-a39d-6937a4c1bede
    calibration/intrinsics.feather
    calibration/egovehicle_SE3_sensor.feather
    city_SE3_egovehicle.feather       the car's path
    annotations.feather               boxes, but of the test split
    sensors/cameras/ring_front_center/<nanoseconds>.jpg    and eight more cameras
    sensors/lidar/<nanoseconds>.feather""",
        ground="the middle of the rear axle, 0.33 m over the road (argoverse-api, issue 286)",
        extra="argoverse2",
    )
    remote: ClassVar[RemoteLayout] = RemoteLayout(
        tuple(f"{split}/*" for split in SPLITS), inner="sensors"
    )

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root, self._sweeps = Root(root.resolve(), follow_links), sweeps
        held = [
            (path.parent.name, split)
            for split in SPLITS
            for path in sorted(self._root.path.glob(f"{split}/*/sensors"))
            if os.path.isdir(path) and PLAIN_NAME.fullmatch(path.parent.name)
        ]
        self._split_of = dict(held)
        if not held:
            raise DatasetError(
                f"{root} holds no Argoverse 2 log: expected folders such as val/<log> with "
                f"sensors/ in them; give the folder that holds {', '.join(SPLITS)}"
            )
        if len(self._split_of) < len(held):
            (twice, _), *_ = Counter(name for name, _ in held).most_common(1)
            raise DatasetError(
                f"{root} holds log {twice} in more than one split; remove it from all but one"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Log ids of an official split, or of `all` that are there.

        Raises ConfigError on an unknown split, DatasetError where the root has nothing of it.
        """
        if split == "all":
            return tuple(self._split_of)
        if split not in SPLITS:
            raise ConfigError(f"unknown split {split!r}; known are all, {', '.join(SPLITS)}")
        found = tuple(name for name, of in self._split_of.items() if of == split)
        if not found:
            held = ", ".join(dict.fromkeys(self._split_of.values()))
            raise DatasetError(
                f"{self._root.path / split} holds no log; logs are in {held}: take --split {held}"
            )
        return found

    def read(self, scene_id: str) -> Scene:
        """One log by its id; its tables are resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown log or tables that do not hold together, UnsafePathError
        on files outside, ConfigError where pyarrow is not installed.
        """
        if scene_id not in self._split_of:
            raise DatasetError(
                f"no log {scene_id!r} in {self._root.path}; list them with the split all"
            )
        split = self._split_of[scene_id]
        log = Log.of_folder(self._root, f"{split}/{scene_id}")
        rig = Rig(log.cameras, log.ego_T_lidar, GROUND_Z_M)
        records, lost = log.records(rig, self._sweeps)
        path = self._root.resolve_inside(f"{split}/{scene_id}/annotations.feather")
        annotated = path.is_file()
        gaps = [] if annotated or split == "test" else [Repair(path.name, "missing: no boxes")]
        scene = make_scene(
            self._root.path,
            scene_id,
            rig,
            records,
            partial(read_points, log.ego_T_lidar),
            [*log.repairs, *lost, *gaps],
        )
        if not annotated:
            return scene
        sweeps_ns = [int(record.sample) if record.sample else None for record in records]
        world_T_ego = np.stack([record.world_T_ego for record in records])
        world_T_ego[:, :3, 3] -= scene.origin_world
        return replace(scene, boxes=Annotations(path, sweeps_ns, world_T_ego, scene.time_us).boxes)


def read_points(ego_T_lidar: Transform, datum: Datum) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres) in the upper LiDAR's frame, of a sweep that is given in the ego's.

    They are freed of the car's own motion already; recordings tell them as half floats, which are
    0.06 m apart at 64 m. Raises DatasetError on a missing or broken file.
    """
    points_ego = stack(read_table(datum.path, ["x", "y", "z"]), "xyz")
    return apply(invert(ego_T_lidar), points_ego).astype(np.float32)
