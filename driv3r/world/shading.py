"""Colours of ray hits: procedural surfaces, sun, sky and haze, compiled by numba.

fastmath stays off so that every machine and thread count gives the same bytes (facts.md). Hash
noise is from integers for the same reason.
"""

import math

import numpy as np
from numba import njit


@njit(cache=True)
def hash01(ix, iy, iz):
    """A pseudo-random number in [0, 1) of a lattice point."""
    h = (ix * 374761393 + iy * 668265263 + iz * 1440662683) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFFFF) / 16777216.0


@njit(cache=True)
def value_noise(x, y, z):
    """Smooth noise in [0, 1] with period-free unit lattice."""
    fx, fy, fz = math.floor(x), math.floor(y), math.floor(z)
    ix, iy, iz = int(fx), int(fy), int(fz)
    x, y, z = x - fx, y - fy, z - fz
    x, y, z = x * x * (3 - 2 * x), y * y * (3 - 2 * y), z * z * (3 - 2 * z)
    total = 0.0
    for a in range(2):
        wa = x if a else 1 - x
        for b in range(2):
            wb = y if b else 1 - y
            for c in range(2):
                wc = z if c else 1 - z
                total += wa * wb * wc * hash01(ix + a, iy + b, iz + c)
    return total


@njit(cache=True)
def grain(x, y, z, footprint_m, first_m, octaves):
    """Noise about 0 over scales from `first_m` down, faded where a pixel's footprint is larger."""
    total, size, strength = 0.0, first_m, 1.0
    for _ in range(octaves):
        keep = 1.0 - 1.6 * footprint_m / size
        if keep <= 0:
            break
        total += strength * min(keep, 1.0) * (value_noise(x / size, y / size, z / size) - 0.5)
        size *= 0.31
        strength *= 0.8
    return total


@njit(cache=True)
def line_cover(distance_m, half_m, footprint_m):
    """How much of a pixel a painted line covers."""
    soft = max(footprint_m, 0.005)
    return min(max((half_m - abs(distance_m)) / soft + 0.5, 0.0), 1.0) * min(1.0, 2 * half_m / soft)


@njit(cache=True)
def shade_road(s, d, p, footprint, colour, road, out):
    """Asphalt with patches, cracks, wheel tracks, lane lines, crossings; worn paint."""
    lanes, half, yellow, parking, crossing = road[0], road[1], road[2], road[3], road[4]
    tone = 1.0 + 0.5 * grain(p[0], p[1], p[2], footprint, 3.0, 5)
    if value_noise(s * 0.12, d * 0.25, 7.0) > 0.72:
        tone *= 0.72
    crack = abs(value_noise(s * 0.35, d * 0.35, 3.0) - 0.5)
    tone *= 1.0 - 0.5 * line_cover(crack * 2.0, 0.012, footprint)
    track = abs((abs(d) / 3.5) % 1.0 - 0.5)
    tone *= 0.93 + 0.25 * abs(track - 0.22)
    paint = 0.0
    centre = line_cover(abs(d) - 0.12, 0.06, footprint) if yellow > 0.5 else 0.0
    if yellow <= 0.5 and lanes >= 1 and (s % 9.0) < 4.0:
        paint = line_cover(d, 0.07, footprint)
    k = 1.0
    while k < lanes:
        if (s % 8.0) < 3.2:
            paint = max(paint, line_cover(abs(d) - 3.5 * k, 0.07, footprint))
        k += 1.0
    paint = max(paint, 0.9 * line_cover(abs(d) - (half - parking - 0.15), 0.07, footprint))
    if parking > 0 and abs(d) > half - parking:
        paint = max(paint, 0.8 * line_cover((s % 6.0) - 3.0, 0.05, footprint))
    along = (s % crossing) - 0.5 * crossing
    if abs(along) < 1.8 and (d % 1.2) < 0.6:
        paint = max(paint, 0.9)
    worn = min(max(1.2 - 1.3 * value_noise(p[0] * 2.1, p[1] * 2.1, 1.0), 0.25), 1.0)
    for c in range(3):
        base = colour[c] * tone
        base += paint * worn * (0.55 - base)
        gold = 0.5 if c == 0 else (0.33 if c == 1 else 0.06)
        out[c] = base + centre * worn * (gold - base)


