"""City houses, offices, halls and far blocks: fronts along x at y = 0 facing -y, bodies to +y."""

from dataclasses import replace

import numpy as np

from driv3r.simulator.assets.buildings import roofs, shopfronts
from driv3r.simulator.assets.buildings.facades import (
    Look,
    balcony,
    bay,
    cornice,
    curtain_storey,
    facade_grid,
    storey,
)
from driv3r.simulator.assets.buildings.suburban_houses import make_house
from driv3r.simulator.assets.buildings.warehouses import make_hall
from driv3r.simulator.assets.mesh import Material, Mesh, at, join, place
from driv3r.simulator.assets.primitives import Sheets, tinted

__all__ = ["make_building", "make_far_block", "make_house"]

WALLS = (
    (0.42, 0.2, 0.13), (0.5, 0.43, 0.33), (0.55, 0.53, 0.5), (0.3, 0.3, 0.31), (0.5, 0.4, 0.22),
    (0.6, 0.58, 0.55), (0.45, 0.3, 0.22), (0.36, 0.4, 0.42), (0.5, 0.33, 0.28), (0.42, 0.45, 0.36),
)  # fmt: skip
BRICKS = ((0.4, 0.18, 0.12), (0.32, 0.15, 0.1), (0.45, 0.33, 0.22), (0.25, 0.14, 0.11))
FRAMES = ((0.65, 0.65, 0.63), (0.6, 0.6, 0.58), (0.05, 0.05, 0.055), (0.2, 0.12, 0.07))
SKIRT_M = 1.5
FRONT_TRIANGLES = 950  # about what real windows may cost; the shader draws the floors above


def make_building(rng: np.random.Generator, width: float, depth: float, height: float) -> Mesh:
    """A house of a street's row: flats over shops, an office, an arcade, or a low wide hall.

    Walls are `height` high, a pitched roof or machines may rise above. A skirt goes down to -1.5.
    """
    if height < 12 and (width > 22 or height < 6.5) and rng.random() < 0.75:
        return make_hall(rng, width, depth, height)
    look = make_look(rng, width, height)
    office = look.style > 0.8 or (height > 14 and rng.random() < 0.08)
    ground = min(float(rng.uniform(3.3, 4.6)), height - 0.6)
    floors = max(round((height - ground) / look.floor_m), 0)
    if floors == 0:
        ground = height
    else:
        floor_m = (height - ground) / floors
        share = floor_m / look.floor_m
        look = replace(look, floor_m=floor_m, low=look.low * share, high=look.high * share)
    parts: list[Mesh] = []
    sheets = Sheets()
    columns = np.linspace(-width / 2, width / 2, max(round(width / look.pitch_m), 2) + 1)
    parts += _make_ground(rng, sheets, look, columns, ground, depth, office)
    _make_front(rng, sheets, look, columns, (ground, height), floors, office)
    _make_top(rng, sheets, look, width, depth, height)
    parts += [sheets.mesh(), *_make_sides(rng, look, width, depth, (ground, height), floors)]
    return join(parts)


def make_look(rng: np.random.Generator, width: float, height: float) -> Look:
    """Walls and windows on the grid that the FACADE shader draws for the same style."""
    style = float(rng.random())
    pitch_m, floor_m, wide = facade_grid(style)
    pitch_m = width / max(round(width / pitch_m), 2)
    wall = tinted(rng, BRICKS if style < 0.25 else WALLS, 0.3)
    plain = Material.CONCRETE if style > 0.65 else Material.PLAIN
    low, high = (0.2, 0.9) if style > 0.8 else (0.28, 0.78)
    return Look(
        wall,
        Material.BRICK if style < 0.35 else plain,
        tinted(rng, ((0.55, 0.52, 0.47), (0.6, 0.58, 0.55), (0.35, 0.33, 0.3))),
        tinted(rng, FRAMES),
        style,
        pitch_m,
        floor_m,
        wide,
        low * floor_m,
        high * floor_m,
        float(rng.uniform(0.12, 0.32)),
        bool(rng.random() < 0.6),
        bool(rng.random() < 0.35),
    )


