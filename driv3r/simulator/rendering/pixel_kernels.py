"""Per-pixel kernels of an image: where edges are, open sky, and image motion (see noise.py)."""

import math

import cv2
import numpy as np

from driv3r.simulator.rendering.jit import kernel
from driv3r.simulator.rendering.procedural_noise import hash01

SKY_STEP = 3  # sky rays leave from every third pixel of every third row
SHARP = 0.45  # an edge is smoothed where the logarithm of light steps by more
DARK = 0.02  # radiance below which steps do not show


@kernel
def mark_edges(kind, range_m, normal, material, colour, rgb, width, marked):
    """Mark pixels whose right or lower neighbour is another surface of another brightness."""
    rows, step = len(kind) // width, np.exp(SHARP)
    for y in range(rows):
        for x in range(width):
            i = y * width + x
            light = rgb[i, 0] + rgb[i, 1] + rgb[i, 2] + 3 * DARK
            for way in range(2):
                if x == width - 1 if way == 0 else y == rows - 1:
                    continue
                j = i + (1 if way == 0 else width)
                other = rgb[j, 0] + rgb[j, 1] + rgb[j, 2] + 3 * DARK
                if max(light, other) < step * min(light, other):
                    continue
                differs = kind[i] != kind[j] or material[i] != material[j]
                if not differs and kind[i] > 0:
                    agree, shade = 0.0, 0.0
                    for c in range(3):
                        agree += normal[i, c] * normal[j, c]
                        shade += abs(colour[i, c] - colour[j, c])
                    ratio = range_m[i] / range_m[j]
                    differs = agree < 0.85 or shade > 0.06 or ratio > 1.08 or ratio < 0.926
                if differs:
                    marked[i] = True
                    marked[j] = True


