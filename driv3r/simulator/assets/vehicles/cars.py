"""Cars lofted from cross-sections: x forward, y left, on z = 0, metres, linear colours."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from driv3r.simulator.assets.mesh import Material, Mesh, box, join, make_mesh, smooth
from driv3r.simulator.assets.people.cyclists import make_motorcycle
from driv3r.simulator.assets.vehicles.vehicle_bodies import (
    BLACK,
    DARK,
    GLASS,
    HEAD,
    PAINT,
    SECOND,
    SHINE,
    TAIL,
    cap,
    choose_paint,
    door_line,
    end_patch,
    make_axle,
    make_core,
    make_looks,
    make_mirrors,
    make_plates,
    side_patch,
    skin,
)

__all__ = ["make_car", "make_ego_bonnet", "make_motorcycle", "shape_body"]

WIDTHS = ((-0.5, 0.78), (-0.48, 0.87), (-0.43, 0.95), (-0.34, 0.99), (-0.1, 1.0),
          (0.1, 1.0), (0.34, 0.985), (0.42, 0.94), (0.475, 0.85), (0.5, 0.74))  # fmt: skip
ARCH = ((-1.03, -1.0), (-0.93, 0.36), (-0.53, 0.85), (0.0, 1.0), (0.53, 0.85), (0.93, 0.36),
        (1.03, -1.0))  # fmt: skip
NOSE_BACK_M = np.array([0.06, 0.0, 0.04, 0.09, 0.13, 0.11])  # how far each row lies back
FRONT_BULGE_M, REAR_BULGE_M = 0.06, 0.05
TAIL_BACK_M = np.array([0.06, 0.0, 0.03, 0.05, 0.07, 0.05])


@dataclass(frozen=True)
class Shape:
    """Proportions: x in shares of the length from the middle, z in shares of the height.

    `cowl`, `screen`, `rear_roof`, `rear_deck` and `tail` are (x, z) along the middle of the top.
    """

    length_m: tuple[float, float]
    width_m: tuple[float, float]
    height_m: tuple[float, float]
    nose_z: float
    cowl: tuple[float, float]
    screen: tuple[float, float]
    rear_roof: tuple[float, float]
    rear_deck: tuple[float, float]
    tail_z: float
    glass_end: float
    axles: tuple[float, float]
    wheel: float
    clearance: float
    pillars: tuple[float, ...]
    roof_width: float = 0.66
    bed: bool = False


SHAPES = {
    "saloon": Shape((4.45, 4.98), (1.76, 1.88), (1.4, 1.49), 0.505, (0.2, 0.645), (0.03, 0.965),
                    (-0.19, 0.955), (-0.345, 0.735), 0.7, -0.265, (0.305, -0.285), 0.225, 0.13,
                    (-0.045,)),
    "hatch": Shape((3.6, 4.35), (1.66, 1.8), (1.44, 1.56), 0.51, (0.26, 0.645), (0.08, 0.96),
                   (-0.37, 0.95), (-0.465, 0.67), 0.62, -0.31, (0.315, -0.305), 0.21, 0.125,
                   (-0.02, -0.24)),
    "estate": Shape((4.45, 4.95), (1.76, 1.88), (1.43, 1.53), 0.5, (0.21, 0.64), (0.04, 0.955),
                    (-0.4, 0.95), (-0.475, 0.67), 0.63, -0.4, (0.305, -0.285), 0.225, 0.13,
                    (-0.04, -0.225)),
    "suv": Shape((4.2, 4.98), (1.8, 1.98), (1.6, 1.84), 0.54, (0.235, 0.655), (0.09, 0.955),
                 (-0.4, 0.95), (-0.475, 0.67), 0.63, -0.4, (0.31, -0.285), 0.213, 0.14,
                 (-0.02, -0.225), 0.7),
    "pickup": Shape((5.1, 5.6), (1.84, 1.98), (1.74, 1.9), 0.55, (0.25, 0.64), (0.13, 0.96),
                    (-0.09, 0.965), (-0.125, 0.66), 0.625, -0.075, (0.33, -0.29), 0.213, 0.19,
                    (0.02,), 0.7, True),
    "sports": Shape((4.0, 4.5), (1.78, 1.9), (1.22, 1.33), 0.53, (0.16, 0.69), (0.0, 0.975),
                    (-0.14, 0.95), (-0.4, 0.75), 0.7, -0.22, (0.31, -0.28), 0.255, 0.13, (-0.1,),
                    0.62),
}  # fmt: skip
CHANCES = (0.26, 0.22, 0.13, 0.29, 0.05, 0.05)
TAXIS = ((0.72, 0.5, 0.02), (0.62, 0.55, 0.4), (0.02, 0.02, 0.022), (0.74, 0.74, 0.72),
         (0.1, 0.4, 0.12))  # fmt: skip


@dataclass(frozen=True)
class Body:
    """A shape at one size: rings of half cross-sections, and the numbers other parts hang on."""

    rings: Float[np.ndarray, "s 6 3"]
    shape: Shape
    size_m: tuple[float, float, float]
    wheel_m: float
    low_m: float

    @property
    def axles_m(self) -> tuple[float, float]:
        """x of the front and rear axle."""
        return self.shape.axles[0] * self.size_m[0], self.shape.axles[1] * self.size_m[0]


def _stations(shape: Shape, length: float, arch_m: float) -> list[float]:
    """Where the rings stand, in shares of the length from front to rear."""
    chosen = [0.5, -0.5, shape.cowl[0], shape.screen[0], shape.rear_roof[0], shape.rear_deck[0]]
    chosen += [0.478, -0.48] if abs(shape.rear_deck[0]) < 0.45 else [0.478]
    wished = [shape.glass_end, shape.cowl[0] + 0.085, 0.43]
    arches = [axle + along * arch_m / length for axle in shape.axles for along, _ in ARCH]
    if shape.bed:
        chosen += [-0.15, -0.485]
    for spots, apart in ((arches, 0.003), (wished, 0.02)):
        for x in spots:
            if min(abs(x - other) for other in chosen) > apart:
                chosen.append(x)
    return sorted(chosen, reverse=True)


def _line(points, x: Float[np.ndarray, "s"]) -> Float[np.ndarray, "s"]:
    ordered = np.array(sorted(points))
    return np.interp(x, ordered[:, 0], ordered[:, 1])


def shape_body(shape: Shape, size_m: tuple[float, float, float]) -> Body:
    """The rings of a car's body: low edge, crease, belt, window top, roof edge, middle."""
    length, width, height = size_m
    wheel, low = shape.wheel * height, shape.clearance * height
    arch_m = 1.2 * wheel
    x = np.array(_stations(shape, length, arch_m))
    half = width / 2 * _line(WIDTHS, x)
    peak = (0.4 * shape.screen[0] + 0.6 * shape.rear_roof[0], 1.0)
    cowl, rear = shape.cowl, shape.rear_deck
    bonnet = (cowl[0] + 0.085, cowl[1] - 0.025)
    ridge = [(0.5, shape.nose_z), (0.44, shape.nose_z + 0.05), bonnet, cowl, shape.screen, peak]
    top = height * _line([*ridge, shape.rear_roof, rear, (-0.5, shape.tail_z)], x)
    inside = _line([(cowl[0], 0), (shape.screen[0], 1), (shape.rear_roof[0], 1), (rear[0], 0)], x)
    edge = [(0.5, low + 0.02)]
    for axle in shape.axles:
        edge += [(axle + a * arch_m / length, max(low, wheel + z * arch_m)) for a, z in ARCH]
    bottom = _line([*edge, (-0.5, low + 0.1)], x)
    crease = height * _line([(0.5, 0.395), (0.42, 0.47), (0.2, 0.5), (-0.4, 0.53), (-0.5, 0.5)], x)
    crease = np.maximum(crease, bottom + 0.035)
    belt = height * _line([(0.5, shape.nose_z - 0.035), (cowl[0], 0.61), (0, 0.628),
                           (-0.36, 0.655), (-0.5, min(0.65, shape.tail_z - 0.025))], x)  # fmt: skip
    belt = np.clip(belt, crease + 0.03, top - 0.035)
    window = inside * (top - 0.06 * height) + (1 - inside) * (0.45 * belt + 0.55 * top)
    roof = shape.roof_width
    lifted = np.clip((bottom - low - 0.1) / 0.2, 0, 1)
    y = [(0.955 + 0.037 * lifted) * half, half, half * (0.985 - 0.02 * inside),
         half * (inside * (roof + 0.1) + (1 - inside) * 0.93),
         half * (inside * roof + (1 - inside) * 0.84), 0 * half]  # fmt: skip
    z = [bottom, crease, belt, window, top - 0.012 - 0.012 * inside, top]
    rings = np.stack([np.tile(x * length, (6, 1)), y, z], -1).transpose(1, 0, 2)
    _bend(rings, shape, x, peak[0])
    if shape.bed:
        _sink_bed(rings, x, height)
    return Body(rings, shape, size_m, wheel, low)


