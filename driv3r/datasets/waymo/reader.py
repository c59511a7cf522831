"""Waymo Perception folders: segments of v1 TFRecord and of v2 Parquet files, by context name."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from driv3r.datasets.boxes import with_velocities
from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.images import decode_image
from driv3r.datasets.reader import PART, Datum, FrameSources, Points, ReadPoints, Root
from driv3r.datasets.remote.layout import RemoteLayout
from driv3r.datasets.scenes import check_scene_ids, make_scene
from driv3r.datasets.waymo import parquet_segment, record_segment
from driv3r.datasets.waymo.labels import level, make_boxes
from driv3r.datasets.waymo.log import main_laser, make_records, make_rig
from driv3r.datasets.waymo.range_images import merge_returns
from driv3r.datasets.waymo.segment import Segment, SegmentFrame
from driv3r.errors import ConfigError, DatasetError
from driv3r.types import Boxes, Repair, Rig, Scene

SPLITS = ("training", "validation", "testing")
RECORDS, COMPONENT = ".tfrecord", ".parquet"
COMPONENT_FILES = tuple(f"{each}/*{COMPONENT}" for each in parquet_segment.COMPONENTS)
BEFORE, AFTER = "segment-", "_with_camera_labels"  # around the context name in v1's file names


@dataclass(frozen=True)
class _Found:
    """Where a segment lies: below which folder of the root ("" for the root), and v1's file."""

    split: str
    file: str  # "" for v2


class WaymoReader:
    """Segments of a Waymo Perception folder. Every frame is a keyframe: `sweeps` adds nothing.

    The ego frame is Waymo's vehicle frame, whose origin is the middle of the rear axle put down
    onto the road, so that `ground_z_m` is 0. A sweep holds both returns of all LiDARs in the frame
    of TOP, at the frame's pose.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="Waymo Open Dataset, Perception",
        sensors="5 cameras 1920x1280 and 1920x886 with rolling shutter, 5 LiDARs as one cloud, "
        "boxes; 10 Hz",
        splits=SPLITS,
        licence="Waymo Dataset License Agreement for Non-Commercial Use",
        source="https://waymo.com/open/download after accepting the licence: buckets "
        "waymo_open_dataset_v_1_4_3 (TFRecord, 1 GB a segment) or waymo_open_dataset_v_2_0_1 "
        "(Parquet)",
        layout="""\
