"""Bicycles and motorcycles with their riders: x forward, y left, on z = 0, metres."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from driv3r.simulator.assets.mesh import Material, Mesh, at, box, join, make_mesh, place, smooth
from driv3r.simulator.assets.people.human_pose import FOREARM, SHIN, THIGH, UPPER_ARM, Pose, reach
from driv3r.simulator.assets.people.humans import CLOTHES, Person, choose_person, dress, sweep
from driv3r.simulator.assets.primitives import tube

BLACK, STEEL = (0.015, 0.015, 0.016), (0.4, 0.4, 0.41)


def make_ring(radius: float, thick: float, colour, count: int = 16) -> Mesh:
    """A tyre in the x-z plane about the origin, open in the middle."""
    turn = np.arange(count) * 2 * np.pi / count - np.pi / 2
    rim = np.c_[np.cos(turn), 0 * turn, np.sin(turn)]
    inner = rim * (radius - 2 * thick)
    rings = [rim * radius, inner - (0, thick, 0), inner + (0, thick, 0)]
    k, after, faces = np.arange(count), (np.arange(count) + 1) % count, []
    for row in range(3):
        a, b = k + row * count, after + row * count
        up = (row + 1) % 3 * count - row * count
        faces += [np.c_[a, b, b + up], np.c_[a, b + up, a + up]]
    return make_mesh(np.concatenate(rings), np.concatenate(faces), colour, Material.PLAIN)


def ride(
    person: Person,
    seat: Float[np.ndarray, "3"],
    grips: Float[np.ndarray, "2 3"],
    feet: Float[np.ndarray, "2 3"],
    feet_rad: tuple[float, float],
    lean_rad: float,
) -> Pose:
    """Someone who sits, hands on the grips and feet on the pedals (right, then left)."""
    h, w = person.height, person.wide
    spine = 0.285 * h * np.array([np.sin(lean_rad), 0, np.cos(lean_rad)])
    pelvis = seat + (0, 0, 0.05 * h)
    chest = pelvis + spine
    legs, arms = [], []
    for k, side in enumerate((-1, 1)):
        hip = pelvis + (0, side * 0.047 * h * w, 0)
        bones = (THIGH * h, SHIN * h)
        legs.append(reach(hip, feet[k], bones, np.array([1.0, side * 0.1, 0.4]), feet_rad[k]))
        shoulder = chest + (0, side * 0.106 * h * w, -0.012 * h)
        bones = (UPPER_ARM * h, FOREARM * h)
        arms.append(reach(shoulder, grips[k], bones, np.array([-0.2, side * 0.8, -0.7])))
    return Pose(pelvis, chest, (legs[0], legs[1]), (arms[0], arms[1]))


def _frame(colour, marks: dict[str, np.ndarray], thick: float) -> list[Mesh]:
    names = (("crank", "seat_top"), ("crank", "head_low"), ("seat_low", "head_top"),
             ("head_top", "head_low"))  # fmt: skip
    parts = []
    for a, b in names:
        parts.append(tube(marks[a], marks[b], (thick, thick), colour, Material.PAINT, 5))
    aside = np.array([0, 0.05, 0])
    for side in (-1, 1):
        for a, b in (("rear", "crank"), ("rear", "seat_low"), ("front", "head_low")):
            start, end = marks[a] + side * aside, marks[b] + side * 0.4 * aside
            slim = (0.55 * thick, 0.6 * thick)
            parts.append(tube(start, end, slim, colour, Material.PAINT, 4, False))
    return parts


def _pedals(crank, turn: float) -> tuple[list[Mesh], np.ndarray]:
    """Cranks and pedals, and where the balls of the feet are (right, left)."""
    parts, spots = [], []
    for side, shift in ((-1, 0.0), (1, np.pi)):
        angle = -turn + shift  # turning forward
        arm = 0.17 * np.array([np.cos(angle), 0, np.sin(angle)])
        root, end = crank + (0, side * 0.06, 0), crank + arm + (0, side * 0.07, 0)
        parts.append(tube(root, end, (0.012, 0.01), STEEL, Material.PAINT, 4))
        pedal = end + (0, side * 0.05, -0.01)
        parts.append(box((0.09, 0.09, 0.025), BLACK, Material.PLAIN, tuple(pedal)))
        spots.append(pedal + (0, 0, 0.025))
    return parts, np.array(spots)


def make_cyclist(rng: np.random.Generator, phase: float) -> Mesh:
    """Someone on a bicycle; the right pedal is foremost at phase 0 and goes down."""
    person = choose_person(rng, grown=True)
    person = replace(person, height=float(np.clip(person.height, 1.6, 1.88)))
    racing, h = rng.random() < 0.3, person.height
    colour = CLOTHES[int(rng.integers(len(CLOTHES)))] * 1.4
    radius = 0.34
    crank = np.array([-0.06, 0, 0.28])
    marks = {
        "rear": np.array([-0.48, 0, radius]), "front": np.array([0.56, 0, radius]),
        "crank": crank, "seat_top": np.array([-0.24, 0, 0.28 + 0.385 * h]),
        "seat_low": np.array([-0.2, 0, 0.26 + 0.29 * h]),
        "head_top": np.array([0.36, 0, 0.86]), "head_low": np.array([0.4, 0, 0.7]),
    }  # fmt: skip
    parts = _frame(colour, marks, 0.019)
    for hub in ("rear", "front"):
        parts.append(place(make_ring(radius, 0.018, BLACK), at(*marks[hub])))
    seat = marks["seat_top"]
    spots = seat + np.array([[-0.12, 0, 0.02], [0, 0, 0.02], [0.14, 0, 0.015]])
    girth = [[0.08, 0.03], [0.055, 0.025], [0.02, 0.015]]
    saddle = sweep(spots, girth, BLACK, 6, Material.PLAIN)
    stem = marks["head_top"] + ((0.08, 0, 0.06) if racing else (0.02, 0, 0.18))
    parts += [saddle, tube(marks["head_top"], stem, (0.014, 0.014), BLACK, Material.PLAIN, 4)]
    wide, back = (0.21, 0.0) if racing else (0.28, -0.1)
    grips = np.array([stem + (back, side * wide, 0.01) for side in (-1, 1)])
    for grip in grips:
        parts.append(tube(stem, grip, (0.013, 0.014), BLACK, Material.PLAIN, 4))
    pedals, spots = _pedals(crank, 2 * np.pi * phase)
    tilt = tuple(-0.2 + 0.25 * float(np.sin(2 * np.pi * phase + shift)) for shift in (0.0, np.pi))
    ankles = np.array([
        spot + (-0.075 * h * np.cos(t), 0, -0.075 * h * np.sin(t) + 0.042 * h)
        for spot, t in zip(spots, tilt, strict=True)
    ])  # fmt: skip
    hands = grips + (-0.05 * h, 0, 0.02)
    pose = ride(person, seat, hands, ankles, (tilt[0], tilt[1]), 0.75 if racing else 0.33)
    mesh = smooth(join([*parts, *pedals, dress(person, pose)]), 60)
    return place(mesh, at(0, 0, -float(mesh.vertices[:, 2].min())))


def _tread(x: float, radius: float, wide: float, spin: float) -> list[Mesh]:
    """A motorcycle's wheel with cast spokes, turned by `spin` radians."""
    tyre = make_ring(radius, 0.5 * wide, BLACK)
    parts = [place(tyre, at(x, 0, radius))]
    for k in range(3):
        angle = k * np.pi / 3 - spin
        arm = (radius - wide) * np.array([np.cos(angle), 0, np.sin(angle)])
        middle = np.array([x, 0, radius])
        parts.append(
            tube(middle - arm, middle + arm, (0.02, 0.02), STEEL, Material.PAINT, 3, False)
        )
    return parts