@njit(cache=True)
def shade_facade(u, v, style, colour, footprint, sky, out):
    """Windows in a grid, some lit or with blinds, shopfronts below, brick or plaster between."""
    floor_m = 2.9 + 0.9 * ((style * 7.0) % 1.0)
    pitch_m = 1.6 + 2.2 * ((style * 13.0) % 1.0)
    column, row = math.floor(u / pitch_m), math.floor(v / floor_m)
    fu, fv = u / pitch_m - column, v / floor_m - row
    wide, low, high = 0.24 + 0.2 * ((style * 29.0) % 1.0), 0.28, 0.78
    if row == 0 and style > 0.45:
        wide, low, high = 0.46, 0.16, 0.82
    inside_u, inside_v = wide - abs(fu - 0.5), min(fv - low, high - fv)
    soft_u, soft_v = max(footprint / pitch_m, 1e-3), max(footprint / floor_m, 1e-3)
    window = min(max(inside_u / soft_u + 0.5, 0.0), 1.0) * min(max(inside_v / soft_v + 0.5, 0), 1)
    frame = 1.0 if min(inside_u * pitch_m, inside_v * floor_m) < 0.07 else 0.0
    chance = hash01(int(column), int(row), int(style * 4096))
    tone = 1.0 + 0.35 * grain(u, v, style * 50, footprint, 5.0, 5)
    tone *= 1.0 - 0.25 * line_cover((v % floor_m) - 0.1, 0.08, footprint)
    if style > 0.6:
        course = line_cover((v % 0.15) - 0.075, 0.014, footprint)
        tone *= 1.0 - 0.35 * course
    for c in range(3):
        glass = 0.03 + 0.45 * sky[c] * (0.15 + 0.35 * chance)
        if chance > 0.8:
            glass = 0.35 * (1.0 - 0.15 * c)
        pane = glass if frame < 0.5 else 0.45 * (1 if chance > 0.3 else 0.3)
        out[c] = colour[c] * tone * (1 - window) + window * pane


@njit(cache=True)
def shade_surface(material, p, u, v, style, colour, footprint, road, sky, out):
    """Albedo of one hit; `p` is in the thing's own frame so that texture sticks to it."""
    if material == 0:
        shade_road(u, v, p, footprint, colour, road, out)
        return
    if material == 3:
        shade_facade(u, v, style, colour, footprint, sky, out)
        return
    tone = 1.0
    if material == 1:
        tone = 1.0 + 0.4 * grain(p[0], p[1], p[2], footprint, 2.5, 5)
        seam = max(
            line_cover((u % 0.9) - 0.45, 0.012, footprint),
            line_cover((v % 0.9) - 0.45, 0.012, footprint),
        )
        tone *= 1.0 - 0.4 * seam
    elif material == 2:
        tone = 1.0 + 0.9 * grain(p[0], p[1], p[2], footprint, 6.0, 6)
    elif material == 5:
        tone = 1.0 + 1.2 * grain(p[0], p[1], p[2], footprint, 0.6, 4)
    elif material == 8:
        tone = 1.0 + 0.9 * grain(p[0] * 4, p[1] * 4, p[2], footprint * 2, 0.6, 4)
    elif material == 10:
        board = line_cover((u % 0.16) - 0.08, 0.012, footprint)
        tone = (1.0 - 0.5 * board) * (1.0 + 0.5 * grain(u * 6, v, style * 9, footprint, 1.0, 4))
    elif material == 4:
        tone = 1.0 + 0.25 * grain(p[0], p[1], p[2], footprint, 1.2, 5)
    for c in range(3):
        out[c] = max(colour[c] * tone, 0.003)


