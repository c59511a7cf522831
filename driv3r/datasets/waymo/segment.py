"""What both of Waymo's formats say of a segment, before it is a scene.

Waymo's frames: vehicle x forward, y left, z up; cameras the same way (x out of the lens). World is
its global frame, x east, y north, z up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.datasets.folder.rig_file import make_rigid
from driv3r.datasets.reader import FARTHEST_M, Datum
from driv3r.errors import DatasetError
from driv3r.types import Repair, Transform

CAMERA_NAMES = {  # CameraName of dataset.proto; Perception has the first five
    1: "FRONT",
    2: "FRONT_LEFT",
    3: "FRONT_RIGHT",
    4: "SIDE_LEFT",
    5: "SIDE_RIGHT",
    6: "REAR_LEFT",
    7: "REAR",
    8: "REAR_RIGHT",
}
FRONT_CAMERA = 1
LASER_NAMES = {1: "TOP", 2: "FRONT", 3: "SIDE_LEFT", 4: "SIDE_RIGHT", 5: "REAR"}
TOP_LASER = 1
LABELS = {  # Label.Type of label.proto
    0: "TYPE_UNKNOWN",
    1: "TYPE_VEHICLE",
    2: "TYPE_PEDESTRIAN",
    3: "TYPE_SIGN",
    4: "TYPE_CYCLIST",
}


@dataclass(frozen=True, eq=False)
class CameraSetup:
    """A camera's calibration: f_u, f_v, c_u, c_v, k1, k2, p1, p2, k3, and its place on the car."""

    intrinsic: tuple[float, ...]
    vehicle_T_camera: Transform
    size_hw: tuple[int, int]
    shutter_direction: int


@dataclass(frozen=True, eq=False)
class LaserSetup:
    """A LiDAR's calibration. `inclinations_rad` rise, one a row; empty where rows are as far apart
    as the two of `span_rad` and the range image's height say.
    """

    vehicle_T_laser: Transform
    inclinations_rad: Float[np.ndarray, "h"]
    span_rad: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Exposure:
    """One image: when and where, how the car moved, how its lines were read (NaN: not told).

    `velocity_world_mps` is the vehicle origin's; `turn_vehicle_radps` is in the vehicle's frame.
    """

    time_s: float
    world_T_vehicle: Transform
    velocity_world_mps: Float[np.ndarray, "3"]
    turn_vehicle_radps: Float[np.ndarray, "3"]
    shutter_s: float
    trigger_s: float
    readout_done_s: float
    part: str


@dataclass(frozen=True, eq=False)
class Labels:
    """The n laser boxes of one frame, in its vehicle frame: centre, size, heading; their speed.

    The speed is in the world, NaN where it is not told.
    """

    id: tuple[str, ...]
    type: tuple[int, ...]
    box: Float[np.ndarray, "n 7"]
    speed_world_mps: Float[np.ndarray, "n 3"]


@dataclass(frozen=True, eq=False)
class SegmentFrame:
    """One frame. `start_us` is its first LiDAR shot's time; the pose belongs to a later moment."""

    start_us: int
    world_T_vehicle: Transform | Repair
    exposures: dict[int, Exposure | Repair]
    has_returns: bool
    part: str
    labels: Labels | None = None


@dataclass(frozen=True, eq=False)
class LaserReturn:
    """One range image of a LiDAR, and the vehicle's pose at each of its pixels where it is told.

    `pixel_poses` are roll, pitch, yaw (rad) and x, y, z (m) of world_T_vehicle.
    """

    laser: int
    ranges_m: Float[np.ndarray, "h w"]
    pixel_poses: Float[np.ndarray, "h w 6"] | None


@dataclass(frozen=True, eq=False)
class Segment:
    """A log: calibrations by sensor number, frames, and how its images and returns are read.

    `read_image` gives the JPEG of a datum; `images` and `returns` are the files they lie in.
    """

    cameras: dict[int, CameraSetup]
    lasers: dict[int, LaserSetup]
    frames: Sequence[SegmentFrame]
    images: Path
    returns: Path
    read_image: Callable[[Datum], bytes]
    read_returns: Callable[[Datum], Sequence[LaserReturn]]
    repairs: list[Repair] = field(default_factory=list)


def parse_transform(values: Any, where: str) -> Transform:
    """The rigid dst_T_src of 16 numbers row by row; DatasetError where they are none.

    The rotation is the nearest one: Waymo's Parquet files round to 32 bits.
    """
    try:
        matrix = np.array(values, np.float64).reshape(4, 4)
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{where}: expected 16 numbers of a 4 x 4 transform, got {_shorten(values)}"
        ) from error
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        raise DatasetError(
            f"{where}: expected finite numbers, the last four 0, 0, 0, 1, got {matrix.tolist()}"
        )
    if np.abs(matrix[:3, 3]).max() > FARTHEST_M:
        raise DatasetError(
            f"{where}: the place {matrix[:3, 3].tolist()} is farther off than any on Earth "
            f"({FARTHEST_M:g} m); give it in metres"
        )
    try:
        return make_rigid(matrix, where)
    except DatasetError as error:
        raise DatasetError(
            f"{where} has no rotation: {matrix[:3, :3].tolist()}, expected R^T R to be the "
            "identity and det R 1; fetch the file again"
        ) from error


def shape_returns(
    laser: int, values: np.ndarray, shape: Sequence[int], poses: np.ndarray | None, where: str
) -> LaserReturn:
    """A range image of flat numbers [h w c], ranges first; DatasetError where they do not fit.

    `poses` are as many times six.
    """
    told = tuple(int(side) for side in shape)
    if len(told) != 3 or min(told) < 1 or int(np.prod(told)) != len(values):
        raise DatasetError(
            f"{where}: {len(values)} numbers of a range image of shape {told}, expected three "
            "sides and as many numbers as they say; fetch the file again"
        )
    height, width, _ = told
    if poses is not None and len(poses) != height * width * 6:
        raise DatasetError(
            f"{where}: {len(poses)} numbers of poses for {height} x {width} pixels, expected six a "
            "pixel; fetch the file again"
        )
    ranges_m = values.reshape(told)[..., 0]
    return LaserReturn(laser, ranges_m, None if poses is None else poses.reshape(height, width, 6))


def _shorten(values: Any) -> str:
    text = repr(values)
    return text if len(text) < 200 else f"{text[:200]}..."
