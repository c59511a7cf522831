"""Comparison of world points with the depth images of other views."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def project_point(point, cam_T_world, K, lens):
    """(column, row, depth) of a world point; depth 0 where it does not lie ahead."""
    x = (cam_T_world[0, 0] * point[0] + cam_T_world[0, 1] * point[1]
         + cam_T_world[0, 2] * point[2] + cam_T_world[0, 3])  # fmt: skip
    y = (cam_T_world[1, 0] * point[0] + cam_T_world[1, 1] * point[1]
         + cam_T_world[1, 2] * point[2] + cam_T_world[1, 3])  # fmt: skip
    z = (cam_T_world[2, 0] * point[0] + cam_T_world[2, 1] * point[1]
         + cam_T_world[2, 2] * point[2] + cam_T_world[2, 3])  # fmt: skip
    if z <= 0.1:
        return 0.0, 0.0, 0.0
    x, y = x / z, y / z
    if lens[0] != 0.0 or lens[1] != 0.0 or lens[5] != 0.0:
        r2 = x * x + y * y
        radial = (1 + r2 * (lens[0] + r2 * (lens[1] + r2 * lens[4]))) / (
            1 + r2 * (lens[5] + r2 * (lens[6] + r2 * lens[7]))
        )
        dx = 2 * lens[2] * x * y + lens[3] * (r2 + 2 * x * x)
        dy = lens[2] * (r2 + 2 * y * y) + 2 * lens[3] * x * y
        x, y = x * radial + dx, y * radial + dy
    return K[0, 0] * x + K[0, 1] * y + K[0, 2], K[1, 1] * y + K[1, 2], z


@njit(nogil=True, cache=True)
def find_pixel(point, cam_T_world, K, lens, depth_m):
    """(column, row, depth) of a world point; depth 0 unless it lies in a pixel that has depth."""
    u, v, z = project_point(point, cam_T_world, K, lens)
    if z <= 0.0 or u < 0.0 or v < 0.0 or u >= depth_m.shape[1] or v >= depth_m.shape[0]:
        return 0, 0, 0.0
    column, row = int(u), int(v)
    return column, row, z if depth_m[row, column] > 0.0 else 0.0


@njit(nogil=True, cache=True)
def range_around(depth_m, row, column):
    """Least and greatest depth of a pixel that has one and of those around it."""
    nearest_m = farthest_m = depth_m[row, column]
    for i in range(max(row - 1, 0), min(row + 2, depth_m.shape[0])):
        for j in range(max(column - 1, 0), min(column + 2, depth_m.shape[1])):
            around_m = depth_m[i, j]
            if around_m > 0.0:
                nearest_m, farthest_m = min(nearest_m, around_m), max(farthest_m, around_m)
    return nearest_m, farthest_m


@njit(nogil=True, cache=True)
def compare_with_view(
    points, rays, error_m, cam_T_world, K, lens, depth_m, sigma, tolerance, base_m,
    agrees, through, weight, shift_m,
):  # fmt: skip
    """Add to every point what one other view says of it.

    `points` [n 3] lie on `rays` [n 3] (unit vectors away from their own camera) within `error_m`
    [n]. Where the view's depth around the point's pixel agrees within `tolerance` times both errors
    and `base_m`, `agrees` counts it, and `weight` and `shift_m` sum the inverse variance of the
    view's depth and it times the shift along the ray. Where all depth around the pixel lies behind
    the point, `through` counts it.
    """
    for n in range(points.shape[0]):
        column, row, z = find_pixel(points[n], cam_T_world, K, lens, depth_m)
        if z <= 0.0:
            continue
        center_m = depth_m[row, column]
        nearest_m, farthest_m = range_around(depth_m, row, column)
        other_m = max(sigma[row, column] * center_m, 1e-3)
        allowed_m = base_m + tolerance * np.sqrt(other_m * other_m + error_m[n] * error_m[n])
        if nearest_m > z + allowed_m:
            through[n] += 1
        elif farthest_m >= z - allowed_m:
            agrees[n] += 1
            along = (cam_T_world[2, 0] * rays[n, 0] + cam_T_world[2, 1] * rays[n, 1]
                     + cam_T_world[2, 2] * rays[n, 2])  # fmt: skip
            gap_m = center_m - z
            if abs(along) > 0.3 and abs(gap_m) <= allowed_m:
                precision = along * along / (other_m * other_m)
                weight[n] += precision
                shift_m[n] += precision * gap_m / along


@njit(nogil=True, cache=True)
def count_views(
    points, cam_T_world, K, lens, depth_m, sigma, tolerance, base_m, farthest_m, sees, through
):
    """Add to every point [n 3] whether one view sees a surface there, or looks through it."""
    for n in range(points.shape[0]):
        column, row, z = find_pixel(points[n], cam_T_world, K, lens, depth_m)
        if z <= 0.0 or z > farthest_m:
            continue
        nearest_m, greatest_m = range_around(depth_m, row, column)
        allowed_m = base_m + tolerance * sigma[row, column] * depth_m[row, column]
        if nearest_m > z + allowed_m:
            through[n] += 1
        elif greatest_m >= z - allowed_m:
            sees[n] += 1
