"""One short drive as Waymo Perception v1 and v2 files, written by hand from the formats' tables.

The car turns left at constant speed, far from the world's origin as Waymo's logs are. All frames
here are Waymo's: camera x out of the lens, y left, z up. Nothing of the reader's code is used.
"""

import zlib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.linalg import expm
from scipy.optimize import brentq

from tests.datasets.protobuf_records import block, double, single, varint, whole, write_records

SEGMENT = "10023947602400723454_1120_000_1140_000"
FRAMES = 3
FIRST_US = 1_553_735_853_462_203  # of a frame: its first LiDAR shot
STEP_US, POSE_US = 100_000, 52_000  # between frames; from a frame's start to its pose
SPEED_MPS, TURN_RADPS = 12.0, 0.5
WORLD = np.array([-25_211.25, 42_391.08, -160.6])
NAMES = {1: "FRONT", 4: "SIDE_LEFT"}
SIZE_HW = {1: (64, 96), 4: (48, 96)}
LENS = {  # f_u, f_v, c_u, c_v, k1, k2, p1, p2, k3
    1: (80.0, 81.0, 47.0, 33.0, 0.04, -0.03, 0.001, -0.0015, 0.002),
    4: (78.0, 79.0, 49.0, 22.0, 0.03, -0.02, 0.0005, 0.001, 0.0),
}
DIRECTION = {1: 2, 4: 4}  # LEFT_TO_RIGHT, RIGHT_TO_LEFT
LAG_US = {1: 0, 4: -30_000}  # of an image's pose from the frame's
TRIGGER_S, READOUT_S, SHUTTER_S = -0.0254, 0.0465, 0.0026  # from an image's pose; its whole length
TOP, FRONT = 1, 2
HEIGHT, WIDTH = {TOP: 8, FRONT: 4}, {TOP: 60, FRONT: 20}
TABLE = np.deg2rad([-14.0, -10.5, -7.2, -4.4, -2.3, -0.8, 0.7, 2.4])  # of TOP, rising
SPAN = np.deg2rad([-60.0, 10.0])  # of FRONT
BOXES = {  # id: type, centre, length, width, height, heading, speed in the world
    "car": (1, (14.0, 3.0, 0.8), (4.6, 1.9, 1.6), 0.3, (3.0, -4.0, 0.1)),
    "sign": (3, (9.0, -4.0, 2.0), (0.2, 0.7, 0.7), -2.0, (0.0, 0.0, 0.0)),
}


def turn_z(angle_rad: float, place: Any = (0, 0, 0)) -> np.ndarray:
    out = np.eye(4)
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    out[:2, :2], out[:3, 3] = [[c, -s], [s, c]], place
    return out


VEHICLE_T_CAMERA = {1: turn_z(0.01, (1.54, -0.02, 2.1)), 4: turn_z(np.pi / 2, (1.43, 0.11, 2.1))}
VEHICLE_T_LASER = {TOP: turn_z(2.53, (1.43, 0, 2.18)), FRONT: turn_z(-0.02, (4.07, 0, 0.69))}


@lru_cache(maxsize=4096)
def world_T_vehicle(time_us: float) -> np.ndarray:
    twist = np.zeros((4, 4))
    twist[1, 0], twist[0, 1], twist[0, 3] = TURN_RADPS, -TURN_RADPS, SPEED_MPS
    return turn_z(-0.76, WORLD) @ expm(twist * (time_us - FIRST_US) * 1e-6)


def start_us(frame: int) -> int:
    return FIRST_US + STEP_US * frame


def image_us(frame: int, camera: int) -> int:
    return start_us(frame) + POSE_US + LAG_US[camera]


@cache
def jpeg(frame: int, camera: int) -> bytes:
    rng = np.random.default_rng([frame, camera])
    image = rng.integers(0, 256, (*SIZE_HW[camera], 3), np.uint8)
    return cv2.imencode(".jpg", image)[1].tobytes()


def shot_us(frame: int, column: int) -> float:
    """TOP turns once a step."""
    return start_us(frame) + STEP_US * column / WIDTH[TOP]


@cache
def ranges(frame: int, laser: int, number: int) -> np.ndarray:
    """A wall 20 m and more off, some pixels without a return; the second return is sparse."""
    rng = np.random.default_rng([frame, laser, number])
    size = HEIGHT[laser], WIDTH[laser]
    out = rng.uniform(4, 15, size) if laser == FRONT else rng.uniform(20, 60, size)
    out[rng.random(size) < (0.1 if number == 1 else 0.9)] = -1
    return out.astype(np.float32)


