"""Radiance of ray hits: sun, sky, lamps, gloss and haze, compiled by numba (see noise.py)."""

import math

import numpy as np

from driv3r.simulator.rendering.jit import kernel
from driv3r.simulator.rendering.materials import shade_surface
from driv3r.simulator.rendering.procedural_noise import grain, hash01, smooth_noise

GROUND_BOUNCE = 0.16
LAMP_POWER = 26.0
BEAM_POWER = 70.0


@kernel
def sky_colour(dx, dy, dz, light, detail, out):
    """Radiance of the sky along a direction: gradient, clouds in `detail` scales, sun's glow."""
    up = max(dz, 0.0)
    fade = math.exp(-4.0 * up)
    glow = max(dx * light[0] + dy * light[1] + dz * light[2], 0.0)
    cloud = 0.0
    if dz > 0.01:
        cx, cy = dx / (dz + 0.15) * 2.2, dy / (dz + 0.15) * 2.2
        cloud = grain(cx + light[15], cy, 0.0, 1.7, detail, 71) * 2.2 + light[14] * 2.0 - 0.7
        cloud = min(max(cloud, 0.0), 1.0) * min(1.0, up * 8)
    for c in range(3):
        base = light[6 + c] * (1 - fade) + light[9 + c] * fade
        base += cloud * (light[9 + c] * 1.15 - base)
        out[c] = base + light[3 + c] * (0.06 * glow**8 + 0.5 * glow**200)


@kernel
def mirror_colour(dx, dy, dz, light, out):
    """What a glossy surface shows: the sky, and a dark rough horizon of houses below it."""
    sky_colour(dx, dy, max(dz, 0.02), light, 2, out)
    turn = math.atan2(dy, dx) * 6.0
    roofs = 0.05 + 0.16 * hash01(int(math.floor(turn)), 3, 11)
    houses = min(max((roofs - dz) * 12.0, 0.0), 1.0)
    for c in range(3):
        out[c] *= 1.0 - 0.8 * houses


@kernel
def add_lamps(p, nx, ny, nz, lamps, beams, strength, out):
    """Irradiance of street lamps and of the car's own two headlights, without shadows."""
    for k in range(len(lamps)):
        x, y, z = lamps[k, 0] - p[0], lamps[k, 1] - p[1], lamps[k, 2] - p[2]
        square = x * x + y * y + z * z + 0.3
        if square > 2500.0:
            continue
        length = math.sqrt(square)
        cosine = max((nx * x + ny * y + nz * z) / length, 0.0)
        power = strength * LAMP_POWER * (0.1 + 0.9 * max(z / length, 0.0) ** 2) * cosine / square
        for c in range(3):
            out[c] += lamps[k, 3 + c] * power
    for k in range(len(beams)):
        x, y, z = p[0] - beams[k, 0], p[1] - beams[k, 1], p[2] - beams[k, 2]
        ahead = x * beams[k, 3] + y * beams[k, 4] + z * beams[k, 5]
        if ahead < 0.5 or ahead > 90.0:
            continue
        square = x * x + y * y + z * z
        aside = (x * beams[k, 4] - y * beams[k, 3]) / ahead
        up = z / ahead + 0.015
        cone = math.exp(-8.0 * aside * aside) * (1.0 / (1.0 + math.exp(40.0 * up)))
        cosine = max(-(nx * x + ny * y + nz * z) / math.sqrt(square), 0.0)
        power = strength * BEAM_POWER * cone * cosine / (square + 4.0)
        for c in range(3):
            out[c] += power * (1.0 - 0.1 * c)


@kernel
def own_light(m, dark):
    """How much a lamp material shines by itself."""
    if m == 9:
        return 2.5 + 6.0 * dark
    if m == 14:
        return 0.3 + 12.0 * dark
    return 0.1 + 1.5 * dark if m == 15 else 0.0


