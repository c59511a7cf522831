"""Roofs and what stands on them; x along the front, +y into the house, eaves at a given height."""

import numpy as np

from driv3r.simulator.assets.buildings.facades import INSIDE
from driv3r.simulator.assets.mesh import Material
from driv3r.simulator.assets.primitives import Sheets, tinted

TILES = ((0.25, 0.1, 0.07), (0.12, 0.11, 0.11), (0.2, 0.14, 0.1), (0.09, 0.1, 0.12))
ROOFING = (0.14, 0.14, 0.14)
WHITE = (0.6, 0.6, 0.58)


def flat_roof(rng: np.random.Generator, sheets: Sheets, x, y, z: float, colour, rise=None) -> None:
    """A parapet with its coping about a flat roof, and machines on it."""
    rise = float(rng.uniform(0.3, 1.1)) if rise is None else rise
    thick = 0.25
    sheets.flat(x, y, z, ROOFING, Material.CONCRETE)
    rims = [
        (x, (y[0], y[0] + thick)),
        (x, (y[1] - thick, y[1])),
        ((x[0], x[0] + thick), (y[0] + thick, y[1] - thick)),
        ((x[1] - thick, x[1]), (y[0] + thick, y[1] - thick)),
    ]
    for rim_x, rim_y in rims:
        sheets.block(rim_x, rim_y, (z - 0.02, z + rise), colour, Material.CONCRETE, "fblrt")
    for _ in range(int(rng.integers(1, 5))):
        size = rng.uniform(0.8, 3.2, 2)
        at_x = rng.uniform(x[0] + 0.6, max(x[1] - size[0] - 0.6, x[0] + 0.61))
        at_y = rng.uniform(y[0] + 1.0, max(y[1] - size[1] - 0.6, y[0] + 1.01))
        spot = (at_x, at_x + size[0]), (at_y, at_y + size[1]), (z, z + rng.uniform(0.7, 2.6))
        grey = np.full(3, rng.uniform(0.2, 0.5))
        sheets.block(*spot, grey, (Material.METAL, Material.CONCRETE)[rng.integers(2)], "fblrt")


def gable_roof(
    sheets: Sheets, x, y, z: float, rise: float, tiles, wall, material, eave=0.4, along_x=True
) -> None:
    """Two slopes with thick edges over x and y, the ridge along x or y; walls fill the gables."""
    lead, across = (x, y) if along_x else (y, x)
    middle = (across[0] + across[1]) / 2
    half = (across[1] - across[0]) / 2
    drop = eave * rise / half
    ends = lead[0] - 0.3, lead[1] + 0.3

    def spot(along: float, over: float, high: float) -> tuple:
        return (along, over, high) if along_x else (over, along, high)

    for sign in (-1, 1):
        low, ridge = middle + sign * (half + eave), middle
        way = 1 if (sign < 0) == along_x else -1
        for lift, flip, tone, stuff in (
            (0.12, 1, tiles, Material.TILE),
            (-0.02, -1, WHITE, Material.PLAIN),
        ):
            a = spot(ends[0], low, z - drop + lift), spot(ends[1], low, z - drop + lift)
            b = spot(ends[1], ridge, z + rise + lift), spot(ends[0], ridge, z + rise + lift)
            sheets.quad([*a, *b][:: way * flip], tone, stuff, _slope_uv(a, b)[:: way * flip])
        edge = spot(ends[0], low, z - drop - 0.02), spot(ends[1], low, z - drop - 0.02)
        top = spot(ends[1], low, z - drop + 0.12), spot(ends[0], low, z - drop + 0.12)
        sheets.quad([*edge, *top][::way], WHITE, Material.PLAIN)
        for end in ends:
            barge = spot(end, low, z - drop - 0.02), spot(end, ridge, z + rise - 0.02)
            upper = spot(end, ridge, z + rise + 0.12), spot(end, low, z - drop + 0.12)
            sheets.quad([*barge, *upper], WHITE, Material.PLAIN)
    for end in lead:
        base = spot(end, across[0], z), spot(end, across[1], z)
        tip = spot(end, middle, z + rise)
        order = [*base, tip, base[0]]
        uv = [(0, 0), (2 * half, 0), (half, rise), (0, 0)]
        way = 1 if (end == lead[1]) == along_x else -1
        sheets.quad(order[::way], wall, material, uv[::way])


def _slope_uv(low, high) -> list:
    long = float(np.linalg.norm(np.subtract(low[1], low[0])))
    up = float(np.linalg.norm(np.subtract(high[1], low[0])))
    return [(0, 0), (long, 0), (long, up), (0, up)]


