"""Things of the street, each built standing on the origin with x forward: metres, linear RGB."""

import numpy as np

from driv3r.world.mesh import Material, Mesh, at, box, cards, cylinder, join, place, prism

DARK = (0.02, 0.02, 0.022)
PAINTS = np.array(
    [
        [0.75, 0.75, 0.75],
        [0.45, 0.47, 0.5],
        [0.03, 0.03, 0.035],
        [0.12, 0.12, 0.13],
        [0.45, 0.03, 0.03],
        [0.03, 0.09, 0.35],
        [0.05, 0.2, 0.1],
        [0.55, 0.45, 0.1],
        [0.35, 0.3, 0.22],
    ]
)
CLOTHES = PAINTS * 0.7
WALLS = np.array(
    [
        [0.42, 0.2, 0.13],
        [0.5, 0.43, 0.33],
        [0.55, 0.53, 0.5],
        [0.3, 0.3, 0.31],
        [0.5, 0.4, 0.22],
        [0.6, 0.58, 0.55],
    ]
)


def make_wheels(wheelbase: float, track: float, radius: float) -> list[Mesh]:
    """Four wheels with hubs."""
    wheels = []
    for x in (-wheelbase / 2, wheelbase / 2):
        for y in (-track / 2, track / 2):
            tyre = cylinder(radius, 0.22, DARK, Material.PLAIN, axis="y", count=10)
            hub = cylinder(radius * 0.55, 0.24, (0.4, 0.4, 0.42), Material.PAINT, "y", 8)
            wheels += [place(part, at(x, y, radius)) for part in (tyre, hub)]
    return wheels


def make_lights(length: float, width: float, height: float) -> list[Mesh]:
    """Head and tail lights and number plates, proud of the body by a centimetre."""
    parts = []
    for y in (-width * 0.38, width * 0.38):
        lamp = box((0.06, 0.34, 0.15), (0.8, 0.8, 0.75), Material.GLASS, (length / 2, y, height))
        tail = box((0.06, 0.3, 0.17), (0.5, 0.01, 0.01), Material.PAINT, (-length / 2, y, height))
        parts += [lamp, tail]
    for x in (-length / 2, length / 2):
        parts.append(box((0.05, 0.5, 0.12), (0.7, 0.7, 0.65), Material.PLAIN, (x, 0, 0.45)))
    return parts


def make_cabin(
    length: float, width: float, belt: float, rise: float, estate: float, colour: np.ndarray
) -> Mesh:
    """Glass, roof and pillars above a car's belt line; `estate` says how far back they reach."""
    cabin_length = length * (0.5 + 0.12 * estate)
    shift = -length * (0.05 + 0.08 * estate)
    top = (0.72 + 0.1 * estate, 0.8, -0.05 * length)
    glass = box(
        (cabin_length, width * 0.94, rise * 0.93), DARK, Material.GLASS, (shift, 0, belt), top
    )
    roof_length = cabin_length * top[0] * 1.04
    roof = box(
        (roof_length, width * 0.94 * 0.82, rise * 0.12),
        colour,
        Material.PAINT,
        (shift + top[2], 0, belt + rise * 0.88),
        (0.92, 0.92, 0),
    )
    pillars = [
        box(
            (0.1, width * 0.9, rise * 0.9),
            colour,
            Material.PAINT,
            (shift + x, 0, belt),
            (1, 0.84, -0.05),
        )
        for x in (-0.02 * length, -0.2 * length)
    ]
    return join([glass, roof, *pillars])


def make_car(rng: np.random.Generator) -> Mesh:
    """A saloon, estate, hatchback or SUV: bonnet, cabin with glass, wheels, lights."""
    length, width = rng.uniform(3.8, 4.9), rng.uniform(1.7, 1.9)
    height, clearance = rng.uniform(1.4, 1.75), rng.uniform(0.18, 0.28)
    colour = PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.8, 1.15)
    belt = clearance + (height - clearance) * rng.uniform(0.5, 0.58)
    half = length / 2
    estate = rng.uniform(-0.15, 0.55)  # how far back the cabin reaches
    body = prism(
        [
            (-half, clearance + 0.08),
            (-half * 0.92, clearance),
            (half * 0.92, clearance),
            (half, clearance + 0.12),
            (half * 0.985, belt - 0.22),
            (half * 0.45, belt),
            (-half * 0.97, belt),
        ],
        "y",
        width,
        colour,
        Material.PAINT,
    )
    cabin = make_cabin(length, width, belt, height - belt, estate, colour)
    wheels = make_wheels(length * 0.6, width * 0.9, rng.uniform(0.3, 0.36))
    return join([body, cabin, *wheels, *make_lights(length, width, belt - 0.3)])


