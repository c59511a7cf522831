"""Low wide buildings: markets, warehouses, workshops; in the frame of a front wall."""

import numpy as np

from driv3r.simulator.assets.buildings import roofs
from driv3r.simulator.assets.buildings.facades import INSIDE, Look, panes, pierced, reveal
from driv3r.simulator.assets.buildings.shopfronts import SIGN_COLOURS, entrance, shutter
from driv3r.simulator.assets.mesh import Material, Mesh, at, join, place
from driv3r.simulator.assets.primitives import Sheets, tinted

HALL_WALLS = ((0.5, 0.5, 0.48), (0.3, 0.32, 0.35), (0.2, 0.25, 0.35), (0.45, 0.4, 0.33))
HALL_BRICKS = ((0.38, 0.17, 0.11), (0.42, 0.32, 0.22))


def make_hall(rng: np.random.Generator, width: float, depth: float, height: float) -> Mesh:
    """A market with a glass front, a warehouse with gates, or a brick workshop."""
    material = (Material.METAL, Material.BRICK, Material.CONCRETE)[int(rng.integers(3))]
    wall = tinted(rng, HALL_BRICKS if material == Material.BRICK else HALL_WALLS)
    look = Look(
        wall, material, np.full(3, rng.uniform(0.3, 0.6)), np.full(3, rng.uniform(0.05, 0.6)),
        0.5, 3.0, height, 0.3, 1.0, 2.6, 0.2, False, False,
    )  # fmt: skip
    sheets = Sheets()
    x, y = (-width / 2, width / 2), (0.0, depth)
    sheets.block(x, y, (-1.5, 0.0), (0.3, 0.3, 0.3), Material.CONCRETE, "fblr")
    band = min(4.2, height - 0.3)
    edges = np.linspace(*x, max(round(width / float(rng.uniform(4.0, 7.0))), 2) + 1)
    market = rng.random() < 0.5
    for k, span in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        _make_bay(rng, sheets, look, span, band, market, k)
    _make_upper(rng, sheets, look, edges, (band, height))
    if rng.random() < 0.5:
        for at_x in edges:
            post = (at_x - 0.18, at_x + 0.18), (-0.22, 0.0), (-0.5, height)
            sheets.block(*post, look.trim, Material.CONCRETE, "flrt")
    if market and rng.random() < 0.6:
        _make_canopy(rng, sheets, look, x, band)
    if height < 9 and rng.random() < 0.3:
        tiles = tinted(rng, roofs.TILES)
        roofs.gable_roof(sheets, x, y, height, min(0.12 * depth, 3), tiles, wall, material, 0.3)
    else:
        roofs.flat_roof(rng, sheets, x, y, height, wall, float(rng.uniform(0.3, 0.9)))
    return join([sheets.mesh(), *_make_ends(rng, look, width, depth, height)])


def _make_bay(rng, sheets: Sheets, look: Look, x, high: float, market: bool, k: int) -> None:
    """Glass, a gate, a door, a blank wall or a strip of high windows."""
    kind = rng.random()
    if market and kind < 0.6:
        hole = (x[0] + 0.3, x[1] - 0.3, 0.0, high - 0.6)
        pierced(sheets, look, x, (0.0, high), 0.0, [hole])
        reveal(sheets, hole, (0.0, 0.3), look.trim, Material.PLAIN)
        panes(rng, sheets, hole, 0.3, look.frame, max(2, round((x[1] - x[0]) / 1.7)), split=0.3)
    elif kind < 0.3 or (not market and kind < 0.5):
        shutter(rng, sheets, look, x, high, 0.0)
    elif kind < 0.62:
        entrance(rng, sheets, look, x, high, 0.0)
    elif kind < 0.85:
        hole = (x[0] + 0.5, x[1] - 0.5, high - 1.7, high - 0.5)
        pierced(sheets, look, x, (0.0, high), 0.0, [hole])
        reveal(sheets, hole, (0.0, 0.18), look.trim, Material.PLAIN)
        panes(rng, sheets, hole, 0.18, look.frame, 3)
    else:
        sheets.front(x, (0.0, high), 0.0, look.wall, look.material)


def _make_upper(rng, sheets: Sheets, look: Look, edges, z) -> None:
    """The wall over the bays: a proud fascia with the firm's name, or windows high up."""
    x = (edges[0], edges[-1])
    if z[1] - z[0] < 0.1:
        return
    if z[1] - z[0] > 2.4 and rng.random() < 0.5:
        gap = 0.2 * (edges[1] - edges[0])
        low, top = z[0] + 0.6, min(z[0] + 2.0, z[1] - 0.4)
        pairs = zip(edges[:-1], edges[1:], strict=True)
        holes = [(a + gap, b - gap, low, top) for a, b in pairs]
        pierced(sheets, look, x, z, 0.0, holes)
        for hole in holes:
            reveal(sheets, hole, (0.0, 0.2), look.trim, Material.PLAIN)
            panes(rng, sheets, hole, 0.2, look.frame, 2)
        return
    sheets.front(x, z, 0.0, look.wall, look.material)
    colour = tinted(rng, SIGN_COLOURS)
    if rng.random() < 0.5:
        fascia = x, (-0.25, 0.0), (z[0] - 0.1, z[0] + min(0.9, z[1] - z[0]))
        sheets.block(*fascia, colour, Material.PLAIN)
    wide, high = min(0.3 * (x[1] - x[0]), 8.0), min(1.4, z[1] - z[0] + 0.5)
    middle = float(rng.uniform(x[0] + wide / 2, x[1] - wide / 2))
    span = (middle - wide / 2, middle + wide / 2), (-0.42, -0.2), (z[0] + 0.02, z[0] + high)
    sheets.block(*span, tinted(rng, SIGN_COLOURS), Material.SIGN, "f", float(rng.random()))
    sheets.block(*span, colour * 0.5, Material.PLAIN, "blrtu")


def _make_canopy(rng, sheets: Sheets, look: Look, x, z: float) -> None:
    """A roof on posts before the front."""
    out = float(rng.uniform(1.2, 1.9))
    sheets.block(x, (-out, 0.0), (z - 0.35, z - 0.1), look.trim, Material.METAL)
    for at_x in np.arange(x[0] + 0.4, x[1], 5.0):
        post = (at_x - 0.08, at_x + 0.08), (-out + 0.15, -out + 0.31), (-1.5, z - 0.35)
        sheets.block(*post, look.trim * 0.8, Material.PAINT, "fblr")


def _make_ends(rng, look: Look, width: float, depth: float, height: float) -> list[Mesh]:
    """Side and back walls with a few gates and windows near the front."""
    walls = []
    for turn, where in ((np.pi / 2, (width / 2, 0.0)), (-np.pi / 2, (-width / 2, depth))):
        sheets = Sheets()
        near = (1.2, 4.6) if turn > 0 else (depth - 4.6, depth - 1.2)
        hole = (near[0], near[1], 1.0, min(2.4, height - 0.5))
        pierced(sheets, look, (0.0, depth), (0.0, height), 0.0, [hole])
        reveal(sheets, hole, (0.0, 0.2), look.wall, look.material)
        panes(rng, sheets, hole, 0.2, look.frame, 3)
        walls.append(place(sheets.mesh(), at(*where, 0.0, turn)))
    back = Sheets()
    back.front((-width / 2, width / 2), (0.0, height), 0.0, look.wall, look.material)
    back.front((-1.0, 1.0), (0.0, 2.2), -0.01, INSIDE, Material.PLAIN)
    return [*walls, place(back.mesh(), at(0.0, depth, 0.0, np.pi))]
