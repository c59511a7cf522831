"""Comparison of world points with the depth images of other views.

Views are a frame's p placed ones, their images [p h*w]. The kernels call no other kernel with
arrays for every point: numba counts references to each at every call, which takes ten times as long
as the rest.
"""

import numpy as np
from numba import njit

NEAREST_M = 0.1
LINE_STEPS = 3  # of the fixed point: each leaves the share of a readout in which a line is crossed


@njit(nogil=True, cache=True, error_model="numpy")
def find_pixels(points, hull, cam_T_world, K, width, height, lines, depth_m, pixel, z_m):
    """Write the `pixel` [p n] that each world point falls into, and its depth `z_m` [p n].

    -1 where it lies in none, or in one that has no depth. The convex hull of `hull` [m 3] holds all
    points: a view that has the whole of it behind it or to one side of its image sees none.

    `lines` [p 10]: 0 where a view's lines are read at one time, 1 where columns are read one after
    the other, 2 where rows are; 1 where they are read down or to the right; seconds from the view's
    own time to the first and the last line's; the camera's velocity and turn (rad/s), in its frame.
    The turn while an image is read is small: it is taken to the first order.
    """
    for view in range(cam_T_world.shape[0]):
        T, by, rolling = cam_T_world[view], lines[view], lines[view, 0] > 0.0
        fx, skew, cx, fy, cy = (
            K[view, 0, 0],
            K[view, 0, 1],
            K[view, 0, 2],
            K[view, 1, 1],
            K[view, 1, 2],
        )
        if not rolling and _sees_none(hull, T, fx, skew, cx, fy, cy, width, height):
            pixel[view, :] = -1
            continue
        for n in range(points.shape[0]):
            pixel[view, n] = -1
            a, b, c = points[n, 0], points[n, 1], points[n, 2]
            z = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c + T[2, 3]
            if z <= NEAREST_M:
                continue
            x = (T[0, 0] * a + T[0, 1] * b + T[0, 2] * c + T[0, 3]) / z
            y = (T[1, 0] * a + T[1, 1] * b + T[1, 2] * c + T[1, 3]) / z
            u, v, now_m = fx * x + skew * y + cx, fy * y + cy, z
            for _ in range(LINE_STEPS if rolling else 0):
                share = min(max(v / height if by[0] > 1.0 else u / width, 0.0), 1.0)
                share = share if by[1] > 0.0 else 1.0 - share
                dt = by[2] + share * (by[3] - by[2])
                p, q, r = x * now_m - dt * by[4], y * now_m - dt * by[5], now_m - dt * by[6]
                z = max(r - dt * (by[7] * q - by[8] * p), NEAREST_M)
                i = (p - dt * (by[8] * r - by[9] * q)) / z
                j = (q - dt * (by[9] * p - by[7] * r)) / z
                u, v = fx * i + skew * j + cx, fy * j + cy
            if u >= 0.0 and v >= 0.0 and u < width and v < height:
                found = np.intp(v) * width + np.intp(u)
                if depth_m[view, found] > 0.0:
                    pixel[view, n], z_m[view, n] = found, z


@njit(nogil=True, cache=True, error_model="numpy")
def _sees_none(hull, T, fx, skew, cx, fy, cy, width, height):
    """Whether all of a hull is behind a view or to one side of its image; it is called once."""
    behind = left = right = above = below = hull.shape[0] > 0
    for n in range(hull.shape[0]):
        a, b, c = hull[n, 0], hull[n, 1], hull[n, 2]
        x = T[0, 0] * a + T[0, 1] * b + T[0, 2] * c + T[0, 3]
        y = T[1, 0] * a + T[1, 1] * b + T[1, 2] * c + T[1, 3]
        z = T[2, 0] * a + T[2, 1] * b + T[2, 2] * c + T[2, 3]
        across, down = fx * x + skew * y + cx * z, fy * y + cy * z
        behind &= z < NEAREST_M
        left &= across < 0.0
        right &= across > width * z
        above &= down < 0.0
        below &= down > height * z
    return behind or left or right or above or below


