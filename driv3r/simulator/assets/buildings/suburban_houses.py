"""Detached suburban houses with garage, porch and front garden; the front at y = 0 facing -y."""

import numpy as np

from driv3r.simulator.assets.buildings import roofs
from driv3r.simulator.assets.buildings.facades import INSIDE, Look, pierced, window
from driv3r.simulator.assets.buildings.shopfronts import DOORS
from driv3r.simulator.assets.mesh import Material, Mesh, at, join, place
from driv3r.simulator.assets.primitives import Sheets, tinted

SIDINGS = (
    (0.6, 0.58, 0.53), (0.55, 0.5, 0.4), (0.35, 0.4, 0.45), (0.4, 0.45, 0.36), (0.5, 0.42, 0.35),
    (0.62, 0.61, 0.6), (0.25, 0.27, 0.3),
)  # fmt: skip
BRICKS = ((0.4, 0.19, 0.13), (0.34, 0.2, 0.15), (0.45, 0.35, 0.25))
BASE = (0.3, 0.29, 0.28)
WHITE = np.array([0.62, 0.62, 0.6])
FLOOR_M = 2.8


def make_house(rng: np.random.Generator) -> Mesh:
    """One or two floors, a garage wing that stands forward, a porch, a tiled roof."""
    brick = rng.random() < 0.35
    wall = tinted(rng, BRICKS if brick else SIDINGS, 0.15)
    material = Material.BRICK if brick else Material.PLAIN
    recess = float(rng.uniform(0.1, 0.18))
    look = Look(
        wall, material, WHITE, WHITE, 0.3, 2.6, FLOOR_M, 0.25, 0.9, 2.2, recess, True, False
    )
    floors = int(rng.integers(1, 3))
    width, depth = float(rng.uniform(8, 13)), float(rng.uniform(7, 10))
    garage = float(rng.uniform(3.4, 6.2)) if rng.random() < 0.75 else 0.0
    tiles = tinted(rng, roofs.TILES)
    sheets = Sheets()
    x = (-(width + garage) / 2, (width - garage) / 2)
    front = float(rng.uniform(1.4, 2.6)) if garage else 1.6
    y, top = (front, front + depth), FLOOR_M * floors
    door_x = x[0] + width * float(rng.uniform(0.35, 0.65))
    _make_body(rng, sheets, look, x, y, floors, door_x)
    _make_roof(rng, sheets, look, x, y, top, tiles)
    _make_porch(rng, sheets, door_x, front, tiles)
    if garage:
        _make_garage(rng, sheets, look, (x[1], x[1] + garage), (0.0, front + 5.0), tiles)
    _make_garden(rng, sheets, x, front)
    house = join([sheets.mesh(), *_make_ends(rng, look, x, y, top)])
    return _mirror(house) if rng.random() < 0.5 else house


def _mirror(mesh: Mesh) -> Mesh:
    """The mesh with left and right exchanged."""
    return Mesh(
        mesh.vertices * (-1, 1, 1),
        mesh.normals * (-1, 1, 1),
        mesh.uv,
        mesh.triangles[:, ::-1],
        mesh.colour,
        mesh.material,
        mesh.style,
        mesh.instance,
    )


def _openings(rng: np.random.Generator, x, door_x: float, z: float) -> list[tuple]:
    """Windows on both sides of the door's axis, a door or a window there."""
    holes = []
    for side in ((x[0], door_x - 0.8), (door_x + 0.8, x[1])):
        count = max(1, round((side[1] - side[0]) / 3.2))
        share = (side[1] - side[0]) / count
        for left in np.linspace(*side, count + 1)[:-1]:
            half = min(float(rng.choice([0.5, 0.75, 1.0])), share / 2.4)
            middle = left + share / 2
            holes.append((middle - half, middle + half, z + 0.9, z + 2.2))
    low, high = (z + 0.9, z + 2.2) if z else (0.0, 2.15)
    holes.append((door_x - 0.5, door_x + 0.5, low, high))
    return sorted(holes)