def _make_ground(rng, sheets: Sheets, look: Look, columns, high: float, depth: float, office: bool):
    """The ground floor in bays of one or more columns; perhaps behind an arcade."""
    step = max(
        1, round(max(float(rng.uniform(3.0, 5.0)), (columns[-1] - columns[0]) / 6) / look.pitch_m)
    )
    bays = np.append(columns[:-1:step], columns[-1])
    if len(bays) > 2 and bays[-1] - bays[-2] < 2.2:
        bays = np.delete(bays, -2)
    kind = "lobby" if office and rng.random() < 0.6 else "shops"
    if not office and rng.random() < 0.35:
        kind = "homes"
    skirt = (columns[0], columns[-1]), (0.0, depth), (-SKIRT_M, 0.0)
    sheets.block(*skirt, look.wall * 0.6, Material.CONCRETE, "fblr")
    if kind != "homes" and high > 3.2 and depth > 8 and rng.random() < 0.22:
        deep = float(rng.uniform(1.8, 3.0))
        shopfronts.ground_floor(rng, sheets, look, bays, high, deep, kind)
        return shopfronts.arcade(rng, sheets, look, bays, high, deep)
    shopfronts.ground_floor(rng, sheets, look, bays, high, 0.0, kind)
    return []


def _sections(rng: np.random.Generator, count: int) -> list[tuple[int, int, float]]:
    """Stretches of columns (first, last, y): flush, with a risalit, or in and out by turns."""
    kind = rng.random()
    if count < 4 or kind < 0.35:
        return [(0, count, 0.0)]
    if kind < 0.6:
        wing = int(rng.integers(1, count // 2 if count > 4 else 2))
        ends = float(rng.choice([-0.5, -0.3, 0.0, 0.0]))
        middle = float(rng.choice([-0.6, -0.35, 0.6])) - ends
        return [(0, wing, ends), (wing, count - wing, middle), (count - wing, count, ends)]
    cuts = [0]
    while cuts[-1] < count:
        cuts.append(min(count, cuts[-1] + int(rng.integers(1, 4))))
    depths = float(rng.uniform(-0.7, -0.2)), float(rng.choice([0.0, 0.0, 0.8, 1.3]))
    first = int(rng.integers(2))
    pairs = zip(cuts[:-1], cuts[1:], strict=True)
    return [(a, b, depths[(k + first) % 2]) for k, (a, b) in enumerate(pairs)]


def _make_front(rng, sheets: Sheets, look: Look, columns, z, floors: int, office: bool) -> None:
    """All floors above the ground one, section by section, with what is hung on them."""
    if floors == 0:
        return
    cost = (len(columns) - 1) * (10 if office else 22 + 10 * look.sills + 10 * look.lintels)
    real = min(floors, max(1, FRONT_TRIANGLES // cost))
    before = 0.0
    for first, last, y in _sections(rng, len(columns) - 1):
        edges = columns[first : last + 1]
        x = (edges[0], edges[-1])
        sheets.side(x[0], (before, y), z, look.wall, look.material)
        sheets.flat(x, sorted((y, 0.0)), z[0], look.trim, Material.CONCRETE, up=y > 0)
        sheets.flat(x, sorted((y, 0.0)), z[1], look.trim, Material.CONCRETE, up=y <= 0)
        _make_storeys(rng, sheets, look, edges, z, (real, floors), y, office)
        before = y
    sheets.side(columns[-1], (before, 0.0), z, look.wall, look.material)
    if rng.random() < 0.45:
        course = (columns[0], columns[-1]), (-0.14, 0.1), (z[0] - 0.12, z[0] + 0.14)
        sheets.block(*course, look.trim, Material.CONCRETE)
    if not office and rng.random() < 0.3:
        for x in columns[:: max(1, len(columns) // 5)]:
            pilaster = (x - 0.2, x + 0.2), (-0.16, 0.0), (z[0], z[1])
            sheets.block(*pilaster, look.trim, look.material, "flrt")


def _make_storeys(rng, sheets: Sheets, look: Look, edges, z, counts, y: float, office: bool):
    """A section's floors: the lower ones cut out, the upper ones drawn by the shader."""
    real, floors = counts
    count = len(edges) - 1
    hung = rng.random()
    out = 0.0 if office else min(float(rng.uniform(0.7, 1.4)), 1.9 + y)
    doors, blank = frozenset(), frozenset()
    if out and hung < 0.35:
        doors = frozenset(range(0, count, int(rng.integers(1, 3))))
    elif out and hung < 0.5 and look.pitch_m > 1.9:
        blank = frozenset({count // 2})
    kind, colour = int(rng.integers(3)), look.trim * rng.uniform(0.7, 1.1)
    for k in range(real):
        low = z[0] + k * look.floor_m
        if office:
            curtain_storey(rng, sheets, look, edges, low, y)
            continue
        storey(rng, sheets, look, edges, low, y, doors, blank)
        for column in sorted(doors):
            x = (edges[column] + 0.12, edges[column + 1] - 0.12)
            if kind and len(doors) * real < 9 or len(doors) * real < 3:
                balcony(rng, sheets, x, low, y, out, kind, colour)
            else:
                balcony(rng, sheets, x, low, y, out, 3, colour)
        if rng.random() < 0.3:
            _hang_machine(rng, sheets, edges, low, y)
    for column in blank:
        x = (edges[column] + 0.05, edges[column + 1] - 0.05)
        top = z[0] + real * look.floor_m
        bay(rng, sheets, look, x, (z[0], top), y, min(0.9, 1.9 + y))
    if real < floors:
        start = z[0] + real * look.floor_m
        facade(sheets, look, (edges[0], edges[-1]), (start, z[1]), y, count, floors - real)


def _hang_machine(rng: np.random.Generator, sheets: Sheets, edges, z: float, y: float) -> None:
    """An air conditioner beside a window."""
    x = float(edges[int(rng.integers(len(edges)))])
    x = min(max(x, edges[0] + 0.45), edges[-1] - 0.45)
    spot = (x - 0.4, x + 0.4), (y - 0.38, y - 0.05), (z + 0.3, z + 0.85)
    sheets.block(*spot, (0.55, 0.55, 0.53), Material.METAL)


def facade(sheets: Sheets, look: Look, x, z, y: float, columns: int, floors: int) -> None:
    """A wall whose windows the shader draws, whole ones, in the grid of the real ones."""
    pitch_m, floor_m, _ = facade_grid(look.style)
    u, v = columns * pitch_m, (1 + floors) * floor_m
    uv = [(0, floor_m), (u, floor_m), (u, v), (0, v)]
    sheets.front(x, z, y, look.wall, Material.FACADE, uv, look.style)


def _make_top(rng, sheets: Sheets, look: Look, width: float, depth: float, height: float) -> None:
    """A cornice and a roof; tall houses may have a storey set back under it."""
    x, y = (-width / 2, width / 2), (0.0, depth)
    kind = rng.random()
    if kind < 0.55:
        cornice(sheets, x, 0.0, height - 0.3, look.trim, float(rng.uniform(0.1, 0.7)))
    if height < 19 and rng.random() < 0.45:
        roofs.pitched(rng, sheets, x, y, height, look.wall, look.material)
        return
    roofs.flat_roof(rng, sheets, x, y, height, look.wall * 0.85)
    if height > 11 and rng.random() < 0.35:
        back = float(rng.uniform(1.2, 2.5))
        inner = (x[0] + back, x[1] - back), (y[0] + back, y[1] - back)
        top = height + float(rng.uniform(2.8, 3.4))
        columns = max(1, round((inner[0][1] - inner[0][0]) / look.pitch_m))
        sheets.block(*inner, (height, top), look.wall, look.material, "blr")
        facade(sheets, look, inner[0], (height, top), inner[1][0], columns, 1)
        sheets.flat((inner[0][0] - 0.3, inner[0][1] + 0.3), (inner[1][0] - 0.5, inner[1][1]), top,
                    look.trim, Material.CONCRETE)  # fmt: skip


def _make_sides(rng, look: Look, width: float, depth: float, z, floors: int) -> list[Mesh]:
    """Side walls, with some real windows near the front, and the back."""
    count = max(round(depth / look.pitch_m), 2)
    look = replace(look, sills=False, lintels=False)
    edges = np.linspace(0.0, depth, count + 1)
    parts = []
    for side in (-1, 1):
        sheets = Sheets()
        sheets.front((0.0, depth), (0.0, z[0]), 0.0, look.wall, look.material)
        near = edges[:3] if side > 0 else edges[-3:]
        rest = edges[2:] if side > 0 else edges[:-2]
        real = min(floors, 3)
        top = z[0] + real * look.floor_m
        if floors and rng.random() < 0.6:
            for k in range(real):
                storey(rng, sheets, look, near, z[0] + k * look.floor_m, 0.0)
            if real < floors:
                facade(sheets, look, (near[0], near[-1]), (top, z[1]), 0.0, 2, floors - real)
            if len(rest) > 1:
                facade(sheets, look, (rest[0], rest[-1]), z, 0.0, len(rest) - 1, floors)
        elif floors:
            sheets.front((0.0, depth), z, 0.0, look.wall * 0.9, look.material)
        if rng.random() < 0.4:
            pipe = depth - 0.4 if side < 0 else 0.3
            sheets.block((pipe, pipe + 0.1), (-0.12, 0.0), (0.0, z[1]), (0.2, 0.2, 0.2),
                         Material.METAL, "flr")  # fmt: skip
        where = at(width / 2, 0.0, 0.0, np.pi / 2) if side > 0 else at(
            -width / 2, depth, 0.0, -np.pi / 2)  # fmt: skip
        parts.append(place(sheets.mesh(), where))
    back = Sheets()
    across = max(round(width / look.pitch_m), 2)
    facade(back, look, (-width / 2, width / 2), (0.0, z[1]), 0.0, across, floors + 1)
    parts.append(place(back.mesh(), at(0.0, depth, 0.0, np.pi)))
    return parts


def make_far_block(rng: np.random.Generator, width: float, depth: float, height: float) -> Mesh:
    """Two or three boxes of drawn windows with a broken roofline, for behind the front rows."""
    look = make_look(rng, width, height)
    pieces = []
    cuts = np.r_[-width / 2, np.sort(rng.uniform(-0.25, 0.25, int(rng.integers(0, 2)))) * width]
    cuts = np.r_[cuts, width / 2]
    for x in zip(cuts[:-1], cuts[1:], strict=True):
        top = height * float(rng.uniform(0.75, 1.0))
        pieces.append((x, (float(rng.uniform(0, 2)), depth), (-SKIRT_M, top)))
    x, _, z = pieces[0]
    middle, wide = (x[0] + x[1]) / 2, (x[1] - x[0]) * 0.3
    pieces.append(
        ((middle - wide, middle + wide), (depth * 0.3, depth * 0.8), (z[1], height + 2.0))
    )
    sheets = Sheets()
    for x, y, z in pieces:
        columns, floors = round((x[1] - x[0]) / look.pitch_m), round((z[1] - z[0]) / look.floor_m)
        facade(sheets, look, x, z, y[0], max(columns, 1), max(floors, 1))
        sheets.block(x, y, z, look.wall * 0.8, Material.FACADE, "b", look.style)
        sheets.block(x, y, z, look.wall * 0.9, look.material, "lrt")
    parts = [sheets.mesh()]
    return join(parts)