def pixel_poses(frame: int) -> np.ndarray:
    out = np.zeros((HEIGHT[TOP], WIDTH[TOP], 6))
    for column in range(WIDTH[TOP]):
        pose = world_T_vehicle(shot_us(frame, column))
        out[:, column, 2] = np.arctan2(pose[1, 0], pose[0, 0])  # the car neither rolls nor pitches
        out[:, column, 3:] = pose[:3, 3]
    return out.astype(np.float32)


@cache
def points_world(frame: int, laser: int, number: int) -> np.ndarray:
    """Where each return was, row by row: by the car's true place when it was shot."""
    out = []
    place = VEHICLE_T_LASER[laser]
    own_yaw = np.arctan2(place[1, 0], place[0, 0])
    for (row, column), range_m in np.ndenumerate(ranges(frame, laser, number)):
        if range_m <= 0:
            continue
        at_us = shot_us(frame, column) if laser == TOP else start_us(frame) + POSE_US
        rise = TABLE[::-1][row]
        if laser == FRONT:
            rise = SPAN[1] - (SPAN[1] - SPAN[0]) * (row + 0.5) / HEIGHT[FRONT]
        angle = np.pi - 2 * np.pi * (column + 0.5) / WIDTH[laser] - own_yaw
        flat = np.cos(rise) * range_m
        point = [flat * np.cos(angle), flat * np.sin(angle), np.sin(rise) * range_m, 1]
        out.append(world_T_vehicle(at_us) @ place @ point)
    return np.array(out)[:, :3]


def project(frame: int, camera: int, point_world: np.ndarray) -> tuple[float, float] | None:
    """Waymo's (x, y) of a point: in the column that is read just then; None if it is in no image.

    Pixel 0 begins at the image's left edge. The readout lasts from half a shutter after the trigger
    until half a shutter before the last readout's end.
    """
    pose_us = image_us(frame, camera)
    height, width = SIZE_HW[camera]
    first_s, read_s = TRIGGER_S + SHUTTER_S / 2, READOUT_S - SHUTTER_S

    def at(after_s: float) -> np.ndarray:
        pose = world_T_vehicle(pose_us + after_s * 1e6) @ VEHICLE_T_CAMERA[camera]
        ahead, left, up = (point_world - pose[:3, 3]) @ pose[:3, :3]
        if ahead < 0.1:
            return np.full(2, np.nan)
        f_u, f_v, c_u, c_v, k1, k2, p1, p2, k3 = LENS[camera]
        u, v = -left / ahead, -up / ahead
        r2 = u * u + v * v
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        x = u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u)
        y = v * radial + p1 * (r2 + 2 * v * v) + 2 * p2 * u * v
        return np.array([f_u * x + c_u, f_v * y + c_v])

    def ahead_of_line(after_s: float) -> float:
        share = (after_s - first_s) / read_s
        return at(after_s)[0] - width * (share if DIRECTION[camera] == 2 else 1 - share)

    ends = [ahead_of_line(first_s), ahead_of_line(first_s + read_s)]
    if not np.isfinite(ends).all() or ends[0] * ends[1] > 0:
        return None
    x, y = at(brentq(ahead_of_line, first_s, first_s + read_s, xtol=1e-9))
    return (x, y) if 0 <= x < width and 0 <= y < height else None


@cache
def projections(frame: int) -> np.ndarray:
    """[h, w, 6] of TOP's first return: camera, x, y of the first two cameras that see the point."""
    out = np.zeros((HEIGHT[TOP], WIDTH[TOP], 6))
    points = iter(points_world(frame, TOP, 1))
    for (row, column), range_m in np.ndenumerate(ranges(frame, TOP, 1)):
        if range_m <= 0:
            continue
        point = next(points)
        seen = [(camera, project(frame, camera, point)) for camera in NAMES]
        flat = [value for camera, uv in seen if uv is not None for value in (camera, *uv)]
        out[row, column, : len(flat)] = flat
    return out


