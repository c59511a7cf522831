"""KITTI's rig: where each sensor is on the car, and how its rectified cameras see."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.linalg import rq

from driv3r.datasets.kitti.text_files import read_calibration, take_matrix, take_rigid
from driv3r.datasets.reader import Root, check_place, make_camera
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert, make_transform
from driv3r.types import Camera, Repair, Rig, Transform

# Heights over the road as the sensor setup has them (cvlibs.net/datasets/kitti/setup.php).
IMU_HEIGHT_M, CAMERA_HEIGHT_M = 0.93, 1.65
COLOUR_FROM = 2  # cameras 0 and 1 see grey
SINGULAR = 1e-9  # of the determinant of a projection's left part


def split_projection(
    projection: Float[np.ndarray, "3 4"], where: str
) -> tuple[Float[np.ndarray, "3 3"], Transform]:
    """K and cam_T_ref of K [R | t]: R is the identity for KITTI's own, whose cameras are parallel.

    By the RQ decomposition of the left part (Hartley and Zisserman 2004, 6.2.4). Raises
    DatasetError where that is no K times a rotation.
    """
    left = projection[:, :3]
    if np.linalg.det(left) < SINGULAR:
        raise DatasetError(
            f"{where} is {projection.tolist()}, expected K [R | t] with a rotation R and focal "
            "lengths over 0; fetch the file again"
        )
    K, rotation = rq(left)
    signs = np.sign(np.diag(K))
    K, rotation = K * signs, signs[:, None] * rotation
    return K / K[2, 2], make_transform(rotation, np.linalg.solve(K, projection[:, 3]))


def choose_cameras(
    root: Root, folder: str, names: Sequence[str], repairs: list[Repair]
) -> list[str]:
    """The colour cameras' folders, the grey ones' where only they are there.

    `names` are those of cameras 0 to 3; there may be more after them. Raises DatasetError where
    none is there. A pair's lone camera is noted.
    """
    held = [name for name in names if os.path.isdir(root.resolve_inside(f"{folder}/{name}"))]
    if not held:
        raise DatasetError(
            f"{root.path / folder} holds none of {', '.join(names)}; fetch the images"
        )
    colour = [name for name in held if name in names[COLOUR_FROM:]]
    pair = names[COLOUR_FROM : COLOUR_FROM + 2] if colour else names[:COLOUR_FROM]
    repairs += [
        Repair(name, f"left out of the rig: {folder} has no such folder")
        for name in pair
        if name not in held
    ]
    return colour or held


def read_rig(root: Root, date: str, names: Sequence[str]) -> Rig:
    """The rig of a day's raw drives, whose ego frame is the IMU's: x forward, y left, z up.

    Raises DatasetError where a calibration file is missing or says what can not be.
    """
    velo_T_imu, cam0_T_velo = (
        take_rigid(read_calibration(path), "R", "T", path)
        for path in (
            root.resolve_inside(f"{date}/calib_{name}.txt")
            for name in ("imu_to_velo", "velo_to_cam")
        )
    )
    path = root.resolve_inside(f"{date}/calib_cam_to_cam.txt")
    table = read_calibration(path)
    rect0_T_cam0 = take_rigid(table, "R_rect_00", None, path)
    ego_T_rect0 = invert(rect0_T_cam0 @ cam0_T_velo @ velo_T_imu)
    cameras = tuple(_make_raw_camera(table, name, ego_T_rect0, path) for name in names)
    ego_T_velo = invert(velo_T_imu)
    check_place("velodyne_points", ego_T_velo)
    return Rig(cameras, ego_T_velo, -IMU_HEIGHT_M)


def _make_raw_camera(
    table: dict[str, str], name: str, ego_T_rect0: Transform, path: Path
) -> Camera:
    number = name.removeprefix("image_")
    projection = take_matrix(table, f"P_rect_{number}", (3, 4), path)
    K, cam_T_rect0 = split_projection(projection, f"{path}: P_rect_{number}")
    width, height = take_matrix(table, f"S_rect_{number}", (2,), path)
    return make_camera(name, K, (round(height), round(width)), ego_T_rect0 @ invert(cam_T_rect0))
