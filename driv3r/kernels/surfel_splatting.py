"""Small discs drawn into an image with a depth buffer."""

import numpy as np
from numba import njit

BAND = 1.5  # radii behind the nearest disc within which discs are one surface


@njit(nogil=True, cache=True, error_model="numpy")
def draw_discs(
    center_cam, normal_cam, uv, reach_px, radius_m, weight, rgb, rays, nearest_m, first, sums
):
    """Draw discs [n], the nearest first: each pixel gets the mean of the nearest surface.

    A disc's centre lies at `uv` [n 2] in the image, all of it within `reach_px` [n]; `normal_cam`
    are unit vectors. `rays` [h w 3] have z = 1. `nearest_m` [h w] starts as infinity, `first` as
    the disc that made it; `sums` [h w 5] get weights, and weights times depth, red, green and blue.
    """
    height, width = nearest_m.shape
    for n in range(center_cam.shape[0]):
        x, y, z = center_cam[n, 0], center_cam[n, 1], center_cam[n, 2]
        nx, ny, nz = normal_cam[n, 0], normal_cam[n, 1], normal_cam[n, 2]
        plane, square, band = nx * x + ny * y + nz * z, radius_m[n] ** 2, BAND * radius_m[n]
        left, right = max(uv[n, 0] - reach_px[n], 0.0), min(uv[n, 0] + reach_px[n], width - 1.0)
        top, bottom = max(uv[n, 1] - reach_px[n], 0.0), min(uv[n, 1] + reach_px[n], height - 1.0)
        for row in range(np.intp(top), np.intp(bottom) + 1):
            for column in range(np.intp(left), np.intp(right) + 1):
                limit_m = nearest_m[row, column] + band
                if z - radius_m[n] > limit_m:
                    continue
                rx, ry = rays[row, column, 0], rays[row, column, 1]
                depth = plane / (nx * rx + ny * ry + nz)
                a, b, c = depth * rx - x, depth * ry - y, depth - z
                share = 1 - (a * a + b * b + c * c) / square
                if share > 0.0 and depth <= limit_m:
                    if first[row, column] < 0:
                        first[row, column], nearest_m[row, column] = n, depth
                    share *= weight[n]
                    sums[row, column, 0] += share
                    sums[row, column, 1] += share * depth
                    for channel in range(3):
                        sums[row, column, 2 + channel] += share * rgb[n, channel]
