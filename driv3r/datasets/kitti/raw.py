"""KITTI's raw drives, synced and rectified: `<date>/<date>_drive_<number>_sync`."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from driv3r.datasets.boxes import with_velocities
from driv3r.datasets.kitti.calibration import choose_cameras, read_rig
from driv3r.datasets.kitti.oxts import read_oxts
from driv3r.datasets.kitti.splits import EIGEN, SEQUENCES, choose_scenes
from driv3r.datasets.kitti.streams import (
    IMAGES,
    PACKETS,
    POINTS,
    PlaceAll,
    count_lost,
    list_numbered,
    list_stream,
    make_data,
    make_records,
    read_points,
)
from driv3r.datasets.kitti.tracklets import Box, make_boxes, read_tracklets
from driv3r.datasets.reader import Datum, FrameSources, Root
from driv3r.datasets.scenes import make_scene
from driv3r.errors import DatasetError
from driv3r.types import Boxes, Repair, Rig, Scene, Transform

DRIVE = re.compile(r"(\d{4}_\d{2}_\d{2})_drive_\d{4}_sync")
DATE = re.compile(r"\d{4}_\d{2}_\d{2}")
CAMERA = re.compile(r"image_\d{2}")
GREY_AND_COLOUR = ("image_00", "image_01", "image_02", "image_03")
VELODYNE = "velodyne_points"
DEPTH, SPLITS = ("", "data_depth_annotated/"), ("train", "val")  # of the depth benchmark


def find_drives(root: Root) -> tuple[str, ...]:
    """Names of the drives in a root, in order."""
    dates = [name for name in sorted(os.listdir(root.path)) if DATE.fullmatch(name)]
    return tuple(
        name
        for date in dates
        if os.path.isdir(root.path / date)
        for name in sorted(os.listdir(root.path / date))
        if (found := DRIVE.fullmatch(name)) and found[1] == date
    )


class RawDrives:
    """The drives of a root by name."""

    def __init__(self, root: Root, drives: tuple[str, ...]) -> None:
        self._root, self._drives = root, drives

    def scenes(self, split: str) -> tuple[str, ...]:
        """Drives of eigen_train, eigen_test, all, or the one that is named."""
        return choose_scenes(split, self._drives, EIGEN | SEQUENCES, str(self._root.path))

    def read(self, scene_id: str) -> Scene:
        """One drive by its name."""
        if scene_id not in self._drives:
            raise DatasetError(
                f"no drive {scene_id!r} in {self._root.path}: {', '.join(self._drives)}"
            )
        folder, repairs = f"{scene_id[:10]}/{scene_id}", list[Repair]()
        log = _Log.of_folder(self._root, folder, repairs)
        scene = make_scene(
            self._root.path,
            scene_id,
            log.rig,
            log.records,
            lambda sweep: read_points(sweep.path),
            repairs,
        )
        scene = replace(scene, poses_known=log.poses_known)
        labels = self._root.resolve_inside(f"{folder}/tracklet_labels.xml")
        if not labels.is_file() or not log.poses_known:
            return scene
        tracks = _Tracks(labels, log, scene.origin_world)
        return replace(
            scene, boxes=with_velocities(tracks.read, range(len(log.records)), scene.time_us)
        )


@dataclass(frozen=True, eq=False)
class _Log:
    rig: Rig
    records: list[FrameSources]
    ego_T_velo: Transform
    poses_known: bool

    @classmethod
    def of_folder(cls, root: Root, folder: str, repairs: list[Repair]) -> "_Log":
        base = root.resolve_inside(folder)
        names = sorted({*GREY_AND_COLOUR, *filter(CAMERA.fullmatch, os.listdir(base))})
        held = choose_cameras(root, folder, names, repairs)
        rig = read_rig(root, folder.split("/")[0], held)
        ego_T_velo = rig.ego_T_lidar
        assert ego_T_velo is not None  # of every KITTI rig
        streams = {name: list_stream(root, f"{folder}/{name}", IMAGES) for name in held}
        if (base / VELODYNE).is_dir():
            streams[VELODYNE] = list_stream(root, f"{folder}/{VELODYNE}", POINTS)
        else:
            repairs.append(Repair("lidar", f"{folder} has no {VELODYNE}: there are no sweeps"))
            rig = replace(rig, ego_T_lidar=None)
        place_all = _read_places(root, folder, repairs)
        places = {camera.name: camera.ego_T_cam for camera in rig.cameras}
        data = {
            name: make_data(stream, places.get(name, ego_T_velo), place_all or _stand_still)
            for name, stream in streams.items()
        }
        data |= {name: _with_depth(root, folder, name, data[name]) for name in held}
        sweeps = data.pop(VELODYNE, None)
        records = make_records(rig, data, sweeps)
        timed = set().union(*(stream.numbers for stream in streams.values()))
        repairs += count_lost("frames", len(records), len(timed), "no OXTS packet is near enough")
        return cls(rig, records, ego_T_velo, place_all is not None)


def _with_depth(root: Root, folder: str, camera: str, data: dict[int, Datum]) -> dict[int, Datum]:
    """A camera's data with the depth benchmark's annotation, where it lies in the root."""
    date, drive = folder.split("/")
    tops = (f"{date}/{drive}", *(f"{top}{split}/{drive}" for top in DEPTH for split in SPLITS))
    for top in tops:
        files = list_numbered(root, f"{top}/proj_depth/groundtruth/{camera}", ("png",))
        if files:
            held = {
                n: root.resolve_inside(str(path.relative_to(root.path)))
                for n, path in files.items()
            }
            return {n: replace(datum, annotated=held.get(n)) for n, datum in data.items()}
    return data


def _stand_still(numbers: Sequence[int], times_us: Sequence[int]) -> list[Transform | None]:
    return [np.eye(4) for _ in numbers]


def _read_places(root: Root, folder: str, repairs: list[Repair]) -> PlaceAll | None:
    """Where the IMU is at a time, between its packets; None where there are none."""
    if not root.resolve_inside(f"{folder}/oxts").is_dir():
        repairs.append(Repair("oxts", f"{folder} has no oxts: no pose is known"))
        return None
    packets = list_stream(root, f"{folder}/oxts", PACKETS)
    path = read_oxts(packets.times_us, packets.paths, repairs)

    def place_all(numbers: Sequence[int], times_us: Sequence[int]) -> list[Transform | None]:
        world_T_imu, inside = path.at(np.array(times_us, np.int64))
        return [pose if near else None for pose, near in zip(world_T_imu, inside, strict=True)]

    return place_all


@dataclass(frozen=True, eq=False)
class _Tracks:
    """A drive's boxes by frame of its scene; the file is read when first asked for."""

    path: Path
    log: _Log
    origin_world: tuple[float, float, float]

    @cached_property
    def boxes(self) -> dict[int, list[Box]]:
        return read_tracklets(self.path)

    def read(self, frame: int) -> Boxes:
        record = self.log.records[frame]
        world_T_velo = record.world_T_ego @ self.log.ego_T_velo
        world_T_velo[:3, 3] -= self.origin_world
        return make_boxes(self.boxes.get(int(record.sample), []), world_T_velo)
