"""LiDAR sweeps as range images, and points held against them."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def fill_range_image(points_lidar, low_rad, step, range_m):
    """Write the nearest return of each cell; `range_m` [elevation azimuth] starts as infinity.

    `low_rad` is the lowest elevation, `step` (2) the cell's size in elevation and azimuth.
    """
    rows, columns = range_m.shape
    for n in range(points_lidar.shape[0]):
        x, y, z = points_lidar[n, 0], points_lidar[n, 1], points_lidar[n, 2]
        flat = np.sqrt(x * x + y * y)
        row = np.intp((np.arctan2(z, flat) - low_rad) / step[0])
        column = np.intp((np.arctan2(y, x) + np.pi) / step[1])
        if 0 <= row < rows:
            column = min(max(column, 0), columns - 1)
            range_m[row, column] = min(range_m[row, column], np.sqrt(flat * flat + z * z))


@njit(nogil=True, cache=True, error_model="numpy")
def range_around_cells(range_m, nearest_m, farthest_m):
    """Write the least and greatest range of every cell and the eight around it; azimuth wraps.

    A cell without a return takes part with nothing; both are infinite where there is none at all.
    """
    rows, columns = range_m.shape
    for row in range(rows):
        for column in range(columns):
            low, high = np.inf, 0.0
            for i in range(max(row - 1, 0), min(row + 2, rows)):
                for j in range(column - 1, column + 2):
                    around_m = range_m[i, j % columns]
                    if around_m < np.inf:
                        low, high = min(low, around_m), max(high, around_m)
            nearest_m[row, column] = low
            farthest_m[row, column] = high if low < np.inf else np.inf


@njit(nogil=True, cache=True, error_model="numpy")
def compare_with_sweep(
    points, lidar_T_world, low_rad, step, nearest_m, farthest_m, base_m, share, agrees, through
):  # fmt: skip
    """Add to every world point [n 3] whether a sweep sees a surface there, or looks through it.

    A range may be off by `base_m` and by `share` of itself.
    """
    rows, columns = nearest_m.shape
    T = lidar_T_world
    for n in range(points.shape[0]):
        a, b, c = points[n, 0], points[n, 1], points[n, 2]
        x = T[0, 0] * a + T[0, 1] * b + T[0, 2] * c + T[0, 3]
        y = T[1, 0] * a + T[1, 1] * b + T[1, 2] * c + T[1, 3]
        z = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c + T[2, 3]
        flat = np.sqrt(x * x + y * y)
        row = np.intp((np.arctan2(z, flat) - low_rad) / step[0])
        if row < 0 or row >= rows:
            continue
        column = min(max(np.intp((np.arctan2(y, x) + np.pi) / step[1]), 0), columns - 1)
        low, high = nearest_m[row, column], farthest_m[row, column]
        if low == np.inf:
            continue
        range_m = np.sqrt(flat * flat + z * z)
        allowed_m = base_m + share * range_m
        if low > range_m + allowed_m:
            through[n] += 1
        elif high >= range_m - allowed_m:
            agrees[n] += 1