def _bend(
    rings: Float[np.ndarray, "s 6 3"], shape: Shape, x: Float[np.ndarray, "s"], peak: float
) -> None:
    """Curves the windscreen and rear window seen from above, and leans the ends."""
    front = [(0.45, 0.0), (shape.cowl[0], 0.09), (shape.screen[0], 0.05), (peak, 0.0)]
    rear = [(shape.rear_roof[0], -0.03), (shape.rear_deck[0], -0.05), (-0.49, 0.0)]
    rings[:, 5, 0] += _line([*front, *rear], x)
    rings[0, :, 0] -= NOSE_BACK_M
    rings[1, :, 0] -= 0.35 * NOSE_BACK_M
    rings[-1, :, 0] += TAIL_BACK_M


def _sink_bed(rings: Float[np.ndarray, "s 6 3"], x: Float[np.ndarray, "s"], height: float) -> None:
    open_part = (x < -0.14) & (x > -0.49)
    rings[open_part, 4:, 2] = 0.43 * height
    rings[open_part, 4, 1] *= 0.97
    rings[open_part, 3, 2] = rings[open_part, 2, 2] + 0.02


def _codes(body: Body, roof: int, lamp_rows: slice) -> Int[np.ndarray, "i 5"]:
    """What each cell of the left half shows."""
    shape = body.shape
    share = body.rings[:, 2, 0] / body.size_m[0]
    middle = (share[:-1] + share[1:]) / 2
    codes = np.full((len(middle), 5), PAINT)
    start = shape.cowl[0] - 0.03
    codes[(middle < start) & (middle > shape.glass_end), 2] = GLASS
    cabin = (middle < shape.cowl[0]) & (middle > shape.rear_deck[0])
    codes[cabin, 3:] = roof
    front = (middle < shape.cowl[0]) & (middle > shape.screen[0])
    behind = (middle < shape.rear_roof[0]) & (middle > shape.rear_deck[0])
    codes[front | behind, 4] = GLASS
    codes[(front | behind), 3] = PAINT if roof == GLASS else roof
    codes[0, lamp_rows] = HEAD
    codes[-1, 1] = TAIL
    if shape.bed:
        codes[(middle < -0.13) & (middle > -0.49), 3:] = DARK
    return codes