@njit(cache=True)
def sky_colour(dx, dy, dz, light, out):
    """Radiance of the sky along a direction: gradient, clouds, glow about the sun."""
    up = max(dz, 0.0)
    fade = math.exp(-4.0 * up)
    glow = max(dx * light[0] + dy * light[1] + dz * light[2], 0.0)
    cloud = 0.0
    if dz > 0.01:
        cx, cy = dx / (dz + 0.15) * 2.2, dy / (dz + 0.15) * 2.2
        cloud = grain(cx + light[15], cy, light[15], 0.0, 1.7, 5) * 2.2 + light[14] * 2.0 - 0.7
        cloud = min(max(cloud, 0.0), 1.0) * min(1.0, up * 8)
    for c in range(3):
        base = light[6 + c] * (1 - fade) + light[9 + c] * fade
        base += cloud * (light[9 + c] * 1.15 - base)
        out[c] = base + light[3 + c] * (0.06 * glow**8 + 0.5 * glow**200)


@njit(cache=True)
def light_hit(m, nx, ny, nz, rz, cosine, lit, height, distance, light, mirror, out):
    """Turn albedo `out` into radiance: sun, sky, gloss, dark near the ground, haze."""
    sun = max(nx * light[0] + ny * light[1] + nz * light[2], 0.0) * lit
    if m == 5:
        sun = lit * (0.25 + 0.5 * abs(sun))
    near_ground = 1.0 - 0.35 * math.exp(-max(height, 0.0) * 2.0)
    fresnel = 0.04 + 0.96 * (1.0 - cosine) ** 5
    gloss = fresnel * (0.5 if m == 6 else 0.0) + (fresnel * 0.9 if m == 7 else 0.0)
    if m == 0:
        gloss = light[13] * (0.04 + 0.5 * (1.0 - cosine) ** 5)
    blocked = 0.25 + 0.75 * min(max(rz * 6.0, 0.0), 1.0)
    haze = 1.0 - math.exp(-distance * light[12])
    for c in range(3):
        sky = (0.6 * light[6 + c] + 0.4 * light[9 + c]) * 0.8
        ambient = (0.55 + 0.45 * nz) * sky * near_ground
        value = out[c] * (sun * light[3 + c] + ambient) * (1 - gloss) + gloss * blocked * mirror[c]
        if m == 9:
            value = out[c] * 2.5
        out[c] = value * (1 - haze) + haze * light[9 + c] * 0.9


@njit(cache=True, nogil=True)
def shade_hits(
    hit, own, rays, normals, uv, material, colour, style, distance, pixel_rad, lit, road,
    light, rgb,
):  # fmt: skip
    """Linear RGB of every ray; `hit` 0 sky, 1 static, 2 actor; `light` as packed by scene.Light."""
    sky, out, mirror = np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(len(hit)):
        if hit[i] == 0:
            sky_colour(rays[i, 0], rays[i, 1], rays[i, 2], light, sky)
            rgb[i] = sky
            continue
        n = normals[i]
        facing = n[0] * rays[i, 0] + n[1] * rays[i, 1] + n[2] * rays[i, 2]
        sign = -1.0 if facing > 0 else 1.0
        nx, ny, nz = n[0] * sign, n[1] * sign, n[2] * sign
        cosine = abs(facing)
        footprint = distance[i] * pixel_rad / max(cosine, 0.15)
        rx, ry, rz = (
            rays[i, 0] + 2 * cosine * nx,
            rays[i, 1] + 2 * cosine * ny,
            rays[i, 2] + 2 * cosine * nz,
        )
        m = material[i]
        if m == 3 or m == 6 or m == 7 or (m == 0 and light[13] > 0):
            sky_colour(rx, ry, max(rz, 0.02), light, mirror)
        shade_surface(
            m, own[i], uv[i, 0], uv[i, 1], style[i], colour[i], footprint, road, mirror, out
        )
        height = own[i, 2] if hit[i] == 2 else 1e9
        light_hit(m, nx, ny, nz, rz, cosine, lit[i], height, distance[i], light, mirror, out)
        rgb[i] = out