def hip_roof(sheets: Sheets, x, y, z: float, rise: float, tiles, eave=0.4, flat=0.0) -> None:
    """Four slopes; with `flat` the top is cut off, that share of the width left (a mansard)."""
    outer = (x[0] - eave, x[1] + eave), (y[0] - eave, y[1] + eave)
    half = min(outer[0][1] - outer[0][0], outer[1][1] - outer[1][0]) / 2 * (1 - flat)
    inner = (outer[0][0] + half, outer[0][1] - half), (outer[1][0] + half, outer[1][1] - half)
    low = [(outer[0][i], outer[1][j], z) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    high = [(inner[0][i], inner[1][j], z + rise) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    for k in range(4):
        n = (k + 1) % 4
        long = float(np.linalg.norm(np.subtract(low[n], low[k])))
        slope = float(np.hypot(half, rise))
        uv = [(0, 0), (long, 0), (long - half, slope), (half, slope)]
        sheets.quad([low[k], low[n], high[n], high[k]], tiles, Material.TILE, uv)
        under = [(*low[k][:2], z - 0.15), (*low[n][:2], z - 0.15), low[n], low[k]]
        sheets.quad(under, WHITE, Material.PLAIN)
    sheets.flat(*outer, z - 0.15, WHITE, Material.PLAIN, up=False)
    sheets.flat(*inner, z + rise, ROOFING, Material.CONCRETE)


def dormer(sheets: Sheets, x: float, y: float, z: float, deep: float, wall, tiles) -> None:
    """A small gabled window house on a slope: its front at y, its floor at z."""
    half, high = 0.65, 1.3
    sheets.front((x - half, x + half), (z, z + high), y, wall, Material.PLAIN)
    glass = (x - half + 0.15, x + half - 0.15), (z + 0.2, z + high - 0.12)
    sheets.front(*glass, y - 0.02, INSIDE, Material.GLASS)
    for side, span in ((x - half, (y + deep, y)), (x + half, (y, y + deep))):
        sheets.side(side, span, (z, z + high), wall, Material.PLAIN)
    gable = [(x - half, y, z + high), (x + half, y, z + high), (x, y, z + high + 0.5)]
    sheets.quad([*gable, gable[0]], wall, Material.PLAIN)
    for way in (-1, 1):
        low = x + way * (half + 0.15)
        eave, ridge = z + high - 0.08, z + high + 0.53
        slope = [(low, y - 0.15, eave), (x, y - 0.15, ridge), (x, y + deep, ridge)]
        sheets.quad([*slope, (low, y + deep, eave)][::-way], tiles, Material.TILE)


def chimney(rng: np.random.Generator, sheets: Sheets, x: float, y: float, z, colour) -> None:
    """A stack with a cap and pots."""
    wide, deep = float(rng.uniform(0.3, 0.7)), 0.28
    span = (x - wide, x + wide), (y - deep, y + deep)
    sheets.block(*span, z, colour, Material.BRICK, "fblr")
    cap = (x - wide - 0.06, x + wide + 0.06), (y - deep - 0.06, y + deep + 0.06)
    sheets.block(*cap, (z[1], z[1] + 0.14), (0.3, 0.29, 0.28), Material.CONCRETE)
    for at_x in np.arange(x - wide + 0.15, x + wide - 0.05, 0.35):
        pot = (at_x, at_x + 0.18), (y - 0.09, y + 0.09), (z[1] + 0.14, z[1] + 0.5)
        sheets.block(*pot, (0.3, 0.14, 0.09), Material.PLAIN, "fblrt")


def pitched(rng: np.random.Generator, sheets: Sheets, x, y, z: float, wall, material) -> None:
    """A city house's tiled roof: gable, hip or mansard, with dormers and chimneys."""
    tiles, deep = tinted(rng, TILES), y[1] - y[0]
    kind = int(rng.integers(3))
    rise = min(float(rng.uniform(0.28, 0.45)) * deep, 5.0)
    if kind == 0:
        gable_roof(sheets, x, y, z, rise, tiles, wall, material)
        slope, eave = rise / (deep / 2), 0.4
    elif kind == 1:
        hip_roof(sheets, x, y, z, rise, tiles)
        slope, eave = rise / min(deep / 2 + 0.4, (x[1] - x[0]) / 2 + 0.4), 0.4
    else:
        rise = float(rng.uniform(2.2, 3.0))
        flat = 1 - 2 * 0.9 / (min(deep, x[1] - x[0]) + 0.3)
        hip_roof(sheets, x, y, z, rise, tiles, 0.15, flat)
        slope, eave = rise / 0.9, 0.15
    if kind == 2 or rng.random() < 0.5:
        count = int(min(5, (x[1] - x[0] - 4.5) // 2.6))
        back = 0.15 if kind == 2 else 0.7
        for at_x in np.linspace(x[0] + 2.6, x[1] - 2.6, max(count, 0)):
            foot = z + (back + eave) * slope * (0.35 if kind == 2 else 1.0)
            dormer(
                sheets, float(at_x), y[0] + back, foot, min(2.0, 2.3 / slope + 0.4), WHITE, tiles
            )
    for at_x in rng.uniform(x[0] + 1.0, x[1] - 1.0, int(rng.integers(0, 4))):
        at_y = float(y[0] + deep * rng.uniform(0.45, 0.6))
        chimney(rng, sheets, float(at_x), at_y, (z, z + rise + 1.0), wall * 0.8)
