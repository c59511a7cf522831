"""Albedo of the ground: carriageways, junctions, car parks, pavements and land (see noise.py).

A row of `roads` is [lanes each way, half width, yellow centre, parking strip, crossing period,
half width of the crossing street, corner radius, pavement of this and of the crossing street,
whether land is grass, seed, kerbs in black and white], lengths in metres.
"""

import math

from driv3r.simulator.rendering.jit import kernel
from driv3r.simulator.rendering.procedural_noise import (
    edge_cover,
    grain,
    line_cover,
    noise_along,
    smooth_noise,
    tone_of,
    wrap,
)

LANE_M = 3.5


@kernel
def asphalt_tone(p, along, across, footprint, seed, textures):
    """Patches, cracks, tar seams and grit, about 1."""
    grit = tone_of(textures, 2, p[0], p[1], 1.3, footprint)
    tone = 0.6 + 0.4 * grit + 0.45 * grain(p[0], p[1], footprint, 6.0, 3, seed)
    if noise_along(along * 0.035, seed, seed + 9) > 0.62:
        tone *= 0.78  # relaid lengths
    if smooth_noise(math.floor(along * 0.3) * 0.9, math.floor(across * 0.7) * 0.9, seed + 4) > 0.8:
        tone *= 0.75  # mended squares
    crack = abs(smooth_noise(along * 0.4, across * 0.4, seed + 3) - 0.5)
    tone *= 1.0 - 0.5 * line_cover(crack * 2.0, 0.012, footprint)
    seam = abs(noise_along(along * 0.05, int(math.floor(across / LANE_M)), seed + 6) - 0.5)
    return tone * (1.0 - 0.45 * line_cover(seam * 4.0, 0.02, footprint))


@kernel
def lane_arrow(s, across, footprint):
    """Coverage by an arrow painted every 48 m in the middle of a lane."""
    x = wrap(s, 48.0)
    if x > 4.5 or abs(across) > 0.6:
        return 0.0
    half = 0.07 if x < 2.8 else 0.5 * (4.5 - x) / 1.7
    return edge_cover(half - abs(across), footprint)


@kernel
def shade_road(s, d, p, colour, footprint, road, textures, out):
    """Asphalt with wheel tracks, lane lines, arrows, bays and crossings in worn paint."""
    lanes, half, yellow, parking, crossing = road[0], road[1], road[2], road[3], road[4]
    tone = asphalt_tone(p, s, d, footprint, int(road[10]), textures)
    in_lane = wrap(abs(d) / LANE_M, 1.0) - 0.5
    tone *= 0.95 + 0.25 * abs(abs(in_lane) - 0.22)
    tone *= 1.0 - 0.12 * math.exp(-((in_lane * 9.0) ** 2))  # oil
    gold = line_cover(abs(d) - 0.14, 0.06, footprint) if yellow > 0.5 else 0.0
    paint = 0.0
    if yellow <= 0.5 and wrap(s, 9.0) < 4.0:
        paint = line_cover(d, 0.07, footprint)
    k = 1.0
    while k < lanes:
        if wrap(s, 8.0) < 3.2:
            paint = max(paint, line_cover(abs(d) - LANE_M * k, 0.07, footprint))
        k += 1.0
    kerb_line = line_cover(abs(d) - (half - parking - 0.15), 0.07, footprint)
    if yellow > 0.5 and parking <= 0:
        gold = max(gold, kerb_line)
    else:
        paint = max(paint, 0.9 * kerb_line)
    if parking > 0 and abs(d) > half - parking:
        paint = max(paint, 0.8 * line_cover(wrap(s, 6.0) - 3.0, 0.05, footprint))
    if lanes > 1 and abs(d) < lanes * LANE_M:
        ahead = -s if d > 0 else s
        paint = max(paint, lane_arrow(ahead, in_lane * LANE_M, footprint))
    along = wrap(s, crossing) - 0.5 * crossing
    if abs(along) < 1.8:
        paint = max(paint, line_cover(wrap(d, 1.2) - 0.6, 0.3, footprint))
    _lay_paint(p, tone, paint, gold, colour, int(road[10]), out)


@kernel
def _lay_paint(p, tone, white, gold, colour, seed, out):
    worn = 0.0
    if white > 0 or gold > 0:
        worn = min(max(1.25 - 1.2 * smooth_noise(p[0] * 2.1, p[1] * 2.1, seed), 0.3), 1.0)
    for c in range(3):
        base = colour[c] * tone
        base += white * worn * (0.5 + 0.1 * tone - base)
        yellow = 0.5 if c == 0 else (0.31 if c == 1 else 0.05)
        out[c] = base + gold * worn * (yellow - base)


