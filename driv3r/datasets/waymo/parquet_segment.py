"""Segments of Waymo Perception v2: a Parquet file a component, a row a frame and sensor."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.datasets.reader import Datum
from driv3r.datasets.waymo.parquet import Component
from driv3r.datasets.waymo.segment import (
    CAMERA_NAMES,
    LASER_NAMES,
    CameraSetup,
    Exposure,
    Labels,
    LaserReturn,
    LaserSetup,
    Segment,
    SegmentFrame,
    parse_transform,
    shape_returns,
)
from driv3r.errors import DatasetError
from driv3r.types import Repair, Transform

TIME, CAMERA, LASER = "key.frame_timestamp_micros", "key.camera_name", "key.laser_name"
SEGMENT, OBJECT = "key.segment_context_name", "key.laser_object_id"
POSE = "[VehiclePoseComponent].world_from_vehicle.transform"
IMAGE = "[CameraImageComponent]."
CALIBRATION = "[CameraCalibrationComponent]."
LASER_CALIBRATION = "[LiDARCalibrationComponent]."
RETURNS = "[LiDARComponent].range_image_return"
PIXEL_POSES = "[LiDARPoseComponent].range_image_return1."
BOX = "[LiDARBoxComponent]."
LENS = ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
VELOCITY = tuple(
    f"velocity.{kind}_velocity.{axis}" for kind in ("linear", "angular") for axis in "xyz"
)
SHUTTER = tuple(
    f"rolling_shutter_params.{name}"
    for name in ("shutter", "camera_trigger_time", "camera_readout_done_time")
)
SIDES = ("center.x", "center.y", "center.z", "size.x", "size.y", "size.z", "heading")
SPEED = ("speed.x", "speed.y", "speed.z")
FRAMES = "vehicle_pose"  # the component that lists a segment's frames
COMPONENTS = (
    FRAMES,
    "camera_image",
    "camera_calibration",
    "lidar",
    "lidar_calibration",
    "lidar_pose",
    "lidar_box",
)

Find = Callable[[str], Path | None]  # a component's file, None where there is no such component


@dataclass(frozen=True, eq=False)
class _Returns:
    """Rows of range images and of their pixels' poses, by frame time and LiDAR."""

    lidar: Component
    rows: dict[int, dict[int, int]]
    poses: Component | None
    pose_rows: dict[tuple[int, int], int]

    def read(self, datum: Datum) -> list[LaserReturn]:
        """Every LiDAR's range images of a frame; the second return has the first one's poses."""
        time_us = int(datum.part)
        return [
            each
            for laser, row in sorted(self.rows[time_us].items())
            for each in self._read_laser(time_us, laser, row)
        ]

    def _read_laser(self, time_us: int, laser: int, row: int) -> list[LaserReturn]:
        where = f"{self.lidar.path} row {row} (LiDAR {LASER_NAMES.get(laser, laser)})"
        poses = None
        if self.poses is not None and (time_us, laser) in self.pose_rows:
            poses = self.poses.read_cell(self.pose_rows[time_us, laser], f"{PIXEL_POSES}values")
        columns = [f"{RETURNS}{k}.{part}" for k in (1, 2) for part in ("values", "shape")]
        out = []
        for k in (1, 2):
            values, shape = (
                self.lidar.read_cell(row, name, columns) if self.lidar.has(name) else None
                for name in (f"{RETURNS}{k}.values", f"{RETURNS}{k}.shape")
            )
            if values is not None:
                told = [] if shape is None else shape.tolist()
                out.append(shape_returns(laser, values, told, poses, f"{where}, return {k}"))
        return out