def _choose_ends(rng: np.random.Generator, shape: Shape):
    """Cells of the front and rear end, (outer, middle) of each of four levels upwards."""
    grille = int(rng.choice([DARK, DARK, SHINE, PAINT], p=[0.4, 0.25, 0.1, 0.25]))
    front = ((PAINT, PAINT), (HEAD, grille), (PAINT, PAINT), (PAINT, PAINT))
    middle = TAIL if rng.random() < 0.15 else PAINT
    rear = ((PAINT, PAINT), (TAIL, middle), (PAINT, PAINT), (PAINT, PAINT))
    return front, rear


def _trim(rng: np.random.Generator, body: Body, paint, boot_plate: bool) -> list[Mesh]:
    """Pillars, doors, handles, sills, intakes, mirrors and plates."""
    length, width, height = body.size_m
    shape, rings = body.shape, body.rings
    parts = []
    for k, share in enumerate(shape.pillars):
        x, wide = share * length, 0.05 if k == 0 else 0.035
        lean = (x + wide, x - wide)
        parts.append(side_patch(rings, lean, (2.0, 3.0), BLACK if rng.random() < 0.7 else paint))
        parts.append(door_line(rings, x, (0, 2)))
        handle = (x + 0.24, x + 0.08)
        tone = paint * 0.6 if rng.random() < 0.6 else np.array([0.4, 0.4, 0.41])
        parts.append(side_patch(rings, handle, (1.62, 1.82), tone, Material.PAINT, 0.018))
    first = shape.cowl[0] - 0.035
    parts.append(door_line(rings, min(first, shape.axles[0] - 0.1) * length, (0, 2)))
    gap = 1.06 * 1.2 * body.wheel_m
    sill = (body.axles_m[0] - gap, body.axles_m[1] + gap)
    parts.append(side_patch(rings, sill, (0.0, 0.22), BLACK, out_m=0.008))
    base = body.low_m
    tall = float(rng.uniform(0.09, 0.16))
    wide = 0.3 * width * float(rng.uniform(0.8, 1.05))
    intake = end_patch(rings[0], FRONT_BULGE_M, wide, (base + 0.05, base + 0.05 + tall), BLACK)
    lip = end_patch(rings[-1], -REAR_BULGE_M, 0.33 * width, (base + 0.12, base + 0.22), BLACK)
    high = float(rings[-1, 1, 2]) + 0.02 if boot_plate else base + 0.26
    plates = make_plates(
        (rings[0], FRONT_BULGE_M, base + 0.2), (rings[-1], -REAR_BULGE_M, high), rng
    )
    mirror = paint if rng.random() < 0.7 else np.array(BLACK)
    x = (shape.cowl[0] - 0.045) * length
    z = float(np.interp(x, rings[::-1, 2, 0], rings[::-1, 2, 2]))
    parts += make_mirrors(x, 0.485 * width, z, (0.1, 0.19, 0.13), mirror)
    return [*parts, intake, lip, *plates]


