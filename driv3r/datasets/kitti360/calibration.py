"""KITTI-360's rig: two rectified cameras that look ahead, a fisheye a side, and the LiDAR.

How its files are put together is as in the authors' kitti360scripts (helpers/project.py).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from driv3r.datasets.kitti.text_files import (
    parse_rigid,
    read_calibration,
    read_lines,
    read_text,
    take_matrix,
    take_rigid,
)
from driv3r.datasets.reader import Root, check_place, make_camera
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert
from driv3r.types import Camera, Rig, Transform

PERSPECTIVE, FISHEYE = ("image_00", "image_01"), ("image_02", "image_03")
CAMERA_HEIGHT_M = 1.55  # of the cameras that look ahead, over the road
# The poses' frame is the IMU's: x forward, y right, z down.
EGO_T_IMU = np.diag([1.0, -1, -1, 1])
LENS = ("mirror_parameters.xi", *(f"distortion_parameters.{k}" for k in ("k1", "k2", "p1", "p2")))
FOCAL = tuple(f"projection_parameters.{key}" for key in ("gamma1", "gamma2", "u0", "v0"))
SIZE = ("image_height", "image_width")


def read_rig(root: Root, names: Sequence[str]) -> Rig:
    """The rig of all drives: the ego frame is the IMU's, turned to x forward, y left, z up.

    Raises DatasetError where a calibration file is missing or says what can not be.
    """
    path = root.resolve_inside("calibration/calib_cam_to_pose.txt")
    places = read_calibration(path)
    ego_T_cam = {}
    for name in dict.fromkeys((PERSPECTIVE[0], *names)):
        if name not in places:
            raise DatasetError(f"{path} lacks {name}; it has {', '.join(places)}")
        ego_T_cam[name] = EGO_T_IMU @ parse_rigid(places[name], f"{path}: {name}")
    cameras = tuple(
        _make_fisheye(root, name, ego_T_cam[name])
        if name in FISHEYE
        else _make_perspective(root, name, ego_T_cam[name])
        for name in names
    )
    path = root.resolve_inside("calibration/calib_cam_to_velo.txt")
    velo_T_cam0 = parse_rigid(" ".join(read_lines(path)), str(path))
    ego_T_velo = ego_T_cam[PERSPECTIVE[0]] @ invert(velo_T_cam0)
    check_place("velodyne_points", ego_T_velo)
    ground_z_m = float(ego_T_cam[PERSPECTIVE[0]][2, 3]) - CAMERA_HEIGHT_M
    return Rig(cameras, ego_T_velo, ground_z_m)


def _make_perspective(root: Root, name: str, ego_T_cam: Transform) -> Camera:
    """A rectified camera; its place is given as it was before, turned."""
    path = root.resolve_inside("calibration/perspective.txt")
    table, number = read_calibration(path), name.removeprefix("image_")
    K = take_matrix(table, f"P_rect_{number}", (3, 4), path)[:, :3]
    rect_T_cam = take_rigid(table, f"R_rect_{number}", None, path)
    width, height = take_matrix(table, f"S_rect_{number}", (2,), path)
    return make_camera(name, K, (round(height), round(width)), ego_T_cam @ invert(rect_T_cam))


def _make_fisheye(root: Root, name: str, ego_T_cam: Transform) -> Camera:
    path = root.resolve_inside(f"calibration/{name}.yaml")
    table = _read_yaml(path)
    if table.get("model_type") != "MEI":
        raise DatasetError(f"{path}: model_type is {table.get('model_type')!r}, expected MEI")
    fx, fy, cx, cy = (_take(table, key, path) for key in FOCAL)
    height, width = (round(_take(table, key, path)) for key in SIZE)
    K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    distortion = tuple(_take(table, key, path) for key in LENS)
    return make_camera(name, K, (height, width), ego_T_cam, distortion, "mei")


def _read_yaml(path: Path) -> dict[str, Any]:
    """OpenCV's kind of YAML: a first line of its own, and no blank after a colon needed."""
    lines = [line for line in read_text(path).splitlines() if not line.startswith("%")]
    text = re.sub(r":(?=[^\s])", ": ", "\n".join(lines))
    try:
        table = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise DatasetError(f"{path} is no YAML ({error}); fetch the file again") from error
    if not isinstance(table, dict):
        raise DatasetError(f"{path} holds a {type(table).__name__}, expected keys with values")
    return table


def _take(table: dict[str, Any], key: str, path: Path) -> float:
    value: Any = table
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{path}: {key} is {value!r}, expected a number") from error
    if not np.isfinite(number):
        raise DatasetError(f"{path}: {key} is {number}, expected a finite number")
    return number
