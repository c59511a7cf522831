"""PandaSet folders: JSON poses in world coordinates, JPEGs, and point clouds as pickled tables.

A sequence is `<id>/{camera/<name>,lidar,annotations/cuboids}`; moment number i of each sensor is
entry i of its `timestamps.json` and `poses.json` and its file `<ii>.jpg` or `<ii>.pkl.gz`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.datasets.boxes import with_velocities
from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.pandaset.tables import read_table, take_floats
from driv3r.datasets.reader import (
    Datum,
    FrameSources,
    Root,
    make_camera,
    make_pose,
    place_ego,
    read_json,
)
from driv3r.datasets.scenes import PLAIN_NAME, make_scene
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import (
    apply,
    from_rotvec,
    interpolate,
    invert,
    make_transform,
    to_rotvec,
)
from driv3r.types import Boxes, Camera, Repair, Rig, Scene, Transform

CAMERAS = (
    "front_camera",
    "front_right_camera",
    "right_camera",
    "back_camera",
    "left_camera",
    "front_left_camera",
)
SIZE_HW = (1080, 1920)  # of all six; no table says it
LIDAR_HEIGHT_M = 0.33  # of the LiDAR poses' origin above the road; they look along +y
GROUND_Z_M = 0.0  # the ego origin lies on the road
LATEST_S = 1e11  # the year 5138; milliseconds taken for seconds are later
EGO_T_LIDAR = from_rotvec(np.array([0.0, 0.0, -np.pi / 2]), np.array([0.0, 0.0, LIDAR_HEIGHT_M]))
SPINNING, FORWARD = 0, 1  # the two LiDARs' numbers in the tables
TABLE = ("pkl.gz", "pkl")


@dataclass(frozen=True, eq=False)
class Cuboids:
    """The n boxes annotated at one moment, in the world of its scene.

    `size_m` is across, along and upward: the box's own x, y, z, turned by `yaw_rad` about world z.
    `uuid` names an object through its sequence; `is_stationary` says that it never moves in it.
    """

    label: tuple[str, ...]
    uuid: tuple[str, ...]
    center_world: Float[np.ndarray, "n 3"]
    size_m: Float[np.ndarray, "n 3"]
    yaw_rad: Float[np.ndarray, "n"]
    is_stationary: Bool[np.ndarray, "n"]


class PandaSetReader:
    """Sequences of a PandaSet folder by id. Every moment is a keyframe: `sweeps` adds nothing.

    PandaSet names no ego frame: ours is the LiDAR poses' own, turned to look along x and put down
    onto the road, so that `ground_z_m` is 0.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="PandaSet",
        sensors="6 cameras 1920x1080, Pandar64 (PandarGT's points are left out), boxes; 10 Hz",
        splits=("all",),
        licence="CC BY 4.0 with the PandaSet terms of use",
        source="pandaset.org is gone; the whole as pandaset.zip (44.5 GB): "
        "https://huggingface.co/datasets/georghess/pandaset",
        layout="""\
002/                              a sequence
  camera/front_camera/            and five more
    00.jpg, 01.jpg, ...
    intrinsics.json, poses.json, timestamps.json
  lidar/
    00.pkl.gz, 01.pkl.gz, ...     pickled tables, read by a restricted reader
    poses.json, timestamps.json
  annotations/cuboids/00.pkl.gz   boxes, where wanted""",
        ground="on the road, 0.33 m below the LiDAR poses' origin (measured by its points)",
    )

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root = Root(root.resolve(), follow_links)
        self._origins: dict[str, tuple[float, float, float]] = {}  # of scenes that were read
        self._sequences = tuple(
            sorted(
                path.parent.name
                for path in self._root.path.glob("*/lidar")
                if os.path.isdir(path) and PLAIN_NAME.fullmatch(path.parent.name)
            )
        )
        if not self._sequences:
            raise DatasetError(
                f"{root} holds no PandaSet sequence: expected folders such as 001 with lidar/ and "
                "camera/ in them; give the folder that holds those"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Sequence ids of `all`, or the one that is named: PandaSet has no official split.

        Raises ConfigError on anything else.
        """
        if split == "all":
            return self._sequences
        if split not in self._sequences:
            raise ConfigError(
                f"unknown split {split!r}; PandaSet has none of its own: take all, or one sequence "
                f"of {', '.join(self._sequences)}"
            )
        return (split,)

    def read(self, scene_id: str) -> Scene:
        """One sequence by its id; its JSON is resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown sequence or tables that do not hold together,
        UnsafePathError on files outside.
        """
        self._check(scene_id)
        lidar = _read_data(self._root, f"{scene_id}/lidar", "lidar", TABLE)
        held = [
            name for name in CAMERAS if os.path.isdir(self._root.path / scene_id / "camera" / name)
        ]
        if not held:
            raise DatasetError(
                f"{self._root.path / scene_id}/camera holds none of {', '.join(CAMERAS)}; "
                "fetch them"
            )
        repairs = [
            Repair(name, f"left out of the rig: {scene_id}/camera has no such folder")
            for name in CAMERAS
            if name not in held
        ]
        data = {
            name: _read_data(self._root, f"{scene_id}/camera/{name}", name, ("jpg",), len(lidar))
            for name in held
        }
        cameras = tuple(
            _make_camera(self._root, scene_id, name, data[name], lidar, repairs) for name in held
        )
        rig = Rig(cameras, EGO_T_LIDAR, GROUND_Z_M)
        records = _make_records(rig, data, lidar)
        poses = {datum.path: datum.world_T_sensor for datum in lidar if isinstance(datum, Datum)}
        scene = make_scene(
            self._root.path,
            scene_id,
            rig,
            records,
            lambda sweep: read_points(sweep.path, poses[sweep.path]),
            repairs,
        )
        self._origins[scene_id] = scene.origin_world
        boxes = partial(self._read_boxes, scene_id)
        return replace(scene, boxes=with_velocities(boxes, range(len(lidar)), scene.time_us))

    def _read_boxes(self, scene_id: str, frame: int) -> Boxes:
        """The cuboids with x forward; velocities are known of what is stationary only."""
        cuboids = self.read_cuboids(scene_id, frame)
        turn_rad = np.zeros_like(cuboids.center_world)
        turn_rad[:, 2] = cuboids.yaw_rad + np.pi / 2
        velocity_mps = np.where(cuboids.is_stationary[:, None], 0.0, np.full((1, 3), np.nan))
        world_T_box = from_rotvec(turn_rad, cuboids.center_world)
        size_m = cuboids.size_m[:, [1, 0, 2]]
        return Boxes(cuboids.uuid, cuboids.label, world_T_box, size_m, velocity_mps)

    def read_cuboids(self, scene_id: str, frame: int) -> Cuboids:
        """The boxes of one moment, counted as the scene's frames are.

        Boxes made for the forward LiDAR are left out where the spinning one's twin is given: its
        points are not read. Raises DatasetError on an unknown sequence or a missing or broken file,
        be it of the scene that the boxes are to lie in.
        """
        self._check(scene_id)
        path = _find_file(self._root, f"{scene_id}/annotations/cuboids", frame, TABLE)
        axes = [f"{of}.{axis}" for of in ("position", "dimensions") for axis in "xyz"]
        table = read_table(path, ["label", "uuid", "yaw", "stationary", "cuboids.sensor_id"] + axes)
        kept = table["cuboids.sensor_id"] != FORWARD
        label, uuid = (tuple(map(str, table[name][kept])) for name in ("label", "uuid"))
        numbers = take_floats(table, [*axes, "yaw"], path)[kept]
        stationary = table["stationary"][kept]
        _check_boxes(numbers, table["cuboids.sensor_id"], stationary, path)
        if scene_id not in self._origins:
            self.read(scene_id)
        center_world = numbers[:, :3] - self._origins[scene_id]
        return Cuboids(
            label, uuid, center_world, numbers[:, 3:6], numbers[:, 6], stationary.astype(bool)
        )

    def _check(self, scene_id: str) -> None:
        if scene_id not in self._sequences:
            raise DatasetError(
                f"no sequence {scene_id!r} in {self._root.path}: {', '.join(self._sequences)}"
            )


def _check_boxes(
    numbers: Float[np.ndarray, "n 7"], sensors: np.ndarray, stationary: np.ndarray, path: Path
) -> None:
    """DatasetError where places, sizes and turns are none, or flags are text: "False" is true."""
    broken = ~np.isfinite(numbers).all(axis=1) | (numbers[:, 3:6] < 0).any(axis=1)
    for expected, wrong in {
        "finite places and turns, and sizes of 0 m at least": int(broken.sum()),
        "stationary as true or false": len(stationary) * (stationary.dtype.kind not in "biuf"),
        "whole numbers as cuboids.sensor_id": len(sensors) * (sensors.dtype.kind not in "iuf"),
    }.items():
        if wrong:
            raise DatasetError(
                f"{wrong} of {len(sensors)} boxes have not {expected}; fetch the file again: {path}"
            )


def read_points(path: Path, world_T_lidar: Transform) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, LiDAR frame) of the spinning LiDAR's points, which the file gives in world.

    They are freed of the car's own motion already. Raises DatasetError on a missing or broken file.
    """
    table = read_table(path, ["x", "y", "z", "d"])
    points_world = take_floats(table, ["x", "y", "z"], path)[table["d"] == SPINNING]
    return apply(invert(world_T_lidar), points_world).astype(np.float32)


def _find_file(root: Root, folder: str, moment: int, suffixes: Sequence[str]) -> Path:
    """A moment's file by the first suffix that is there, else by the first (and missing)."""
    paths = [root.resolve_inside(f"{folder}/{moment:02d}.{suffix}") for suffix in suffixes]
    return next((path for path in paths if os.path.exists(path)), paths[0])


def _read_data(
    root: Root, folder: str, name: str, suffixes: Sequence[str], expected: int | None = None
) -> list[Datum | Repair]:
    """What a sensor wrote, moment by moment; a broken pose is a Repair.

    Raises DatasetError where times are broken or the tables differ in length.
    """
    times_s, poses = (
        _read_list(root.resolve_inside(f"{folder}/{table}.json"))
        for table in ("timestamps", "poses")
    )
    counts = {len(times_s), len(poses)} | ({expected} if expected is not None else set())
    if len(counts) != 1:
        raise DatasetError(
            f"{root.path / folder}: {len(times_s)} timestamps and {len(poses)} poses, expected "
            f"{expected or 'as many'} of each, one a LiDAR sweep; fetch the tables again"
        )
    data: list[Datum | Repair] = []
    for i, (time_s, pose) in enumerate(zip(times_s, poses, strict=True)):
        time_us = _to_us(time_s, f"{root.path / folder}/timestamps.json entry {i}")
        try:
            world_T_sensor = _parse_pose(pose, f"{root.path / folder}/poses.json entry {i}")
        except DatasetError as error:
            data.append(Repair(name, f"left out: {error}"))
        else:
            data.append(Datum(_find_file(root, folder, i, suffixes), time_us, world_T_sensor))
    return data


def _read_list(path: Path) -> list[Any]:
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError(f"{path}: expected a list, got a {type(content).__name__}")
    return content


def _to_us(time_s: Any, where: str) -> int:
    if not isinstance(time_s, int | float) or not 0 <= time_s < LATEST_S:
        raise DatasetError(f"{where}: {time_s!r} is no time in seconds; fetch the table again")
    return round(time_s * 1e6)


def _parse_pose(pose: Any, where: str) -> Transform:
    try:
        wxyz = [pose["heading"][axis] for axis in "wxyz"]
        xyz = [pose["position"][axis] for axis in "xyz"]
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"{where}: expected a heading w, x, y, z and a position x, y, z, got {pose!r}"
        ) from error
    return make_pose(wxyz, xyz, where)


