"""Front walls with real depth: recessed windows, shop fronts, bays, balconies, cornices.

All in the frame of a front wall: x along it, z up, -y outwards (see solids.Sheets).
"""

from dataclasses import dataclass

import numpy as np

from driv3r.simulator.assets.mesh import Material
from driv3r.simulator.assets.primitives import Sheets

INSIDE = (0.03, 0.032, 0.035)
IRON = (0.03, 0.03, 0.032)


@dataclass(frozen=True, eq=False)
class Look:
    """What a building's walls are made of and how its windows are cut.

    `pitch_m` by `floor_m` is the window grid that the FACADE shader draws for `style`; `wide` is a
    window's share of the pitch, `low` and `high` its span within the floor, in metres.
    """

    wall: np.ndarray
    material: Material
    trim: np.ndarray
    frame: np.ndarray
    style: float
    pitch_m: float
    floor_m: float
    wide: float
    low: float
    high: float
    recess_m: float
    sills: bool
    lintels: bool


def facade_grid(style: float) -> tuple[float, float, float]:
    """Window pitch, floor height and half width that materials.shade_facade draws for a style."""
    wide = 0.485 if style > 0.8 else 0.24 + 0.24 * ((style * 29.0) % 1.0)
    return 1.3 + 2.2 * ((style * 13.0) % 1.0), 2.9 + 0.9 * ((style * 7.0) % 1.0), wide


def pierced(sheets: Sheets, look: Look, x, z, y: float, holes) -> None:
    """A wall over x and z (low, high) with rectangular holes (x0, x1, z0, z1) side by side."""
    wall, material = look.wall, look.material
    edge = x[0]
    for x0, x1, z0, z1 in holes:
        sheets.front((edge, x0), z, y, wall, material)
        sheets.front((x0, x1), (z[0], z0), y, wall, material)
        sheets.front((x0, x1), (z1, z[1]), y, wall, material)
        edge = x1
    sheets.front((edge, x[1]), z, y, wall, material)


def reveal(sheets: Sheets, hole, y, colour, material: Material) -> None:
    """The four inner sides of a hole from y[0] back to y[1]."""
    x0, x1, z0, z1 = hole
    sheets.side(x0, y, (z0, z1), colour, material)
    sheets.side(x1, y[::-1], (z0, z1), colour, material)
    sheets.flat((x0, x1), y, z0, colour, material)
    sheets.flat((x0, x1), y, z1, colour, material, up=False)


def panes(
    rng: np.random.Generator, sheets: Sheets, hole, y: float, frame, across=2, bar=0.06, split=0.0
) -> None:
    """A frame with `across` panes of glass just before it; `split` cuts off a share at the top."""
    x0, x1, z0, z1 = hole
    sheets.front((x0, x1), (z0, z1), y, frame, Material.PLAIN)
    edges = np.linspace(x0 + bar / 2, x1 - bar / 2, across + 1)
    middle = z1 - split * (z1 - z0)
    drawn = rng.random() < 0.35
    for left, right in zip(edges[:-1], edges[1:], strict=True):
        inner = (left + bar / 2, right - bar / 2)
        glow = float(rng.random())
        tops = [(z0 + bar, middle - bar / 2), (middle + bar / 2, z1 - bar)]
        if not split:
            tops = [(z0 + bar, z1 - bar)]
        for low, high in tops:
            sheets.front(inner, (low, high), y - 0.015, INSIDE, Material.GLASS, style=glow)
    if drawn and not split:
        blind = z1 - bar - rng.uniform(0.2, 0.7) * (z1 - z0)
        tone = np.full(3, rng.uniform(0.25, 0.55))
        span = (x0 + bar, x1 - bar), (blind, z1 - bar)
        sheets.front(*span, y - 0.02, tone, Material.GLASS)


