"""Vans, trucks and buses: x forward, y left, on z = 0, metres, linear colours."""

import numpy as np
from jaxtyping import Float

from driv3r.simulator.assets.mesh import Material, Mesh, at, box, join, place, smooth
from driv3r.simulator.assets.vehicles.truck_bodies import make_load
from driv3r.simulator.assets.vehicles.vehicle_bodies import (
    BLACK,
    DARK,
    GLASS,
    HEAD,
    PAINT,
    PAINTS,
    SECOND,
    TAIL,
    cap,
    choose_paint,
    door_line,
    end_patch,
    flank,
    make_axle,
    make_core,
    make_looks,
    make_mirrors,
    make_plates,
    side_patch,
    skin,
)

STEEL = (0.35, 0.35, 0.36)
ARCH = ((-1.03, -1.0), (-0.93, 0.36), (-0.53, 0.85), (0.0, 1.0), (0.53, 0.85), (0.93, 0.36),
        (1.03, -1.0))  # fmt: skip
LIVERIES = np.array(
    [
        [0.74, 0.74, 0.73], [0.5, 0.03, 0.03], [0.65, 0.45, 0.02], [0.03, 0.15, 0.4],
        [0.03, 0.25, 0.1], [0.3, 0.32, 0.33], [0.55, 0.2, 0.02], [0.05, 0.35, 0.4],
    ]
)  # fmt: skip


def hull(
    x: list[float],
    half: Float[np.ndarray, "s"],
    low: Float[np.ndarray, "s"],
    belt: Float[np.ndarray, "s"],
    top: Float[np.ndarray, "s"],
    tumble: float = 0.95,
    corner_m: float = 0.12,
) -> Float[np.ndarray, "s 6 3"]:
    """Rings of an upright body: low edge, a quarter up, belt, eaves, roof edge, middle."""
    across = np.asarray(x)
    y = [0.99 * half, half, half, tumble * half, (tumble * half - corner_m), 0 * half]
    quarter = np.minimum(low + 0.3 * (belt - low) + 0.05, belt - 0.02)
    z = [low, quarter, belt, top - corner_m, top - 0.02, top]
    rings = np.stack([np.tile(across, (6, 1)), y, z], -1)
    return rings.transpose(1, 0, 2).copy()


def _bottom(
    x: list[float], axles: tuple[float, ...], radius: float, low: float
) -> Float[np.ndarray, "s"]:
    """The low edge, lifted over the wheels."""
    arch = 1.18 * radius
    points = [(axle + a * arch, max(low, radius + z * arch)) for axle in axles for a, z in ARCH]
    line = np.array(sorted([(-99.0, low), *points, (99.0, low)]))
    return np.interp(x, line[:, 0], line[:, 1])


def _stations(
    fixed: list[float], axles: tuple[float, ...], radius: float, apart_m: float = 0.04
) -> list[float]:
    chosen = list(fixed)
    for axle in axles:
        for a, _ in ARCH:
            x = axle + a * 1.18 * radius
            if min(abs(x - other) for other in chosen) > apart_m and x < max(fixed):
                chosen.append(x)
    return sorted(chosen, reverse=True)


def make_van(rng: np.random.Generator) -> Mesh:
    """A delivery van or a minibus with windows."""
    length = float(rng.uniform(4.8, 6.3))
    width, height = float(rng.uniform(1.9, 2.05)), float(rng.uniform(1.95, 2.7))
    if length < 5.3:
        height = min(height, 2.15)
    front, radius = length / 2, 0.34
    axles = (front - 0.95, -front + float(rng.uniform(0.9, 1.15)))
    cowl, screen = front - 0.72, front - 0.72 - 0.3 * height
    pane_end = screen - 0.55
    x = _stations([front, front - 0.09, front - 0.3, cowl, screen, pane_end, -front + 0.06, -front],
                  axles, radius)  # fmt: skip
    points = ([-front, -front + 0.06, screen - 0.4, screen, cowl, front - 0.3, front],
              [height - 0.05, height - 0.01, height, height - 0.06, 1.2, 1.08, 0.9])  # fmt: skip
    top = np.interp(x, *points)
    half = width / 2 * np.interp(
        x, [-front, -front + 0.1, front - 0.9, front - 0.3, front - 0.09, front],
        [0.96, 1, 1, 0.97, 0.89, 0.78])  # fmt: skip
    belt = np.minimum(np.interp(x, [-front, cowl, front], [1.16, 1.1, 0.78]), top - 0.1)
    rings = hull(x, half, _bottom(x, axles, radius, 0.26), belt, top, 0.9, 0.09)
    _shape_nose(rings, np.array(x), screen, cowl)
    paint = choose_paint(rng)
    rings[-1, :, 0] += np.array([0.04, 0, 0.01, 0.03, 0.05, 0.05])
    return _finish_van(rng, rings, (length, width, height), axles, (cowl, screen, pane_end), paint)


