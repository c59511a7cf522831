"""Small discs drawn into an image with a depth buffer."""

import numpy as np
from numba import njit

BAND = 1.5  # radii behind the nearest disc within which discs are one surface


@njit(nogil=True, cache=True, error_model="numpy")
def cull_discs(
    first, last, center_world, radius_m, cam_T_world, K, size_hw, nearest_m, row, center_cam, place
):
    """Frustum culling: write the discs of rows `first[i]` to `last[i]` that an image may show.

    Returns how many there are.

    `row` [n] counts them, `center_cam` [n 3] and `place` [n 3] (u, v, reach in pixels) are in the
    camera. Discs nearer than `nearest_m` are left out.
    """
    T, count = cam_T_world, 0
    height, width = size_hw
    for span in range(len(first)):
        for n in range(first[span], last[span]):
            a, b, c = center_world[n, 0], center_world[n, 1], center_world[n, 2]
            z = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c + T[2, 3]
            if z <= nearest_m:
                continue
            x = T[0, 0] * a + T[0, 1] * b + T[0, 2] * c + T[0, 3]
            y = T[1, 0] * a + T[1, 1] * b + T[1, 2] * c + T[1, 3]
            u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
            v = K[1, 1] * y / z + K[1, 2]
            reach = radius_m[n] * K[0, 0] / z
            if -reach < u < width + reach and -reach < v < height + reach:
                row[count] = n
                center_cam[count, 0], center_cam[count, 1], center_cam[count, 2] = x, y, z
                place[count, 0], place[count, 1], place[count, 2] = u, v, reach
                count += 1
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def average(sums, depth_m, rgb):
    """Write the mean depth [h w], NaN where nothing is, and colour [h w 3] of sums."""
    for i in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            weight = sums[i, j, 0]
            depth_m[i, j] = sums[i, j, 1] / weight if weight > 0.0 else np.nan
            for channel in range(3):
                mean = sums[i, j, 2 + channel] / weight if weight > 0.0 else 0.0
                rgb[i, j, channel] = np.uint8(np.rint(mean))


@njit(nogil=True, cache=True, error_model="numpy")
def _half_sides(x, y, z, nx, ny, nz, radius, reach):
    """Half the width and height (px) of the disc's image at most: a road's is flat."""
    deep = radius * np.sqrt(max(1 - nz * nz, 0.0))
    per_m = reach * z / (radius * max(z - deep, 1e-3))
    across = (radius * np.sqrt(max(1 - nx * nx, 0.0)) + abs(x) / z * deep) * per_m
    down = (radius * np.sqrt(max(1 - ny * ny, 0.0)) + abs(y) / z * deep) * per_m
    return min(across, reach), min(down, reach)


@njit(nogil=True, cache=True, error_model="numpy")
def draw_discs(
    order, row, center_cam, place, normal_world, radius_m, weight, rgb, cam_T_world, rays,
    nearest_m, first, sums,
):  # fmt: skip
    """Draw discs in `order`, the nearest first: each pixel gets the mean of the nearest surface.

    `row`, `center_cam` and `place` are those of `cull_discs`; normals, radii, weights and colours
    are of all rows, a normal of NaN faces the camera. `rays` [h w 3] have z = 1. `nearest_m` [h w]
    starts as infinity, `first` as -1 and gets the row that made it; `sums` [h w 5] get weights, and
    weights times depth, red, green and blue.
    """
    R, height, width = cam_T_world, nearest_m.shape[0], nearest_m.shape[1]
    for at in range(order.shape[0]):
        n = order[at]
        disc, x, y, z = row[n], center_cam[n, 0], center_cam[n, 1], center_cam[n, 2]
        radius = radius_m[disc]
        u, v, reach = place[n, 0], place[n, 1], place[n, 2]
        a, b, c = normal_world[disc, 0], normal_world[disc, 1], normal_world[disc, 2]
        nx = R[0, 0] * a + R[0, 1] * b + R[0, 2] * c
        ny = R[1, 0] * a + R[1, 1] * b + R[1, 2] * c
        nz = R[2, 0] * a + R[2, 1] * b + R[2, 2] * c
        if np.isnan(nx):
            length = np.sqrt(x * x + y * y + z * z)
            nx, ny, nz = x / length, y / length, z / length
        plane, square, band = nx * x + ny * y + nz * z, radius * radius, BAND * radius
        red, green, blue = rgb[disc, 0], rgb[disc, 1], rgb[disc, 2]
        across, down = _half_sides(x, y, z, nx, ny, nz, radius, reach)
        left, right = np.intp(max(u - across, 0.0)), np.intp(min(u + across, width - 1.0))
        top, bottom = np.intp(max(v - down, 0.0)), np.intp(min(v + down, height - 1.0))
        for i in range(top, bottom + 1):
            for j in range(left, right + 1):
                limit_m = nearest_m[i, j] + band
                if z - radius > limit_m:
                    continue
                rx, ry = rays[i, j, 0], rays[i, j, 1]
                depth = plane / (nx * rx + ny * ry + nz)
                p, q, r = depth * rx - x, depth * ry - y, depth - z
                share = 1 - (p * p + q * q + r * r) / square
                if share > 0.0 and depth <= limit_m:
                    if first[i, j] < 0:
                        first[i, j], nearest_m[i, j] = disc, depth
                    share *= weight[disc]
                    sums[i, j, 0] += share
                    sums[i, j, 1] += share * depth
                    sums[i, j, 2] += share * red
                    sums[i, j, 3] += share * green
                    sums[i, j, 4] += share * blue