def make_van(rng: np.random.Generator) -> Mesh:
    """A delivery van, truck or bus."""
    kind = rng.integers(3)
    length = (rng.uniform(4.8, 6.0), rng.uniform(6.5, 9.5), rng.uniform(10.0, 12.5))[kind]
    width, height = (2.0, 2.4, 2.5)[kind], (2.2, 3.3, 3.1)[kind]
    colour = PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.9, 1.2)
    load = PAINTS[rng.integers(2)] if rng.random() < 0.5 else colour
    cab = min(2.0, length * 0.3)
    parts = [
        box((length - cab, width, height - 0.45), load, Material.PAINT, (-cab / 2, 0, 0.45)),
        box(
            (cab, width * 0.97, height * 0.4),
            colour,
            Material.PAINT,
            (length / 2 - cab / 2, 0, 0.4),
        ),
        box(
            (cab, width * 0.96, height * 0.32),
            DARK,
            Material.GLASS,
            (length / 2 - cab / 2, 0, 0.4 + height * 0.4),
            (0.75, 0.92, -cab * 0.12),
        ),
        box((length * 0.97, width * 0.9, 0.3), DARK, Material.PLAIN, (0, 0, 0.25)),
    ]
    if kind == 2:
        strip = (length * 0.92, width * 1.01, height * 0.33)
        parts.append(box(strip, DARK, Material.GLASS, (-0.2, 0, 1.35)))
    else:
        stripe = (length - cab - 0.6, width * 1.005, 0.35)
        parts.append(
            box(
                stripe,
                PAINTS[rng.integers(len(PAINTS))],
                Material.PAINT,
                (-cab / 2, 0, height * 0.5),
            )
        )
    wheels = make_wheels(length * 0.62, width * 0.88, 0.45 if kind else 0.36)
    return join([*parts, *wheels, *make_lights(length, width, 0.7)])


def make_person(rng: np.random.Generator, stride: float = 0.0) -> Mesh:
    """A pedestrian; `stride` in [-1, 1] swings the legs and arms."""
    height = rng.uniform(1.5, 1.9)
    skin = np.array([0.5, 0.32, 0.22]) * rng.uniform(0.35, 1.1)
    shirt, legs = CLOTHES[rng.integers(len(CLOTHES), size=2)]
    parts = [
        box(
            (0.24, 0.42, height * 0.33), shirt, Material.PLAIN, (0, 0, height * 0.48), (0.9, 1.1, 0)
        )
    ]
    parts.append(
        place(cylinder(0.105, 0.25, skin, Material.PLAIN, count=6), at(0, 0, height - 0.25))
    )
    for side in (-1, 1):
        swing = 0.32 * stride * side
        leg = box(
            (0.15, 0.15, height * 0.5), legs, Material.PLAIN, (swing, side * 0.1, 0), (1, 1, -swing)
        )
        arm = box(
            (0.1, 0.1, height * 0.33),
            shirt,
            Material.PLAIN,
            (-swing, side * 0.27, height * 0.46),
            (1, 1, swing),
        )
        parts += [leg, arm]
    return join(parts)


def make_cyclist(rng: np.random.Generator, stride: float = 0.0) -> Mesh:
    """A person on a bicycle."""
    rider = place(make_person(rng, 0.4 * stride), at(-0.1, 0, 0.35))
    wheels = [
        place(cylinder(0.34, 0.05, DARK, Material.PLAIN, "y", 12), at(x, 0, 0.34))
        for x in (-0.5, 0.5)
    ]
    frame = box((0.9, 0.05, 0.08), PAINTS[rng.integers(len(PAINTS))], Material.PAINT, (0, 0, 0.6))
    return join([rider, *wheels, frame])


def make_tree(rng: np.random.Generator) -> Mesh:
    """A trunk, a few branches and crowns of leaf cards."""
    height, crown = rng.uniform(4.5, 10.0), rng.uniform(1.3, 3.0)
    trunk = cylinder(
        rng.uniform(0.1, 0.24), height * 0.75, (0.12, 0.09, 0.06), Material.BARK, count=7
    )
    green = np.array([0.09, 0.15, 0.035]) * rng.uniform(0.6, 1.5) * (1 + rng.normal(0, 0.12, 3))
    crowns = []
    for _ in range(3):
        leaves = cards(rng, 90, (crown, crown, crown * 0.8), 0.5, np.abs(green))
        x, y = rng.normal(0, 0.35 * crown, 2)
        crowns.append(place(leaves, at(x, y, height * rng.uniform(0.68, 0.95))))
    return join([trunk, *crowns])


def make_bush(rng: np.random.Generator) -> Mesh:
    """A low shrub."""
    radius = rng.uniform(0.4, 0.9)
    green = np.array([0.07, 0.12, 0.03]) * rng.uniform(0.7, 1.5)
    return place(cards(rng, 70, (radius, radius, radius * 0.8), 0.3, green), at(0, 0, radius * 0.6))