def read_segment(find: Find) -> Segment:
    """A segment's calibration, times, poses and labels; images and range images are left alone.

    Raises DatasetError where a component that is needed is missing, or a file lacks columns.
    """
    images = Component(_need(find, "camera_image"))
    poses = Component(_need(find, FRAMES))
    times = read_poses(poses)
    exposures = _read_exposures(images)
    strange = exposures.keys() - times.keys()
    repairs = []
    if strange:
        reason = f"{len(strange)} frames of {images.path} have no row in {poses.path}: left out"
        repairs.append(Repair("frames", reason))
    returns = _find_returns(find)
    if returns is not None and returns.poses is None:
        reason = "lidar_pose is not there: read as if the car stood still while each sweep was made"
        repairs.append(Repair("lidar", reason))
    labels = _read_labels(find)
    frames = [
        SegmentFrame(
            time_us,
            times[time_us],
            exposures.get(time_us, {}),
            returns is not None and time_us in returns.rows,
            str(time_us),
            None if labels is None else labels(time_us),
        )
        for time_us in sorted(times)
    ]
    return Segment(
        _read_cameras(Component(_need(find, "camera_calibration"))),
        {} if returns is None else _read_lasers(Component(_need(find, "lidar_calibration"))),
        frames,
        images.path,
        images.path if returns is None else returns.lidar.path,
        lambda datum: _read_image(images, datum),
        lambda datum: [] if returns is None else returns.read(datum),
        repairs,
    )


def _need(find: Find, component: str) -> Path:
    path = find(component)
    if path is None:
        raise DatasetError(
            f"the component {component} is not in the dataset's folder: expected a folder of that "
            "name with the segment's file in it; fetch it"
        )
    return path


def read_poses(file: Component) -> dict[int, Transform | Repair]:
    """world_T_vehicle by frame time; DatasetError on a time that has two."""
    out: dict[int, Transform | Repair] = {}
    for number, row in enumerate(file.read([TIME, POSE])):
        time_us = _take_number(row[TIME], f"{file.path} row {number}: {TIME}")
        if time_us in out:
            raise DatasetError(f"{file.path} has the frame {time_us} twice; fetch the file again")
        try:
            out[time_us] = parse_transform(row[POSE], f"{file.path} row {number}: {POSE}")
        except DatasetError as error:
            out[time_us] = Repair("lidar", f"left out: {error}")
    return out


def _take_number(value: Any, where: str) -> int:
    if not isinstance(value, int):
        raise DatasetError(f"{where} is {value!r}, expected a whole number; fetch the file again")
    return value


def _take_floats(row: Mapping[str, Any], prefix: str, names: tuple[str, ...]) -> np.ndarray:
    """Columns of a row side by side, NaN where one is empty; DatasetError on what is no number."""
    values = [row.get(f"{prefix}{name}") for name in names]
    try:
        return np.array([np.nan if value is None else value for value in values], np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{prefix}{', '.join(names)} are {values}, expected numbers; fetch the file again"
        ) from error


def _read_exposures(file: Component) -> dict[int, dict[int, Exposure | Repair]]:
    """Exposures by frame time and camera; an image that is there twice is a Repair."""
    needed = [TIME, CAMERA, f"{IMAGE}pose.transform", f"{IMAGE}pose_timestamp"]
    told = [f"{IMAGE}{name}" for name in (*VELOCITY, *SHUTTER) if file.has(f"{IMAGE}{name}")]
    out: dict[int, dict[int, Exposure | Repair]] = defaultdict(dict)
    for number, row in enumerate(file.read([*needed, *told])):
        where = f"{file.path} row {number}"
        time_us = _take_number(row[TIME], f"{where}: {TIME}")
        camera = _take_number(row[CAMERA], f"{where}: {CAMERA}")
        if camera in out[time_us]:
            name = CAMERA_NAMES.get(camera, str(camera))
            reason = f"left out: {file.path} has two rows of it for the frame {time_us}"
            out[time_us][camera] = Repair(name, reason)
            continue
        out[time_us][camera] = _take_exposure(row, camera, number, where)
    return dict(out)


def _take_exposure(row: dict[str, Any], camera: int, number: int, where: str) -> Exposure | Repair:
    try:
        pose = parse_transform(row[f"{IMAGE}pose.transform"], f"{where}: {IMAGE}pose.transform")
    except DatasetError as error:
        return Repair(CAMERA_NAMES.get(camera, str(camera)), f"left out: {error}")
    velocity = _take_floats(row, IMAGE, VELOCITY)
    shutter_s, trigger_s, done_s = _take_floats(row, IMAGE, SHUTTER).tolist()
    (time_s,) = _take_floats(row, IMAGE, ("pose_timestamp",)).tolist()
    return Exposure(
        time_s, pose, velocity[:3], velocity[3:], shutter_s, trigger_s, done_s, str(number)
    )


