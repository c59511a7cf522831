"""KITTI's odometry benchmark: `sequences/<nn>` with images, sweeps and times, `poses/<nn>.txt`."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from driv3r.datasets.images import read_size
from driv3r.datasets.kitti.calibration import (
    CAMERA_HEIGHT_M,
    choose_cameras,
    split_projection,
)
from driv3r.datasets.kitti.splits import EIGEN, SEQUENCES, choose_scenes
from driv3r.datasets.kitti.streams import (
    IMAGES,
    POINTS,
    PlaceAll,
    Stream,
    count_lost,
    list_numbered,
    make_data,
    make_records,
    read_points,
)
from driv3r.datasets.kitti.text_files import (
    parse_rigid,
    read_calibration,
    read_lines,
    read_seconds,
    take_matrix,
)
from driv3r.datasets.reader import Root, check_place, make_camera
from driv3r.datasets.scenes import make_scene
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import BODY_T_CAM, invert
from driv3r.types import Camera, Repair, Rig, Scene, Transform

NUMBER = re.compile(r"\d{2}")
CAMERAS = ("image_0", "image_1", "image_2", "image_3")
DIGITS = 6  # of a file's name
MEASURED = 5  # images that tell their camera's size


class Sequences:
    """The sequences of a root by number. The ego frame is the left grey camera's, turned level."""

    def __init__(self, root: Root) -> None:
        folder = root.path / "sequences"
        names = [name for name in sorted(os.listdir(folder)) if NUMBER.fullmatch(name)]
        self._root, self._held = root, tuple(n for n in names if os.path.isdir(folder / n))
        if not self._held:
            raise DatasetError(f"{folder} holds no sequence such as 00; give KITTI's own layout")

    def scenes(self, split: str) -> tuple[str, ...]:
        """Sequences of train (00 to 10, with poses), test, all, or the one that is named."""
        return choose_scenes(split, self._held, EIGEN | SEQUENCES, str(self._root.path))

    def read(self, scene_id: str) -> Scene:
        """One sequence by its number."""
        if scene_id not in self._held:
            raise DatasetError(
                f"no sequence {scene_id!r} in {self._root.path}: {', '.join(self._held)}"
            )
        root, folder, repairs = self._root, f"sequences/{scene_id}", list[Repair]()
        times_us = read_seconds(root.resolve_inside(f"{folder}/times.txt"))
        names = choose_cameras(root, folder, CAMERAS, repairs)
        streams = {name: _list_files(root, f"{folder}/{name}", IMAGES, times_us) for name in names}
        rig = _read_rig(root, folder, streams)
        place_all, known = _read_places(root, scene_id, len(times_us), repairs)
        sweeps = None
        if rig.ego_T_lidar is not None:
            stream = _list_files(root, f"{folder}/velodyne", POINTS, times_us)
            sweeps = make_data(stream, rig.ego_T_lidar, place_all)
        places = {camera.name: camera.ego_T_cam for camera in rig.cameras}
        cameras = {
            name: make_data(stream, places[name], place_all) for name, stream in streams.items()
        }
        records = make_records(rig, cameras, sweeps)
        repairs += count_lost("frames", len(records), len(times_us), "their poses are broken")
        points_of = make_scene(
            root.path, scene_id, rig, records, lambda sweep: read_points(sweep.path), repairs
        )
        return replace(points_of, poses_known=known)


def _list_files(
    root: Root, folder: str, suffixes: Sequence[str], times_us: Sequence[int]
) -> Stream:
    """A file for each time, by number; DatasetError where there is one of a later number."""
    files = list_numbered(root, folder, suffixes)
    if files and max(files) >= len(times_us):
        raise DatasetError(
            f"{root.path / folder} has a file of number {max(files)}, but times.txt "
            f"{len(times_us)} lines; expected a line a file"
        )
    names = [
        files[n].name if n in files else f"{n:0{DIGITS}d}.{suffixes[0]}"
        for n in range(len(times_us))
    ]
    paths = tuple(root.resolve_inside(f"{folder}/{name}") for name in names)
    return Stream(tuple(range(len(times_us))), tuple(times_us), paths)


def _read_rig(root: Root, folder: str, streams: dict[str, Stream]) -> Rig:
    path = root.resolve_inside(f"{folder}/calib.txt")
    table = read_calibration(path)
    cameras = tuple(
        _make_camera(table, name, path, _measure(stream)) for name, stream in streams.items()
    )
    if not root.resolve_inside(f"{folder}/velodyne").is_dir():
        return Rig(cameras, None, -CAMERA_HEIGHT_M)
    if "Tr" not in table:
        raise DatasetError(
            f"{path} lacks Tr, where the LiDAR is; fetch data_odometry_calib.zip, whose file has it"
        )
    ego_T_velo = BODY_T_CAM @ parse_rigid(table["Tr"], f"{path}: Tr")
    check_place("velodyne", ego_T_velo)
    return Rig(cameras, ego_T_velo, -CAMERA_HEIGHT_M)


def _make_camera(table: dict[str, str], name: str, path: Path, size_hw: tuple[int, int]) -> Camera:
    key = f"P{name.removeprefix('image_')}"
    K, cam_T_rect0 = split_projection(take_matrix(table, key, (3, 4), path), f"{path}: {key}")
    return make_camera(name, K, size_hw, BODY_T_CAM @ invert(cam_T_rect0))


def _measure(stream: Stream) -> tuple[int, int]:
    """(h, w) of a camera's images, which no table tells: that of most of the first few."""
    sizes: Counter[tuple[int, int]] = Counter()
    for path in stream.paths:
        try:
            sizes[read_size(path)] += 1
        except DatasetError:
            continue  # it is counted when its frame is read
        if sizes.total() == MEASURED:
            break
    if not sizes:
        raise DatasetError(
            f"none of {len(stream.paths)} images can be read, the first "
            f"{next(iter(stream.paths), 'not named: times.txt is empty')}; fetch them"
        )
    return sizes.most_common(1)[0][0]


def _read_places(
    root: Root, scene_id: str, expected: int, repairs: list[Repair]
) -> tuple[PlaceAll, bool]:
    """Where the ego frame is by number, and whether that is known: of the test sequences it is not.

    The world's axes are the first ego frame's, as the file's are the first camera's.
    """
    path = root.resolve_inside(f"poses/{scene_id}.txt")
    poses: list[Transform | None] = [np.eye(4)] * expected
    if not path.is_file():
        if scene_id in SEQUENCES["train"]:
            repairs.append(Repair("poses", f"no pose is known: the file is missing: {path}"))
        return lambda numbers, times_us: [poses[n] for n in numbers], False
    lines = read_lines(path)
    if len(lines) != expected:
        raise DatasetError(
            f"{path} has {len(lines)} lines, times.txt {expected}; expected a pose a time"
        )
    for i, line in enumerate(lines):
        try:
            poses[i] = BODY_T_CAM @ parse_rigid(line, f"{path} line {i + 1}") @ invert(BODY_T_CAM)
        except DatasetError as error:
            poses[i] = None
            repairs.append(Repair("poses", f"left out: {error}"))
    return lambda numbers, times_us: [poses[n] for n in numbers], True