def _shape_nose(rings: Float[np.ndarray, "s 6 3"], x, screen: float, cowl: float) -> None:
    """Flattens the bonnet's shoulders, leans the nose and bends the windscreen."""
    nose = np.clip((x - screen) / (cowl - screen), 0, 1)
    half = rings[:, 1, 1]
    rings[:, 3, 1] += nose * (0.95 * half - rings[:, 3, 1])
    rings[:, 4, 1] += nose * (0.86 * half - rings[:, 4, 1])
    ahead = nose > 0.99
    rings[ahead, 3, 2] = 0.5 * (rings[ahead, 2, 2] + rings[ahead, 5, 2])
    rings[:, 5, 0] += 0.1 * np.interp(x, [screen - 0.5, screen, cowl, x[0]], [0, 0.6, 1, 0])
    rings[0, :, 0] -= np.array([0.05, 0.0, 0.05, 0.1, 0.14, 0.12])
    rings[1, :, 0] -= 0.35 * np.array([0.05, 0.0, 0.05, 0.1, 0.14, 0.12])
    rings[:2, 1, 2] = 0.56


def _finish_van(rng, rings, size_m, axles, marks, paint) -> Mesh:
    length, width, height = size_m
    cowl, screen, pane_end = marks
    passengers = rng.random() < 0.3
    middle = (rings[:-1, 2, 0] + rings[1:, 2, 0]) / 2
    codes = np.full((len(middle), 5), PAINT)
    rear = -length / 2 + 0.2 if passengers else pane_end
    codes[(middle < cowl - 0.05) & (middle > rear), 2] = GLASS
    codes[(middle < cowl) & (middle > screen), 4] = GLASS
    codes[0:1, 1], codes[-1, 1] = HEAD, TAIL
    codes[:, 0] = SECOND if rng.random() < 0.4 else PAINT
    looks = make_looks(paint, np.array(BLACK) * 2)
    grille = DARK if rng.random() < 0.8 else PAINT
    ends = ((SECOND, SECOND), (HEAD, grille), (PAINT, PAINT), (PAINT, PAINT))
    back = ((DARK, DARK), (TAIL, PAINT), (PAINT, GLASS), (PAINT, PAINT))
    shell = [skin(rings, codes, looks), cap(rings[0], ends, looks, 0.05, 0.6),
             cap(rings[-1], back, looks, 0.02, 0.8, rear=True)]  # fmt: skip
    parts = [smooth(join(shell), 38)]
    door = min(cowl - 0.1, axles[0] - 0.43)
    for x in (door, pane_end, pane_end - 1.2):
        parts.append(door_line(rings, x, (0, 3)))
        if passengers and x < door:
            parts.append(side_patch(rings, (x + 0.04, x - 0.04), (2, 3), BLACK))
    if not passengers and rng.random() < 0.65:
        ink = LIVERIES[int(rng.integers(len(LIVERIES)))] if rng.random() < 0.6 else paint
        span = (pane_end - 0.15, pane_end - 0.15 - float(rng.uniform(0.4, 0.8)) * (length - 3.4))
        parts.append(side_patch(rings, span, (2.15, 2.8), ink, Material.SIGN,
                                style=float(rng.random())))  # fmt: skip
    parts.append(side_patch(rings, (door - 0.05, axles[1] + 0.45), (0.9, 1.25), BLACK, out_m=0.015))
    for x in axles:
        parts += make_axle(x, 0.34, 0.485 * width, bright=float(rng.choice([0.1, 0.3, 0.45])),
                           spokes=0, rim=0.6)  # fmt: skip
    parts += make_mirrors(cowl - 0.12, 0.47 * width, 1.12, (0.12, 0.24, 0.26), BLACK)
    parts += make_plates((rings[0], 0.05, 0.4), (rings[-1], -0.02, 0.66), rng)
    parts.append(make_core(axles, 0.34, width, 0.26))
    crack = end_patch(rings[-1], -0.02, 0.012, (0.4, height - 0.15), BLACK)
    return join([*parts, crack])