def make_motorcycle(rng: np.random.Generator, stride: float = 0.0) -> Mesh:
    """A motorcycle or a scooter with its rider; `stride` in [0, 1) turns the wheels once."""
    person = replace(choose_person(rng, grown=True), hat="full", legs="trousers", sleeves="long")
    person = replace(person, height=float(np.clip(person.height, 1.6, 1.88)))
    scooter = rng.random() < 0.4
    paint = CLOTHES[int(rng.integers(len(CLOTHES)))] * 1.3
    radius = 0.25 if scooter else 0.31
    rear, front = (-0.58, 0.66) if scooter else (-0.66, 0.74)
    spin = 2 * np.pi * stride
    parts = _tread(rear, radius, 0.13, spin) + _tread(front, radius, 0.1, spin)
    seat, h = np.array([-0.22, 0, 0.74]), person.height
    bars = np.array([0.4, 0, 1.03])
    parts += _scooter_body(paint, rear) if scooter else _motor_body(paint, rear)
    for side in (-1, 1):
        y = side * 0.075
        parts.append(tube((front, y, radius), (0.46, 0.7 * y, 0.92), (0.025, 0.028), STEEL,
                          Material.PAINT, 5))  # fmt: skip
        grip = bars + (-0.08, side * 0.36, 0)
        parts.append(tube(bars + (0.02, 0, 0), grip, (0.016, 0.018), BLACK, Material.PLAIN, 5))
        mirror = bars + (0.0, side * 0.32, 0.16)
        parts.append(box((0.03, 0.13, 0.08), BLACK, Material.PLAIN, tuple(mirror)))
        parts.append(tube(bars + (0, side * 0.2, 0), mirror + (0, 0, 0.03), (0.008, 0.008), BLACK,
                          Material.PLAIN, 4, False))  # fmt: skip
    lamp_x = 0.52
    parts.append(sweep([(lamp_x, 0, 0.86), (lamp_x + 0.1, 0, 0.86)], [[0.06, 0.07], [0.09, 0.09]],
                       (0.5, 0.5, 0.5), 8, Material.HEADLIGHT))  # fmt: skip
    parts.append(
        box((0.05, 0.16, 0.07), (0.3, 0.01, 0.01), Material.TAILLIGHT, (rear - 0.2, 0, 0.7))
    )
    parts.append(box((0.02, 0.18, 0.14), (0.7, 0.7, 0.68), Material.SIGN, (rear - 0.23, 0, 0.5)))
    foot = np.array([0.22 if scooter else 0.0, 0.17, 0.36])
    feet = np.array([foot * (1, side, 1) for side in (-1, 1)])
    hands = np.array([bars + (-0.09 - 0.04 * h, side * 0.32, 0.02) for side in (-1, 1)])
    pose = ride(person, seat, hands, feet, (0.0, 0.0), 0.12 if scooter else 0.3)
    mesh = smooth(join([*parts, dress(person, pose)]), 60)
    return place(mesh, at(0, 0, -float(mesh.vertices[:, 2].min())))