def window(rng: np.random.Generator, sheets: Sheets, look: Look, hole, y: float) -> None:
    """Reveals, frame, panes, and a sill and lintel where the look has them."""
    x0, x1, z0, z1 = hole
    back = y + look.recess_m
    reveal(sheets, hole, (y, back), look.wall * 0.9, look.material)
    across = max(1, round((x1 - x0) / 0.8))
    split = 0.28 if look.style * 17 % 1 < 0.35 and z1 - z0 > 1.3 else 0.0
    panes(rng, sheets, hole, back, look.frame, across, split=split)
    if look.sills:
        ledge = (x0 - 0.08, x1 + 0.08), (y - 0.1, y), (z0 - 0.1, z0)
        sheets.block(*ledge, look.trim, Material.CONCRETE, "flrtu")
    if look.lintels:
        head = (x0 - 0.12, x1 + 0.12), (y - 0.05, y), (z1, z1 + 0.2)
        sheets.block(*head, look.trim, Material.CONCRETE, "flrtu")


def storey(
    rng: np.random.Generator, sheets: Sheets, look: Look, columns, z: float, y: float,
    doors=frozenset(), blank=frozenset(),
) -> None:  # fmt: skip
    """One floor of windows between the column edges given, the grid's window in each.

    Windows of the columns in `doors` reach the floor; those in `blank` are left out.
    """
    holes = []
    for k, (x0, x1) in enumerate(zip(columns[:-1], columns[1:], strict=True)):
        gap = (x1 - x0) * (0.5 - look.wide)
        low = 0.04 if k in doors else look.low
        if k not in blank:
            holes.append((x0 + gap, x1 - gap, z + low, z + look.high))
    pierced(sheets, look, (columns[0], columns[-1]), (z, z + look.floor_m), y, holes)
    for hole in holes:
        window(rng, sheets, look, hole, y)


def curtain_storey(
    rng: np.random.Generator, sheets: Sheets, look: Look, columns, z: float, y: float
) -> None:
    """One floor of an office: glass between fins that stand proud, a band below."""
    x, top = (columns[0], columns[-1]), z + look.floor_m
    band = z + look.low
    sheets.front(x, (z, band), y, look.wall, look.material)
    sheets.block(x, (y - 0.12, y + 0.18), (band, band + 0.08), look.trim, Material.METAL, "ftu")
    sheets.flat(x, (y, y + 0.18), top, look.trim, Material.METAL, up=False)
    for x0, x1 in zip(columns[:-1], columns[1:], strict=True):
        glow = float(rng.random())
        tone = np.array(INSIDE) * (1 + 3 * glow)
        sheets.front((x0, x1), (band, top), y + 0.18, tone, Material.GLASS, style=glow)
        middle = (x0 + x1) / 2
        if x1 - x0 > 1.6:
            bar = (middle - 0.03, middle + 0.03), (band, top)
            sheets.front(*bar, y + 0.12, look.trim, Material.METAL)
    transom = band + 0.72 * (top - band)
    sheets.block(
        x, (y + 0.1, y + 0.18), (transom, transom + 0.06), look.trim, Material.METAL, "ftu"
    )
    for x0 in columns:
        fin = (x0 - 0.05, x0 + 0.05), (y - look.recess_m, y + 0.18), (z, top)
        sheets.block(*fin, look.trim, Material.METAL, "flr")


