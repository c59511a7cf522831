"""Furniture of pavements: bins, benches, bus stops, kiosks; what people use faces -y, the road."""

import numpy as np

from driv3r.simulator.assets.buildings.shopfronts import SIGN_COLOURS
from driv3r.simulator.assets.mesh import Material, Mesh, at, box, join, place, quad, smooth
from driv3r.simulator.assets.primitives import Sheets, slab, tinted, tube
from driv3r.simulator.assets.street.barriers import (
    make_barrier,
    make_bollards,
    make_cone,
    make_fence,
    make_works,
)
from driv3r.simulator.assets.street.plants import make_shrub
from driv3r.simulator.assets.street.poles_signs import (
    make_gantry,
    make_lamp,
    make_sign,
    make_traffic_light,
    make_utility_pole,
)

__all__ = [
    "make_barrier",
    "make_bench",
    "make_bike_rack",
    "make_bin",
    "make_bollards",
    "make_bus_stop",
    "make_cone",
    "make_fence",
    "make_gantry",
    "make_hydrant",
    "make_kiosk",
    "make_lamp",
    "make_planter",
    "make_sign",
    "make_traffic_light",
    "make_utility_pole",
    "make_works",
]

GREYS = ((0.04, 0.04, 0.042), (0.2, 0.2, 0.2), (0.05, 0.1, 0.07), (0.35, 0.36, 0.37))
WOODS = ((0.25, 0.15, 0.08), (0.32, 0.22, 0.13), (0.2, 0.17, 0.14))
INSIDE = (0.05, 0.055, 0.06)


def make_bin(rng: np.random.Generator) -> Mesh:
    """A round litter bin, a wheeled bin, or a large waste container."""
    kind = int(rng.integers(3))
    if kind == 0:
        colour = tinted(rng, GREYS)
        high = float(rng.uniform(0.8, 1.0))
        body = tube((0, 0, 0), (0, 0, high), (0.22, 0.27), colour, Material.METAL, 10)
        rim = tube(
            (0, 0, high), (0, 0, high + 0.06), (0.29, 0.27), colour * 0.6, Material.PLAIN, 10
        )
        hole = tube((0, 0, high + 0.06), (0, 0, high + 0.063), (0.16, 0.16), (0.01,) * 3,
                    Material.PLAIN, 10)  # fmt: skip
        return smooth(join([body, rim, hole]))
    colour = tinted(
        rng, ((0.04, 0.12, 0.06), (0.03, 0.07, 0.2), (0.05, 0.05, 0.05), (0.4, 0.3, 0.03))
    )
    if kind == 1:
        body = box((0.46, 0.5, 0.9), colour, Material.PLAIN, (0, 0, 0.08), (1.2, 1.2, 0))
        lid = box((0.62, 0.66, 0.1), colour * 0.8, Material.PLAIN, (0, 0, 0.98), (0.9, 0.85, 0))
        handle = slab((0.5, 0.06, 0.06), colour * 0.5, Material.PLAIN, (0, 0.36, 0.95))
        wheels = [tube((x, 0.22, 0.1), (x + 0.06, 0.22, 0.1), (0.1, 0.1), (0.02,) * 3,
                       Material.PLAIN, 8) for x in (-0.3, 0.24)]  # fmt: skip
        return join([body, lid, handle, *wheels])
    body = box((1.25, 0.8, 1.0), colour, Material.PAINT, (0, 0, 0.18), (1.08, 1.12, 0))
    lid = box((1.4, 0.95, 0.22), colour * 0.7, Material.PLAIN, (0, 0, 1.18), (0.95, 0.5, 0))
    wheels = [slab((0.1, 0.18, 0.18), (0.02,) * 3, Material.PLAIN, (x, y, 0.0))
              for x in (-0.5, 0.5) for y in (-0.3, 0.3)]  # fmt: skip
    grips = [
        slab((0.12, 0.12, 0.05), (0.2,) * 3, Material.METAL, (x, 0, 0.95)) for x in (-0.7, 0.7)
    ]
    return join([body, lid, *wheels, *grips])


