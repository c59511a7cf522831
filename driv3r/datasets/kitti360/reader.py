"""KITTI-360 folders: drives of minutes, with poses where the car moved."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.kitti.splits import choose_scenes
from driv3r.datasets.kitti.streams import (
    IMAGES,
    POINTS,
    Stream,
    count_lost,
    list_stream,
    make_data,
    make_records,
    read_points,
)
from driv3r.datasets.kitti.text_files import parse_rigid, read_lines
from driv3r.datasets.kitti360.boxes import Annotations
from driv3r.datasets.kitti360.calibration import EGO_T_IMU, FISHEYE, PERSPECTIVE, read_rig
from driv3r.datasets.reader import Root
from driv3r.datasets.scenes import GAP_LIMIT_US, make_scene
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert
from driv3r.types import Repair, Scene, Transform

DRIVE = re.compile(r"\d{4}_\d{2}_\d{2}_drive_\d{4}_sync")
CAMERAS = {name: "data_rect" for name in PERSPECTIVE} | {name: "data_rgb" for name in FISHEYE}
SPLITS = {
    split: tuple(f"2013_05_28_drive_{number}_sync" for number in numbers.split())
    for split, numbers in {
        "train": "0000 0002 0003 0004 0005 0006 0007 0009 0010",
        "test": "0008 0018",
    }.items()
}


class Kitti360Reader:
    """Drives of a KITTI-360 folder by name. Every moment is a keyframe: `sweeps` adds nothing.

    The ego frame is the IMU's, turned to x forward, y left, z up. A drive in which the car stood
    for long is several logs, `<drive>_part1` and on: nobody knows poses of frames in which it does
    not move.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="KITTI-360",
        sensors="2 rectified cameras ahead (1408 x 376), 2 fisheyes aside (1400 x 1400, 180 "
        "degrees), 10 Hz, Velodyne HDL-64E, OXTS, boxes of what can move",
        splits=tuple(SPLITS),
        licence="CC BY-NC-SA 3.0",
        source="https://www.cvlibs.net/datasets/kitti-360/download.php (perspective images, "
        "fisheye images, raw Velodyne scans, calibrations, vehicle poses, 3D bounding boxes)",
        layout="""\
calibration/
  perspective.txt, image_02.yaml, image_03.yaml
  calib_cam_to_pose.txt, calib_cam_to_velo.txt
data_2d_raw/2013_05_28_drive_0000_sync/
  image_00/timestamps.txt         and image_01
  image_00/data_rect/*.png
  image_02/timestamps.txt         and image_03
  image_02/data_rgb/*.png
data_3d_raw/2013_05_28_drive_0000_sync/velodyne_points/
  timestamps.txt, data/*.bin
data_poses/2013_05_28_drive_0000_sync/poses.txt
data_3d_bboxes/train/2013_05_28_drive_0000_sync.xml""",
        ground="1.55 m below the cameras that look ahead (the authors' figure of the car), and so "
        "0.90 m below the IMU",
    )

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root = Root(root.resolve(), follow_links)
        folder = self._root.path / "data_2d_raw"
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        self._drives = tuple(name for name in names if DRIVE.fullmatch(name))
        self._opened: dict[str, _Drive] = {}
        if not self._drives:
            raise DatasetError(
                f"{root} holds no KITTI-360 drive: expected data_2d_raw/"
                "2013_05_28_drive_0000_sync in it; give the folder that holds data_2d_raw and "
                "calibration"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Logs of the drives of train, test, all, or of the one that is named.

        Raises ConfigError on anything else, DatasetError where nothing of the split is there, or
        times or poses of a drive are broken.
        """
        drives = choose_scenes(split, self._drives, SPLITS, str(self._root.path))
        return tuple(name for drive in drives for name in self._open(drive).parts)

    def read(self, scene_id: str) -> Scene:
        """One log by its name; its tables are resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown log or tables that do not hold together, UnsafePathError
        on files outside.
        """
        drive = scene_id.partition("_part")[0]
        parts = self._open(drive).parts if drive in self._drives else {}
        if scene_id not in parts:
            raise DatasetError(
                f"no log {scene_id!r} in {self._root.path}: {', '.join(parts or self._drives)}"
            )
        return _read_part(self._root, drive, self._open(drive), scene_id)

    def _open(self, drive: str) -> "_Drive":
        if drive not in self._opened:
            self._opened[drive] = _Drive.of_folder(self._root, drive)
        return self._opened[drive]


@dataclass(frozen=True, eq=False)
class _Drive:
    """A drive's files by camera, its poses by number, and its logs' numbers by their names."""

    streams: dict[str, Stream]
    world_T_ego: dict[int, Transform] | None  # None where there are none
    parts: dict[str, frozenset[int]]
    repairs: tuple[Repair, ...]

    @classmethod
    def of_folder(cls, root: Root, drive: str) -> "_Drive":
        folder = f"data_2d_raw/{drive}"
        held = [name for name in CAMERAS if root.resolve_inside(f"{folder}/{name}").is_dir()]
        if not held:
            raise DatasetError(f"{root.path / folder} holds none of {', '.join(CAMERAS)}")
        repairs = [
            Repair(name, f"left out of the rig: {folder} has no such folder")
            for name in CAMERAS
            if name not in held
        ]
        streams = {
            name: list_stream(root, f"{folder}/{name}", IMAGES, CAMERAS[name]) for name in held
        }
        path = root.resolve_inside(f"data_poses/{drive}/poses.txt")
        poses = _read_poses(path, repairs) if path.is_file() else None
        if poses is None:
            repairs.append(Repair("poses", f"no pose is known: the file is missing: {path}"))
        first = streams[held[0]]
        parts = _split(drive, first, set(first.numbers) if poses is None else set(poses))
        return cls(streams, poses, parts, tuple(repairs))


def _read_poses(path: Path, repairs: list[Repair]) -> dict[int, Transform]:
    """world_T_ego by frame number; a pose that is no rigid transform is left out and counted.

    Raises DatasetError where a number is none, or there twice.
    """
    poses: dict[int, Transform] = {}
    known: set[int] = set()
    for count, line in enumerate(read_lines(path), 1):
        number, _, numbers = line.partition(" ")
        if not line:
            continue
        if not number.isdecimal() or int(number) in known:
            raise DatasetError(
                f"{path} line {count} is of frame {number!r}, expected a whole number, each once"
            )
        known.add(int(number))
        try:
            world_T_imu = parse_rigid(numbers, f"{path} line {count}")
        except DatasetError as error:
            repairs.append(Repair("poses", f"left out: {error}"))
        else:
            poses[int(number)] = world_T_imu @ invert(EGO_T_IMU)
    return poses


def _split(drive: str, stream: Stream, placed: set[int]) -> dict[str, frozenset[int]]:
    """The logs of a drive: its numbers with poses, parted where they are too far apart in time."""
    times_us = dict(zip(stream.numbers, stream.times_us, strict=True))
    numbers = sorted(placed & set(times_us))
    gaps_us = np.diff([times_us[number] for number in numbers])
    runs = np.split(np.array(numbers, np.int64), np.flatnonzero(gaps_us > GAP_LIMIT_US) + 1)
    names = [drive] if len(runs) == 1 else [f"{drive}_part{i}" for i in range(1, len(runs) + 1)]
    return {name: frozenset(run.tolist()) for name, run in zip(names, runs, strict=True)}


def _read_part(root: Root, drive: str, opened: _Drive, scene_id: str) -> Scene:
    rig = read_rig(root, list(opened.streams))
    repairs = list(opened.repairs)
    numbers = opened.parts[scene_id]
    place_all = partial(_place, opened.world_T_ego, numbers)
    places = {camera.name: camera.ego_T_cam for camera in rig.cameras}
    cameras = {
        name: make_data(stream, places[name], place_all) for name, stream in opened.streams.items()
    }
    folder, sweeps = f"data_3d_raw/{drive}/velodyne_points", None
    if root.resolve_inside(folder).is_dir() and rig.ego_T_lidar is not None:
        sweeps = make_data(list_stream(root, folder, POINTS), rig.ego_T_lidar, place_all)
    else:
        repairs.append(Repair("lidar", f"there is no {folder}: there are no sweeps"))
        rig = replace(rig, ego_T_lidar=None)
    records = make_records(rig, cameras, sweeps)
    timed = {n for stream in opened.streams.values() for n in stream.numbers}
    elsewhere = sum(map(len, opened.parts.values())) - len(numbers)
    why = "poses.txt has none of them, as of a car that hardly moves"
    repairs += count_lost("frames of the drive", len(records) + elsewhere, len(timed), why)
    scene = make_scene(
        root.path, scene_id, rig, records, lambda sweep: read_points(sweep.path), repairs
    )
    scene = replace(scene, poses_known=opened.world_T_ego is not None)
    labels = _find_labels(root, drive)
    if labels is None or opened.world_T_ego is None:
        return scene
    annotations = Annotations(
        labels,
        [int(record.sample) for record in records],
        np.stack([record.world_T_ego[:3, 3] for record in records]),
        scene.time_us,
        scene.origin_world,
    )
    return replace(scene, boxes=annotations.boxes)


def _find_labels(root: Root, drive: str) -> Path | None:
    """The drive's boxes; `train_full` has those that another file has in `train`, and roads."""
    for folder in ("train", "train_full"):
        path = root.resolve_inside(f"data_3d_bboxes/{folder}/{drive}.xml")
        if path.is_file():
            return path
    return None


def _place(
    world_T_ego: dict[int, Transform] | None,
    part: frozenset[int],
    numbers: Sequence[int],
    times_us: Sequence[int],
) -> list[Transform | None]:
    """The frame's own pose for each of its sensors: all are triggered by the LiDAR."""
    return [
        (np.eye(4) if world_T_ego is None else world_T_ego[number]) if number in part else None
        for number in numbers
    ]
