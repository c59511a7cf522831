"""Whether LiDAR and images agree: where the nearest things end sideways, images have edges.

The nearest returns above the road are looked at from the camera itself, in columns of the LiDAR's
azimuth step, so that beams, their order and several merged LiDARs play no part. Where a column's
nearest return is much nearer than both columns beside it, something ends there. The image's
gradient at those places is compared with that some pixels to the left and right of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Camera, Transform

BLUR_PX, STEEPEST = 1.5, 8.0  # of gradients, as multiples of an image's mean
LOWEST_M, HIGHEST_M = 0.4, 3.0  # over the road: cars, poles, trunks, people
NEAREST_M, FARTHEST_M = 2.0, 30.0  # from the camera: not the own car
JUMP, JUMP_M = 1.3, 1.0  # what lies behind is so much farther, times and plus
SAME_THING_M = 0.3
NEAR_PX, FAR_PX = 2, (16, 32)
SHIFTS_PX = np.arange(-FAR_PX[1], FAR_PX[1] + 1, 2)
LEAST_ENDS, LEAST_RATIO = 40, 1.15
COLUMN_STEPS = 1.5  # of the LiDAR's azimuth: no column is empty before a surface


@dataclass(frozen=True, eq=False)
class Rims:
    """Places in an image where something near ends sideways, n of them, in pixels.

    Those of one number in `end` are one above the other on one thing.
    """

    uv: Float[np.ndarray, "n 2"]
    end: Int[np.ndarray, "n"]


@dataclass(frozen=True)
class Agreement:
    """Edges of images under the ends of things that LiDAR sees, against places beside them.

    `ends` counts the things' sides. `own` is the edges' mean strength there, in multiples of the
    images' mean, `beside` that 16 to 32 pixels to either side, `error` the standard error of their
    difference. `best_px` is the shift to the right of LiDAR at which edges are strongest.
    """

    ends: int
    own: float
    beside: float
    error: float
    best_px: int

    @property
    def is_told(self) -> bool:
        """Whether there are ends enough to tell."""
        return self.ends >= LEAST_ENDS

    @property
    def agrees(self) -> bool:
        """Whether images have edges where things end, by more than chance."""
        return self.own > LEAST_RATIO * self.beside and self.own - self.beside > 2 * self.error


def measure_edges(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """How steeply an RGB image changes sideways, as a multiple of its mean, 8 at most."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), BLUR_PX)
    steep = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    return np.minimum(steep / max(float(steep.mean()), 1e-6), STEEPEST)


def find_rims(
    camera: Camera,
    world_T_cam: Transform,
    points_world: Float[np.ndarray, "n 3"],
    height_m: Float[np.ndarray, "n"],
    step_rad: float,
) -> Rims:
    """Where the nearest things end sideways in a camera that stands upright.

    `height_m` is each point's height over the road, `step_rad` the LiDAR's step of azimuth. A
    surface ends between its last return and the next that there would be, half a step on.
    """
    up = (height_m > LOWEST_M) & (height_m < HIGHEST_M)
    points_cam = apply(invert(world_T_cam), points_world[up].astype(np.float64))
    range_m = np.hypot(points_cam[:, 0], points_cam[:, 2])
    ahead = (points_cam[:, 2] > 0.1) & (range_m > NEAREST_M)
    points_cam, range_m = points_cam[ahead], range_m[ahead]
    width_rad = COLUMN_STEPS * step_rad
    column = np.floor(np.arctan2(points_cam[:, 0], points_cam[:, 2]) / width_rad).astype(int)
    start = -math.ceil(math.pi / 2 / width_rad) - 2
    nearest_m = np.full(3 - 2 * start, np.inf)
    np.minimum.at(nearest_m, column - start, range_m)
    uvs, ends = [], []
    for side in (-1, 1):
        behind_m = np.minimum(np.roll(nearest_m, -side), np.roll(nearest_m, -2 * side))
        is_end = (behind_m > JUMP * nearest_m + JUMP_M) & (nearest_m < FARTHEST_M)
        rim = is_end[column - start] & (range_m < nearest_m[column - start] + SAME_THING_M)
        uv, _, inside = project(camera, points_cam[rim])
        uv[:, 0] += side * step_rad / 2 * camera.K[0, 0]
        uvs.append(uv[inside])
        ends.append(2 * (column[rim][inside] - start) + (side > 0))
    return Rims(np.concatenate(uvs), np.concatenate(ends))


def rate_edges(
    rims: Rims, edges: Float[np.ndarray, "h w"], shifts_px: Int[np.ndarray, "s"] = SHIFTS_PX
) -> Float[np.ndarray, "s n"]:
    """The image's edges under the rims, all of them shifted sideways; NaN outside of the image."""
    height, width = edges.shape
    column = np.floor(rims.uv[:, 0] + shifts_px[:, None]).astype(int)
    row = np.broadcast_to(np.floor(rims.uv[:, 1]).astype(int), column.shape)
    seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(seen, edges[row.clip(0, height - 1), column.clip(0, width - 1)], np.nan)


def summarise(rated: Sequence[tuple[Rims, Float[np.ndarray, "s _"]]]) -> Agreement:
    """The agreement over images, each with its rims and what `rate_edges` says at SHIFTS_PX."""
    ends = [
        np.nanmean(strength[:, rims.end == end], axis=1)
        for rims, strength in rated
        for end in np.unique(rims.end)
        if np.isfinite(strength[:, rims.end == end]).any(axis=1).all()
    ]
    if not ends:
        return Agreement(0, 0.0, 0.0, 0.0, 0)
    profile = np.stack(ends)  # [ends, shifts]: a thing counts once, however many points it has
    own = profile[:, np.abs(SHIFTS_PX) <= NEAR_PX].mean(axis=1)
    beside = profile[:, np.abs(SHIFTS_PX) >= FAR_PX[0]].mean(axis=1)
    smooth = np.convolve(profile.mean(axis=0), np.ones(3) / 3, mode="same")[1:-1]
    error = float((own - beside).std() / math.sqrt(len(ends)))
    best_px = int(SHIFTS_PX[1:-1][smooth.argmax()])
    return Agreement(len(ends), float(own.mean()), float(beside.mean()), error, best_px)
