"""nuScenes v1.0 folders (real or generated), with the official splits."""

import json
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np
from jaxtyping import Float

from driv3r.datasets.boxes import with_velocities
from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.images import read_file
from driv3r.datasets.nuscenes.boxes import Annotations, has_annotations
from driv3r.datasets.nuscenes.log import Log
from driv3r.datasets.nuscenes.tables import OFFICIAL, Tables, find_versions
from driv3r.datasets.reader import Root
from driv3r.datasets.scenes import make_scene
from driv3r.errors import ConfigError, DatasetError
from driv3r.types import Boxes, Repair, Scene

POINT_FLOATS = 5  # x y z intensity ring
BRIGHTEST = 255.0
RINGS = (-1, 255)  # -1 where a file tells no rings, as T4's do


class NuScenesReader:
    """Scenes of a nuScenes folder by name; with `sweeps` all camera frames, not just keyframes.

    Its ego origin is the middle of the rear axle put down onto the road, so that `ground_z_m` is 0.
    T4 datasets are read too: lens distortion, and LiDARs and version folders of other names.
    """

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

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root, self._sweeps = Root(root.resolve(), follow_links), sweeps
        self._versions = find_versions(self._root.path)
        self._tables: dict[str, Tables] = {}
        self._annotations: dict[Path, Annotations] = {}
        if not self._versions:
            raise DatasetError(
                f"{root} is no nuScenes root: expected a table folder {', '.join(OFFICIAL)} in it, "
                "or another v1.0-* with all the tables, beside samples/"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Scene names of an official split that the tables hold; `all` for every one they hold.

        Raises ConfigError on an unknown split, DatasetError when the tables hold none of it.
        """
        official = official_splits()
        if split == "all":
            held = (name for version in self._versions for name in self._open(version).scene_named)
            return tuple(dict.fromkeys(held)) or self._refuse_empty()
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

    def read(self, scene_id: str) -> Scene:
        """One scene by its name; its tables are resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown scene or missing rows, UnsafePathError on files outside.
        """
        tables = self._tables_holding(scene_id)
        scene = tables.scene_named[scene_id]
        samples = tables.samples_of(scene)
        log = Log.of_samples(self._root, tables, samples)
        records = log.all_records() if self._sweeps else log.keyframe_records()
        gaps = log.find_gaps(records) if self._sweeps else []
        repairs = [*tables.repairs, *log.repairs, *gaps]
        promised = scene.get("nbr_samples", len(samples))
        if promised != len(samples):
            reason = f"nbr_samples is {promised}, the tables hold {len(samples)}"
            repairs.append(Repair(f"{tables.folder.name}/scene.json", reason))
        made = make_scene(
            self._root.path,
            scene_id,
            log.rig,
            records,
            lambda sweep: read_points(sweep.path),
            repairs,
        )
        if not has_annotations(tables.folder):
            return made
        sample_of = {i: record.sample for i, record in enumerate(records) if record.sample}
        read = partial(self._read_boxes, tables.folder, sample_of, made.origin_world)
        return replace(made, boxes=with_velocities(read, list(sample_of), made.time_us))

    def _read_boxes(
        self,
        folder: Path,
        sample_of: dict[int, str],
        origin_world: tuple[float, float, float],
        frame: int,
    ) -> Boxes:
        if folder not in self._annotations:
            self._annotations[folder] = Annotations(folder)
        return self._annotations[folder].boxes(sample_of[frame], origin_world)

    def _refuse_empty(self) -> NoReturn:
        raise DatasetError(
            f"scene.json of {', '.join(self._versions)} in {self._root.path} lists no scene; fetch "
            "the tables again"
        )

    def _open(self, version: str) -> Tables:
        if version not in self._tables:
            self._tables[version] = Tables(self._root.path, version)
        return self._tables[version]

    def _version_for(self, split: str) -> str:
        suited = "v1.0-test" if split == "test" else "v1.0-trainval"
        if split.startswith("mini_"):
            suited = "v1.0-mini"
        if suited in self._versions:
            return suited
        if len(self._versions) == 1:
            return self._versions[0]
        raise DatasetError(
            f"split {split!r} is read from {suited}, but {self._root.path} has only "
            f"{', '.join(self._versions)}; take a split of those, or --split all"
        )

    def _tables_holding(self, scene_id: str) -> Tables:
        last = "v1.0-trainval" if scene_id in official_splits()["test"] else "v1.0-test"
        # Loaded tables first, then the likeliest: loading the wrong ones takes many seconds.
        order = sorted(self._versions, key=lambda name: (name not in self._tables, name == last))
        for version in order:
            if scene_id in self._open(version).scene_named:
                return self._tables[version]
        raise DatasetError(
            f"no scene {scene_id!r} in {', '.join(order)} of {self._root.path}; "
            "list them with the split all"
        )


@cache
def official_splits() -> dict[str, list[str]]:
    """Scene names of every official split, in the devkit's order."""
    numbers = json.loads(Path(__file__).with_name("splits.json").read_text())
    return {split: [f"scene-{n:04d}" for n in of_split] for split, of_split in numbers.items()}


def read_points(path: Path) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, LiDAR frame) of a .pcd.bin.

    Raises DatasetError unless it is whole points of 5 floats: files of 4, 6 or 7 floats a point can
    have a size that fits, but then not everywhere an intensity and a ring where these must be.
    """
    data = read_file(path)
    if len(data) == 0 or len(data) % (4 * POINT_FLOATS):
        raise DatasetError(
            f"{len(data)} bytes are no whole number of points of {POINT_FLOATS} float32: {path}"
        )
    points = np.frombuffer(data, "<f4").reshape(-1, POINT_FLOATS)
    _check_columns(points, path)
    return points[:, :3].astype(np.float32)


def _check_columns(points: Float[np.ndarray, "n 5"], path: Path) -> None:
    known = np.where(np.isfinite(points[:, 3:]), points[:, 3:], 0.0)
    intensity, ring = known[:, 0], known[:, 1]
    dark_or_bright = (intensity < 0) | (intensity > BRIGHTEST)
    no_ring = (ring < RINGS[0]) | (ring > RINGS[1]) | (ring != np.floor(ring))
    for name, wrong, column, expected in (
        ("intensity", dark_or_bright, 3, f"0 to {BRIGHTEST:g}"),
        ("ring", no_ring, 4, f"a whole number of {RINGS[0]} to {RINGS[1]}"),
    ):
        if wrong.any():
            raise DatasetError(
                f"{np.sum(wrong)} of {len(points)} points have no possible {name} (the first "
                f"{points[wrong.argmax(), column]:g}, expected {expected}): the file is not of "
                f"{POINT_FLOATS} float32 a point (x, y, z, intensity, ring); convert it: {path}"
            )
