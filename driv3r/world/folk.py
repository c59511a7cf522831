"""People on foot, on bicycles and motorcycles: jointed, rounded, x forward, on z = 0, metres."""

from dataclasses import replace

import numpy as np

from driv3r.world.mesh import Material, Mesh, at, box, cylinder, join, make_mesh, place

CLOTHES = np.array(
    [
        [0.02, 0.02, 0.025],
        [0.08, 0.09, 0.11],
        [0.03, 0.05, 0.14],
        [0.06, 0.1, 0.22],
        [0.25, 0.24, 0.22],
        [0.6, 0.6, 0.58],
        [0.35, 0.03, 0.03],
        [0.1, 0.16, 0.08],
        [0.4, 0.3, 0.15],
        [0.5, 0.4, 0.05],
        [0.3, 0.12, 0.2],
        [0.12, 0.25, 0.35],
    ]
)
SKINS = np.array([[0.55, 0.36, 0.26], [0.42, 0.25, 0.17], [0.24, 0.13, 0.08], [0.1, 0.055, 0.035]])
HAIRS = np.array([[0.01, 0.009, 0.008], [0.05, 0.03, 0.015], [0.2, 0.13, 0.05], [0.3, 0.3, 0.3]])


def limb(start, end, radii, colour, material=Material.CLOTH, count: int = 7) -> Mesh:
    """A tapered tube between two points with blunt round ends."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = (end - start) / (np.linalg.norm(end - start) + 1e-9)
    aside = np.cross(axis, (0.0, 1.0, 0.0) if abs(axis[1]) < 0.9 else (1.0, 0.0, 0.0))
    aside /= np.linalg.norm(aside)
    other = np.cross(axis, aside)
    turn = np.arange(count) * 2 * np.pi / count
    circle = np.cos(turn)[:, None] * aside + np.sin(turn)[:, None] * other
    r0, r1 = radii
    rings = [
        (start - axis * r0 * 0.7, r0 * 0.55),
        (start, r0),
        (end, r1),
        (end + axis * r1 * 0.7, r1 * 0.55),
    ]
    points = np.concatenate([centre + circle * radius for centre, radius in rings])
    around = np.concatenate([circle + lean * axis for lean in (-1.0, 0.0, 0.0, 1.0)])
    k = np.arange(count)
    after = (k + 1) % count
    sides = []
    for row in range(3):
        a, b = k + row * count, after + row * count
        sides += [np.c_[a, b, b + count], np.c_[a, b + count, a + count]]
    fan = np.arange(1, count - 1)
    caps = [np.c_[0 * fan, fan + 1, fan], np.c_[0 * fan, fan, fan + 1] + 3 * count]
    mesh = make_mesh(points, np.concatenate([*sides, *caps]), colour, material)
    return replace(mesh, normals=around / np.linalg.norm(around, axis=1, keepdims=True))


def make_person(rng: np.random.Generator, phase: float | None) -> Mesh:
    """A walker at a phase of the stride in [0, 1), or one who stands (None)."""
    tall = float(rng.normal(1.7, 0.1)) if rng.random() < 0.88 else float(rng.uniform(1.05, 1.4))
    wide = float(rng.uniform(0.9, 1.25)) * tall / 1.7
    shirt, trousers, shoes, bag = CLOTHES[rng.integers(len(CLOTHES), size=4)]
    skin, hair = SKINS[int(rng.integers(4))], HAIRS[int(rng.integers(4))]
    has_bag, has_coat, stance = rng.random() < 0.35, rng.random() < 0.25, float(rng.uniform(-1, 1))
    swing = 0.0 if phase is None else float(np.sin(2 * np.pi * phase))
    hip = np.array([0.0, 0.0, 0.53 * tall])
    chest = hip + (0.03 * tall, 0, 0.29 * tall)
    parts = []
    for side in (-1, 1):
        angle = 0.45 * swing * side if phase is not None else 0.04 * stance * side
        bend = 0.1
        if phase is not None:  # the knee bends while the leg swings forward
            forward = float(np.cos(2 * np.pi * phase)) * side
            bend = 0.12 + 0.75 * max(forward, 0.0) ** 2
        top = hip + (0, 0.09 * wide * side, 0)
        knee = top + 0.245 * tall * np.array([np.sin(angle), 0, -np.cos(angle)])
        low = angle - bend
        ankle = knee + 0.24 * tall * np.array([np.sin(low), 0, -np.cos(low)])
        parts.append(limb(top, knee, (0.085 * wide, 0.06 * wide), trousers))
        parts.append(limb(knee, ankle, (0.057 * wide, 0.042 * wide), trousers))
        toe = ankle + (0.14, 0, -0.02)
        parts.append(limb(ankle - (0.03, 0, 0.02), toe, (0.045, 0.035), shoes, Material.PLAIN, 6))
        parts += _arm(
            chest, side, -swing if phase is not None else 0.1 * stance, wide, tall, shirt, skin
        )
    parts.append(
        limb(hip, chest + (0, 0, -0.02 * tall), (0.145 * wide, 0.165 * wide), shirt, count=9)
    )
    if has_coat:
        parts.append(
            limb(hip - (0, 0, 0.17 * tall), hip, (0.19 * wide, 0.16 * wide), shirt, count=9)
        )
    head = chest + (0.02, 0, 0.125 * tall)
    parts.append(limb(chest, head - (0, 0, 0.03), (0.05, 0.05), skin, Material.PLAIN, 6))
    parts.append(
        limb(head - (0, 0, 0.03), head + (0, 0, 0.06), (0.078, 0.085), skin, Material.PLAIN, 8)
    )
    parts.append(
        limb(head + (-0.02, 0, 0.045), head + (-0.01, 0, 0.09), (0.09, 0.08), hair, count=8)
    )
    if has_bag:
        parts.append(box((0.16, 0.3, 0.4), bag, Material.CLOTH, tuple(chest - (0.24, 0, 0.3))))
    return _ground(join(parts))


def _arm(chest, side: int, swing: float, wide: float, tall: float, shirt, skin) -> list[Mesh]:
    shoulder = chest + (0, 0.19 * wide * side, -0.02 * tall)
    angle = 0.4 * swing * side
    elbow = shoulder + 0.17 * tall * np.array([np.sin(angle), 0.1 * side, -np.cos(angle)])
    low = angle + 0.35
    hand = elbow + 0.16 * tall * np.array([np.sin(low), 0.0, -np.cos(low)])
    return [
        limb(shoulder, elbow, (0.055 * wide, 0.043 * wide), shirt),
        limb(elbow, hand, (0.042 * wide, 0.034 * wide), shirt),
        limb(hand, hand + 0.05 * (hand - elbow), (0.035, 0.035), skin, Material.PLAIN, 5),
    ]


def _ground(mesh: Mesh) -> Mesh:
    return place(mesh, at(0, 0, -float(mesh.vertices[:, 2].min())))


def make_rider(rng: np.random.Generator, phase: float, seat, bars, pedals) -> list[Mesh]:
    """Someone who sits on a bicycle or motorcycle; points of seat, handlebars and pedal axle."""
    shirt, trousers = CLOTHES[rng.integers(len(CLOTHES), size=2)]
    skin, helmet = SKINS[int(rng.integers(4))], CLOTHES[int(rng.integers(len(CLOTHES)))]
    seat, bars, pedals = (np.asarray(p, float) for p in (seat, bars, pedals))
    chest = seat + 0.52 * (bars - seat) * (1, 1, 0) + (0, 0, 0.47)
    parts = [limb(seat, chest, (0.15, 0.17), shirt, count=8)]
    for side in (-1, 1):
        turn = 2 * np.pi * phase + (np.pi if side > 0 else 0)
        foot = pedals + 0.16 * np.array([np.cos(turn), 0, np.sin(turn)]) + (0, 0.13 * side, 0)
        hip = seat + (0, 0.1 * side, 0)
        reach = foot - hip
        length = min(np.linalg.norm(reach), 0.87)
        out = np.cross(reach, (0.0, 1.0, 0.0))
        knee = hip + 0.5 * reach - out / np.linalg.norm(out) * np.sqrt(0.44**2 - length**2 / 4)
        parts.append(limb(hip, knee, (0.085, 0.06), trousers))
        parts.append(limb(knee, foot, (0.055, 0.045), trousers))
        shoulder, hand = chest + (0, 0.18 * side, 0), bars + (0, 0.24 * side, 0.03)
        elbow = 0.5 * (shoulder + hand) + (0, 0.08 * side, -0.08)
        parts += [
            limb(shoulder, elbow, (0.055, 0.045), shirt),
            limb(elbow, hand, (0.043, 0.035), shirt),
        ]
    head = chest + (0.1, 0, 0.24)
    parts.append(limb(chest, head, (0.05, 0.07), skin, Material.PLAIN, 7))
    parts.append(limb(head, head + (0, 0, 0.1), (0.11, 0.09), helmet, Material.PAINT, 8))
    return parts


def make_ring(radius: float, colour, count: int = 16) -> Mesh:
    """A tyre in the x-z plane, open in the middle, centred."""
    turn = np.arange(count) * 2 * np.pi / count
    rim = np.c_[np.cos(turn), 0 * turn, np.sin(turn)]
    rings = [rim * radius, rim * (radius - 0.02) + (0, 0.02, 0), rim * (radius - 0.045)]
    rings.append(rim * (radius - 0.02) - (0, 0.02, 0))
    points = np.concatenate(rings)
    k, after, faces = np.arange(count), (np.arange(count) + 1) % count, []
    for row in range(4):
        a, b, up = k + row * count, after + row * count, (row + 1) % 4 * count - row * count
        faces += [np.c_[a, b, b + up], np.c_[a, b + up, a + up]]
    return make_mesh(points, np.concatenate(faces), colour, Material.PLAIN)


def make_cyclist(rng: np.random.Generator, phase: float) -> Mesh:
    """A person on a bicycle at a phase of the pedals."""
    colour = CLOTHES[int(rng.integers(len(CLOTHES)))] * 1.5
    back, front, crank = (
        np.array([-0.5, 0, 0.35]),
        np.array([0.55, 0, 0.35]),
        np.array([-0.05, 0, 0.3]),
    )
    seat, bars = np.array([-0.22, 0, 0.95]), np.array([0.42, 0, 1.02])
    tubes = [
        (back, crank),
        (crank, seat),
        (back, seat - (0.04, 0, 0.15)),
        (crank, bars - (0.05, 0, 0.2)),
    ]
    tubes += [(seat - (0, 0, 0.15), bars - (0.05, 0, 0.15)), (bars, front)]
    parts = [limb(a, b, (0.018, 0.018), colour, Material.PAINT, 5) for a, b in tubes]
    parts += [place(make_ring(0.35, (0.02, 0.02, 0.02)), at(*hub)) for hub in (back, front)]
    parts.append(
        limb(bars - (0, 0.26, 0), bars + (0, 0.26, 0), (0.015, 0.015), (0.02, 0.02, 0.02), count=5)
    )
    parts.append(box((0.25, 0.14, 0.06), (0.02, 0.02, 0.02), Material.PLAIN, tuple(seat)))
    parts += make_rider(rng, phase, seat + (0, 0, 0.08), bars, crank)
    return join(parts)


def make_motorcycle(rng: np.random.Generator) -> Mesh:
    """A motorcycle or scooter with its rider."""
    paint = CLOTHES[int(rng.integers(len(CLOTHES)))] * 1.4
    parts = []
    for x in (-0.65, 0.7):
        tyre = cylinder(0.31, 0.13, (0.02, 0.02, 0.02), Material.PLAIN, axis="y", count=14)
        parts.append(place(tyre, at(x, 0, 0.31)))
    seat, bars = np.array([-0.25, 0, 0.82]), np.array([0.42, 0, 1.05])
    parts += [
        limb((-0.75, 0, 0.68), (0.3, 0, 0.72), (0.12, 0.17), paint, Material.PAINT, 8),
        limb((-0.2, 0, 0.42), (0.3, 0, 0.45), (0.15, 0.15), (0.06, 0.06, 0.06), Material.PAINT, 8),
        limb((0.7, 0, 0.31), bars, (0.05, 0.05), (0.3, 0.3, 0.3), Material.PAINT, 6),
        limb(bars - (0, 0.33, 0), bars + (0, 0.33, 0), (0.02, 0.02), (0.02, 0.02, 0.02), count=5),
        box((0.1, 0.16, 0.14), (0.8, 0.8, 0.8), Material.HEADLIGHT, (0.6, 0, 0.8)),
        box((0.06, 0.16, 0.08), (0.4, 0.01, 0.01), Material.TAILLIGHT, (-0.88, 0, 0.68)),
    ]
    parts += make_rider(rng, 0.1, seat + (0, 0, 0.05), bars, (0.15, 0, 0.4))
    return _ground(join(parts))