def make_bench(rng: np.random.Generator) -> Mesh:
    """Slats on iron legs, with or without a back."""
    length, wood = float(rng.uniform(1.5, 2.1)), tinted(rng, WOODS)
    iron, parts = tinted(rng, GREYS), []
    for y in (-0.2, -0.06, 0.08):
        parts.append(slab((length, 0.11, 0.04), wood, Material.PLAIN, (0, y, 0.44)))
    backed = rng.random() < 0.7
    if backed:
        for k, z in enumerate((0.58, 0.74, 0.9)):
            parts.append(
                slab((length, 0.04, 0.11), wood, Material.PLAIN, (0, 0.2 + 0.03 * k, z - 0.05))
            )
    for x in (-length * 0.4, length * 0.4):
        parts.append(slab((0.06, 0.45, 0.05), iron, Material.PAINT, (x, -0.03, 0.39)))
        parts.append(box((0.06, 0.06, 0.42), iron, Material.PAINT, (x, -0.2, 0.0)))
        parts.append(box((0.06, 0.06, 0.42), iron, Material.PAINT, (x, 0.15, 0.0)))
        if backed:
            foot, top = (x, 0.17, 0.4), (x, 0.28, 0.95)
            parts.append(tube(foot, top, (0.03, 0.03), iron, Material.PAINT, 4))
            parts.append(slab((0.05, 0.4, 0.04), iron, Material.PAINT, (x, -0.03, 0.64)))
            parts.append(box((0.05, 0.05, 0.25), iron, Material.PAINT, (x, -0.2, 0.4)))
    return join(parts)


def make_bus_stop(rng: np.random.Generator) -> Mesh:
    """A shelter of glass with a roof, a bench and a lit poster, open to -y; a stop sign beside."""
    wide, deep = float(rng.uniform(3.0, 4.6)), float(rng.uniform(1.2, 1.6))
    high, iron = 2.4, tinted(rng, GREYS)
    half, parts = wide / 2, []
    for x in np.linspace(-half, half, 4):
        parts.append(box((0.07, 0.07, high), iron, Material.PAINT, (x, deep / 2, 0)))
    for x in (-half, half):
        parts.append(box((0.07, 0.07, high), iron, Material.PAINT, (x, -deep / 2 + 0.3, 0)))
    roof = slab((wide + 0.4, deep + 0.4, 0.12), iron, Material.PAINT, (0, -0.05, high))
    fascia = slab(
        (wide + 0.42, 0.06, 0.3), iron * 0.8, Material.SIGN, (0, -deep / 2 - 0.25, high - 0.05)
    )
    back = slab((wide - 0.1, 0.02, 1.85), INSIDE, Material.GLASS, (0, deep / 2, 0.3))
    side = slab((0.02, deep - 0.4, 1.85), INSIDE, Material.GLASS, (-half, 0.15, 0.3))
    poster = slab((0.14, deep - 0.2, 2.0), iron, Material.PAINT, (half, 0.12, 0.2))
    light = tinted(rng, SIGN_COLOURS)
    for way in (-1, 1):
        x = half + way * 0.075
        face = [(x, -0.4, 0.35), (x, 0.6, 0.35), (x, 0.6, 2.1), (x, -0.4, 2.1)][::way]
        parts.append(quad(face, light, Material.SIGN, (1.0, 1.75), rng.random()))
    seat = slab(
        (wide * 0.6, 0.35, 0.05), tinted(rng, WOODS), Material.PLAIN, (0, deep / 2 - 0.3, 0.48)
    )
    legs = [box((0.06, 0.2, 0.48), iron, Material.PAINT, (x, deep / 2 - 0.3, 0))
            for x in (-wide * 0.2, wide * 0.2)]  # fmt: skip
    post = tube((half + 0.9, -deep / 2, -0.3), (half + 0.9, -deep / 2, 2.9), (0.04, 0.04), iron,
                Material.PAINT, 6)  # fmt: skip
    flag = slab(
        (0.5, 0.04, 0.5), tinted(rng, SIGN_COLOURS), Material.SIGN, (half + 0.9, -deep / 2, 2.4)
    )
    return join([*parts, roof, fascia, back, side, poster, seat, *legs, post, flag])


