"""Cameras of which nobody knows how they see, or where on the car they are: what is assumed."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float

from driv3r.errors import DatasetError
from driv3r.geometry.transforms import BODY_T_CAM
from driv3r.types import Camera, Repair, Transform

Unknown = Literal["intrinsics", "ego_T_cam"]
UNKNOWN = "unknown"  # in place of a value in a rig file
NOMINAL_FOV_DEG = 60.0  # across; between phones (65 to 70) and a car's long cameras (30 to 50)
NOMINAL_HEIGHT_M = 1.5
FOV_DEG = (10.0, 150.0)
HEIGHT_M = (0.2, 6.0)


def assume_K(size_hw: tuple[int, int], fov_deg: float | None, where: str) -> np.ndarray:
    """K of a pinhole in the image's middle, `fov_deg` across (NOMINAL_FOV_DEG unless told).

    Pixel centres are whole numbers. DatasetError for an angle that no pinhole has.
    """
    angle_deg = NOMINAL_FOV_DEG if fov_deg is None else fov_deg
    if not FOV_DEG[0] <= angle_deg <= FOV_DEG[1]:
        raise DatasetError(
            f"{where}: fov_deg is {angle_deg:g}, expected the angle across the image, "
            f"{FOV_DEG[0]:g} to {FOV_DEG[1]:g} degrees"
        )
    height, width = size_hw
    focal_px = 0.5 * width / math.tan(math.radians(angle_deg) / 2)
    return np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]])


def assume_place(camera_height_m: float | None, ground_z_m: float, where: str) -> Transform:
    """ego_T_cam of a camera that looks level and ahead from over the ego origin.

    DatasetError for a height that no car's camera has.
    """
    height_m = NOMINAL_HEIGHT_M if camera_height_m is None else camera_height_m
    if not HEIGHT_M[0] <= height_m <= HEIGHT_M[1]:
        raise DatasetError(
            f"{where}: camera_height_m is {height_m:g}, expected its height over the road, "
            f"{HEIGHT_M[0]:g} to {HEIGHT_M[1]:g} m"
        )
    ego_T_cam = BODY_T_CAM.copy()
    ego_T_cam[2, 3] = height_m + ground_z_m
    return ego_T_cam


def fov_deg_of(K: Float[np.ndarray, "3 3"], size_hw: tuple[int, int]) -> float:
    """The angle across an image, as `assume_K` takes it."""
    return 2 * math.degrees(math.atan(0.5 * size_hw[1] / float(K[0, 0])))


def describe_unknown(
    camera: Camera, unknown: tuple[Unknown, ...], ground_z_m: float
) -> Iterator[Repair]:
    """What is assumed of a camera."""
    if "intrinsics" in unknown:
        angle_deg = fov_deg_of(camera.K, camera.size_hw)
        reason = f"intrinsics are unknown: taken for a pinhole {angle_deg:.4g} degrees across"
        yield Repair(camera.name, reason)
    if "ego_T_cam" in unknown:
        height_m = float(camera.ego_T_cam[2, 3]) - ground_z_m
        reason = (
            f"its place is unknown: taken to look level and ahead, {height_m:.4g} m over the road"
        )
        yield Repair(camera.name, reason)