def make_bus(rng: np.random.Generator) -> Mesh:
    """A city bus or a coach, at times with two decks."""
    coach, decks = rng.random() < 0.3, 2 if rng.random() < 0.14 else 1
    length, width = float(rng.uniform(9.8, 12.3)), 2.5
    height = {1: float(rng.uniform(3.4, 3.7)) if coach else float(rng.uniform(2.95, 3.15)),
              2: float(rng.uniform(4.0, 4.35))}[decks]  # fmt: skip
    front, radius = length / 2, 0.48
    axles = (front - 2.7, -front + 3.0)
    belt_m = 1.55 if coach else 1.2
    x = _stations([front, front - 0.1, front - 0.45, -front + 0.3, -front + 0.05, -front],
                  axles, radius, 0.02)  # fmt: skip
    near_end = front - np.abs(np.array(x))
    half = width / 2 * np.interp(near_end, [0, 0.1, 0.45], [0.93, 0.975, 1.0])
    top = height - np.interp(near_end, [0, 0.1, 0.45], [0.16, 0.05, 0.0])
    rings = hull(x, half, _bottom(x, axles, radius, 0.32), np.full(len(x), belt_m), top, 0.965,
                 0.2)  # fmt: skip
    lean = np.array([0.03, 0.0, 0.0, 0.12, 0.2, 0.18])
    rings[0, :, 0] -= lean * (1.5 if coach else 0.7)
    rings[1, :, 0] -= 0.4 * lean * (1.5 if coach else 0.7)
    paint = LIVERIES[int(rng.integers(len(LIVERIES)))] * rng.uniform(0.8, 1.05)
    second = LIVERIES[int(rng.integers(len(LIVERIES)))] if rng.random() < 0.6 else paint
    looks = make_looks(paint, second)
    codes = np.full((len(x) - 1, 5), PAINT)
    codes[:, 0] = SECOND
    if decks == 1:
        codes[1:-1, 2] = GLASS
    codes[-1, 1], codes[0, 0] = TAIL, HEAD
    ends = ((HEAD, SECOND), (PAINT, PAINT), (GLASS, GLASS), (PAINT, PAINT))
    back = ((PAINT, DARK), (TAIL, PAINT), (PAINT, GLASS), (PAINT, PAINT))
    shell = [skin(rings, codes, looks), cap(rings[0], ends, looks, 0.07, 0.72),
             cap(rings[-1], back, looks, 0.03, 0.78, rear=True)]  # fmt: skip
    parts = [smooth(join(shell), 38), *_bus_sides(rng, rings, front, height, decks, paint)]
    parts += _bus_ends(rng, rings, height, decks)
    parts.append(make_core(axles, radius, width, 0.32))
    for axle in axles:
        parts += make_axle(axle, radius, 0.49 * width, 0.3, bright=0.3, spokes=0, rim=0.62)
    return join([*parts, *_bus_mirrors(front, belt_m)])


def _bus_mirrors(front: float, belt_m: float) -> list[Mesh]:
    """Mirrors that hang on arms before the windscreen."""
    parts = []
    for side in (-1, 1):
        mirror = box((0.14, 0.2, 0.4), BLACK, Material.PLAIN, (0, 0, 0))
        parts.append(place(mirror, at(front + 0.12, side * 1.28, belt_m + 0.5, 0.3 * side)))
        arm = box((0.3, 0.05, 0.05), BLACK, Material.PLAIN, (0, 0, 0))
        parts.append(place(arm, at(front, side * 1.23, belt_m + 0.88, 0.3 * side)))
    return parts