def make_kiosk(rng: np.random.Generator) -> Mesh:
    """A newspaper stand with a counter and a hatch, or a round advertising column."""
    if rng.random() < 0.35:
        return _column(rng)
    wide, deep, high = float(rng.uniform(2.2, 3.4)), float(rng.uniform(1.6, 2.2)), 2.6
    wall, sheets = (
        tinted(rng, ((0.05, 0.12, 0.07), (0.3, 0.05, 0.04), (0.5, 0.48, 0.43), (0.1, 0.13, 0.2))),
        Sheets(),
    )
    x, y = (-wide / 2, wide / 2), (-deep / 2, deep / 2)
    sheets.block(x, y, (-0.3, high), wall, Material.METAL, "blr")
    sheets.front(x, (-0.3, 1.0), y[0], wall, Material.METAL)
    sheets.front(x, (2.1, high), y[0], wall, Material.METAL)
    for a, b in ((x[0], x[0] + 0.25), (x[1] - 0.25, x[1])):
        sheets.front((a, b), (1.0, 2.1), y[0], wall, Material.METAL)
    inner = (x[0] + 0.25, x[1] - 0.25)
    sheets.front(inner, (1.0, 2.1), y[0] + 0.5, INSIDE, Material.GLASS)
    sheets.flat(inner, (y[0], y[0] + 0.5), 1.0, wall * 0.8, Material.PLAIN)
    sheets.flat(inner, (y[0], y[0] + 0.5), 2.1, wall * 0.6, Material.PLAIN, up=False)
    sheets.side(inner[0], (y[0], y[0] + 0.5), (1.0, 2.1), wall * 0.7, Material.PLAIN)
    sheets.side(inner[1], (y[0] + 0.5, y[0]), (1.0, 2.1), wall * 0.7, Material.PLAIN)
    sheets.block(inner, (y[0] - 0.3, y[0]), (0.92, 1.0), (0.4, 0.38, 0.35), Material.PLAIN)
    for k, at_x in enumerate(np.arange(inner[0], inner[1] - 0.3, 0.45)):
        paper = (at_x, at_x + 0.32), (y[0] - 0.1, y[0]), (0.25, 0.75)
        sheets.block(*paper, tinted(rng, SIGN_COLOURS), Material.SIGN, "flrt", 0.1 * k)
    roof = (x[0] - 0.3, x[1] + 0.3), (y[0] - 0.6, y[1] + 0.2), (high, high + 0.2)
    sheets.block(*roof, wall * 0.8, Material.PAINT)
    name = (x[0] + 0.2, x[1] - 0.2), (y[0] - 0.5, y[0] - 0.4), (high + 0.2, high + 0.65)
    sheets.block(*name, tinted(rng, SIGN_COLOURS), Material.SIGN, "fblrt", 0.5)
    return sheets.mesh()


def _column(rng: np.random.Generator) -> Mesh:
    """A round column with posters, a base and a crown."""
    radius, grey = float(rng.uniform(0.5, 0.7)), tinted(rng, GREYS)
    foot = tube((0, 0, -0.2), (0, 0, 0.4), (radius + 0.06,) * 2, grey, Material.CONCRETE, 14)
    shaft = tube(
        (0, 0, 0.4), (0, 0, 2.9), (radius,) * 2, tinted(rng, SIGN_COLOURS), Material.SIGN, 14
    )
    brim = tube((0, 0, 2.9), (0, 0, 3.05), (radius + 0.15,) * 2, grey, Material.PAINT, 14)
    crown = tube((0, 0, 3.05), (0, 0, 3.5), (radius, 0.08), grey, Material.PAINT, 14)
    return smooth(join([foot, shaft, brim, crown]))