@kernel
def sky_rays(kind, point, face, normal, width, key, cell, start, direction):
    """Rays from the surfaces of every SKY_STEP-th pixel of as many rows; how many there are.

    Directions are cosine-distributed about normals, stratified over 3x3 of these pixels, which
    `cell` numbers by row.
    """
    count, across = 0, (width + SKY_STEP - 1) // SKY_STEP
    for y in range(0, len(kind) // width, SKY_STEP):
        for x in range(0, width, SKY_STEP):
            i = y * width + x
            if kind[i] == 0:
                continue
            j, k = x // SKY_STEP, y // SKY_STEP
            cell[count] = k * across + j
            stratum = (j % 3) + 3 * (k % 3)
            spread = (stratum + hash01(i, key, 1)) / 9.0
            turn = 2 * math.pi * ((stratum * 4) % 9 + hash01(i, key, 2)) / 9.0
            radius, up = math.sqrt(spread), math.sqrt(1.0 - spread)
            u, v = radius * math.cos(turn), radius * math.sin(turn)
            nx, ny, nz = normal[i, 0], normal[i, 1], normal[i, 2]
            ax, ay, az, bx, by, bz = _across(nx, ny, nz)
            direction[count, 0] = u * ax + v * bx + up * nx
            direction[count, 1] = u * ay + v * by + up * ny
            direction[count, 2] = u * az + v * bz + up * nz
            for c in range(3):
                start[count, c] = point[i, c] + 0.03 * face[i, c]
            count += 1
    return count


@kernel
def sun_rays(
    kind, range_m, point, face, normal, material, width, second, sun, radius, key, lit, rows,
    start, direction,
):  # fmt: skip
    """Rays towards places on the sun's disc from pixels that face it, or are leaves; how many.

    First from every other pixel, as a chessboard's black squares. Of the others, `second`, those
    whose neighbours on the same surface agree take their answer from `lit`.
    """
    count, (ax, ay, az, bx, by, bz) = 0, _across(sun[0], sun[1], sun[2])
    for row in range(len(kind) // width):
        for column in range((row + second) & 1, width, 2):
            i = row * width + column
            facing = normal[i, 0] * sun[0] + normal[i, 1] * sun[1] + normal[i, 2] * sun[2]
            if kind[i] == 0 or (facing <= 0 and material[i] != 5):
                continue
            if second and _agreed(lit, range_m, normal, i, column, width):
                continue
            turn, away = 2 * math.pi * hash01(i, key, 1), radius * math.sqrt(hash01(i, key, 2))
            up = math.sqrt(max(1.0 - away * away, 0.0))
            u, v = away * math.cos(turn), away * math.sin(turn)
            direction[count, 0] = u * ax + v * bx + up * sun[0]
            direction[count, 1] = u * ay + v * by + up * sun[1]
            direction[count, 2] = u * az + v * bz + up * sun[2]
            rows[count] = i
            for c in range(3):
                start[count, c] = point[i, c] + 0.02 * face[i, c]
            count += 1
    return count


@kernel
def _agreed(lit, range_m, normal, i, column, width):
    """Take over what all four neighbours say if they lie on pixel i's surface and say the same."""
    if column == 0 or column == width - 1 or i < width or i + width >= len(lit):
        return False
    value = lit[i - 1]
    for j in (i - 1, i + 1, i - width, i + width):
        if lit[j] != value or not _on_one_surface(range_m, normal, i, j, 0.9):
            return False
    lit[i] = value
    return True


@kernel
def _on_one_surface(range_m, normal, i, j, least):
    """Whether two pixels are about as far away, and their normals' cosine is above `least`."""
    agree = normal[i, 0] * normal[j, 0] + normal[i, 1] * normal[j, 1]
    agree += normal[i, 2] * normal[j, 2]
    return agree > least and abs(range_m[i] - range_m[j]) <= 0.06 * range_m[i]


@kernel
def _across(nx, ny, nz):
    """Two unit vectors across a unit vector and each other."""
    ax, ay, az = (0.0, 0.0, 1.0) if abs(nz) < 0.9 else (1.0, 0.0, 0.0)
    tx, ty, tz = ay * nz - az * ny, az * nx - ax * nz, ax * ny - ay * nx
    length = math.sqrt(tx * tx + ty * ty + tz * tz)
    tx, ty, tz = tx / length, ty / length, tz / length
    return tx, ty, tz, ny * tz - nz * ty, nz * tx - nx * tz, nx * ty - ny * tx


def gather(values, kind, range_m, normal, width: int, step: int, of_sky: float, out) -> None:
    """Means of zeros and ones over 3x3 neighbours on each pixel's surface, else over all nine.

    `values` are those of every `step`-th pixel of every `step`-th row, NaN where there is none.
    """
    grid = values.reshape(-1, (width + step - 1) // step)
    known = (grid == grid).astype(np.float32)
    sums, counts = (
        cv2.boxFilter(x, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
        for x in (np.where(grid == grid, grid, np.float32(0)), known)
    )
    _share(grid, sums, counts, kind, range_m, normal, width, step, of_sky, out)


@kernel
def _share(grid, sums, counts, kind, range_m, normal, width, step, of_sky, out):
    down, across = grid.shape
    for row in range(down):
        for column in range(across):
            total, count = sums[row, column], counts[row, column]
            mean, near = total / count if count > 0 else 1.0, (row, column)
            alike = total == 0 or total == count
            middle = row * step * width + column * step
            flat = alike or (step > 1 and _is_flat(grid, range_m, normal, width, step, near))
            for y in range(row * step, min(row * step + step, len(kind) // width)):
                for x in range(column * step, min(column * step + step, width)):
                    i = y * width + x
                    if kind[i] == 0:
                        out[i] = of_sky
                    elif alike or (flat and _on_one_surface(range_m, normal, i, middle, 0.8)):
                        out[i] = mean
                    else:
                        out[i] = _mean_alike(grid, range_m, normal, i, width, step, near, mean)


@kernel
def _is_flat(grid, range_m, normal, width, step, near):
    """Whether all values about one lie on its surface."""
    (down, across), (row, column) = grid.shape, near
    middle = row * step * width + column * step
    for y in range(max(row - 1, 0), min(row + 2, down)):
        for x in range(max(column - 1, 0), min(column + 2, across)):
            j, value = y * step * width + x * step, grid[y, x]
            if value == value and not _on_one_surface(range_m, normal, middle, j, 0.8):
                return False
    return True


@kernel
def _mean_alike(grid, range_m, normal, i, width, step, near, mean):
    """The mean of those values about one that lie on pixel i's surface, else `mean`."""
    (down, across), (row, column) = grid.shape, near
    total, weight = 0.0, 0
    for y in range(max(row - 1, 0), min(row + 2, down)):
        for x in range(max(column - 1, 0), min(column + 2, across)):
            j, value = y * step * width + x * step, grid[y, x]
            if value == value and _on_one_surface(range_m, normal, i, j, 0.8):
                total += value
                weight += 1
    return total / weight if weight > 0 else mean


@kernel
def image_motion(point, ray, kind, velocity, cam_T_world_later, K, step_s, uv, out):
    """Image velocity (pixels/s) of what each pixel sees; pinhole, the sky infinitely far."""
    T = cam_T_world_later
    p = np.zeros(3)
    for i in range(len(kind)):
        far = kind[i] == 0
        for c in range(3):
            p[c] = 0.0 if far else T[c, 3]
            for k in range(3):
                source = ray[i, k] if far else point[i, k] + velocity[i, k] * step_s
                p[c] += T[c, k] * source
        depth = max(p[2], 0.05)
        out[i, 0] = (K[0, 0] * p[0] / depth + K[0, 2] - uv[i, 0]) / step_s
        out[i, 1] = (K[1, 1] * p[1] / depth + K[1, 2] - uv[i, 1]) / step_s
