"""What stands on a truck's chassis: boxes, curtains, tippers, tanks and flat beds."""

import numpy as np

from driv3r.simulator.assets.mesh import (
    Material,
    Mesh,
    at,
    box,
    cylinder,
    join,
    make_mesh,
    place,
    smooth,
)
from driv3r.simulator.assets.vehicles.vehicle_bodies import BLACK, PAINTS

INKS = np.array(
    [
        [0.5, 0.03, 0.03], [0.65, 0.45, 0.02], [0.03, 0.15, 0.4], [0.03, 0.25, 0.1],
        [0.05, 0.06, 0.07], [0.55, 0.2, 0.02], [0.72, 0.72, 0.71],
    ]
)  # fmt: skip
FLOOR_M = 1.0
STEEL = (0.35, 0.35, 0.36)


def make_load(
    rng: np.random.Generator, span: tuple[float, float], width: float, cab_m: float
) -> list[Mesh]:
    """A load from span[0] (rear) to span[1] (front), above the chassis."""
    length, x = span[1] - span[0], 0.5 * (span[0] + span[1])
    kind = rng.choice(5, p=[0.4, 0.2, 0.14, 0.1, 0.16])
    if kind == 0:
        return _box_load(rng, length, x, width, cab_m)
    if kind == 1:
        return _curtains(rng, length, x, width, cab_m)
    if kind == 2:
        return _tipper(rng, length, x, width)
    return _tank(rng, length, x, width) if kind == 3 else _flat_bed(rng, length, x, width)


def _shell(size, colour, material, base, style=0.0) -> Mesh:
    """A box with an underside."""
    x, y, z = base
    lx, ly = size[0] / 2, size[1] / 2
    under = [(x - lx, y - ly, z), (x - lx, y + ly, z), (x + lx, y + ly, z), (x + lx, y - ly, z)]
    floor = make_mesh(under, [[0, 1, 2], [0, 2, 3]], BLACK, Material.PLAIN)
    return join([box(size, colour, material, base, style=style), floor])


def _frame(length: float, width: float, height: float, x: float, tone) -> list[Mesh]:
    """Rails along the lower and upper edges and posts on the corners of a box."""
    parts = []
    for z in (FLOOR_M - 0.02, FLOOR_M + height - 0.08):
        parts.append(box((length + 0.04, width + 0.04, 0.12), tone, Material.PLAIN, (x, 0, z)))
    for end in (-1, 1):
        for side in (-1, 1):
            base = (x + end * (length / 2 - 0.03), side * (width / 2 - 0.03), FLOOR_M)
            parts.append(box((0.1, 0.1, height), tone, Material.PLAIN, base))
    return parts


def _boards(rng, length: float, width: float, height: float, x: float) -> list[Mesh]:
    """Lettering on both sides."""
    ink, style = INKS[int(rng.integers(len(INKS)))], float(rng.random())
    wide, tall = float(rng.uniform(0.4, 0.8)) * length, float(rng.uniform(0.25, 0.6)) * height
    low = FLOOR_M + float(rng.uniform(0.25, 0.6)) * (height - tall)
    return [
        box((wide, 0.012, tall), ink, Material.SIGN, (x, side * (width / 2 + 0.008), low), None,
            style)
        for side in (-1, 1)
    ]  # fmt: skip


def _rear_doors(length: float, width: float, height: float, x: float, tone) -> list[Mesh]:
    rear = x - length / 2 - 0.015
    parts = [box((0.02, 0.03, height - 0.2), BLACK, Material.PLAIN, (rear, 0, FLOOR_M + 0.1))]
    for y in (-0.7, -0.25, 0.25, 0.7):
        base = (rear - 0.02, 0.5 * y * width, FLOOR_M + 0.1)
        parts.append(box((0.03, 0.03, height - 0.2), tone, Material.PLAIN, base))
    return parts


