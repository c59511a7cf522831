"""An Argoverse 2 sensor folder of one short log with a known rig, of the recordings' own types."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from pyarrow import feather

from driv3r.geometry.transforms import apply, from_rotvec, invert, to_quaternion
from driv3r.types import Transform

LOG = "0aa4e8f5-2f9a-39a1-8f80-c2fdde4405a2"
SWEEPS = 4
SPEED_MPS = 8.0
START_NS = 315_966_265_259_836_000
SWEEP_NS, EXPOSURE_NS = 100_196_000, 50_098_000
# A camera looking along ego x: its x is -y of ego, its y is -z.
LEVEL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
SIZES = {"ring_front_center": (96, 72), "ring_front_left": (72, 96), "stereo_front_left": (72, 96)}
LEAD_NS = {"ring_front_center": -9_999_996, "ring_front_left": 2_412_345, "stereo_front_left": 0}
FOCAL = {"fx_px": 80.0, "fy_px": 81.0, "cx_px": 36.25, "cy_px": 40.5}
EGO_T_UP = from_rotvec(np.array([0, 0, -0.01]), np.array([1.35, 0, 1.64]))
EGO_T_DOWN = from_rotvec(np.array([np.pi, 0, 0]), np.array([1.35, 0, 1.53]))
# Halves, as they are stored, tell these to the bit.
POINTS_EGO = np.array([[10.0, 0, -0.375], [5, 2, 0.5], [-8, -3, 0.25], [0, 20, 2], [20.5, 4, 0.5]])
BOX_MPS = 5.0
PLACE = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
Table = dict[str, Any]


def ego_T_cam_of(name: str) -> Transform:
    i = list(SIZES).index(name)
    return from_rotvec(np.array([0, 0, i * np.pi / 4]), np.array([1.6, 0.2 * i, 1.4])) @ LEVEL


def world_T_ego_at(time_ns: int) -> Transform:
    """The car drives along its x, which points 30 degrees left of the world's and a bit up."""
    ahead_m = SPEED_MPS * (time_ns - START_NS) * 1e-9
    turn = from_rotvec(np.array([0.01, -0.02, np.pi / 6]), np.array([5172.5, 2419.0, 67.0]))
    return turn @ from_rotvec(np.zeros(3), np.array([ahead_m, 0, 0]))


def world_T_box_at(time_ns: int) -> dict[str, Transform]:
    """A car ahead that drives on at BOX_MPS, and a bollard that stands."""
    first, ahead_m = world_T_ego_at(START_NS), BOX_MPS * (time_ns - START_NS) * 1e-9
    car = from_rotvec(np.array([0, 0, 0.1]), np.array([20.0 + ahead_m, 4.0, 0.5]))
    return {
        "car": first @ car,
        "bollard": first @ from_rotvec(np.zeros(3), np.array([5.0, -3, 0.2])),
    }


SIZES_M = {"car": (4.6, 1.9, 1.7), "bollard": (0.25, 0.35, 1.0)}
LABELS = {"car": "REGULAR_VEHICLE", "bollard": "BOLLARD"}


def row_of(dst_T_src: Transform) -> list[float]:
    return [*to_quaternion(dst_T_src).tolist(), *dst_T_src[:3, 3].tolist()]


def sweep_times_ns(sweeps: int = SWEEPS) -> list[int]:
    return [START_NS + i * SWEEP_NS for i in range(sweeps)]


def exposure_times_ns(name: str, sweeps: int = SWEEPS) -> list[int]:
    """Two exposures a sweep, at a camera's own times."""
    return [START_NS + LEAD_NS[name] + i * EXPOSURE_NS for i in range(2 * sweeps)]


def image_of(name: str, number: int) -> bytes:
    pixels = np.full((*SIZES[name], 3), 40 + 20 * number, np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def put(path: Path, columns: Table, types: dict[str, pa.DataType] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    types = types or {}
    arrays = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    feather.write_feather(pa.table(arrays), str(path))


def edit(path: Path, change: Callable[[Table], object]) -> None:
    """Read a table as lists, let them be changed, and write them."""
    table = feather.read_table(str(path))
    columns = table.to_pydict()
    change(columns)
    types = {f.name: f.type for f in table.schema}
    put(path, columns, {k: t for k, t in types.items() if isinstance(columns.get(k), list)})


def points_table() -> Table:
    x, y, z = POINTS_EGO.astype(np.float16).T
    n = len(POINTS_EGO)
    return {
        "x": x, "y": y, "z": z, "intensity": np.full(n, 7, np.uint8),
        "laser_number": np.arange(n, dtype=np.uint8), "offset_ns": np.full(n, 2304, np.int32),
    }  # fmt: skip


def annotations_table(sweeps: int = SWEEPS) -> Table:
    rows = [
        (at_ns, track, LABELS[track], *SIZES_M[track],
         *row_of(invert(world_T_ego_at(at_ns)) @ world_T_box), 1)
        for at_ns in sweep_times_ns(sweeps)
        for track, world_T_box in world_T_box_at(at_ns).items()
    ]  # fmt: skip
    names = ("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m", *PLACE)
    return {
        name: list(values)
        for name, values in zip((*names, "num_interior_pts"), zip(*rows, strict=True), strict=True)
    }


def write(root: Path, sweeps: int = SWEEPS, split: str = "val") -> Path:
    """One log of `split`, with all tables."""
    log = root / split / LOG
    for at_ns in sweep_times_ns(sweeps):
        put(log / f"sensors/lidar/{at_ns}.feather", points_table())
    for name in SIZES:
        for i, at_ns in enumerate(exposure_times_ns(name, sweeps)):
            path = log / f"sensors/cameras/{name}/{at_ns}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image_of(name, i))
    every = {t for name in SIZES for t in exposure_times_ns(name, sweeps)}
    at = sorted(every | set(sweep_times_ns(sweeps)) | {START_NS + 13})  # the same microsecond
    poses = np.array([row_of(world_T_ego_at(t)) for t in at])
    columns = dict(zip(PLACE, poses.T, strict=True))
    put(log / "city_SE3_egovehicle.feather", {"timestamp_ns": at} | columns)
    places = {name: ego_T_cam_of(name) for name in SIZES}
    places |= {"up_lidar": EGO_T_UP, "down_lidar": EGO_T_DOWN}
    rows = np.array([row_of(place) for place in places.values()])
    columns = {"sensor_name": [*places]} | dict(zip(PLACE, rows.T, strict=True))
    put(log / "calibration/egovehicle_SE3_sensor.feather", columns)
    n = len(SIZES)
    focal = {name: [value] * n for name, value in FOCAL.items()}
    bent = {"k1": [-0.24] * n, "k2": [-0.21] * n, "k3": [0.33] * n}
    height, width = (pa.array(each, pa.uint16()) for each in zip(*SIZES.values(), strict=True))
    columns = {"sensor_name": [*SIZES]} | focal | bent
    put(log / "calibration/intrinsics.feather", columns | {"height_px": height, "width_px": width})
    put(log / "annotations.feather", annotations_table(sweeps))
    return root


def points_world(time_ns: int) -> np.ndarray:
    return apply(world_T_ego_at(time_ns), POINTS_EGO)
