"""Albedo of the things that are not ground, by material; compiled by numba (see noise.py)."""

import math

from driv3r.simulator.rendering.ground_materials import (
    shade_junction,
    shade_land,
    shade_lot,
    shade_road,
)
from driv3r.simulator.rendering.jit import kernel
from driv3r.simulator.rendering.procedural_noise import (
    edge_cover,
    grain,
    hash01,
    line_cover,
    smooth_noise,
    tone_of,
    wrap,
)


@kernel
def shade_facade(u, v, style, colour, footprint, sky, dark, textures, out):
    """Windows in a grid, some lit or with blinds, shopfronts below, brick or plaster between."""
    floor_m = 2.9 + 0.9 * wrap(style * 7.0, 1.0)
    pitch_m = 1.3 + 2.2 * wrap(style * 13.0, 1.0)
    column, row = math.floor(u / pitch_m), math.floor(v / floor_m)
    fu, fv = u / pitch_m - column, v / floor_m - row
    wide, low, high = 0.24 + 0.24 * wrap(style * 29.0, 1.0), 0.28, 0.78
    if style > 0.8:  # bands of glass
        wide, low, high = 0.485, 0.2, 0.9
    if row == 0 and style > 0.45:
        wide, low, high = 0.46, 0.16, 0.82
    inside_u, inside_v = (wide - abs(fu - 0.5)) * pitch_m, min(fv - low, high - fv) * floor_m
    window = edge_cover(inside_u, footprint) * edge_cover(inside_v, footprint)
    rim = 1.0 - edge_cover(min(inside_u, inside_v) - 0.07, footprint)
    rim = max(rim, line_cover(fv - 0.55, 0.02, footprint / floor_m))
    chance = hash01(int(column), int(row), int(style * 4096))
    tone = 1.0 + 0.3 * grain(u, v, footprint, 5.0, 5, int(style * 97))
    tone *= 1.0 - 0.25 * line_cover(wrap(v, floor_m) - 0.1, 0.08, footprint)
    tone *= 1.0 - 0.3 * max(0.0, low - fv) * edge_cover(inside_u + 0.1, footprint)  # stains
    if style < 0.35:
        tone *= tone_of(textures, 0, u, v, 1.9, footprint)
    pane_tone = 0.15 + 0.45 * chance
    drawn = wrap(style * 41.0, 1.0) > 0.5 and fv > high - (high - low) * chance * 0.8
    blind = 1.0 if drawn else 0.0
    lamp = 1.0 if chance > 1.0 - 0.35 * dark else 0.0
    for c in range(3):
        glass = 0.025 + 0.5 * sky[c] * pane_tone + blind * 0.25 * (1.0 - 0.1 * c)
        glass += lamp * (0.9 - 0.25 * c)
        pane = glass * (1.0 - rim) + rim * (0.4 if chance > 0.3 else 0.1)
        out[c] = colour[c] * tone * (1 - window) + window * pane


@kernel
def shade_sign(u, v, style, colour, footprint, out):
    """A panel with lines of letters and an arrow or a pictogram."""
    row, column = math.floor(v / 0.16), math.floor(u / 0.09)
    chance = hash01(int(row), int(style * 331), 5)
    ink = 0.0
    if chance > 0.35:
        letter = hash01(int(column), int(row), int(style * 977))
        fu, fv = u / 0.09 - column, v / 0.16 - row
        bar = letter > 0.25 and 0.2 < fv < 0.8 and 0.12 < fu < 0.86
        gap = wrap(letter * 7.0, 1.0) > 0.5 and abs(fv - 0.5) < 0.12
        hole = wrap(letter * 3.0, 1.0) > 0.4 and 0.32 < fu < 0.66 and 0.32 < fv < 0.68
        ink = 1.0 if bar and not gap and not hole else 0.0
    keep = max(0.0, 1.0 - footprint / 0.12)
    mean = 0.25 if chance > 0.35 else 0.0
    ink = ink * keep + mean * (1.0 - keep)
    light = 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]
    target = 0.8 if light < 0.3 else 0.03
    for c in range(3):
        out[c] = colour[c] + ink * (target - colour[c])