@kernel
def shade_junction(x, y, p, colour, footprint, road, textures, out):
    """Where two streets cross, (x, y) along this and the other: corners, zebras, stop lines."""
    half, other, radius = road[1], road[5], road[6]
    ax, ay = abs(x), abs(y)
    beyond_x, beyond_y = ax - other, ay - half
    off = corner_distance(beyond_x, beyond_y, radius)
    if off > 0:  # kerb, pavement, and land behind both pavements
        if beyond_x > road[8] and beyond_y > road[7] and off > radius:
            shade_land(2 if road[9] > 0.5 else 1, x, y, p, colour, footprint, textures, out)
            return
        shade_land(1, x, y, p, colour, footprint, textures, out)
        if off < 0.25:
            chequer = road[11] > 0.5 and wrap(math.floor(x) + math.floor(y), 2.0) == 0
            for c in range(3):
                out[c] = 0.04 if chequer else 0.34 * (1.0 if road[11] < 0.5 else 1.6)
        return
    tone = asphalt_tone(p, x, y, footprint, int(road[10]), textures)
    paint, gold = 0.0, 0.0
    past, across, on_main = beyond_x, y, True
    if beyond_y > beyond_x:
        past, across, on_main = beyond_y, x, False
    if past > 1.2 and past < 4.2:  # zebra
        paint = 0.9 * line_cover(wrap(across, 1.1) - 0.55, 0.28, footprint)
    keeps_right = (across < 0) == ((x < 0) if on_main else (y > 0))
    if keeps_right and abs(past - 5.4) < 1.0:
        paint = max(paint, line_cover(past - 5.4, 0.17, footprint))
    if past > 6.0:
        centre = line_cover(abs(across) - 0.14, 0.06, footprint)
        if road[2] > 0.5:
            gold = centre
        else:
            paint = max(paint, centre)
    worn_colour = colour
    _lay_paint(p, tone, paint, gold, worn_colour, int(road[10]), out)


@kernel
def corner_distance(beyond_x, beyond_y, radius):
    """Metres from the carriageway of two crossing streets with rounded kerbs; negative on it."""
    if beyond_x >= radius or beyond_y >= radius:
        return min(beyond_x, beyond_y)
    if beyond_x <= 0 or beyond_y <= 0:
        return min(beyond_x, beyond_y) if min(beyond_x, beyond_y) < 0 else 0.0
    return radius - math.hypot(radius - beyond_x, radius - beyond_y) if radius > 0 else 0.0


@kernel
def shade_lot(u, v, p, colour, footprint, textures, out):
    """A car park: asphalt with rows of bays, 2.6 m wide, on both sides of aisles 16 m apart."""
    tone = asphalt_tone(p, u, v, footprint, 17, textures)
    row = wrap(v, 16.0) - 8.0
    paint = 0.0
    if abs(row) < 5.2:
        paint = line_cover(wrap(u, 2.6) - 1.3, 0.05, footprint)
    paint = max(paint, line_cover(row, 0.05, footprint))
    _lay_paint(p, tone, paint, 0.0, colour, 17, out)


@kernel
def shade_land(material, u, v, p, colour, footprint, textures, out):
    """Paving slabs (1) or grass with worn earth (2)."""
    if material == 1:
        grit = tone_of(textures, 2, p[0], p[1], 2.1, footprint)
        slab = math.floor(u / 0.9) * 7.0 + math.floor(v / 0.9) * 13.0
        tone = 0.7 + 0.3 * grit + 0.35 * grain(p[0], p[1], footprint, 5.0, 3, 21)
        tone *= 0.96 + 0.08 * wrap(slab * 0.377, 1.0)
        seam = max(
            line_cover(wrap(u, 0.9) - 0.45, 0.012, footprint),
            line_cover(wrap(v, 0.9) - 0.45, 0.012, footprint),
        )
        for c in range(3):
            out[c] = colour[c] * tone * (1.0 - 0.4 * seam)
        return
    blades = tone_of(textures, 1, p[0], p[1], 1.7, footprint)
    tone = (0.35 + 0.65 * blades) * (1.0 + 0.7 * grain(p[0], p[1], footprint, 9.0, 3, 31))
    bare = smooth_noise(p[0] * 0.21, p[1] * 0.21, 33) + 0.35 * (smooth_noise(p[0], p[1], 34) - 0.5)
    bare = min(max((bare - 0.66) * 6.0, 0.0), 1.0)
    for c in range(3):
        earth = 0.24 if c == 0 else (0.18 if c == 1 else 0.12)
        base = colour[c] * tone
        out[c] = max(base + bare * (earth * (0.6 + 0.4 * blades) - base), 0.003)