def _make_body(rng, sheets: Sheets, look: Look, x, y, floors: int, door_x: float) -> None:
    """Front wall with a door and windows, base and corner boards."""
    sheets.block(x, y, (-1.5, 0.0), BASE, Material.CONCRETE, "fblr")
    shutters = tinted(rng, DOORS) if rng.random() < 0.35 else None
    for floor in range(floors):
        z = FLOOR_M * floor
        holes = _openings(rng, x, door_x, z)
        pierced(sheets, look, x, (z, z + FLOOR_M), y[0], holes)
        for hole in holes:
            if hole[2] > 0:
                window(rng, sheets, look, hole, y[0])
                _make_trim(sheets, hole, y[0], shutters)
                continue
            sheets.front(hole[:2], hole[2:], y[0] + 0.12, tinted(rng, DOORS), Material.PLAIN)
            light = (hole[0] + 0.25, hole[1] - 0.25), (1.4, 1.9)
            sheets.front(*light, y[0] + 0.1, INSIDE, Material.GLASS)
            sheets.side(hole[0], (y[0], y[0] + 0.12), hole[2:], WHITE, Material.PLAIN)
            sheets.side(hole[1], (y[0] + 0.12, y[0]), hole[2:], WHITE, Material.PLAIN)
    for at_x in (x[0], x[1] - 0.12):
        corner = (at_x - 0.02, at_x + 0.14), (y[0] - 0.03, y[0] + 0.1), (0.0, FLOOR_M * floors)
        sheets.block(*corner, WHITE, Material.PLAIN, "flr")


def _make_trim(sheets: Sheets, hole, y: float, shutters) -> None:
    """A casing over a window, and shutters beside it where the house has them."""
    x0, x1, z0, z1 = hole
    casing = (x0 - 0.1, x1 + 0.1), (y - 0.04, y), (z1, z1 + 0.12)
    sheets.block(*casing, WHITE, Material.PLAIN, "flrtu")
    if shutters is not None:
        for left in (x0 - 0.42, x1 + 0.06):
            leaf = (left, left + 0.36), (y - 0.05, y), (z0, z1)
            sheets.block(*leaf, shutters, Material.FENCE, "flrt")


def _make_roof(rng, sheets: Sheets, look: Look, x, y, top: float, tiles) -> None:
    """A gable or hip roof with a chimney."""
    kind = int(rng.integers(3))
    deep, wide = y[1] - y[0], x[1] - x[0]
    if kind == 0:
        rise = 0.5 * deep * float(rng.uniform(0.5, 0.9))
        roofs.gable_roof(sheets, x, y, top, rise, tiles, look.wall, look.material, 0.5)
    elif kind == 1:
        rise = 0.5 * wide * float(rng.uniform(0.4, 0.7))
        roofs.gable_roof(sheets, x, y, top, rise, tiles, look.wall, look.material, 0.5, False)
        middle = (x[0] + x[1]) / 2
        glass = (middle - 0.45, middle + 0.45), (top + 0.4, top + 1.3)
        sheets.front(*glass, y[0] - 0.02, INSIDE, Material.GLASS)
    else:
        rise = 0.5 * min(deep, wide) * float(rng.uniform(0.45, 0.75))
        roofs.hip_roof(sheets, x, y, top, rise, tiles, 0.5)
    if rng.random() < 0.6:
        at_x = float(rng.uniform(x[0] + 1, x[1] - 1))
        brick = tinted(rng, BRICKS)
        roofs.chimney(rng, sheets, at_x, (y[0] + y[1]) / 2, (top, top + rise + 0.7), brick)