def _make_camera(
    root: Root,
    scene_id: str,
    name: str,
    data: Sequence[Datum | Repair],
    lidar: Sequence[Datum | Repair],
    repairs: list[Repair],
) -> Camera:
    path = root.resolve_inside(f"{scene_id}/camera/{name}/intrinsics.json")
    lens = read_json(path)
    try:
        fx, fy, cx, cy = (float(lens[key]) for key in ("fx", "fy", "cx", "cy"))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{path}: expected numbers fx, fy, cx, cy, got {lens!r}") from error
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    exposures = [datum for datum in data if isinstance(datum, Datum)]
    sweeps = [datum for datum in lidar if isinstance(datum, Datum)]
    if not exposures or not sweeps:
        raise DatasetError(
            f"{root.path / scene_id}: {name} has {len(exposures)} usable poses and the LiDAR "
            f"{len(sweeps)}: no place of the camera on the car follows; fetch the poses again"
        )
    ego_T_cam, gap_us = estimate_place(exposures, sweeps)
    if gap_us:
        reason = f"placed on the car by a LiDAR pose {gap_us} us off: none is around its exposures"
        repairs.append(Repair(name, reason))
    return make_camera(name, K, SIZE_HW, ego_T_cam)


def estimate_place(exposures: Sequence[Datum], sweeps: Sequence[Datum]) -> tuple[Transform, int]:
    """ego_T_cam as the median over the exposures, and how far off (us) the ego poses used are.

    That is 0 where exposures lie between two LiDAR poses: only those are counted then, their ego
    pose interpolated. Raises DatasetError where the sweeps run backwards in time.
    """
    known_us, at_us = _times_us(sweeps), _times_us(exposures)
    back = np.flatnonzero(np.diff(known_us) <= 0)
    if len(back):
        raise DatasetError(
            f"LiDAR times run backwards: {known_us[back[0]]} us is followed by "
            f"{known_us[back[0] + 1]} us before {sweeps[back[0] + 1].path}; repair timestamps.json"
        )
    world_T_ego = np.stack([sweep.world_T_sensor for sweep in sweeps]) @ invert(EGO_T_LIDAR)
    world_T_cam = np.stack([exposure.world_T_sensor for exposure in exposures])
    ego_T_cam = invert(interpolate(known_us, world_T_ego, at_us)) @ world_T_cam
    gap_us = np.abs(np.clip(at_us, known_us[0], known_us[-1]) - at_us)
    ego_T_cam = ego_T_cam[gap_us == gap_us.min()]
    # Rotations differ by fractions of a degree, so that medians of their rotation vectors serve.
    turn_rad = to_rotvec(invert(ego_T_cam[0]) @ ego_T_cam)
    turn = from_rotvec(np.median(turn_rad, axis=0), np.zeros(3))
    rotation = ego_T_cam[0, :3, :3] @ turn[:3, :3]
    place = np.median(ego_T_cam[:, :3, 3], axis=0)
    return make_transform(rotation, place), int(gap_us.min())


def _times_us(data: Sequence[Datum]) -> Int[np.ndarray, "t"]:
    return np.array([datum.time_us for datum in data], np.int64)


def _make_records(
    rig: Rig, data: Mapping[str, Sequence[Datum | Repair]], lidar: Sequence[Datum | Repair]
) -> list[FrameSources]:
    records = []
    for i, sweep in enumerate(lidar):
        cameras = tuple(data[camera.name][i] for camera in rig.cameras)
        time_us, world_T_ego = place_ego(rig, cameras, sweep)
        records.append(FrameSources(time_us, world_T_ego, cameras, sweep, True))
    return records