def _bus_sides(rng, rings, front: float, height: float, decks: int, paint) -> list[Mesh]:
    """Panes, posts, doors, a line and boards on the sides."""
    parts = []
    posts = np.arange(-front + 1.4, front - 1.2, float(rng.uniform(1.35, 1.8)))
    if decks == 2:
        span = rings[len(rings) // 2, [2, 3], 2]
        for low, high in ((belt := span[0], belt + 0.85), (belt + 1.55, height - 0.4)):
            rows = tuple(2 + (z - span[0]) / (span[1] - span[0]) for z in (low, high))
            pane = (front - 0.5, -front + 0.5)
            parts.append(side_patch(rings, pane, rows, (0.012, 0.014, 0.016), Material.GLASS, 0.02))
            for x in posts:
                parts.append(side_patch(rings, (x + 0.04, x - 0.04), rows, BLACK, out_m=0.03))
    else:
        for x in posts:
            parts.append(side_patch(rings, (x + 0.04, x - 0.04), (2, 3), BLACK))
    ink = LIVERIES[int(rng.integers(len(LIVERIES)))]
    belt_m = float(rings[0, 2, 2])
    if rng.random() < 0.5:
        span = (front - 3.5, front - 3.5 - float(rng.uniform(1.8, 2.6)))
        parts.append(flank(span, (0.5, belt_m - 0.1), 1.262, ink, Material.SIGN,
                           float(rng.random())))  # fmt: skip
    if rng.random() < 0.6:
        span, high = (front - 0.5, -front + 0.35), float(rng.uniform(0.03, 0.09))
        parts.append(flank(span, (belt_m - high, belt_m), 1.255, ink, Material.PAINT))
    low_m, high_m = rings[len(rings) // 2, [2, 3], 2]
    top_row = 2 + float(min(0.75, (2.35 - low_m) / (high_m - low_m)))
    for x in (front - 0.5, -0.2):  # doors, on the kerb's side
        for k in (0, 1):
            low = x - 0.62 * k
            both = side_patch(rings, (low, low - 0.58), (0.5, top_row), (0.012, 0.014, 0.016),
                              Material.GLASS, 0.035)  # fmt: skip
            parts.append(_right_half(both))
    return parts


def _right_half(both: Mesh) -> Mesh:
    """The second of the two patches of side_patch."""
    return Mesh(
        both.vertices[4:], both.normals[4:], both.uv[4:], both.triangles[2:] - 4,
        both.colour[2:], both.material[2:], both.style[2:], both.instance[2:],
    )  # fmt: skip


def _bus_ends(rng, rings, height: float, decks: int) -> list[Mesh]:
    """The destination, wipers' line, plates and, with two decks, the lower windscreen's sill."""
    parts = [end_patch(rings[0], 0.07, 0.75, (height - 0.62, height - 0.38), (0.5, 0.25, 0.02),
                       Material.LAMP if rng.random() < 0.5 else Material.SIGN,
                       float(rng.random()))]  # fmt: skip
    if decks == 2:
        low = float(rings[0, 2, 2]) + 1.0
        parts.append(end_patch(rings[0], 0.07, 0.88, (low, low + 0.45), PAINTS[4]))
    parts += make_plates((rings[0], 0.07, 0.45), (rings[-1], -0.03, 0.7), rng)
    return parts


def _cab(rng, front: float, width: float, height: float, low: float, paint) -> list[Mesh]:
    """A truck's cab over the engine, its front at x = front."""
    depth = float(rng.uniform(1.7, 2.2))
    x = [front, front - 0.1, front - 0.35, front - 1.25, front - 1.35, front - depth]
    near = front - np.array(x)
    half = width / 2 * np.interp(near, [0, 0.1, 0.35], [0.9, 0.96, 1.0])
    top = height - np.interp(near, [0, 0.1, 0.35, 0.7], [0.22, 0.15, 0.05, 0.0])
    belt = np.full(len(x), low + 0.44 * (height - low))
    rings = hull(x, half, np.interp(near, [0, 0.5, 0.9, 3], [0.32, 0.35, low, low]), belt, top,
                 0.95, 0.16)  # fmt: skip
    lean = np.array([0.04, 0.0, 0.03, 0.2, 0.3, 0.28])
    rings[0, :, 0] -= lean
    rings[1, :, 0] -= 0.8 * lean
    rings[2, :, 0] -= 0.3 * lean
    codes = np.full((5, 5), PAINT)
    codes[:, 0] = SECOND
    codes[1:3, 2] = GLASS
    looks = make_looks(paint, np.array(BLACK) * 2)
    ends = ((SECOND, SECOND), (PAINT, DARK if rng.random() < 0.6 else PAINT), (GLASS, GLASS),
            (PAINT, PAINT))  # fmt: skip
    shut = ((DARK, DARK),) + ((PAINT, PAINT),) * 3
    shell = [skin(rings, codes, looks), cap(rings[0], ends, looks, 0.05, 0.6),
             cap(rings[-1], shut, looks, 0.0, 0.6, rear=True)]  # fmt: skip
    parts = [smooth(join(shell), 38), door_line(rings, front - 0.36, (0, 3))]
    parts.append(door_line(rings, front - 1.3, (0, 3)))
    for side in (-1, 1):
        base = (front - 0.05, side * 0.33 * width, 0.6)
        parts.append(box((0.16, 0.36, 0.2), (0.5, 0.51, 0.53), Material.HEADLIGHT, base))
    parts += make_mirrors(front - 0.25, width / 2 + 0.03, float(belt[0]) + 0.1, (0.1, 0.2, 0.6),
                          BLACK, Material.PLAIN)  # fmt: skip
    name = LIVERIES[int(rng.integers(len(LIVERIES)))]
    parts.append(end_patch(rings[0], 0.05, 0.26, (0.5, 0.615), (0.72, 0.72, 0.7), Material.SIGN))
    if rng.random() < 0.4:
        parts.append(end_patch(rings[0], 0.05, 0.6, (height - 0.42, height - 0.34), name,
                               Material.SIGN, float(rng.random())))  # fmt: skip
    return parts


def make_truck(rng: np.random.Generator) -> Mesh:
    """A lorry with a box, curtains, a tipper, a tank, or a flat bed with a load."""
    length, width = float(rng.uniform(6.4, 10.5)), float(rng.uniform(2.3, 2.5))
    front, rear = length / 2, -length / 2
    cab_m = float(rng.uniform(2.5, 3.1)) if length > 7.5 else float(rng.uniform(2.3, 2.6))
    low, paint, radius = 0.75, choose_paint(rng), 0.5 if length > 7.5 else 0.42
    parts = _cab(rng, front, 0.96 * width, cab_m, low, paint)
    back = (rear, front - 2.35)
    parts += make_load(rng, back, width, cab_m)
    frame = box((length - 0.6, 0.85, 0.3), BLACK, Material.PLAIN, (-0.2, 0, 0.62))
    parts.append(frame)
    axles = [front - 1.25, rear + 1.5]
    if length > 8.6:
        axles = [front - 1.25, rear + 2.3, rear + 1.2]
    for x in axles:
        parts += make_axle(x, radius, 0.47 * width, 0.32 if x > 0 else 0.55, bright=0.3, spokes=0,
                           rim=0.55)  # fmt: skip
    parts += _underneath(rng, axles, width, rear)
    return join(parts)


def _underneath(rng, axles: list[float], width: float, rear: float) -> list[Mesh]:
    """Side and rear underrun bars, tank, lamps, plate and mudguards."""
    parts = []
    span = axles[0] - axles[1] - 1.5
    middle = 0.5 * (axles[0] + axles[1])
    for side in (-1, 1):
        y = side * (width / 2 - 0.06)
        if rng.random() < 0.7:
            for z in (0.48, 0.78):
                parts.append(box((span, 0.04, 0.12), STEEL, Material.PLAIN, (middle, y, z)))
        tank = (min(1.2, 0.5 * span), 0.5, 0.5)
        parts.append(box(tank, STEEL, Material.PLAIN, (middle + 0.2 * span, 0.7 * y, 0.42)))
        guard = box((0.04, 0.5, 0.5), BLACK, Material.PLAIN, (axles[-1] - 0.7, 0.8 * y, 0.3))
        lamp = box((0.05, 0.4, 0.13), (0.3, 0.01, 0.01), Material.TAILLIGHT,
                   (rear + 0.05, side * (width / 2 - 0.28), 0.76))  # fmt: skip
        parts += [guard, lamp]
    striped = Material.STRIPES if rng.random() < 0.5 else Material.PLAIN
    parts.append(box((0.1, 0.92 * width, 0.12), STEEL, striped, (rear + 0.1, 0, 0.46)))
    plate = box((0.02, 0.5, 0.115), (0.7, 0.7, 0.68), Material.SIGN, (rear + 0.06, 0, 0.66))
    return [*parts, plate]