@kernel
def tone_of_stuff(material, p, u, v, style, footprint, textures):
    """Brightness of walls, leaves, cloth, wood and metal, about 1; `p` in the thing's own frame."""
    if material == 5:  # leaves
        return 1.0 + 1.1 * grain(p[0] + 0.7 * p[2], p[1] + 0.7 * p[2], footprint, 0.7, 4, 3)
    if material == 8:  # bark
        return 1.0 + 0.9 * grain(4 * (p[0] + p[1]), p[2], 2 * footprint, 0.6, 4, 5)
    if material == 10:  # boards
        board = line_cover(wrap(u, 0.16) - 0.08, 0.012, footprint)
        kind = hash01(int(math.floor(u / 0.16)), 3, int(style * 512))
        grown = grain(6 * u, v, footprint, 1.0, 4, int(style * 90))
        return (1.0 - 0.5 * board) * (0.8 + 0.4 * kind) * (1.0 + 0.5 * grown)
    if material == 11:  # brick
        tone = tone_of(textures, 0, u, v, 1.9, footprint)
        return tone * (1.0 + 0.4 * grain(u, v, footprint, 4.0, 3, int(style * 90)))
    if material == 12:  # tiles
        row = math.floor(v / 0.3)
        kind = hash01(int(math.floor(u / 0.25 + 0.5 * wrap(row, 2.0))), int(row), int(style * 77))
        joint = line_cover(wrap(v, 0.3) - 0.02, 0.03, footprint)
        keep = max(0.0, 1.0 - footprint / 0.3)
        return (1.0 + keep * (0.5 * kind - 0.25)) * (1.0 - 0.5 * joint)
    if material == 13:  # concrete
        stain = smooth_noise(u * 1.7, v * 0.25, int(style * 61))
        tone = tone_of(textures, 2, u, v, 3.1, footprint)
        return (0.75 + 0.25 * tone) * (1.1 - 0.4 * stain * stain)
    if material == 17:  # cloth
        return 1.0 + 0.5 * grain(3 * (p[0] + p[1]), p[2], footprint, 0.3, 3, int(style * 90))
    if material == 19:  # ribbed metal
        keep = max(0.0, 1.0 - footprint / 0.1)
        return 1.0 + 0.25 * keep * math.sin(u * 40.0) + 0.2 * grain(u, v, footprint, 2.0, 4, 9)
    if material == 20:  # soil
        return tone_of(textures, 2, p[0], p[1], 2.3, footprint)
    if material == 4:
        return 1.0 + 0.2 * grain(p[0] + p[2], p[1] + p[2], footprint, 1.2, 4, 1)
    if material == 6:  # car paint: dust towards the sills
        return 1.0 - 0.25 * math.exp(-max(p[2], 0.0) * 3.0)
    return 1.0


@kernel
def shade_surface(
    material, p, u, v, style, colour, footprint, roads, sky, dark, textures, out
):  # fmt: skip
    """Albedo of one hit; `p` is in the thing's own frame so that texture sticks to it."""
    if material == 0:
        shade_road(u, v, p, colour, footprint, roads[int(style)], textures, out)
    elif material == 21:
        shade_junction(u, v, p, colour, footprint, roads[int(style)], textures, out)
    elif material == 22:
        shade_lot(u, v, p, colour, footprint, textures, out)
    elif material == 1 or material == 2:
        shade_land(material, u, v, p, colour, footprint, textures, out)
    elif material == 3:
        shade_facade(u, v, style, colour, footprint, sky, dark, textures, out)
    elif material == 16:
        shade_sign(u, v, style, colour, footprint, out)
    elif material == 18:
        band = 1.0 if wrap(u, 1.0) < 0.5 else 0.0
        keep = max(0.0, 1.0 - footprint)
        band = band * keep + 0.5 * (1 - keep)
        for c in range(3):
            ink = 0.55 if c == 0 and style < 0.5 else 0.05  # red, or black on kerbs
            out[c] = ink * band + 0.65 * (1 - band)
    else:
        tone = tone_of_stuff(material, p, u, v, style, footprint, textures)
        for c in range(3):
            out[c] = max(colour[c] * tone, 0.003)