training/                         and validation, testing
  segment-*.tfrecord              v1: a file a segment
  vehicle_pose/*.parquet          v2: a file a segment of each component
  camera_image/*.parquet
  camera_calibration/*.parquet
  lidar/*.parquet                 and lidar_calibration, lidar_pose, where wanted
  lidar_box/*.parquet             boxes, where wanted""",
        ground="on the road below the middle of the rear axle (Waymo's answers to issues 165 and "
        "597)",
        extra="waymo",
    )
    remote: ClassVar[RemoteLayout] = RemoteLayout(
        tuple(
            f"{split}{files}"
            for split in ("", *(f"{split}/" for split in SPLITS))
            for files in (f"*{RECORDS}", *COMPONENT_FILES)
        )
    )

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root = Root(root.resolve(), follow_links)
        self._found: dict[str, _Found] = {}
        for scene_id, found in _find_segments(self._root.path):
            if scene_id in self._found:
                raise DatasetError(
                    f"{root} holds the segment {scene_id} twice, as {self._found[scene_id]} and "
                    f"{found}; give the folder of one"
                )
            self._found[scene_id] = found
        if not self._found:
            raise DatasetError(
                f"{root} holds no Waymo segment: expected *{RECORDS} files (v1), or folders such "
                f"as {parquet_segment.FRAMES} of *{COMPONENT} files (v2), in it or in "
                "training/, validation/, testing/"
            )
        check_scene_ids(self._found, str(root))

    def scenes(self, split: str) -> tuple[str, ...]:
        """Segments in the folder of a split's name, or `all`.

        Raises ConfigError on a name that is no split's, DatasetError where there is no such folder.
        """
        held = sorted({found.split for found in self._found.values()} - {""})
        if split not in ("all", *SPLITS, *held):
            raise ConfigError(
                f"unknown split {split!r}; known are all, "
                f"{', '.join(dict.fromkeys((*SPLITS, *held)))}"
            )
        names = tuple(name for name, found in self._found.items() if split in ("all", found.split))
        if not names:
            raise DatasetError(
                f"{self._root.path} has no segment in {split}/; it has {len(self._found)} in "
                f"{', '.join(held) or 'itself'}. Take them with --split all"
            )
        return names

    def read(self, scene_id: str) -> Scene:
        """One segment by its context name; its tables are read now, its images and range images
        when frames are indexed.

        Raises DatasetError on an unknown segment or files that do not hold together,
        UnsafePathError on files outside, ConfigError where a package is not installed.
        """
        if scene_id not in self._found:
            raise DatasetError(
                f"no segment {scene_id!r} in {self._root.path}; list them with the split all"
            )
        segment = self._read_segment(scene_id)
        repairs = list(segment.repairs)
        rig, numbers = make_rig(segment, repairs)
        records = make_records(segment, rig, numbers, repairs)
        scene = make_scene(
            self._root.path,
            scene_id,
            rig,
            records,
            _make_read_points(segment, rig),
            repairs,
            read_camera=lambda datum, camera: decode_image(
                segment.read_image(datum), camera.size_hw, f"{datum.path}{PART}{datum.part}"
            ),
        )
        if not any(frame.labels is not None and frame.labels.id for frame in segment.frames):
            return scene
        placed = [
            i
            for i, frame in enumerate(segment.frames)
            if not isinstance(frame.world_T_vehicle, Repair)
        ]
        read = partial(_read_boxes, segment.frames, records, scene.origin_world, scene_id)
        boxes = with_velocities(read, placed, scene.time_us)
        return replace(scene, boxes=lambda frame: level(boxes(frame)))

    def _read_segment(self, scene_id: str) -> Segment:
        found = self._found[scene_id]
        if found.file:
            return record_segment.read_segment(self._root.resolve_inside(found.file))
        return parquet_segment.read_segment(partial(self._find_component, found.split, scene_id))

    def _find_component(self, split: str, scene_id: str, component: str) -> Path | None:
        """The segment's file of a component, None where that has no folder."""
        folder = Path(split) / component
        if not os.path.isdir(self._root.path / folder):
            return None
        return self._root.resolve_inside((folder / f"{scene_id}{COMPONENT}").as_posix())


def _find_segments(root: Path) -> Iterator[tuple[str, _Found]]:
    """Every segment of the root and of the folders in it, in order of name."""
    folders = sorted(path for path in root.iterdir() if os.path.isdir(path))
    for folder in (root, *folders):
        split = "" if folder == root else folder.name
        for path in sorted(folder.glob(f"*{RECORDS}")):
            name = path.name.removesuffix(RECORDS).removeprefix(BEFORE).removesuffix(AFTER)
            yield name, _Found(split, (Path(split) / path.name).as_posix())
        for path in sorted((folder / parquet_segment.FRAMES).glob(f"*{COMPONENT}")):
            yield path.name.removesuffix(COMPONENT), _Found(split, "")


def _make_read_points(segment: Segment, rig: Rig) -> ReadPoints:
    poses = {frame.part: frame.world_T_vehicle for frame in segment.frames}

    def read_points(datum: Datum) -> tuple[Points, Points]:
        world_T_vehicle = poses[datum.part]
        assert rig.ego_T_lidar is not None
        assert not isinstance(world_T_vehicle, Repair)
        returns = segment.read_returns(datum)
        own = main_laser(segment)
        return merge_returns(returns, segment.lasers, world_T_vehicle, rig.ego_T_lidar, own)

    return read_points


def _read_boxes(
    frames: Sequence[SegmentFrame],
    records: Sequence[FrameSources],
    origin_world: tuple[float, float, float],
    scene_id: str,
    frame: int,
) -> Boxes:
    where = f"frame {frame} of segment {scene_id} ({records[frame].sample})"
    return make_boxes(frames[frame], origin_world, where)