def make_hydrant(rng: np.random.Generator) -> Mesh:
    """A fire hydrant with a bonnet and nozzles."""
    colour = tinted(rng, ((0.5, 0.03, 0.02), (0.65, 0.45, 0.03), (0.5, 0.5, 0.5), (0.03, 0.1, 0.4)))
    high = float(rng.uniform(0.55, 0.75))
    body = [
        tube((0, 0, -0.1), (0, 0, 0.06), (0.17, 0.17), colour, Material.PAINT, 9),
        tube((0, 0, 0.06), (0, 0, high), (0.12, 0.11), colour, Material.PAINT, 9),
        tube((0, 0, high), (0, 0, high + 0.04), (0.15, 0.15), colour, Material.PAINT, 9),
        tube((0, 0, high + 0.04), (0, 0, high + 0.14), (0.12, 0.05), colour, Material.PAINT, 9),
        tube((0, 0, high + 0.14), (0, 0, high + 0.19), (0.03, 0.03), colour, Material.PAINT, 5),
        tube((0, -0.22, high * 0.65), (0, 0.22, high * 0.65), (0.06, 0.06), colour * 0.8,
             Material.PAINT, 7),
        tube((0, 0, high * 0.6), (0.2, 0, high * 0.6), (0.08, 0.08), colour * 0.8,
             Material.PAINT, 7),
    ]  # fmt: skip
    return smooth(join(body))


def make_bike_rack(rng: np.random.Generator) -> Mesh:
    """Hoops of tube in a row along x."""
    colour, count = tinted(rng, GREYS), int(rng.integers(3, 6))
    high, wide = float(rng.uniform(0.75, 0.9)), float(rng.uniform(0.6, 0.9))
    turn = np.linspace(0, np.pi, 6)
    bend = np.c_[0 * turn, 0.5 * wide * np.cos(turn), high - 0.2 + 0.2 * np.sin(turn)]
    path = np.concatenate([[(0, 0.5 * wide, -0.1)], bend, [(0, -0.5 * wide, -0.1)]])
    pieces = [tube(a, b, (0.025, 0.025), colour, Material.METAL, 5, False)
              for a, b in zip(path[:-1], path[1:], strict=True)]  # fmt: skip
    hoop = smooth(join(pieces), 80.0)
    step = float(rng.uniform(0.7, 0.9))
    return join([place(hoop, at((k - (count - 1) / 2) * step, 0)) for k in range(count)])


def make_planter(rng: np.random.Generator) -> Mesh:
    """A tub of concrete, wood or clay with a small shrub."""
    kind, high = int(rng.integers(3)), float(rng.uniform(0.45, 0.7))
    wide = float(rng.uniform(0.45, 0.65))
    if kind == 2:
        clay = (0.35, 0.15, 0.09)
        tub = smooth(tube((0, 0, 0), (0, 0, high), (0.7 * wide, wide), clay, Material.PLAIN, 12))
    else:
        colour = tinted(rng, ((0.4, 0.39, 0.37), (0.3, 0.2, 0.12))[kind : kind + 1])
        material = (Material.CONCRETE, Material.FENCE)[kind]
        rim = slab(
            (2.1 * wide, 2.1 * wide, 0.06), colour * 0.9, Material.PLAIN, (0, 0, high - 0.06)
        )
        tub = join([box((2 * wide, 2 * wide, high), colour, material, style=rng.random()), rim])
    soil = slab((1.2 * wide, 1.2 * wide, 0.02), (0.1, 0.07, 0.05), Material.SOIL, (0, 0, high))
    bush = make_shrub(rng, 0.75 * wide, 90)
    return join([tub, soil, place(bush, at(0, 0, high))])
