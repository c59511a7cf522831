"""One Argoverse 2 log: its calibration, its car's path, and its files as frames."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64

from driv3r.datasets.argoverse2.tables import PLACE, read_table, stack
from driv3r.datasets.match_times import match_nearest
from driv3r.datasets.reader import (
    FARTHEST_M,
    UNIT_SLACK,
    Datum,
    FrameSources,
    Root,
    check_place,
    make_camera,
    make_pose,
    place_ego,
)
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import from_quaternion, interpolate
from driv3r.types import Camera, Repair, Rig, Transform

CAMERAS = (
    "ring_front_center",
    "ring_front_right",
    "ring_side_right",
    "ring_rear_right",
    "ring_rear_left",
    "ring_side_left",
    "ring_front_left",
    "stereo_front_left",
    "stereo_front_right",
)
LIDAR = "up_lidar"  # whose frame points are put into: rays of both start within 0.12 m of it
FOCAL = ("fx_px", "fy_px", "cx_px", "cy_px")
SIZE = ("height_px", "width_px")
SWEEP_PERIOD_US, EXPOSURE_PERIOD_US = 100_000, 50_000  # of logs too short to show their own
TIMES_NS = (10**17, 9 * 10**18)  # of a name that is nanoseconds: microseconds are below
NEAR_US = 50_000  # of a sensor's time to the car's nearest pose; they are 3 ms apart
LEAST_UPRIGHT = 0.9  # of the car's z along the world's; on Pittsburgh's steepest street 0.94


@dataclass(frozen=True, eq=False)
class EgoPath:
    """The car's poses in its city, by strictly increasing times."""

    time_us: Int64[np.ndarray, "n"]
    world_T_ego: Float[np.ndarray, "n 4 4"]

    @classmethod
    def of_table(cls, path: Path) -> tuple["EgoPath", list[Repair]]:
        """The path of city_SE3_egovehicle.feather, and what is to be said of rows left out.

        Raises DatasetError where no row is usable.
        """
        table = read_table(path, PLACE, ("timestamp_ns",))
        places, times_ns = stack(table, PLACE), table["timestamp_ns"]
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(places[:, :4], axis=1)
        usable = np.isfinite(places).all(axis=1) & (np.abs(length - 1) <= UNIT_SLACK)
        usable &= (np.abs(places[:, 4:]) <= FARTHEST_M).all(axis=1)
        usable &= (times_ns >= TIMES_NS[0]) & (times_ns < TIMES_NS[1])
        poses = np.zeros((len(places), 4, 4))
        poses[usable] = from_quaternion(places[usable, :4], places[usable, 4:])
        usable &= poses[:, 2, 2] >= LEAST_UPRIGHT
        expected = "finite, upright, of unit quaternions qw, qx, qy, qz, at nanoseconds"
        if not usable.any():
            raise DatasetError(f"none of {len(places)} poses of {path} is {expected}; repair it")
        lost = int(np.sum(~usable))
        reason = f"{lost} of {len(places)} poses are not {expected}: left out"
        repairs = [Repair(path.name, reason)] if lost else []
        time_us, first = np.unique(times_ns[usable] // 1000, return_index=True)
        return cls(time_us, poses[usable][first]), repairs

    def place(self, at_us: Int64[np.ndarray, "m"]) -> list[Transform | None]:
        """world_T_ego at given times, between the poses around them; None where none is near."""
        if not len(at_us):
            return []
        after = np.clip(np.searchsorted(self.time_us, at_us), 1, max(len(self.time_us) - 1, 1))
        around = np.stack([self.time_us[after - 1], self.time_us[np.minimum(after, len(self) - 1)]])
        near = (np.abs(around - at_us) <= NEAR_US).any(axis=0)
        poses = interpolate(self.time_us, self.world_T_ego, at_us)
        return [pose if is_near else None for pose, is_near in zip(poses, near, strict=True)]

    def __len__(self) -> int:
        return len(self.time_us)


@dataclass(frozen=True, eq=False)
class Log:
    """A log's cameras and its LiDAR's place, and what they wrote, by time."""

    cameras: tuple[Camera, ...]
    ego_T_lidar: Transform
    data: Mapping[str, Sequence[Datum | Repair]]
    times_us: Mapping[str, Int64[np.ndarray, "n"]]
    sweeps_ns: tuple[int, ...]
    ego_path: EgoPath
    repairs: tuple[Repair, ...]

    @classmethod
    def of_folder(cls, root: Root, folder: str) -> "Log":
        """The log of a folder below the root; DatasetError where its tables are broken."""
        places = _read_places(root, folder)
        if LIDAR not in places:
            raise DatasetError(
                f"{root.path / folder}/calibration/egovehicle_SE3_sensor.feather has no row of "
                f"{LIDAR}: {', '.join(places)}; fetch it again"
            )
        check_place(LIDAR, places[LIDAR])
        ego_path, repairs = EgoPath.of_table(
            root.resolve_inside(f"{folder}/city_SE3_egovehicle.feather")
        )
        cameras = _read_cameras(root, folder, places, repairs)
        sensors = {camera.name: (f"cameras/{camera.name}", ".jpg") for camera in cameras}
        sensors[LIDAR] = ("lidar", ".feather")
        files = {
            name: _list_files(root, f"{folder}/sensors/{at}", ending, repairs)
            for name, (at, ending) in sensors.items()
        }
        if not files[LIDAR]:
            raise DatasetError(f"{root.path / folder}/sensors/lidar holds no sweep; fetch them")
        data, times_us = {}, {}
        for name, of_sensor in files.items():
            times_us[name] = np.array([t // 1000 for t in of_sensor], np.int64)
            world_T_ego = ego_path.place(times_us[name])
            data[name] = [
                _take(path, int(at_us), pose, places[name], "lidar" if name == LIDAR else name)
                for path, at_us, pose in zip(
                    of_sensor.values(), times_us[name], world_T_ego, strict=True
                )
            ]
        given = (cameras, places[LIDAR], data, times_us, tuple(files[LIDAR]))
        return cls(*given, ego_path, tuple(repairs))

    def records(self, rig: Rig, between: bool) -> tuple[list[FrameSources], list[Repair]]:
        """A frame for every sweep, and with `between` one for each other exposure, in order.

        Those of which no sensor's time has a pose near are left out, and counted in a Repair.
        """
        at_us = self.times_us[LIDAR]
        within_us = _spacing(at_us, SWEEP_PERIOD_US) // 2
        names = [camera.name for camera in self.cameras]
        taken = {name: match_nearest(at_us, self.times_us[name], within_us) for name in names}
        records, lost = [], 0
        for i, (lidar, sweep_ns) in enumerate(zip(self.data[LIDAR], self.sweeps_ns, strict=True)):
            cameras = tuple(
                self._exposure(name, taken[name][i], f"within {within_us} us of sweep {sweep_ns}")
                for name in names
            )
            if not any(isinstance(datum, Datum) for datum in (lidar, *cameras)):
                lost += 1
                continue
            time_us, world_T_ego = place_ego(rig, cameras, lidar)
            records.append(FrameSources(time_us, world_T_ego, cameras, lidar, True, str(sweep_ns)))
        total = len(self.sweeps_ns)
        if between:
            others, number = self._records_between(names, taken)
            records, lost, total = records + others, lost + number - len(others), total + number
        reason = f"{lost} of {total} have no pose of the car near, left out"
        records.sort(key=lambda record: record.time_us)
        return records, [Repair("frames", reason)] if lost else []

    def _records_between(
        self, names: Sequence[str], taken: Mapping[str, list[int | None]]
    ) -> tuple[list[FrameSources], int]:
        """Frames of the first camera's exposures that no sweep takes, and how many those are."""
        free = {
            name: np.setdiff1d(np.arange(len(self.data[name])), _known(taken[name])).tolist()
            for name in names
        }
        at_us = self.times_us[names[0]][free[names[0]]]
        within_us = _spacing(self.times_us[names[0]], EXPOSURE_PERIOD_US) // 2
        matched = {
            name: match_nearest(at_us, self.times_us[name][free[name]], within_us) for name in names
        }
        records = []
        for i, (time_us, world_T_ego) in enumerate(
            zip(at_us.tolist(), self.ego_path.place(at_us), strict=True)
        ):
            found = {name: matched[name][i] for name in names}
            cameras = tuple(
                self._exposure(
                    name,
                    None if k is None else free[name][k],
                    f"within {within_us} us of {time_us}",
                )
                for name, k in found.items()
            )
            if world_T_ego is not None:
                records.append(FrameSources(time_us, world_T_ego, cameras, None, False))
        return records, len(at_us)

    def _exposure(self, name: str, number: int | None, where: str) -> Datum | Repair:
        return Repair(name, f"no exposure {where}") if number is None else self.data[name][number]


def _known(numbers: Sequence[int | None]) -> list[int]:
    return [number for number in numbers if number is not None]


def _take(
    path: Path, time_us: int, world_T_ego: Transform | None, ego_T_sensor: Transform, name: str
) -> Datum | Repair:
    if world_T_ego is None:
        reason = f"left out: city_SE3_egovehicle.feather has no pose within {NEAR_US} us"
        return Repair(name, f"{reason} of {path.name}")
    return Datum(path, time_us, world_T_ego @ ego_T_sensor)


def _spacing(times_us: Int64[np.ndarray, "n"], known_us: int) -> int:
    return int(np.median(np.diff(times_us))) if len(times_us) > 1 else known_us


def _list_files(root: Root, folder: str, ending: str, repairs: list[Repair]) -> dict[int, Path]:
    """A sensor's files by their names' nanoseconds, in order; others are a Repair."""
    path = root.resolve_inside(folder)
    try:
        found = os.listdir(path) if path.is_dir() else []
    except OSError as error:
        raise DatasetError(f"{root.path / folder} can not be read: {error.strerror}") from error
    named = {
        name: int(name[: -len(ending)])
        for name in found
        if name.endswith(ending) and name[: -len(ending)].isascii()
        and name[: -len(ending)].isdigit() and len(name) < 40
    }  # fmt: skip
    right = {t: name for name, t in named.items() if TIMES_NS[0] <= t < TIMES_NS[1]}
    if named and not right:
        raise DatasetError(
            f"{root.path / folder}: {next(iter(named))} is no time in nanoseconds, nor is "
            "any other file's name; rename them"
        )
    if len(right) < len(found):
        strange = next(name for name in sorted(found) if name not in right.values())
        reason = f"{len(found) - len(right)} files are not named <nanoseconds>{ending}"
        repairs.append(Repair(folder.split("/", 2)[-1], f"{reason}, left out: {strange[:100]!r}"))
    return {t: root.resolve_inside(f"{folder}/{right[t]}") for t in sorted(right)}


def _read_places(root: Root, folder: str) -> dict[str, Transform]:
    """ego_T_sensor of every sensor."""
    path = root.resolve_inside(f"{folder}/calibration/egovehicle_SE3_sensor.feather")
    table = read_table(path, PLACE, (), ("sensor_name",))
    _check_once(table["sensor_name"], path)
    return {
        str(name): make_pose(place[:4].tolist(), place[4:].tolist(), f"{path}, {name}")
        for name, place in zip(table["sensor_name"], stack(table, PLACE), strict=True)
    }


def _read_cameras(
    root: Root, folder: str, places: Mapping[str, Transform], repairs: list[Repair]
) -> tuple[Camera, ...]:
    """Cameras that are calibrated and gave images; of those that lack one of both is told.

    Where no camera gave any, as in a copy of the LiDAR alone, the calibrated ones are the rig.
    """
    path = root.resolve_inside(f"{folder}/calibration/intrinsics.feather")
    table = read_table(path, FOCAL, SIZE, ("sensor_name",))
    _check_once(table["sensor_name"], path)
    known = {str(name): row for row, name in enumerate(table["sensor_name"])}
    top = root.resolve_inside(f"{folder}/sensors/cameras")
    held = {name for name in (os.listdir(top) if top.is_dir() else ()) if (top / name).is_dir()}
    order = [name for name in CAMERAS if name in known.keys() | held]
    cameras = []
    for name in (*order, *sorted((known.keys() | held) - set(CAMERAS))):
        lacking = {
            "intrinsics.feather has no row of it": name not in known,
            "egovehicle_SE3_sensor.feather has no row of it": name not in places,
            "sensors/cameras has no such folder": bool(held) and name not in held,
        }
        if any(lacking.values()):
            why = "; ".join(reason for reason, lacks in lacking.items() if lacks)
            repairs.append(Repair(name, f"left out of the rig: {why}"))
            continue
        row = known[name]
        fx, fy, cx, cy = (float(table[column][row]) for column in FOCAL)
        height, width = (int(table[column][row]) for column in SIZE)
        K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        cameras.append(make_camera(name, K, (height, width), places[name]))
    if not cameras:
        raise DatasetError(
            f"no camera of {path} has a place and images in {top}; fetch the log's files again"
        )
    return tuple(cameras)


def _check_once(names: np.ndarray, path: Path) -> None:
    twice = [name for name, count in Counter(names.tolist()).items() if count > 1]
    if twice:
        raise DatasetError(f"{path} has more than one row of {twice[0]}; remove the wrong one")