def make_hedge(rng: np.random.Generator, length: float) -> Mesh:
    """A clipped hedge with leaves sticking out."""
    height, depth = rng.uniform(0.9, 2.0), rng.uniform(0.6, 1.0)
    green = np.array([0.06, 0.11, 0.03]) * rng.uniform(0.7, 1.4)
    leaves = cards(rng, int(50 * length), (length / 2, depth / 2, height / 2), 0.25, green * 1.2)
    return join(
        [box((length, depth, height), green, Material.FOLIAGE), place(leaves, at(0, 0, height / 2))]
    )


def make_pole(rng: np.random.Generator) -> Mesh:
    """A street lamp, a traffic light, a round or square sign, or a bare pole."""
    kind = rng.integers(4)
    grey = np.full(3, rng.uniform(0.08, 0.35))
    height = (rng.uniform(6, 9), 3.4, rng.uniform(2.3, 3.0), rng.uniform(1.0, 7.0))[kind]
    parts = [cylinder((0.09, 0.07, 0.04, 0.06)[kind], height, grey, Material.PLAIN, count=6)]
    if kind == 0:
        parts.append(box((0.1, 2.0, 0.1), grey, Material.PLAIN, (0, 1.0, height - 0.1)))
        parts.append(
            box((0.25, 0.6, 0.12), (0.9, 0.85, 0.7), Material.LAMP, (0, 1.9, height - 0.2))
        )
    if kind == 1:
        parts.append(box((0.3, 0.32, 0.95), DARK, Material.PLAIN, (0, 0, height - 0.95)))
        colour = ((0.9, 0.05, 0.02), (0.05, 0.8, 0.25))[rng.integers(2)]
        parts.append(box((0.33, 0.2, 0.2), colour, Material.LAMP, (0, 0, height - 0.35)))
    if kind == 2:
        colour = ((0.55, 0.02, 0.02), (0.02, 0.08, 0.5), (0.6, 0.5, 0.05))[rng.integers(3)]
        parts.append(box((0.03, 0.65, 0.65), colour, Material.PLAIN, (0.06, 0, height - 0.65)))
        parts.append(
            box((0.04, 0.4, 0.2), (0.8, 0.8, 0.8), Material.PLAIN, (0.06, 0, height - 0.45))
        )
    return join(parts)


def make_building(rng: np.random.Generator, width: float, depth: float, height: float) -> Mesh:
    """A house block, its front along x at y = 0 facing -y: facade, plinth, balconies, roof."""
    colour = WALLS[rng.integers(len(WALLS))] * rng.uniform(0.6, 1.15)
    style = rng.random()
    parts = [box((width, depth, height), colour, Material.FACADE, (0, depth / 2, 0), style=style)]
    parts.append(
        box((width + 0.3, depth + 0.3, 0.35), colour * 0.7, Material.PLAIN, (0, depth / 2, height))
    )
    parts.append(
        box((width + 0.08, depth + 0.08, 0.6), colour * 0.5, Material.PLAIN, (0, depth / 2, 0))
    )
    if height < 9 and rng.random() < 0.6:
        tiles = np.array([0.25, 0.1, 0.07]) * rng.uniform(0.5, 1.3)
        ridge = box(
            (width + 0.8, depth + 0.8, 2.5),
            tiles,
            Material.PLAIN,
            (0, depth / 2, height),
            (1, 0.05, 0),
        )
        parts.append(ridge)
    if rng.random() < 0.5:
        for x in np.arange(-width / 2 + 2, width / 2 - 1.5, rng.uniform(3, 6)):
            for z in np.arange(3.2, height - 2.5, 3.2):
                parts.append(
                    box((1.8, 1.0, 1.0), colour * 0.8, Material.PLAIN, (x, -0.5, z), (1, 1, 0))
                )
    if rng.random() < 0.4:
        awning = PAINTS[rng.integers(len(PAINTS))]
        parts.append(
            box((width * 0.7, 1.2, 0.25), awning, Material.PLAIN, (0, -0.6, 2.8), (1, 0.3, 0))
        )
    return join(parts)


def make_fence(rng: np.random.Generator, length: float) -> Mesh:
    """Boards, a wall or a guard rail."""
    if rng.random() < 0.5:
        height = rng.uniform(0.8, 2.0)
        colour = np.array([0.3, 0.22, 0.14]) * rng.uniform(0.5, 1.8)
        return box((length, 0.08, height), colour, Material.FENCE, style=rng.random())
    rail = box((length, 0.06, 0.3), (0.4, 0.41, 0.42), Material.PAINT, (0, 0, 0.45))
    posts = [
        box((0.1, 0.1, 0.6), (0.3, 0.3, 0.3), Material.PLAIN, (x, 0, 0))
        for x in np.arange(-length / 2 + 0.5, length / 2, 2.0)
    ]
    return join([rail, *posts])
