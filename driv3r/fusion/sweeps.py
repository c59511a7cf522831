"""LiDAR sweeps placed in the world, as points and as range images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from driv3r.geometry.lidar import measure_spacing
from driv3r.geometry.transforms import apply, invert
from driv3r.kernels.range_image import fill_range_image, range_around_cells
from driv3r.types import Transform

NEAREST_M = 2.5  # not the own car


@dataclass(frozen=True, eq=False)
class PlacedSweep:
    """One sweep in the world of its log. Returns nearer than 2.5 m are the own car's."""

    points_lidar: Float[np.ndarray, "n 3"]
    world_T_lidar: Transform
    time_us: int

    @cached_property
    def points_world(self) -> Float[np.ndarray, "n 3"]:
        """The returns in the world."""
        return apply(self.world_T_lidar, self.points_lidar.astype(np.float64))

    @cached_property
    def image(self) -> "RangeImage":
        """The sweep as an image of ranges."""
        return RangeImage.of(self)


@dataclass(frozen=True, eq=False)
class RangeImage:
    """Ranges (m) by elevation and azimuth: the least and greatest of a cell and those around it."""

    lidar_T_world: Transform
    low_rad: float
    step_rad: Float[np.ndarray, "2"]
    nearest_m: Float[np.ndarray, "e a"]
    farthest_m: Float[np.ndarray, "e a"]

    @classmethod
    def of(cls, sweep: PlacedSweep) -> "RangeImage":
        """Cells as large as the gaps between the sweep's returns."""
        points = sweep.points_lidar.astype(np.float64)
        along, across = measure_spacing(points)
        elevation = np.arctan2(points[:, 2], np.linalg.norm(points[:, :2], axis=-1))
        low_rad = float(elevation.min(initial=0.0)) - across / 2
        rows = int((float(elevation.max(initial=0.0)) - low_rad) / across) + 1
        columns = max(int(2 * np.pi / along), 1)
        step_rad = np.array([across, 2 * np.pi / columns])
        range_m = np.full((rows, columns), np.inf)
        fill_range_image(points, low_rad, step_rad, range_m)
        nearest_m, farthest_m = np.empty_like(range_m), np.empty_like(range_m)
        range_around_cells(range_m, nearest_m, farthest_m)
        return cls(invert(sweep.world_T_lidar), low_rad, step_rad, nearest_m, farthest_m)


def clean_sweep(points_lidar: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 3"]:
    """The returns that are finite and not of the own car."""
    finite = points_lidar[np.isfinite(points_lidar).all(-1)]
    return finite[np.linalg.norm(finite, axis=-1) >= NEAREST_M]


SweepOf = Callable[[int], PlacedSweep | None]  # by a frame's number
