"""Range images to points (Sun et al., Scalability in Perception, CVPR 2020, section 3.2).

A row is an inclination, the highest first; columns go from azimuth pi down to -pi about the
vehicle's z: the LiDAR's own yaw is taken off to have the azimuth in its frame.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from driv3r.datasets.waymo.segment import LASER_NAMES, LaserReturn, LaserSetup
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Transform


def list_inclinations(laser: LaserSetup, rows: int) -> Float[np.ndarray, "h"]:
    """Radians above the LiDAR's x-y plane of each row, the first the highest.

    Raises DatasetError where the calibration's table has another length.
    """
    table = laser.inclinations_rad
    if not len(table):
        low, high = laser.span_rad
        table = low + (np.arange(rows) + 0.5) / rows * (high - low)
    if len(table) != rows:
        raise DatasetError(
            f"the calibration tells {len(table)} beam inclinations, the range image has {rows} "
            "rows; fetch the files again"
        )
    return table[::-1].astype(np.float64)


def to_points(
    returns: LaserReturn, laser: LaserSetup, world_T_vehicle: Transform
) -> Float[np.ndarray, "n 3"]:
    """A range image's returns in the vehicle frame of a frame's pose, in metres.

    Where each pixel has its own pose of the vehicle, it is where that pose puts it in the world. A
    range that is not a number gives a point that is none.
    """
    row, column = np.nonzero(~(returns.ranges_m <= 0))
    height, width = returns.ranges_m.shape
    x_axis = laser.vehicle_T_laser[:3, 0]
    yaw_rad = np.arctan2(x_axis[1], x_axis[0])
    inclination = list_inclinations(laser, height)[row]
    azimuth = np.pi * (1 - 2 * (column + 0.5) / width) - yaw_rad
    direction = np.stack(
        [
            np.cos(inclination) * np.cos(azimuth),
            np.cos(inclination) * np.sin(azimuth),
            np.sin(inclination),
        ],
        axis=-1,
    )
    points_laser = direction * returns.ranges_m[row, column, None].astype(np.float64)
    points_vehicle = apply(laser.vehicle_T_laser, points_laser)
    if returns.pixel_poses is None:
        return points_vehicle
    poses = returns.pixel_poses[row, column].astype(np.float64)
    return _move_by_poses(points_vehicle, poses, world_T_vehicle)


def _move_by_poses(
    points: Float[np.ndarray, "n 3"], poses: Float[np.ndarray, "n 6"], world_T_vehicle: Transform
) -> Float[np.ndarray, "n 3"]:
    """Points of the vehicle at their own pixels' poses, in the vehicle frame of one pose.

    Places are taken relative to that pose before anything is turned, to keep their digits.
    """
    if not len(points):  # SciPy before 1.12 refuses to make no rotations
        return points
    turned = Rotation.from_euler("ZYX", poses[:, [2, 1, 0]]).apply(points)
    return (turned + (poses[:, 3:] - world_T_vehicle[:3, 3])) @ world_T_vehicle[:3, :3]


def merge_returns(
    returns: Sequence[LaserReturn],
    lasers: dict[int, LaserSetup],
    world_T_vehicle: Transform,
    vehicle_T_lidar: Transform,
    own: int,
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "m 3"]]:
    """The LiDAR `own`'s returns of a frame and the others', in its frame, at the frame's pose.

    Raises DatasetError on a LiDAR that has no calibration.
    """
    clouds = {True: [np.zeros((0, 3))], False: [np.zeros((0, 3))]}
    for each in returns:
        if each.laser not in lasers:
            name = LASER_NAMES.get(each.laser, each.laser)
            raise DatasetError(f"the LiDAR {name} has a range image and no calibration")
        points = to_points(each, lasers[each.laser], world_T_vehicle)
        clouds[each.laser == own].append(points)
    first, others = (
        apply(invert(vehicle_T_lidar), np.concatenate(clouds[is_own])).astype(np.float32)
        for is_own in (True, False)
    )
    return first, others
