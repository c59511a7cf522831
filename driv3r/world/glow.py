"""Per-pixel kernels of an image: where edges are, open sky, and image motion (see noise.py)."""

import math

import numpy as np
from numba import njit

from driv3r.world.noise import hash01


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
def sky_rays(normal, rows, width, key, out):
    """Directions for some pixels, cosine-distributed about normals, stratified over 4x4 pixels."""
    for k in range(len(rows)):
        i = rows[k]
        x, y = i % width, i // width
        cell = (x % 4) + 4 * (y % 4)
        spread = (cell + hash01(i, key, 1)) / 16.0
        turn = 2 * math.pi * ((cell * 7) % 16 + hash01(i, key, 2)) / 16.0
        radius, up = math.sqrt(spread), math.sqrt(1.0 - spread)
        n = normal[i]
        ax, ay, az = (0.0, 0.0, 1.0) if abs(n[2]) < 0.9 else (1.0, 0.0, 0.0)
        tx, ty, tz = ay * n[2] - az * n[1], az * n[0] - ax * n[2], ax * n[1] - ay * n[0]
        length = math.sqrt(tx * tx + ty * ty + tz * tz)
        tx, ty, tz = tx / length, ty / length, tz / length
        bx, by, bz = n[1] * tz - n[2] * ty, n[2] * tx - n[0] * tz, n[0] * ty - n[1] * tx
        c, s = radius * math.cos(turn), radius * math.sin(turn)
        out[k, 0] = c * tx + s * bx + up * n[0]
        out[k, 1] = c * ty + s * by + up * n[1]
        out[k, 2] = c * tz + s * bz + up * n[2]


@njit(cache=True, nogil=True)
def gather_sky(clear, range_m, normal, width, reach, out):
    """Mean of what is not NaN over neighbours on one surface, `reach` = (first, last + 1) away."""
    n = len(clear)
    for i in range(n):
        x = i % width
        total, weight = 0.0, 0.0
        for dy in range(reach[0], reach[1]):
            for dx in range(reach[0], reach[1]):
                j = i + dy * width + dx
                if x + dx < 0 or x + dx >= width or j < 0 or j >= n:
                    continue
                agree = 0.0
                for c in range(3):
                    agree += normal[i, c] * normal[j, c]
                if (
                    clear[j] == clear[j]
                    and agree > 0.8
                    and abs(range_m[i] - range_m[j]) < 0.06 * range_m[i]
                ):
                    total += clear[j]
                    weight += 1.0
        out[i] = total / weight if weight > 0 else 1.0


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