def balcony(
    rng: np.random.Generator, sheets: Sheets, x, z: float, y: float, out: float, kind: int, colour
) -> None:
    """A slab with iron bars (kind 0), glass (1), a parapet (2) or one closed block (3) about it."""
    front = y - out
    sheets.block(x, (front, y), (z - 0.18, z), colour, Material.CONCRETE, "flrtu")
    inner = (x[0] + 0.04, x[1] - 0.04)
    if kind == 3:
        for low, high, tone in ((0.0, 0.85, 0.9), (0.85, 1.0, 0.75)):
            grow = 0.03 if low else 0.0
            part = (x[0] - grow, x[1] + grow), (front - grow, front + 0.12), (z + low, z + high)
            sheets.block(*part, colour * tone, Material.CONCRETE, "fbt")
        for way, side in ((-1, x[0]), (1, x[1])):
            sheets.side(side, (front, y)[::way], (z, z + 1.0), colour, Material.CONCRETE)
        return
    if kind == 0:  # iron bars
        for at_x in np.arange(inner[0], inner[1], 0.16):
            sheets.front((at_x, at_x + 0.025), (z, z + 1.0), front + 0.05, IRON, Material.PLAIN)
        for side in inner:
            for at_y in np.arange(front + 0.1, y - 0.05, 0.2):
                sheets.side(side, (at_y, at_y + 0.025), (z, z + 1.0), IRON, Material.PLAIN)
            rail = (side - 0.02, side + 0.02), (front + 0.05, y), (z + 0.98, z + 1.03)
            sheets.block(*rail, IRON, Material.PLAIN, "lrt")
        rail = inner, (front + 0.03, front + 0.07), (z + 0.98, z + 1.03)
        sheets.block(*rail, IRON, Material.PLAIN, "fbtu")
        return
    tone, material = (INSIDE, Material.GLASS) if kind == 1 else (colour, Material.CONCRETE)
    thick = 0.03 if kind == 1 else 0.12
    high = (z, z + (1.05 if kind == 1 else 0.95))
    sheets.block(inner, (front + 0.02, front + 0.02 + thick), high, tone, material, "fblrt")
    for side in (inner[0], inner[1] - thick):
        sheets.block((side, side + thick), (front + 0.02, y), high, tone, material, "lrt")
    if rng.random() < 0.25:  # somebody's chair, plants or washing
        stuff = rng.uniform(0.1, 0.5, 3)
        at_x = rng.uniform(x[0] + 0.3, max(x[1] - 0.9, x[0] + 0.31))
        block = (at_x, at_x + 0.5), (front + 0.3, front + 0.7), (z, z + rng.uniform(0.6, 1.3))
        sheets.block(*block, stuff, Material.CLOTH, "fblrt")


def bay(rng: np.random.Generator, sheets: Sheets, look: Look, x, z, y: float, out: float) -> None:
    """A bay window over several floors, with slanting cheeks and a floor and a roof."""
    cut = min(0.55, out)
    front = y - out
    plan = [(x[0], y), (x[0] + cut, front), (x[1] - cut, front), (x[1], y)]
    floors = max(round((z[1] - z[0]) / look.floor_m), 1)
    for k in range(floors):
        low = z[0] + k * look.floor_m
        hole = (x[0] + cut + 0.12, x[1] - cut - 0.12, low + look.low, low + look.high)
        pierced(sheets, look, (plan[1][0], plan[2][0]), (low, low + look.floor_m), front, [hole])
        reveal(sheets, hole, (front, front + 0.1), look.trim, Material.PLAIN)
        panes(rng, sheets, hole, front + 0.1, look.frame)
    for a, b in ((plan[0], plan[1]), (plan[2], plan[3])):
        corners = [(*a, z[0]), (*b, z[0]), (*b, z[1]), (*a, z[1])]
        sheets.quad(corners, look.wall, look.material)
        for k in range(floors):
            low = z[0] + k * look.floor_m
            p, q = (np.array(a) * 0.8 + np.array(b) * 0.2, np.array(a) * 0.2 + np.array(b) * 0.8)
            away = np.array([b[1] - a[1], a[0] - b[0]])
            away = 0.02 * away / np.linalg.norm(away)
            p, q = p + away, q + away
            glass = [(*p, low + look.low), (*q, low + look.low)]
            glass += [(*q, low + look.high), (*p, low + look.high)]
            sheets.quad(glass, INSIDE, Material.GLASS)
    for level, way in ((z[0], -1), (z[1], 1)):
        cap = [(px, py, level) for px, py in plan][::way]
        sheets.quad(cap, look.trim, Material.CONCRETE)


def cornice(sheets: Sheets, x, y: float, z: float, colour, out=0.35, high=0.45) -> None:
    """Two courses that step outwards, the upper one further, with ends."""
    for low, top, share in ((0.0, 0.5, 0.45), (0.5, 1.0, 1.0)):
        reach = share * out
        part = (x[0] - 0.5 * reach, x[1] + 0.5 * reach), (y - reach, y + 0.3)
        sheets.block(*part, (z + low * high, z + top * high), colour, Material.CONCRETE)