def _extras(rng: np.random.Generator, name: str, body: Body, taxi: bool) -> list[Mesh]:
    length, width, height = body.size_m
    parts = []
    middle = 0.5 * (body.shape.screen[0] + body.shape.rear_roof[0]) * length
    if taxi:
        style = float(rng.random())
        x = middle + 0.06 * length
        lit = Material.LAMP if rng.random() < 0.6 else Material.SIGN
        sign = box((0.16, 0.5, 0.14), (0.7, 0.6, 0.2), lit, (x, 0, height - 0.01), (0.6, 0.9, 0),
                   style)  # fmt: skip
        parts.append(sign)
    rails = name in ("estate", "suv") and rng.random() < 0.5
    if rails:
        tone = np.full(3, float(rng.choice([0.02, 0.4])))
        y = body.shape.roof_width * 0.46 * width
        for side in (-1, 1):
            rail = box((0.34 * length, 0.035, 0.075), tone, Material.PAINT,
                       (middle, side * y, 0.96 * height - 0.03), (0.92, 1, 0))  # fmt: skip
            parts.append(rail)
        if rng.random() < 0.2:
            parts.append(box((0.3 * length, 0.7, 0.3), BLACK, Material.PAINT,
                             (middle, 0, height), (0.8, 0.75, -0.1)))  # fmt: skip
    return parts


