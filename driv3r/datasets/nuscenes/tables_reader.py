"""Datasets in nuScenes' schema: scenes of tables, whatever these and their sensors are called."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np

from driv3r.datasets.boxes import with_velocities
from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.nuscenes.boxes import Annotations, has_annotations
from driv3r.datasets.nuscenes.layouts import Layout
from driv3r.datasets.nuscenes.log import Log
from driv3r.datasets.nuscenes.tables import Tables
from driv3r.datasets.reader import Datum, Points, Root
from driv3r.datasets.scenes import make_scene
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import apply
from driv3r.types import Boxes, Repair, Scene


class TablesReader:
    """Scenes of a folder by name; with `sweeps` all camera frames, not just keyframes.

    A split is a folder of tables by its name less `v1.0-`, or `all`. The ego origin is taken to lie
    on the road: `ground_z_m` is 0.
    """

    layout: ClassVar[Layout]
    card: ClassVar[DatasetCard]

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root, self._sweeps = Root(root.resolve(), follow_links), sweeps
        found = self.layout.versions(self._root.path)
        self._versions = {version.name: version for version in found}
        self._tables: dict[str, Tables] = {}
        self._annotations: dict[Path, Annotations] = {}
        if not self._versions:
            raise DatasetError(f"{root} is no {self.card.title} root: expected {self.layout.lacks}")

    def scenes(self, split: str) -> tuple[str, ...]:
        """Scene names of a split that the tables hold; `all` for every one they hold.

        Raises ConfigError on an unknown split, DatasetError when the tables hold none of it.
        """
        if split == "all":
            held = (name for version in self._versions for name in self._names_in(version))
            return tuple(dict.fromkeys(held)) or self._refuse_empty()
        named = {name.removeprefix("v1.0-"): name for name in self._versions}
        if split not in named:
            raise ConfigError(f"unknown split {split!r}; there are all, {', '.join(named)}")
        return self._names_in(named[split]) or self._refuse_empty()

    def read(self, scene_id: str) -> Scene:
        """One scene by its name; its tables are resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown scene or missing rows, UnsafePathError on files outside.
        """
        tables = self._tables_holding(scene_id)
        scene = tables.scene_named[scene_id]
        samples = tables.samples_of(scene)
        log = Log.of_samples(self._root, tables, samples, self.layout)
        records = log.all_records() if self._sweeps else log.keyframe_records()
        gaps = log.find_gaps(records) if self._sweeps else []
        repairs = [*tables.repairs, *log.repairs, *gaps]
        promised = scene.get("nbr_samples", len(samples))
        if promised != len(samples):
            reason = f"nbr_samples is {promised}, the tables hold {len(samples)}"
            repairs.append(Repair(f"{tables.folder.name}/scene.json", reason))
        others = log.find_others(records)
        facts = sorted(str(each.path) for of in others.values() for each in of)
        read = partial(self._read_sweep, others)
        made = make_scene(self._root.path, scene_id, log.rig, records, read, repairs, facts)
        if not has_annotations(tables.folder):
            return made
        sample_of = {i: record.sample for i, record in enumerate(records) if record.sample}
        boxes = partial(self._read_boxes, tables.folder, sample_of, made.origin_world)
        return replace(made, boxes=with_velocities(boxes, list(sample_of), made.time_us))

    def _read_sweep(
        self, others: dict[Path, list[Datum]], sweep: Datum
    ) -> Points | tuple[Points, Points]:
        """A sweep's points, and those of the other LiDARs in its frame."""
        own, parts = self.layout.read_points(sweep.path), []
        for other in others.get(sweep.path, ()):  # placed in the sweep's own frame
            points = self.layout.read_points(other.path)
            parts.append(apply(other.world_T_sensor, points.astype(np.float64)).astype(np.float32))
        return (own, np.concatenate(parts)) if parts else own

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
            self._tables[version] = Tables(self._root.path, self._versions[version])
        return self._tables[version]

    def _names_in(self, version: str) -> tuple[str, ...]:
        told = self._versions[version].scene
        return (told,) if told else tuple(self._open(version).scene_named)

    def _rank(self, version: str, scene_id: str) -> tuple[bool, ...]:
        """Loaded tables first: loading the wrong ones takes many seconds."""
        return self._versions[version].scene != scene_id, version not in self._tables

    def _tables_holding(self, scene_id: str) -> Tables:
        order = sorted(self._versions, key=lambda version: self._rank(version, scene_id))
        for version in order:
            told = self._versions[version].scene
            if (not told or told == scene_id) and scene_id in self._open(version).scene_named:
                return self._tables[version]
        raise DatasetError(
            f"no scene {scene_id!r} in {', '.join(order)} of {self._root.path}; "
            "list them with the split all"
        )