def velocity(frame: int, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """In the world; and the turn in the vehicle's frame, as Waymo's camera model takes it."""
    pose = world_T_vehicle(image_us(frame, camera))
    return pose[:3, :3] @ [SPEED_MPS, 0, 0], np.array([0, 0, TURN_RADPS])


def timing(frame: int, camera: int) -> tuple[float, float, float, float]:
    """Pose, shutter, trigger and readout's end in seconds."""
    pose_s = image_us(frame, camera) * 1e-6
    return pose_s, SHUTTER_S, pose_s + TRIGGER_S, pose_s + TRIGGER_S + READOUT_S


# v1


def transform(tag: int, matrix: np.ndarray) -> bytes:
    return block(tag, double(1, *matrix.ravel()))


def matrix(values: np.ndarray) -> bytes:
    shape = block(1, b"".join(varint(side) for side in values.shape))
    return zlib.compress(block(1, values.astype("<f4").tobytes()) + block(2, shape))


def with_channels(values: np.ndarray) -> np.ndarray:
    """Range, intensity, elongation, whether in no label zone."""
    return np.stack([values, values * 0 + 0.5, values * 0, values * 0 - 1], axis=-1)


def context_message(name: str = SEGMENT) -> bytes:
    out = block(1, name)
    for camera in NAMES:
        height, width = SIZE_HW[camera]
        out += block(
            2,
            whole(1, camera)
            + double(2, *LENS[camera])
            + transform(3, VEHICLE_T_CAMERA[camera])
            + whole(4, width)
            + whole(5, height)
            + whole(6, DIRECTION[camera]),
        )
    for laser in (FRONT, TOP):
        low, high = SPAN if laser == FRONT else (TABLE[0], TABLE[-1])
        table = double(2, *TABLE) if laser == TOP else b""
        ends = double(3, low) + double(4, high)
        out += block(3, whole(1, laser) + table + ends + transform(5, VEHICLE_T_LASER[laser]))
    return out


def image_message(frame: int, camera: int) -> bytes:
    linear, turn = velocity(frame, camera)
    pose_s, shutter_s, trigger_s, done_s = timing(frame, camera)
    moved = b"".join(single(i + 1, v) for i, v in enumerate(linear))
    moved += b"".join(double(i + 4, v) for i, v in enumerate(turn))
    return (
        whole(1, camera)
        + block(2, jpeg(frame, camera))
        + transform(3, world_T_vehicle(image_us(frame, camera)))
        + block(4, moved)
        + double(5, pose_s)
        + double(6, shutter_s)
        + double(7, trigger_s)
        + double(8, done_s)
    )


def laser_message(frame: int, laser: int) -> bytes:
    first, second = (
        block(2, matrix(with_channels(ranges(frame, laser, number)))) for number in (1, 2)
    )
    poses = block(4, matrix(pixel_poses(frame))) if laser == TOP else b""
    return whole(1, laser) + block(2, first + poses) + block(3, second)


def label_message(name: str) -> bytes:
    kind, center, size, heading, speed = BOXES[name]
    length, width, height = size
    box = double(1, center[0]) + double(2, center[1]) + double(3, center[2])
    box += double(4, width) + double(5, length) + double(6, height) + double(7, heading)
    moved = double(1, speed[0]) + double(2, speed[1]) + double(5, speed[2])
    return block(1, box) + block(2, moved) + whole(3, kind) + block(4, name)


def frame_message(frame: int, context: bytes | None = None) -> bytes:
    out = block(1, context_message() if context is None else context)
    out += whole(2, start_us(frame)) + transform(3, world_T_vehicle(start_us(frame) + POSE_US))
    out += b"".join(block(4, image_message(frame, camera)) for camera in NAMES)
    out += b"".join(block(5, laser_message(frame, laser)) for laser in (TOP, FRONT))
    return out + b"".join(block(6, label_message(name)) for name in BOXES)


@cache
def _whole_records() -> tuple[bytes, ...]:
    return tuple(frame_message(frame) for frame in range(FRAMES))


def write_v1(root: Path) -> Path:
    name = f"training/segment-{SEGMENT}_with_camera_labels.tfrecord"
    write_records(root / name, list(_whole_records()))
    return root


# v2: a Parquet file a component


def key(frame: int | None, **more: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"key.segment_context_name": SEGMENT}
    if frame is not None:
        out["key.frame_timestamp_micros"] = start_us(frame)
    return out | {f"key.{name}": value for name, value in more.items()}


def under(component: str, **values: Any) -> dict[str, Any]:
    """Columns of a component; _ for the dots in their names' paths."""
    return {f"[{component}].{name.replace('__', '.')}": value for name, value in values.items()}


def image_row(frame: int, camera: int) -> dict[str, Any]:
    linear, turn = velocity(frame, camera)
    pose_s, shutter_s, trigger_s, done_s = timing(frame, camera)
    pose = world_T_vehicle(image_us(frame, camera))
    values: dict[str, Any] = {"image": jpeg(frame, camera), "pose__transform": pose.ravel()}
    for kind, vector in (("linear", linear), ("angular", turn)):
        values |= {f"velocity__{kind}_velocity__{a}": v for a, v in zip("xyz", vector, strict=True)}
    values |= {"pose_timestamp": pose_s, "rolling_shutter_params__shutter": shutter_s}
    values["rolling_shutter_params__camera_trigger_time"] = trigger_s
    values["rolling_shutter_params__camera_readout_done_time"] = done_s
    return key(frame, camera_name=camera) | under("CameraImageComponent", **values)


def camera_row(camera: int) -> dict[str, Any]:
    lens = dict(
        zip(("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3"), LENS[camera], strict=True)
    )
    values: dict[str, Any] = {f"intrinsic__{name}": value for name, value in lens.items()}
    values |= {"extrinsic__transform": VEHICLE_T_CAMERA[camera].ravel()}
    values |= {"height": SIZE_HW[camera][0], "width": SIZE_HW[camera][1]}
    values |= {"rolling_shutter_direction": DIRECTION[camera]}
    return key(None, camera_name=camera) | under("CameraCalibrationComponent", **values)


def laser_row(laser: int) -> dict[str, Any]:
    low, high = SPAN if laser == FRONT else (TABLE[0], TABLE[-1])
    values = {"beam_inclination__min": low, "beam_inclination__max": high}
    values |= {"beam_inclination__values": TABLE if laser == TOP else None}
    values |= {"extrinsic__transform": VEHICLE_T_LASER[laser].ravel()}
    return key(None, laser_name=laser) | under("LiDARCalibrationComponent", **values)


def image_of(component: str, images: dict[int, np.ndarray]) -> dict[str, Any]:
    return under(
        component,
        **{f"range_image_return{n}__values": values.ravel() for n, values in images.items()},
        **{f"range_image_return{n}__shape": list(values.shape) for n, values in images.items()},
    )


def box_row(frame: int, name: str) -> dict[str, Any]:
    kind, center, size, heading, speed = BOXES[name]
    values: dict[str, Any] = {"type": kind, "box__heading": heading}
    for part, vector in (("box__center", center), ("box__size", size), ("speed", speed)):
        values |= {f"{part}__{axis}": v for axis, v in zip("xyz", vector, strict=True)}
    return key(frame, laser_object_id=name) | under("LiDARBoxComponent", **values)


def write_component(root: Path, component: str, rows: list[dict[str, Any]], group: int = 2) -> Path:
    """Numbers' types as Waymo's files have them: transforms of 32 bits where they are poses."""
    path = root / "training" / component / f"{SEGMENT}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [_plain(row[name]) for row in rows] for name in rows[0]}
    table = pa.table({name: pa.array(values, _type(name)) for name, values in columns.items()})
    pq.write_table(table, path, row_group_size=group)
    return path


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _type(name: str) -> pa.DataType | None:
    if name.endswith("world_from_vehicle.transform"):
        return pa.list_(pa.float32(), 16)
    if name.endswith(".transform"):
        return pa.list_(pa.float64(), 16)
    if name.endswith(".shape"):
        return pa.list_(pa.int32(), 3)
    if name.endswith(".values") and "range_image" in name:
        return pa.list_(pa.float32())
    if name.endswith(("camera_name", "laser_name", "].type")):
        return pa.int8()
    return None


def components() -> dict[str, list[dict[str, Any]]]:
    """Rows of every component of the drive."""
    frames = range(FRAMES)
    poses = [world_T_vehicle(start_us(frame) + POSE_US).ravel() for frame in frames]
    out = {
        "vehicle_pose": [
            key(i) | under("VehiclePoseComponent", world_from_vehicle__transform=pose)
            for i, pose in enumerate(poses)
        ],
        "camera_image": [image_row(i, camera) for i in frames for camera in NAMES],
        "camera_calibration": [camera_row(camera) for camera in NAMES],
        "lidar_calibration": [laser_row(laser) for laser in (TOP, FRONT)],
        "lidar_box": [box_row(i, name) for i in frames for name in BOXES],
    }
    returns = [(i, laser) for i in frames for laser in (TOP, FRONT)]
    out["lidar"] = [
        key(i, laser_name=laser)
        | image_of("LiDARComponent", {n: with_channels(ranges(i, laser, n)) for n in (1, 2)})
        for i, laser in returns
    ]
    out["lidar_pose"] = [
        key(i, laser_name=TOP) | image_of("LiDARPoseComponent", {1: pixel_poses(i)}) for i in frames
    ]
    out["lidar_camera_projection"] = [
        key(i, laser_name=TOP) | image_of("LiDARCameraProjectionComponent", {1: projections(i)})
        for i in frames
    ]
    return out


def write_v2(root: Path) -> Path:
    for component, rows in components().items():
        write_component(root, component, rows)
    return root
