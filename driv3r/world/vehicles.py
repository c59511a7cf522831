"""Vans, trucks and buses, and the ego car's bonnet: x forward, on z = 0, metres."""

import numpy as np

from driv3r.world.mesh import Material, Mesh, at, box, cylinder, join, make_mesh, place, smooth

DARK, RUBBER = (0.015, 0.015, 0.017), (0.02, 0.02, 0.02)
PAINTS = np.array(
    [
        [0.72, 0.72, 0.71],
        [0.6, 0.6, 0.6],
        [0.4, 0.42, 0.44],
        [0.22, 0.23, 0.25],
        [0.1, 0.1, 0.11],
        [0.02, 0.02, 0.022],
        [0.4, 0.02, 0.02],
        [0.02, 0.07, 0.3],
        [0.03, 0.14, 0.2],
        [0.03, 0.12, 0.05],
        [0.3, 0.2, 0.1],
        [0.6, 0.42, 0.03],
        [0.45, 0.42, 0.33],
    ]
)
CHANCES = np.array([20, 8, 12, 11, 9, 16, 7, 7, 3, 2, 2, 2, 2]) / 101


# A van from the side: (x, belt, top) in shares of length and height. Where the top stands over the
# belt there is a cabin; steep stretches of it are glass.
VAN = (
    (0.5, 0.35, 0.35), (0.49, 0.42, 0.43), (0.42, 0.46, 0.5), (0.38, 0.48, 0.55),
    (0.22, 0.5, 0.96), (0.15, 0.5, 0.99), (0.13, 0.5, 0.99), (-0.2, 0.99, 0.99),
    (-0.49, 0.99, 0.99), (-0.5, 0.9, 0.92),
)  # fmt: skip
GLASS_RISE = 0.1  # of the height: where the top stands over the belt by more there is a cabin
CLEARANCE_M = 0.25
STEEP = 0.3  # slope from which the top between two stations is a window


def choose_paint(rng: np.random.Generator) -> np.ndarray:
    """White, grey and black, mostly."""
    return PAINTS[int(rng.choice(len(PAINTS), p=CHANCES))] * rng.uniform(0.85, 1.1)


def loft(stations: tuple, size: tuple[float, float, float], paint: np.ndarray) -> Mesh:
    """A body without wheels and lights."""
    length, width, height = size
    rows = []
    for share, belt, top in stations:
        nose = max(0.0, abs(share) - 0.38) / 0.12  # bodies narrow towards their ends
        half = width / 2 * (1 - 0.16 * nose**2)
        z = np.array([belt, top]) * height
        low = CLEARANCE_M + 0.12 * nose
        inset = 0.86 if top - belt > GLASS_RISE else 0.93
        side = [
            (0.0, low), (0.86 * half, low), (half * 0.98, low + 0.12), (half, 0.55 * z[0] + 0.12),
            (0.975 * half, z[0]), (inset * half, z[1] - 0.05 * height * 0.6),
            (0.72 * inset * half, z[1]), (0.0, z[1] + 0.012),
        ]  # fmt: skip
        rows.append([(share * length, y, h) for y, h in side])
    grid = np.array(rows)  # [stations, 8, 3]
    parts = []
    for i in range(len(grid) - 1):
        tops = [stations[i + k][2] * height for k in (0, 1)]
        cabin = all(stations[i + k][2] - stations[i + k][1] > GLASS_RISE for k in (0, 1))
        run = abs(stations[i][0] - stations[i + 1][0]) * length
        steep = abs(tops[0] - tops[1]) > STEEP * run and max(tops) > 0.75 * height
        pillar = cabin and run < 0.035 * length
        for j in range(7):
            glass = (j == 4 and cabin and not pillar) or (j >= 5 and steep and run > 0.05 * length)
            dark = j <= 1
            colour = DARK if glass or dark else paint
            material = Material.GLASS if glass else (Material.PLAIN if dark else Material.PAINT)
            a, b = grid[i, j], grid[i + 1, j]
            c, d = grid[i + 1, j + 1], grid[i, j + 1]
            parts.append(make_mesh([a, b, c, d], [[0, 1, 2], [0, 2, 3]], colour, material))
            flip = np.array([1, -1, 1.0])
            corners = [a * flip, d * flip, c * flip, b * flip]
            parts.append(make_mesh(corners, [[0, 1, 2], [0, 2, 3]], colour, material))
    for end, order in ((grid[0], 1), (grid[-1], -1)):
        ring = np.concatenate([end, end[-2:0:-1] * (1, -1, 1)])[::order]
        fan = [[0, k + 1, k] for k in range(1, len(ring) - 1)]
        parts.append(make_mesh(ring, fan, paint, Material.PAINT))
    return smooth(join(parts), 35)