def make_car(rng: np.random.Generator) -> Mesh:
    """A saloon, hatchback, estate, SUV, pick-up or sports car, at times a taxi."""
    name = list(SHAPES)[int(rng.choice(len(SHAPES), p=CHANCES))]
    shape = _vary(rng, SHAPES[name])
    size_m = tuple(
        float(rng.uniform(*span)) for span in (shape.length_m, shape.width_m, shape.height_m)
    )
    body = shape_body(shape, (size_m[0], size_m[1], size_m[2]))
    taxi = name in ("saloon", "estate", "hatch") and rng.random() < 0.07
    paint = np.array(TAXIS[int(rng.integers(len(TAXIS)))]) if taxi else choose_paint(rng)
    roof = int(rng.choice([PAINT, SECOND, GLASS], p=[0.78, 0.12, 0.1]))
    looks = make_looks(paint, np.array(BLACK))
    front, rear = _choose_ends(rng, shape)
    shell = [
        skin(body.rings, _codes(body, roof, slice(1, 2)), looks),
        cap(body.rings[0], front, looks, FRONT_BULGE_M, float(rng.uniform(0.45, 0.62))),
        cap(body.rings[-1], rear, looks, REAR_BULGE_M, float(rng.uniform(0.5, 0.65)), rear=True),
    ]
    boot_plate = rear[1][1] == PAINT and not shape.bed and rng.random() < 0.6
    bright = float(rng.choice([0.12, 0.3, 0.45, 0.5], p=[0.2, 0.3, 0.3, 0.2]))
    spokes = int(rng.choice([7, 7, 0]))
    parts = [
        smooth(join(shell), 38),
        *_trim(rng, body, paint, boot_plate),
        *_extras(rng, name, body, taxi),
    ]
    parts.append(make_core(body.axles_m, body.wheel_m, size_m[1], body.low_m))
    for x in body.axles_m:
        parts += make_axle(x, body.wheel_m, 0.487 * size_m[1], bright=bright, spokes=spokes)
    return join(parts)


def _vary(rng: np.random.Generator, shape: Shape) -> Shape:
    """The same kind of car by another maker."""

    def near(point: tuple[float, float], x: float, z: float) -> tuple[float, float]:
        return point[0] + float(rng.uniform(-x, x)), point[1] + float(rng.uniform(-z, z))

    return replace(
        shape,
        nose_z=shape.nose_z + float(rng.uniform(-0.02, 0.025)),
        cowl=near(shape.cowl, 0.012, 0.008),
        screen=near(shape.screen, 0.015, 0.008),
        rear_roof=near(shape.rear_roof, 0.015, 0.01),
        rear_deck=shape.rear_deck if shape.bed else near(shape.rear_deck, 0.006, 0.012),
        roof_width=shape.roof_width + float(rng.uniform(-0.015, 0.03)),
        wheel=shape.wheel * float(rng.uniform(0.96, 1.05)),
    )


def make_ego_bonnet(rng: np.random.Generator) -> Mesh:
    """The bonnet and wing tops of the car that carries the cameras, in its frame.

    Origin on the ground under the rear axle; from x = 1.9 to 3.6 m.
    """
    tall, paint = float(rng.uniform(0.86, 0.98)), choose_paint(rng)
    half, crown = float(rng.uniform(0.84, 0.92)), float(rng.uniform(0.01, 0.04))
    crest = float(rng.uniform(0.0, 0.02))
    x = np.array([1.9, 2.25, 2.6, 2.95, 3.25, 3.45, 3.56, 3.6])
    drop = np.array([0.0, 0.012, 0.035, 0.07, 0.115, 0.165, 0.23, 0.33])
    narrow = np.array([1.0, 1.0, 0.995, 0.975, 0.93, 0.86, 0.78, 0.74])
    across = np.array([-1.0, -0.97, -0.86, -0.68, -0.3, 0.3, 0.68, 0.86, 0.97, 1.0])
    fall = np.array([0.2, 0.07, 0.012, -crest, 0, 0, -crest, 0.012, 0.07, 0.2])
    lift = crown * (1 - across**2) - fall
    grid = np.stack(np.broadcast_arrays(
        x[:, None] + 0.05 * (1 - across**2) * (x[:, None] > 3.3),
        half * narrow[:, None] * across, tall - drop[:, None] + lift), -1)  # fmt: skip
    rows, columns = grid.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    triangles = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    return smooth(make_mesh(grid.reshape(-1, 3), triangles, paint, Material.PAINT), 50)
