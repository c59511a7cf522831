"""Noise, lines and photographed tones for surfaces, faded where a pixel is larger than they are.

The lattice noise comes from integers, so that every machine gives the same bytes.
"""

import math

from driv3r.simulator.rendering.jit import kernel
from driv3r.simulator.rendering.textures import LEVELS, SIZE, STARTS

MIP_STARTS = tuple(int(n) for n in STARTS)


@kernel
def hash01(ix, iy, iz):
    """A pseudo-random number in [0, 1) of a lattice point."""
    h = (ix * 374761393 + iy * 668265263 + iz * 1440662683) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFFFF) / 16777216.0


@kernel
def wrap(x, period):
    """What is left of x after whole periods, in [0, period); several times faster than `%`."""
    return x - period * math.floor(x / period)


@kernel
def smooth_noise(x, y, seed):
    """Smooth noise in [0, 1) on a plane."""
    fx, fy = math.floor(x), math.floor(y)
    ix, iy, x, y = int(fx), int(fy), x - fx, y - fy
    x, y = x * x * (3 - 2 * x), y * y * (3 - 2 * y)
    low = hash01(ix, iy, seed) * (1 - x) + hash01(ix + 1, iy, seed) * x
    high = hash01(ix, iy + 1, seed) * (1 - x) + hash01(ix + 1, iy + 1, seed) * x
    return low * (1 - y) + high * y


@kernel
def noise_along(x, row, seed):
    """Smooth noise in [0, 1) along a line, one of many by its whole number `row`."""
    fx = math.floor(x)
    ix, x = int(fx), x - fx
    x = x * x * (3 - 2 * x)
    return hash01(ix, row, seed) * (1 - x) + hash01(ix + 1, row, seed) * x


@kernel
def grain(x, y, footprint_m, first_m, octaves, seed):
    """Noise about 0 over scales from `first_m` down, faded where a pixel's footprint is larger."""
    total, per_m, strength = 0.0, 1.0 / first_m, 1.0
    for k in range(octaves):
        keep = 1.0 - 1.6 * footprint_m * per_m
        if keep <= 0:
            break
        total += strength * min(keep, 1.0) * (smooth_noise(x * per_m, y * per_m, seed + k) - 0.5)
        per_m *= 1.0 / 0.31
        strength *= 0.8
    return total


@kernel
def line_cover(distance_m, half_m, footprint_m):
    """How much of a pixel a painted line covers."""
    soft = max(footprint_m, 0.005)
    return min(max((half_m - abs(distance_m)) / soft + 0.5, 0.0), 1.0) * min(1.0, 2 * half_m / soft)


@kernel
def edge_cover(inside_m, footprint_m):
    """How much of a pixel lies inside an edge, `inside_m` away from it."""
    return min(max(inside_m / max(footprint_m, 0.003) + 0.5, 0.0), 1.0)


@kernel
def tone_of(textures, which, u, v, size_m, footprint_m):
    """A photograph's tone (about 1) with `size_m` metres a repeat, from the mip level that fits."""
    level = 0
    texel = size_m / SIZE
    while level < LEVELS - 1 and footprint_m > texel * 1.5:
        texel *= 2.0
        level += 1
    n = SIZE >> level
    x, y = u / size_m * n, v / size_m * n
    fx, fy = math.floor(x), math.floor(y)
    x, y = x - fx, y - fy
    i, j = int(fx) & (n - 1), int(fy) & (n - 1)
    right, below = (i + 1) & (n - 1), (j + 1) & (n - 1)
    row, next_row = MIP_STARTS[level] + j * n, MIP_STARTS[level] + below * n
    above = textures[which, row + i] * (1 - x) + textures[which, row + right] * x
    under = textures[which, next_row + i] * (1 - x) + textures[which, next_row + right] * x
    return above * (1 - y) + under * y
