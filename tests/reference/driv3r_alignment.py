"""Driv3R's own alignment with its faults, to compare with `driv3r.alignment.rig_scale`."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from driv3r.errors import GeometryError
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Transform

SPAN_M = 120.0  # what the depths of any image are stretched to
SCALE_RANGE = (1e-3, 1e3)


@dataclass(frozen=True, eq=False)
class RescaledLikeDriv3r:
    """Pointmaps and truth in frame 0's camera, each less its own shift in z; p pairs of frames.

    A point's true z is its own plus `truth_shift_m`.
    """

    points_left: Float[np.ndarray, "p h w 3"]
    points_right: Float[np.ndarray, "p h w 3"]
    truth: Float[np.ndarray, "t h w 3"]
    truth_shift_m: float
    shift: float
    truth_scale_m: float
    scale: float


def align_like_driv3r(
    points: Float[np.ndarray, "h w 3"],
    K: Float[np.ndarray, "3 3"],
    world_T_cam: Transform,
    nearest_m: float,
) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w 3"]]:
    """Depth and world points of one camera as Driv3R's multi-camera alignment has them.

    For comparison only. Its faults: the z of every image is stretched to 120 m, whatever it shows;
    it begins at `nearest_m`, the smallest LiDAR depth in that image, so that truth is needed; one
    stray point changes all depths; confidence does not count; pixels are taken at their corners.
    GeometryError where all z are the same.
    """
    z = points[..., 2].astype(np.float64)
    if not np.ptp(z) > 0:
        raise GeometryError(f"all z are {z.flat[0]}; expected depths that differ")
    depth_m = (z - z.min()) / np.ptp(z) * SPAN_M + nearest_m
    row, column = np.indices(z.shape)
    x = (column - K[0, 2]) / K[0, 0]
    y = (row - K[1, 2]) / K[1, 1]
    points_cam = np.stack([x, y, np.ones_like(x)], axis=-1) * depth_m[..., None]
    return depth_m, apply(world_T_cam, points_cam)


def rescale_like_driv3r(
    points_left: Float[np.ndarray, "p h w 3"],
    points_right: Float[np.ndarray, "p h w 3"],
    truth_world: Float[np.ndarray, "t h w 3"],
    valid: Bool[np.ndarray, "t h w"],
    world_T_first: Transform,
) -> RescaledLikeDriv3r:
    """Shift and scale of a sequence by its truth, as Driv3R's evaluation takes them.

    For comparison only: truth is needed, and a shift in z bends what is straight. `points_left[k]`
    is of frame k in pair (k, k + 1), `points_right[k]` of frame k + 1, all in frame 0's camera; the
    sequence is the left ones and the last right one. Medians are the lower of two.
    """
    first_T_world = invert(world_T_first)
    truth = np.stack([apply(first_T_world, each.astype(np.float64)) for each in truth_world])
    left, right = points_left.astype(np.float64), points_right.astype(np.float64)
    told, known = np.concatenate([left, right[-1:]])[valid], truth[valid]
    if len(known) == 0:
        raise GeometryError("no pixel has truth: the shift and scale are not determined")
    shift, truth_shift_m = _lower_median(told[:, 2]), _lower_median(known[:, 2])
    scale = float(np.clip(_spread(told), *SCALE_RANGE))
    truth_scale_m = _spread(known)
    for each, by in ((left, shift), (right, shift), (truth, truth_shift_m)):
        each[..., 2] -= by
    growth = truth_scale_m / scale
    return RescaledLikeDriv3r(
        left * growth, right * growth, truth, truth_shift_m, shift, truth_scale_m, scale
    )


def _spread(points: Float[np.ndarray, "n 3"]) -> float:
    """Median distance from the medians of the coordinates."""
    middle = np.array([_lower_median(column) for column in points.T])
    return _lower_median(np.linalg.norm(points - middle, axis=-1))


def _lower_median(values: Float[np.ndarray, "n"]) -> float:
    return float(np.sort(values)[(len(values) - 1) // 2])