def _motor_body(paint, rear: float) -> list[Mesh]:
    """Tank, seat, engine, exhaust, mudguard."""
    engine = [(-0.2, 0, 0.44), (-0.12, 0, 0.46), (0.2, 0, 0.46), (0.27, 0, 0.46)]
    tank = [(-0.08, 0, 0.78), (0.05, 0, 0.83), (0.28, 0, 0.84), (0.4, 0, 0.8)]
    seat = [(rear - 0.14, 0, 0.8), (rear + 0.1, 0, 0.76), (-0.3, 0, 0.73), (-0.06, 0, 0.76)]
    dark = (0.06, 0.06, 0.065)
    return [
        sweep(engine, [[0.1, 0.12], [0.15, 0.18], [0.15, 0.18], [0.1, 0.12]], dark, 8,
              Material.PAINT),
        sweep(tank, [[0.08, 0.08], [0.14, 0.13], [0.15, 0.13], [0.07, 0.08]], paint, 8,
              Material.PAINT),
        sweep(seat, [[0.06, 0.03], [0.1, 0.05], [0.12, 0.05], [0.08, 0.04]], BLACK, 8),
        sweep([(rear - 0.12, -0.14, 0.34), (-0.3, -0.15, 0.3), (0.1, -0.1, 0.3)],
              [0.055, 0.05, 0.03], STEEL, 6, Material.PAINT),
        sweep([(rear - 0.2, 0, 0.68), (-0.3, 0, 0.66), (0.0, 0, 0.62)],
              [[0.07, 0.04], [0.1, 0.08], [0.08, 0.1]], paint, 6, Material.PAINT),
        sweep([(0.5, 0, 0.6), (0.7, 0, 0.66), (0.92, 0, 0.6)], [[0.05, 0.02], [0.06, 0.02],
              [0.04, 0.01]], paint, 6, Material.PAINT),
    ]  # fmt: skip


def _scooter_body(paint, rear: float) -> list[Mesh]:
    """Leg shield, floor, rear fairing and seat."""
    return [
        sweep([(0.56, 0, 0.3), (0.5, 0, 0.5), (0.44, 0, 0.8), (0.4, 0, 1.0)],
              [[0.14, 0.05], [0.21, 0.06], [0.2, 0.07], [0.1, 0.06]], paint, 8, Material.PAINT),
        box((0.65, 0.34, 0.08), (0.05, 0.05, 0.05), Material.PLAIN, (0.2, 0, 0.26)),
        sweep([(rear - 0.24, 0, 0.62), (rear, 0, 0.55), (-0.25, 0, 0.48), (-0.08, 0, 0.42)],
              [[0.08, 0.08], [0.16, 0.16], [0.17, 0.2], [0.12, 0.16]], paint, 8, Material.PAINT),
        sweep([(rear - 0.16, 0, 0.73), (-0.4, 0, 0.72), (-0.06, 0, 0.69)],
              [[0.1, 0.03], [0.14, 0.05], [0.1, 0.05]], BLACK, 8),
    ]  # fmt: skip