def _read_image(file: Component, datum: Datum) -> bytes:
    data = file.read_cell(int(datum.part), f"{IMAGE}image")
    if data is None:
        raise DatasetError(f"row {datum.part} has no image: {file.path}")
    return data


def _read_cameras(file: Component) -> dict[int, CameraSetup]:
    sizes = [f"{CALIBRATION}{name}" for name in ("height", "width", "rolling_shutter_direction")]
    lens = [f"{CALIBRATION}intrinsic.{name}" for name in LENS]
    out = {}
    for row in file.read([CAMERA, f"{CALIBRATION}extrinsic.transform", *lens, *sizes]):
        camera = _take_number(row[CAMERA], f"{file.path}: {CAMERA}")
        where = f"{file.path}: camera {CAMERA_NAMES.get(camera, camera)}"
        height, width = (_take_number(row[name], f"{where}: {name}") for name in sizes[:2])
        out[camera] = CameraSetup(
            tuple(_take_floats(row, f"{CALIBRATION}intrinsic.", LENS).tolist()),
            parse_transform(row[f"{CALIBRATION}extrinsic.transform"], f"{where}: extrinsic"),
            (height, width),
            row[sizes[2]] or 0,
        )
    return out


def _read_lasers(file: Component) -> dict[int, LaserSetup]:
    names = [f"{LASER_CALIBRATION}beam_inclination.{name}" for name in ("min", "max", "values")]
    out = {}
    for row in file.read([LASER, f"{LASER_CALIBRATION}extrinsic.transform", *names]):
        laser = _take_number(row[LASER], f"{file.path}: {LASER}")
        where = f"{file.path}: LiDAR {LASER_NAMES.get(laser, laser)}: extrinsic"
        low, high = _take_floats(row, f"{LASER_CALIBRATION}beam_inclination.", ("min", "max"))
        out[laser] = LaserSetup(
            parse_transform(row[f"{LASER_CALIBRATION}extrinsic.transform"], where),
            np.array(row[names[2]] or (), np.float64),
            (float(low), float(high)),
        )
    return out


def _find_returns(find: Find) -> _Returns | None:
    """Where range images lie; None where the component lidar was not fetched."""
    path, poses_path = find("lidar"), find("lidar_pose")
    if path is None:
        return None
    lidar = Component(path)
    rows: dict[int, dict[int, int]] = defaultdict(dict)
    for number, row in enumerate(lidar.read([TIME, LASER])):
        if row[LASER] in rows[row[TIME]]:
            raise DatasetError(
                f"{path} has the LiDAR {row[LASER]} twice in the frame {row[TIME]}; fetch the file "
                "again"
            )
        rows[row[TIME]][row[LASER]] = number
    poses = None if poses_path is None else Component(poses_path)
    listed = [] if poses is None else poses.read([TIME, LASER])
    pose_rows = {(row[TIME], row[LASER]): number for number, row in enumerate(listed)}
    return _Returns(lidar, dict(rows), poses, pose_rows)


def _read_labels(find: Find) -> Callable[[int], Labels] | None:
    """Boxes by frame time; None where the component lidar_box was not fetched."""
    path = find("lidar_box")
    if path is None:
        return None
    file = Component(path)
    sides = [f"{BOX}box.{side}" for side in SIDES]
    told = [f"{BOX}{axis}" for axis in SPEED if file.has(f"{BOX}{axis}")]
    of_frame: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in file.read([TIME, OBJECT, f"{BOX}type", *sides, *told]):
        of_frame[row[TIME]].append(row)

    def take(time_us: int) -> Labels:
        rows = of_frame.get(time_us, [])
        return Labels(
            tuple(str(row[OBJECT]) for row in rows),
            tuple(int(row[f"{BOX}type"] or 0) for row in rows),
            np.array([_take_floats(row, f"{BOX}box.", SIDES) for row in rows]).reshape(-1, 7),
            np.array([_take_floats(row, BOX, SPEED) for row in rows]).reshape(-1, 3),
        )

    return take