@kernel
def light_hit(m, p, normal, ray, distance, lit, open_sky, light, lamps, beams, mirror, lamp, out):
    """Turn albedo `out` into radiance along `ray` (towards the surface); `lamp` is scratch."""
    nx, ny, nz = normal[0], normal[1], normal[2]
    cosine = abs(nx * ray[0] + ny * ray[1] + nz * ray[2])
    sun = max(nx * light[0] + ny * light[1] + nz * light[2], 0.0) * lit
    if m == 5:  # light shines through leaves
        sun = lit * (0.2 + 0.5 * abs(sun))
    fresnel = 0.04 + 0.96 * (1.0 - cosine) ** 5
    gloss = 0.0
    if m == 6:
        gloss = 0.75 * fresnel
    elif m == 7 or m == 14:
        gloss = 0.06 + 0.9 * fresnel
    elif light[13] > 0 and (m == 0 or m == 21 or m == 22):
        damp = light[13] * min(1.0, 2.2 * smooth_noise(0.3 * p[0], 0.3 * p[1], 41))
        gloss = damp * (0.04 + 0.7 * (1.0 - cosine) ** 5)
        for c in range(3):
            out[c] *= 1.0 - 0.45 * damp
    lamp[:] = 0.0
    if light[16] > 0:
        add_lamps(p, nx, ny, nz, lamps, beams, light[16], lamp)
    shine = own_light(m, light[16])
    haze = 1.0 - math.exp(-distance * light[12])
    for c in range(3):
        sky = (0.6 * light[6 + c] + 0.4 * light[9 + c]) * 0.9
        bounce = GROUND_BOUNCE * (light[3 + c] * max(light[2], 0.0) * 0.5 + sky)
        ambient = (0.55 + 0.45 * nz) * sky * open_sky + bounce * (1.15 - 0.6 * open_sky)
        value = out[c] * (sun * light[3 + c] + ambient + lamp[c] + shine)
        value = value * (1 - gloss) + gloss * mirror[c]
        out[c] = value * (1 - haze) + haze * light[9 + c] * 0.92


@kernel
def _row(rows, i):
    return rows[i, 0], rows[i, 1], rows[i, 2]


@kernel
def shade_hits(
    found, rays, pixel_rad, lit, open_sky, mirrored, roads, light, lamps, beams, textures, rgb
):  # fmt: skip
    """Linear RGB [n, 3] of every ray into `rgb`.

    `found` are casting.Found's arrays. `lit` says where the sun shines, `open_sky` how much of the
    sky is seen; `mirrored` is what wet ground reflects (negative: use the sky).
    """
    kind, range_m, point, own, normal, _, uv, material, style, colour = found
    out, mirror, lamp = np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(len(kind)):
        if kind[i] == 0:
            sky_colour(rays[i, 0], rays[i, 1], rays[i, 2], light, 5, out)
            for c in range(3):
                rgb[i, c] = out[c]
            continue
        # Threes of numbers, not views: numba counts the references to each view.
        n, ray, p = _row(normal, i), _row(rays, i), _row(own, i)
        m = material[i]
        facing = n[0] * ray[0] + n[1] * ray[1] + n[2] * ray[2]
        footprint = range_m[i] * pixel_rad / max(abs(facing), 0.12)
        if mirrored[i, 0] >= 0:
            for c in range(3):
                mirror[c] = mirrored[i, c]
        elif m == 3 or m == 6 or m == 7 or m == 14 or (light[13] > 0 and m in (0, 21, 22)):
            mirror_colour(
                ray[0] - 2 * facing * n[0],
                ray[1] - 2 * facing * n[1],
                ray[2] - 2 * facing * n[2],
                light, mirror,
            )  # fmt: skip
        shade_surface(
            m, p, uv[i, 0], uv[i, 1], style[i], _row(colour, i), footprint, roads, mirror,
            light[16], textures, out,
        )  # fmt: skip
        light_hit(
            m, _row(point, i), n, ray, range_m[i], lit[i], open_sky[i], light, lamps, beams,
            mirror, lamp, out,
        )  # fmt: skip
        for c in range(3):
            rgb[i, c] = out[c]