def _make_porch(rng, sheets: Sheets, x: float, y: float, tiles) -> None:
    """A step, posts and a small roof before the door."""
    half, out = float(rng.uniform(1.0, 2.4)), min(float(rng.uniform(1.0, 1.5)), y - 0.05)
    span = (x - half, x + half), (y - out, y)
    sheets.block(*span, (-1.0, 0.14), (0.35, 0.34, 0.33), Material.CONCRETE, "flrt")
    for at_x in (x - half + 0.1, x + half - 0.1):
        post = (at_x - 0.07, at_x + 0.07), (y - out + 0.05, y - out + 0.19), (0.14, 2.4)
        sheets.block(*post, WHITE, Material.PLAIN, "fblr")
    sheets.block(*span, (2.4, 2.55), WHITE, Material.PLAIN, "flrtu")
    low, high, front = 2.55, 3.05, y - out - 0.12
    eave = (x - half - 0.15, x + half + 0.15)
    slope = [(eave[0], front, low), (eave[1], front, low), (eave[1], y, high), (eave[0], y, high)]
    sheets.quad(slope, tiles, Material.TILE)
    for side, way in ((eave[0], -1), (eave[1], 1)):
        cheek = [(side, front, low), (side, y, low), (side, y, high)]
        sheets.quad([*cheek, cheek[0]][::way], WHITE, Material.PLAIN)


def _make_garage(rng, sheets: Sheets, look: Look, x, y, tiles) -> None:
    """A wing with one wide gate recessed in its front and a roof of its own."""
    hole = (x[0] + 0.45, x[1] - 0.45, 0.0, 2.2)
    pierced(sheets, look, x, (0.0, FLOOR_M), y[0], [hole])
    deep = y[0] + 0.25
    gate = tinted(rng, ((0.6, 0.6, 0.58), (0.3, 0.25, 0.2), (0.2, 0.2, 0.22)))
    for k in range(4):
        low = 0.55 * k
        panel = deep + 0.03 * (k % 2)
        sheets.front(hole[:2], (low, low + 0.55), panel, gate * (1 - 0.1 * (k % 2)), Material.PLAIN)
    sheets.side(hole[0], (y[0], deep + 0.03), (0.0, 2.2), WHITE, Material.PLAIN)
    sheets.side(hole[1], (deep + 0.03, y[0]), (0.0, 2.2), WHITE, Material.PLAIN)
    sheets.flat(hole[:2], (y[0], deep + 0.03), 2.2, WHITE, Material.PLAIN, up=False)
    sheets.block(x, y, (0.0, FLOOR_M), look.wall, look.material, "blr")
    sheets.block(x, y, (-1.5, 0.0), BASE, Material.CONCRETE, "fblr")
    rise = 0.3 * (x[1] - x[0])
    roofs.gable_roof(sheets, x, y, FLOOR_M, rise, tiles, look.wall, look.material, 0.35, False)


def _make_ends(rng, look: Look, x, y, top: float) -> list[Mesh]:
    """Side walls with windows, and the back."""
    deep, walls = y[1] - y[0], []
    for turn, where in ((np.pi / 2, (x[1], y[0])), (-np.pi / 2, (x[0], y[1]))):
        sheets = Sheets()
        for floor in range(round(top / FLOOR_M)):
            z = FLOOR_M * floor
            holes = [(m - 0.5, m + 0.5, z + 0.9, z + 2.1) for m in (0.28 * deep, 0.7 * deep)]
            pierced(sheets, look, (0.0, deep), (z, z + FLOOR_M), 0.0, holes)
            for hole in holes:
                window(rng, sheets, look, hole, 0.0)
        walls.append(place(sheets.mesh(), at(*where, 0.0, turn)))
    back = Sheets()
    back.front((0.0, x[1] - x[0]), (0.0, top), 0.0, look.wall, look.material)
    back.front((1.0, 3.2), (0.1, 2.1), -0.02, INSIDE, Material.GLASS)
    return [*walls, place(back.mesh(), at(x[1], y[1], 0.0, np.pi))]


def _make_garden(rng, sheets: Sheets, x, y: float) -> None:
    """A bed along the front wall, a letter box."""
    bed = (x[0] + 0.3, x[0] + float(rng.uniform(1.5, 3.0))), (y - 0.7, y - 0.05), (-0.3, 0.12)
    sheets.block(*bed, (0.1, 0.07, 0.05), Material.SOIL, "fblrt")
    at_x = float(rng.uniform(*x))
    sheets.block((at_x, at_x + 0.08), (0.0, 0.08), (-0.3, 1.0), (0.2, 0.15, 0.1), Material.PLAIN)
    sheets.block((at_x - 0.1, at_x + 0.18), (-0.1, 0.3), (1.0, 1.25), WHITE * 0.7, Material.PAINT)
