"""Per-pixel kernels of an image: where edges are, open sky, and image motion (see noise.py)."""

import math

import numpy as np
from numba import njit

from driv3r.world.noise import hash01

SKY_STEP = 2  # sky rays leave from every other pixel of every other row


@njit(cache=True, nogil=True)
def mark_edges(kind, range_m, normal, material, colour, width, marked):
    """Mark pixels whose right or lower neighbour is another surface."""
    n = len(kind)
    for i in range(n):
        for step in (1, width):
            j = i + step
            if j >= n or (step == 1 and j % width == 0):
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


@njit(cache=True, nogil=True)
def sky_rays(kind, point, face, normal, width, key, cell, start, direction):
    """Rays from the surfaces of every other pixel of every other row; how many there are.

    Directions are cosine-distributed about normals, stratified over 4x4 of these pixels, which
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
            stratum = (j % 4) + 4 * (k % 4)
            spread = (stratum + hash01(i, key, 1)) / 16.0
            turn = 2 * math.pi * ((stratum * 7) % 16 + hash01(i, key, 2)) / 16.0
            radius, up = math.sqrt(spread), math.sqrt(1.0 - spread)
            _tilt(normal[i], radius * math.cos(turn), radius * math.sin(turn), up, direction[count])
            for c in range(3):
                start[count, c] = point[i, c] + 0.03 * face[i, c]
            count += 1
    return count


@njit(cache=True, nogil=True)
def sun_rays(kind, point, face, normal, material, sun, radius, key, rows, start, direction):
    """Rays towards places on the sun's disc from pixels that face it, or are leaves; how many."""
    count = 0
    for i in range(len(kind)):
        facing = normal[i, 0] * sun[0] + normal[i, 1] * sun[1] + normal[i, 2] * sun[2]
        if kind[i] == 0 or (facing <= 0 and material[i] != 5):
            continue
        turn, away = 2 * math.pi * hash01(i, key, 1), radius * math.sqrt(hash01(i, key, 2))
        up = math.sqrt(max(1.0 - away * away, 0.0))
        _tilt(sun, away * math.cos(turn), away * math.sin(turn), up, direction[count])
        rows[count] = i
        for c in range(3):
            start[count, c] = point[i, c] + 0.02 * face[i, c]
        count += 1
    return count


@njit(cache=True, nogil=True)
def _tilt(n, c, s, up, out):
    """The vector with parts `c` and `s` aside of a unit vector and `up` along it."""
    ax, ay, az = (0.0, 0.0, 1.0) if abs(n[2]) < 0.9 else (1.0, 0.0, 0.0)
    tx, ty, tz = ay * n[2] - az * n[1], az * n[0] - ax * n[2], ax * n[1] - ay * n[0]
    length = math.sqrt(tx * tx + ty * ty + tz * tz)
    tx, ty, tz = tx / length, ty / length, tz / length
    bx, by, bz = n[1] * tz - n[2] * ty, n[2] * tx - n[0] * tz, n[0] * ty - n[1] * tx
    out[0] = c * tx + s * bx + up * n[0]
    out[1] = c * ty + s * by + up * n[1]
    out[2] = c * tz + s * bz + up * n[2]


@njit(cache=True, nogil=True)
def gather(values, kind, range_m, normal, width, step, reach, of_sky, out):
    """Means over neighbours on each pixel's surface, or over all where none of them is on it.

    `values` are those of every `step`-th pixel of every `step`-th row, NaN where there is none;
    neighbours are `reach` = (first, last + 1) of these away.
    """
    down, across = (len(kind) // width + step - 1) // step, (width + step - 1) // step
    for i in range(len(kind)):
        if kind[i] == 0:
            out[i] = of_sky
            continue
        column, row = (i % width) // step, (i // width) // step
        total, weight, total_all, weight_all = 0.0, 0, 0.0, 0
        for y in range(max(row + reach[0], 0), min(row + reach[1], down)):
            for x in range(max(column + reach[0], 0), min(column + reach[1], across)):
                value = values[y * across + x]
                if value != value:
                    continue
                j = y * step * width + x * step
                total_all += value
                weight_all += 1
                if abs(range_m[i] - range_m[j]) > 0.06 * range_m[i]:
                    continue
                agree = normal[i, 0] * normal[j, 0] + normal[i, 1] * normal[j, 1]
                if agree + normal[i, 2] * normal[j, 2] > 0.8:
                    total += value
                    weight += 1
        if weight > 0:
            out[i] = total / weight
        else:
            out[i] = total_all / weight_all if weight_all > 0 else 1.0


@njit(cache=True, nogil=True)
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