def make_wheels(
    axles: tuple[float, ...], track: float, radius: float, rim: float = 0.45
) -> list[Mesh]:
    """Wheels in dark arches."""
    parts = []
    for x in axles:
        for side in (-1, 1):
            y = side * track / 2
            arch = cylinder(radius * 1.16, 0.2, DARK, Material.PLAIN, axis="y", count=12)
            tyre = cylinder(radius, 0.24, RUBBER, Material.PLAIN, axis="y", count=16)
            face = cylinder(radius * 0.66, 0.26, (rim, rim, rim), Material.PAINT, axis="y", count=8)
            parts.append(place(arch, at(x, y - 0.09 * side, radius * 1.17)))
            parts += [place(p, at(x, y - 0.03 * side, radius)) for p in (tyre, face)]
    return parts


def make_ends(length: float, width: float, light_m: float, plate_m: float, rng) -> list[Mesh]:
    """Lamps, grille, plates and bumpers."""
    parts, wide = [], float(rng.uniform(0.22, 0.42))
    tall = float(rng.uniform(0.09, 0.17))
    for side in (-1, 1):
        y = side * (width / 2 - wide / 2 - 0.06)
        lamp = box((0.16, wide, tall), (0.75, 0.76, 0.78), Material.HEADLIGHT, (0, 0, 0))
        tail = box((0.14, wide, tall * 1.15), (0.38, 0.01, 0.01), Material.TAILLIGHT, (0, 0, 0))
        parts.append(place(lamp, at(length / 2 - 0.12, y, light_m - tall / 2, -0.18 * side)))
        parts.append(place(tail, at(-length / 2 + 0.1, y, light_m, 0.15 * side)))
    grille = (0.06, width * float(rng.uniform(0.3, 0.55)), float(rng.uniform(0.1, 0.24)))
    parts.append(box(grille, DARK, Material.PLAIN, (length / 2 - 0.01, 0, light_m - 0.2)))
    plate = (0.75, 0.75, 0.72) if rng.random() < 0.7 else (0.65, 0.5, 0.05)
    for x in (length / 2 + 0.02, -length / 2 - 0.02):
        parts.append(box((0.03, 0.5, 0.11), plate, Material.SIGN, (x, 0, plate_m)))
        parts.append(box((0.12, width * 0.8, 0.1), DARK, Material.PLAIN, (x * 0.985, 0, 0.24)))
    return parts


def make_van(rng: np.random.Generator) -> Mesh:
    """A delivery van or minibus."""
    length, width = float(rng.uniform(4.7, 6.3)), float(rng.uniform(1.9, 2.05))
    height, paint = float(rng.uniform(1.95, 2.7)), choose_paint(rng)
    parts = [loft(VAN, (length, width, height), paint)]
    parts += make_wheels((0.33 * length, -0.3 * length), width - 0.14, 0.34, 0.2)
    parts += make_ends(length, width, 0.36 * height, 0.22 * height, rng)
    for side in (-1, 1):
        if rng.random() < 0.5:
            panel = (0.34 * length, 0.012, 0.3 * height)
            colour = PAINTS[int(rng.integers(len(PAINTS)))]
            low = (-0.16 * length, side * (width / 2 * 0.985), 0.55 * height)
            parts.append(box(panel, colour, Material.SIGN, low, style=float(rng.random())))
        mirror = box((0.12, 0.24, 0.26), DARK, Material.PLAIN, (0, 0, 0))
        parts.append(place(mirror, at(0.33 * length, side * (width / 2 + 0.12), 0.52 * height)))
    return join(parts)


def make_truck(rng: np.random.Generator) -> Mesh:
    """A lorry: cab, and a box, a tipper, a tank, or a flat bed with crates."""
    length, width = float(rng.uniform(6.5, 10.5)), 2.4
    top, paint = float(rng.uniform(2.9, 3.8)), choose_paint(rng)
    cab = 2.0
    front = length / 2
    parts = [
        box((cab, width, 1.5), paint, Material.PAINT, (front - cab / 2, 0, 0.55)),
        box(
            (cab, width * 0.99, 0.95),
            DARK,
            Material.GLASS,
            (front - cab / 2, 0, 1.75),
            (0.84, 0.95, -0.14),
        ),
        box(
            (cab * 0.84, width * 0.94, 0.18),
            paint,
            Material.PAINT,
            (front - cab / 2 - 0.14, 0, 2.66),
        ),
        box((0.14, width * 0.98, 0.96), paint, Material.PAINT, (front - cab * 0.72, 0, 1.75)),
        box((length * 0.98, 0.9, 0.3), DARK, Material.PLAIN, (-0.1, 0, 0.6)),
        box((0.15, width * 0.9, 0.14), (0.5, 0.5, 0.5), Material.STRIPES, (-length / 2, 0, 0.5)),
    ]
    load_length = length - cab - 0.3
    parts += _load(rng, load_length, width, top, -length / 2 + load_length / 2)
    axles = (front - 1.0, -length / 2 + 1.3, -length / 2 + 2.5)[: 2 + int(length > 8)]
    parts += make_wheels(axles, width - 0.2, 0.48, 0.3)
    parts += make_ends(length, width, 0.95, 0.7, rng)
    for side in (-1, 1):
        mirror = box((0.1, 0.2, 0.5), DARK, Material.PLAIN, (0, 0, 0))
        parts.append(place(mirror, at(front - 0.3, side * (width / 2 + 0.15), 1.8)))
    return join(parts)


