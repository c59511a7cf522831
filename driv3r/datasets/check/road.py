"""Where LiDAR has the road: the plane under the car, as its returns tell it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

NEAREST_M, FARTHEST_M = 3.0, 10.0  # from the ego origin: not the own car, not the next hill
CELL_M, LEAST_CELLS, LEAST_SHARE = (
    1.0,
    30,
    0.4,
)  # the lowest return of each square is the road's or below a thing's
STEEPEST = 0.18  # slope of a road, about 10 degrees
SLACK_M = 0.15  # of returns around the road's plane
DRAWS = 300


@dataclass(frozen=True)
class Road:
    """A plane: its height under the ego origin, its slope in degrees, the square metres it holds.

    `share` is how many of the squares around the car lie in it.
    """

    z_m: float
    slope_deg: float
    cells: int
    share: float


def measure_road(points_ego: Float[np.ndarray, "n 3"]) -> Road | None:
    """The plane of most of the lowest returns around the car; None where they are few.

    RANSAC (Fischler and Bolles, 1981) over the lowest return of each square metre, then least
    squares; at last the median of all returns about it, as the lowest ones lie below a road by
    their noise. Draws are the same every time.
    """
    points = points_ego.astype(np.float64)
    range_m = np.hypot(points[:, 0], points[:, 1])
    points = points[(range_m > NEAREST_M) & (range_m < FARTHEST_M)]
    lowest = _lowest_of_cells(points)
    if len(lowest) < LEAST_CELLS:
        return None
    plane = _draw_plane(lowest)
    if plane is None:
        return None
    for _ in range(3):
        near = _near(plane, lowest)
        plane = np.linalg.lstsq(_design(lowest[near]), lowest[near, 2], rcond=None)[0]
    held = _near(plane, lowest)
    if held.mean() < LEAST_SHARE:  # of anything some points lie in one plane
        return None
    offsets_m = points[:, 2] - _design(points) @ plane
    offset_m = float(np.median(offsets_m[np.abs(offsets_m) < SLACK_M]))
    slope_deg = float(np.degrees(np.arctan(np.hypot(plane[0], plane[1]))))
    return Road(float(plane[2]) + offset_m, slope_deg, int(held.sum()), float(held.mean()))


def _lowest_of_cells(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 3"]:
    cells = np.floor(points[:, :2] / CELL_M)
    order = np.lexsort((points[:, 2], cells[:, 1], cells[:, 0]))
    if not len(order):
        return points
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(cells[order], axis=0) != 0).any(axis=1)
    return points[order[first]]


def _design(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    return np.column_stack([points[:, :2], np.ones(len(points))])


def _near(plane: Float[np.ndarray, "3"], points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
    return np.abs(points[:, 2] - _design(points) @ plane) < SLACK_M


def _draw_plane(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "3"] | None:
    """z = a x + b y + c of the triple that most points agree with, among those that are no wall."""
    draws = np.random.default_rng(0).integers(0, len(points), (DRAWS, 3))
    designs = _design(points)[draws]
    regular = np.abs(np.linalg.det(designs)) > 1.0  # twice a triangle's area, square metres
    if not regular.any():
        return None
    planes = np.linalg.solve(designs[regular], points[draws[regular], 2][..., None])[..., 0]
    planes = planes[np.hypot(planes[:, 0], planes[:, 1]) < STEEPEST]
    if not len(planes):
        return None
    counts = [int(_near(plane, points).sum()) for plane in planes]
    return planes[int(np.argmax(counts))]