def _box_load(rng, length: float, x: float, width: float, cab_m: float) -> list[Mesh]:
    height = float(rng.uniform(cab_m - 0.9, 3.75 - FLOOR_M))
    tone = PAINTS[int(rng.choice([0, 0, 0, 1, 2, 9]))]
    colour = tone if rng.random() < 0.7 else INKS[int(rng.integers(len(INKS)))]
    ribs = Material.METAL if rng.random() < 0.6 else Material.PAINT
    parts = [_shell((length, width, height), colour, ribs, (x, 0, FLOOR_M), float(rng.random()))]
    parts += _frame(length, width, height, x, np.array(STEEL) * rng.uniform(0.4, 1.5))
    parts += _rear_doors(length, width, height, x, STEEL)
    if rng.random() < 0.75:
        parts += _boards(rng, length, width, height, x)
    if rng.random() < 0.35:  # a cooler over the cab
        base = (x + length / 2 + 0.2, 0, FLOOR_M + height - 0.75)
        parts.append(box((0.4, 0.75 * width, 0.6), (0.7, 0.7, 0.69), Material.PLAIN, base))
    return parts


def _curtains(rng, length: float, x: float, width: float, cab_m: float) -> list[Mesh]:
    height = float(rng.uniform(cab_m - 0.8, 3.8 - FLOOR_M))
    colour = INKS[int(rng.integers(len(INKS)))] * rng.uniform(0.7, 1.1)
    size = (length, width, height)
    parts = [_shell(size, colour, Material.CLOTH, (x, 0, FLOOR_M), float(rng.random()))]
    parts += _frame(length, width, height, x, np.array(STEEL) * 0.8)
    for place_x in np.arange(x - length / 2 + 0.35, x + length / 2, 0.7):  # straps
        for side in (-1, 1):
            base = (float(place_x), side * (width / 2 + 0.01), FLOOR_M)
            parts.append(box((0.05, 0.02, 0.5), BLACK, Material.PLAIN, base))
    if rng.random() < 0.7:
        parts += _boards(rng, length, width, height, x)
    return [*parts, *_rear_doors(length, width, height, x, STEEL)]


def _tipper(rng, length: float, x: float, width: float) -> list[Mesh]:
    colour = PAINTS[int(rng.choice([3, 4, 7, 9, 16, 17, 12]))]
    height = float(rng.uniform(0.9, 1.5))
    parts = [
        box((length, width, height), colour, Material.METAL, (x, 0, FLOOR_M + 0.05)),
        _shell((length * 0.96, 1.1, 0.2), BLACK, Material.PLAIN, (x, 0, FLOOR_M - 0.12)),
    ]
    for k in range(int(length / 0.75)):
        base_x = x - length / 2 + 0.3 + 0.75 * k
        for side in (-1, 1):
            base = (base_x, side * (width / 2 + 0.02), FLOOR_M + 0.05)
            parts.append(box((0.1, 0.08, height), colour * 0.85, Material.PLAIN, base))
    rim = FLOOR_M + 0.05 + height
    for side in (-1, 1):
        rail = (x, side * (width / 2 - 0.02), rim - 0.08)
        parts.append(box((length, 0.12, 0.14), colour * 0.9, Material.PAINT, rail))
    board = (x + length / 2 + 0.1, 0, FLOOR_M + 0.1)
    parts.append(box((0.08, width, height + 0.25), colour, Material.METAL, board))
    soil = np.array([0.16, 0.12, 0.08]) * rng.uniform(0.6, 1.8)
    heap = (length * 0.94, width * 0.88, float(rng.uniform(0.15, 0.5)))
    parts.append(box(heap, soil, Material.SOIL, (x, 0, rim - 0.02), (0.6, 0.35, 0.0)))
    return parts