@njit(nogil=True, cache=True, error_model="numpy")
def range_around(depth_m, nearest_m, farthest_m):
    """Write the least and greatest depth of every pixel [p h w] that has one and those around."""
    views, height, width = depth_m.shape
    for view in range(views):
        for row in range(height):
            for column in range(width):
                low = high = depth_m[view, row, column]
                for i in range(max(row - 1, 0), min(row + 2, height)):
                    for j in range(max(column - 1, 0), min(column + 2, width)):
                        around_m = depth_m[view, i, j]
                        if around_m > 0.0:
                            low, high = min(low, around_m), max(high, around_m)
                nearest_m[view, row, column], farthest_m[view, row, column] = low, high


@njit(nogil=True, cache=True, error_model="numpy")
def compare_with_views(
    pixel, z_m, rays, error_m, skipped_view, axis_world,
    depth_m, nearest_m, farthest_m, sigma, tolerance, base_m,
    agrees, through, weight, shift_m,
):  # fmt: skip
    """Add to every point what the views say of it, but for `skipped_view`.

    The points fall into `pixel` at `z_m` (`find_pixels`), and lie on `rays` [n 3] (unit vectors
    away from their own camera) within `error_m` [n]; `axis_world` [p 3] are the views' own axes.
    Where a view's depth around the point's pixel agrees within `tolerance` times both errors and
    `base_m`, `agrees` counts it, and `weight` and `shift_m` sum the inverse variance of the view's
    depth and it times the shift along the ray. Where all depth around the pixel lies behind the
    point, `through` counts it.
    """
    for view in range(pixel.shape[0]):
        if view == skipped_view:
            continue
        for n in range(pixel.shape[1]):
            at, z = pixel[view, n], z_m[view, n]
            if at < 0:
                continue
            center_m = depth_m[view, at]
            other_m = max(sigma[view, at] * center_m, 1e-3)
            allowed_m = base_m + tolerance * np.sqrt(other_m * other_m + error_m[n] * error_m[n])
            if nearest_m[view, at] > z + allowed_m:
                through[n] += 1
            elif farthest_m[view, at] >= z - allowed_m:
                agrees[n] += 1
                along = (axis_world[view, 0] * rays[n, 0] + axis_world[view, 1] * rays[n, 1]
                         + axis_world[view, 2] * rays[n, 2])  # fmt: skip
                gap_m = center_m - z
                if abs(along) > 0.3 and abs(gap_m) <= allowed_m:
                    precision = along * along / (other_m * other_m)
                    weight[n] += precision
                    shift_m[n] += precision * gap_m / along


@njit(nogil=True, cache=True, error_model="numpy")
def count_views(
    pixel, z_m, depth_m, nearest_m, farthest_m, sigma, tolerance, base_m, limit_m, sees, through
):  # fmt: skip
    """Add to every point how many views see a surface there, or look through it.

    The points fall into `pixel` at `z_m` (`find_pixels`); those beyond `limit_m` are left out.
    """
    for view in range(pixel.shape[0]):
        for n in range(pixel.shape[1]):
            at, z = pixel[view, n], z_m[view, n]
            if at < 0 or z > limit_m:
                continue
            allowed_m = base_m + tolerance * sigma[view, at] * depth_m[view, at]
            if nearest_m[view, at] > z + allowed_m:
                through[n] += 1
            elif farthest_m[view, at] >= z - allowed_m:
                sees[n] += 1


@njit(nogil=True, cache=True, error_model="numpy")
def measure_edges(depth_m, stride, edge):
    """Write how far inverse depth around every stride-th pixel is from a plane, as a share of it.

    `depth_m` [v h w], `edge` [v h/stride w/stride]: root mean square residual of the least squares
    plane through 5 x 5 pixels, in which a flat surface is one at any slant (inverse depth is linear
    in the image); infinite at the border and beside pixels without depth.
    """
    for view in range(edge.shape[0]):
        for i in range(edge.shape[1]):
            for j in range(edge.shape[2]):
                row, column = i * stride + stride // 2, j * stride + stride // 2
                edge[view, i, j] = np.inf
                if not (2 <= row < depth_m.shape[1] - 2 and 2 <= column < depth_m.shape[2] - 2):
                    continue
                total = square = across = down = 0.0
                for a in range(-2, 3):
                    for b in range(-2, 3):
                        inverse = 1 / depth_m[view, row + a, column + b]
                        total += inverse
                        square += inverse * inverse
                        across += b * inverse
                        down += a * inverse
                # The 25 places have a variance of 2 along each axis.
                left = square - total * total / 25 - (across * across + down * down) / 50
                if total > 0.0 and left < np.inf:
                    edge[view, i, j] = 5 * np.sqrt(max(left, 0.0)) / total
