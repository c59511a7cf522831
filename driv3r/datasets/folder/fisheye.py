"""Fisheye lenses by Kannala and Brandt (TPAMI 2006), as OpenCV's `fisheye` has them: rectified.

theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8) of the angle off the axis.
Networks, projection and fusion know pinholes, so that images are rectified when they are read.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from driv3r.errors import DatasetError
from driv3r.types import Camera

FISHEYE_COEFFICIENTS = 4
WIDEST_DEG, WIDEST_UNASKED_DEG = 150.0, 110.0  # a pinhole's edges stretch by 1 / cos^2


@dataclass(frozen=True, eq=False)
class Rectifier:
    """From the images of a fisheye `lens` (its K, whole-number centres) to those of `camera`."""

    K: Float[np.ndarray, "3 3"]
    distortion: tuple[float, ...]
    camera: Camera

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        K_new = self.camera.K.copy()
        K_new[:2, 2] -= 0.5
        size_wh = (self.camera.size_hw[1], self.camera.size_hw[0])
        return cv2.fisheye.initUndistortRectifyMap(
            self.K, np.array(self.distortion), np.eye(3), K_new, size_wh, cv2.CV_32FC1
        )

    def rectify(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """The image as the pinhole sees it; black where the fisheye's image ends."""
        return cv2.remap(image, *self._maps, cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def rectified_camera(
    lens: Camera, distortion: tuple[float, ...], fov_deg: float | None = None
) -> Camera:
    """The pinhole, of the same image size, that a fisheye's images are rectified to.

    `lens` has the fisheye's own K; `fov_deg` is the pinhole's angle across, by default the
    fisheye's, 110 at most. Raises DatasetError where it is more than a pinhole or the lens has.
    """
    height, width = lens.size_hw
    own_deg = 2 * math.degrees(_largest_angle(0.5 * width / lens.K[0, 0], distortion))
    wanted_deg = min(own_deg, WIDEST_UNASKED_DEG) if fov_deg is None else fov_deg
    if not 1.0 <= wanted_deg <= WIDEST_DEG or wanted_deg > own_deg + 1.0:
        raise DatasetError(
            f"camera {lens.name}: rectified_fov_deg is {wanted_deg:g}, expected 1 to "
            f"{min(WIDEST_DEG, own_deg):.0f}: the lens has {own_deg:.0f} across, and a pinhole "
            f"{WIDEST_DEG:g} at most"
        )
    focal_px = 0.5 * width / math.tan(math.radians(wanted_deg) / 2)
    K = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])
    return replace(lens, K=K, distortion=())


def _largest_angle(radius: float, distortion: tuple[float, ...]) -> float:
    """The angle (rad) off the axis whose image lies `radius` (of normalised units) off it.

    Half a turn less a degree at most; where the polynomial turns back, the angle that it does at.
    """
    theta = np.linspace(0.0, math.radians(179.0) / 2, 2000)
    powers = theta ** np.array([[2], [4], [6], [8]])
    image = theta * (1 + np.array(distortion) @ powers)
    turns = np.flatnonzero(np.diff(image) <= 0)
    last = int(turns[0]) if len(turns) else len(theta) - 1
    return float(np.interp(radius, image[: last + 1], theta[: last + 1]))