def _tank(rng, length: float, x: float, width: float) -> list[Mesh]:
    shade = float(rng.choice([0.45, 0.6, 0.72]))
    radius = 0.5 * width * 0.86
    spans = ((-0.5, 0.62), (-0.475, 0.9), (-0.45, 1.0), (0.45, 1.0), (0.475, 0.9), (0.5, 0.62))
    turn = np.arange(16) * 2 * np.pi / 16
    circle = np.c_[np.zeros(16), np.cos(turn), 0.9 * np.sin(turn)]
    rings = [circle * radius * r + (x + s * length, 0, 2.02) for s, r in spans]
    k, after, faces = np.arange(16), (np.arange(16) + 1) % 16, []
    for row in range(len(spans) - 1):
        a, b = k + 16 * row, after + 16 * row
        faces += [np.c_[a, b, b + 16], np.c_[a, b + 16, a + 16]]
    fan, last = np.arange(1, 15), 16 * (len(spans) - 1)
    faces += [np.c_[0 * fan, fan + 1, fan], np.c_[0 * fan, fan, fan + 1] + last]
    tank = make_mesh(np.concatenate(rings), np.concatenate(faces), (shade,) * 3, Material.PAINT)
    parts = [smooth(tank, 40)]
    for s in (-0.3, 0.0, 0.3):
        hoop = cylinder(radius * 1.02, 0.07, STEEL, Material.PLAIN, "x", 16)
        stretched = np.diag([1.0, 1.0, 0.9, 1.0]) @ at(0, 0, 0)
        parts.append(place(place(hoop, stretched), at(x + s * length, 0, 2.02)))
        lid = cylinder(0.26, 0.14, STEEL, Material.PLAIN, "z", 10)
        parts.append(place(lid, at(x + s * length + 0.4, 0, 2.02 + 0.88 * radius)))
    parts.append(box((length * 0.9, 0.9, 0.35), BLACK, Material.PLAIN, (x, 0, FLOOR_M - 0.1)))
    walk = (x, 0, 2.02 + 0.92 * radius)
    parts.append(box((length * 0.7, 0.35, 0.03), STEEL, Material.PLAIN, walk))
    ink, style = INKS[int(rng.integers(len(INKS)))], float(rng.random())
    for side in (-1, 1):
        base = (x, side * (radius + 0.01), 1.85)
        parts.append(box((0.4 * length, 0.02, 0.35), ink, Material.SIGN, base, None, style))
    return parts


def _flat_bed(rng, length: float, x: float, width: float) -> list[Mesh]:
    wood = np.array([0.2, 0.14, 0.08])
    parts = [_shell((length, width, 0.16), wood, Material.FENCE, (x, 0, FLOOR_M))]
    head = (x + length / 2 - 0.05, 0, FLOOR_M)
    parts.append(box((0.1, width, 1.3), STEEL, Material.METAL, head))
    kind, place_x = int(rng.integers(3)), x - length / 2 + 0.8
    while place_x < x + length / 2 - 0.8:
        step = float(rng.uniform(1.2, 1.9))
        if kind == 0:  # pallets of crates or bricks
            high = float(rng.uniform(0.5, 1.5))
            tone = np.array([[0.4, 0.3, 0.18], [0.35, 0.12, 0.07], [0.6, 0.6, 0.58]])[
                int(rng.integers(3))
            ]
            stuff = Material.FENCE if rng.random() < 0.5 else Material.CLOTH
            for y in (-0.55, 0.55):
                size = (step - 0.15, 1.0, high * float(rng.uniform(0.7, 1.0)))
                parts.append(box(size, tone, stuff, (place_x, y, FLOOR_M + 0.16)))
        elif kind == 1:  # a machine or a covered heap
            size = (step - 0.1, width * 0.75, float(rng.uniform(0.8, 1.7)))
            tone = INKS[int(rng.integers(len(INKS)))]
            parts.append(box(size, tone, Material.CLOTH, (place_x, 0, FLOOR_M + 0.16),
                             (0.75, 0.7, 0.05)))  # fmt: skip
        place_x += step
    if kind == 2:  # pipes or logs
        tone = np.array([[0.3, 0.2, 0.12], [0.5, 0.5, 0.5], [0.45, 0.16, 0.04]])[
            int(rng.integers(3))
        ]
        for row, count in enumerate((4, 3, 2)):
            for k in range(count):
                pipe = cylinder(0.25, length * 0.9, tone, Material.PLAIN, "x", 8)
                y, z = (k - (count - 1) / 2) * 0.51, FLOOR_M + 0.41 + 0.44 * row
                parts.append(place(smooth(pipe, 50), at(x - 0.1, y, z)))
    for side in (-1, 1):
        rail = (x, side * (width / 2 - 0.02), FLOOR_M + 0.16)
        parts.append(box((length, 0.04, 0.35), STEEL, Material.METAL, rail))
    return parts