def _load(
    rng: np.random.Generator, length: float, width: float, top: float, x: float
) -> list[Mesh]:
    kind = rng.random()
    colour = PAINTS[int(rng.integers(len(PAINTS)))] if rng.random() < 0.5 else PAINTS[0]
    style = float(rng.random())
    if kind < 0.55:  # a box, ribbed or of cloth, with a board of letters
        material = Material.METAL if rng.random() < 0.5 else Material.CLOTH
        parts = [box((length, width, top - 1.0), colour, material, (x, 0, 1.0), style=style)]
        ink = PAINTS[int(rng.integers(len(PAINTS)))]
        for side in (-1, 1):
            base = (x, side * width / 2, 1.0 + 0.3 * (top - 1.0))
            parts.append(
                box((0.6 * length, 0.03, 0.35 * (top - 1.0)), ink, Material.SIGN, base, style=style)
            )
        frame = (0.05, width * 1.01, 0.12)
        parts += [
            box(frame, (0.35, 0.35, 0.35), Material.PLAIN, (x - length / 2, 0, z))
            for z in (1.0, top - 0.12)
        ]
        return parts
    if kind < 0.7:
        tank = cylinder(0.95, length, (0.6, 0.6, 0.62), Material.PAINT, axis="x", count=16)
        return [smooth(place(tank, at(x, 0, 2.0)), 40)]
    if kind < 0.85:
        return [
            box((length, width, 1.2), colour, Material.METAL, (x, 0, 1.0), (1.05, 1.0, 0)),
            box(
                (length * 0.9, width * 0.85, 0.3),
                (0.2, 0.15, 0.1),
                Material.SOIL,
                (x, 0, 2.2),
                (0.6, 0.4, 0),
            ),
        ]
    parts = [box((length, width, 0.15), (0.2, 0.14, 0.08), Material.FENCE, (x, 0, 1.0))]
    for k in np.arange(-length / 2 + 0.8, length / 2 - 0.5, 1.5):
        size = (1.2, float(rng.uniform(1, 2.2)), float(rng.uniform(0.5, 1.6)))
        tone = np.array([0.4, 0.3, 0.18]) * rng.uniform(0.4, 1.3)
        parts.append(box(size, tone, Material.FENCE, (x + float(k), 0, 1.15)))
    return parts


def make_bus(rng: np.random.Generator) -> Mesh:
    """A city bus or coach, at times with two decks."""
    length, width = float(rng.uniform(9.5, 12.5)), 2.5
    decks = 2 if rng.random() < 0.15 else 1
    height, paint = 3.05 if decks == 1 else 4.2, choose_paint(rng)
    parts = [
        box((length, width, height - 0.32), paint, Material.PAINT, (0, 0, 0.32), (0.985, 0.95, 0))
    ]
    stripe = PAINTS[int(rng.integers(len(PAINTS)))]
    parts.append(box((length * 0.99, width * 1.004, 0.25), stripe, Material.PAINT, (0, 0, 0.8)))
    for deck in range(decks):
        low = 1.25 + 1.75 * deck
        for x in np.arange(-length / 2 + 0.9, length / 2 - 0.8, 1.5):
            pane = (1.36, width * (1.0 - 0.012 * deck), 0.95)
            parts.append(box(pane, DARK, Material.GLASS, (float(x) + 0.2, 0, low)))
        parts.append(
            box((0.08, width * 0.9, 1.2), DARK, Material.GLASS, (length / 2 - 0.02, 0, low - 0.1))
        )
        parts.append(
            box((0.08, width * 0.8, 0.9), DARK, Material.GLASS, (-length / 2 + 0.02, 0, low + 0.1))
        )
    for x in (length / 2 - 0.9, -0.3):
        parts.append(box((1.1, 0.03, 2.2), DARK, Material.GLASS, (x, -width / 2, 0.4)))
    parts.append(
        box((0.1, 1.4, 0.28), (0.5, 0.3, 0.02), Material.LAMP, (length / 2 - 0.04, 0, height - 0.4))
    )
    parts += make_wheels((length / 2 - 2.6, -length / 2 + 2.9), width - 0.15, 0.48, 0.3)
    parts += make_ends(length, width, 0.75, 0.55, rng)
    return join(parts)


def make_ego_bonnet(rng: np.random.Generator) -> Mesh:
    """The front end of the car that carries the cameras, in its frame (rear axle on the ground)."""
    tall, paint = float(rng.uniform(0.8, 0.98)), choose_paint(rng)
    profile = ((1.9, 1.0), (2.7, 0.97), (3.3, 0.88), (3.6, 0.74))
    across = ((-1.0, 0.86), (-0.8, 0.985), (-0.3, 1.0), (0.3, 1.0), (0.8, 0.985), (1.0, 0.86))
    grid = np.array([[(x, 0.84 * y, tall * z * k) for y, k in across] for x, z in profile])
    rows, columns = grid.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return smooth(make_mesh(grid.reshape(-1, 3), triangles, paint, Material.PAINT), 50)
