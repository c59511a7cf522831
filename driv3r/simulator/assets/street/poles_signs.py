"""Lamps, traffic lights, gantries, signs and utility poles; they face +x unless told otherwise."""

import numpy as np

from driv3r.simulator.assets.mesh import (
    Material,
    Mesh,
    at,
    box,
    join,
    make_mesh,
    place,
    quad,
    smooth,
)
from driv3r.simulator.assets.primitives import slab, tinted, tube

DARK = (0.02, 0.02, 0.022)
STEEL = (0.32, 0.33, 0.34)
RED, AMBER, GREEN = (0.9, 0.05, 0.02), (0.9, 0.45, 0.03), (0.05, 0.8, 0.3)
SIGN_BLUES = ((0.02, 0.08, 0.45), (0.02, 0.22, 0.09), (0.03, 0.12, 0.35))


def _pole(height: float, radii, colour, count: int = 8) -> Mesh:
    """A tapering pole on a thicker foot that goes into the ground."""
    foot = tube((0, 0, -0.5), (0, 0, 0.5), (1.5 * radii[0],) * 2, colour, Material.PAINT, count)
    stem = tube((0, 0, 0.5), (0, 0, height), radii, colour, Material.PAINT, count)
    return smooth(join([foot, stem]))


def make_lamp(rng: np.random.Generator) -> Mesh:
    """A street lamp, its arm towards +x: curved, straight, or a lantern on its post."""
    kind = int(rng.integers(4))
    colour = np.full(3, rng.uniform(0.05, 0.4)) * (1.0, 1.0 + 0.1 * (rng.random() < 0.3), 1.0)
    glow = (0.9, 0.85, 0.7)
    if kind == 3:
        height = float(rng.uniform(3.4, 4.6))
        parts = [_pole(height, (0.07, 0.05), colour)]
        hood = box((0.42, 0.42, 0.12), colour, Material.PAINT, (0, 0, height + 0.4), (0.3, 0.3, 0))
        glass = slab((0.26, 0.26, 0.38), glow, Material.LAMP, (0, 0, height + 0.02))
        return join([*parts, glass, hood, slab((0.36, 0.36, 0.03), colour, base=(0, 0, height))])
    height, reach = float(rng.uniform(6.5, 10)), float(rng.uniform(0.9, 2.6))
    parts = [_pole(height, (0.1, 0.06), colour)]
    for way in (1, -1) if rng.random() < 0.2 else (1,):
        parts += _lamp_arm(kind, way, height, reach, colour, glow)
    return join(parts)


def _lamp_arm(kind: int, way: int, height: float, reach: float, colour, glow) -> list[Mesh]:
    steps = np.linspace(0, 1, 5 if kind == 0 else 2)
    rise = 0.9 if kind == 0 else (0.15 if kind == 1 else 0.0)
    points = np.c_[way * reach * steps, 0 * steps, height + rise * np.sin(steps * np.pi / 2)]
    pairs = zip(points[:-1], points[1:], strict=True)
    arm = smooth(
        join([tube(a, b, (0.045, 0.04), colour, Material.PAINT, 6, False) for a, b in pairs])
    )
    tip = points[-1] + (way * 0.25, 0, 0)
    head = box((0.75, 0.3, 0.1), colour, Material.PAINT, tip, (0.75, 0.6, 0))
    shine = slab((0.6, 0.24, 0.06), glow, Material.LAMP, tip - (0, 0, 0.05))
    return [arm, head, shine]


def _signal_head(lit: int, colour, lamps: int = 3) -> Mesh:
    """A case with hoods over its lamps, facing +x; its middle at the origin."""
    high = 0.34 * lamps
    parts = [slab((0.22, 0.34, high), colour, Material.PLAIN, (0, 0, -high / 2))]
    parts.append(
        slab((0.03, 0.62, high + 0.25), DARK, Material.PLAIN, (-0.06, 0, -high / 2 - 0.12))
    )
    disc = np.linspace(0, 2 * np.pi, 9)[:-1]
    for k in range(lamps):
        z = high / 2 - 0.17 - 0.34 * k
        ring = np.c_[np.full(8, 0.125), 0.12 * np.cos(disc), z + 0.12 * np.sin(disc)]
        fan = np.c_[np.zeros(6), np.arange(1, 7), np.arange(2, 8)].astype(int)
        tone = (RED, AMBER, GREEN)[k]
        dull = np.array(tone) * 0.12
        on = k == lit
        material = Material.LAMP if on else Material.GLASS
        parts.append(make_mesh(ring, fan, tone if on else dull, material))
        hood = [(0.11, 0.14, z), (0.32, 0.14, z + 0.03), (0.32, 0.08, z + 0.13)]
        hood += [(0.11, 0.08, z + 0.13)]
        top = [(0.11, 0.08, z + 0.13), (0.32, 0.08, z + 0.13), (0.32, -0.08, z + 0.13)]
        top += [(0.11, -0.08, z + 0.13)]
        other = [(0.11, -0.08, z + 0.13), (0.32, -0.08, z + 0.13), (0.32, -0.14, z + 0.03)]
        other += [(0.11, -0.14, z)]
        parts += [quad(side, DARK, Material.PLAIN) for side in (hood, top, other)]
    return join(parts)


def make_traffic_light(rng: np.random.Generator) -> Mesh:
    """A mast at the kerb, often with an arm over the road towards -y; signals face +x."""
    colour = tinted(rng, (STEEL, (0.03, 0.03, 0.032), (0.04, 0.1, 0.06)))
    case = tinted(rng, (DARK, (0.6, 0.42, 0.03), (0.03, 0.06, 0.04)))
    lit = int(rng.choice([0, 0, 2, 2, 1]))
    armed = rng.random() < 0.65
    height = float(rng.uniform(5.6, 6.6)) if armed else 3.7
    parts = [_pole(height, (0.12, 0.09) if armed else (0.06, 0.06), colour)]
    parts.append(place(_signal_head(lit, case), at(0.2, 0, 2.9)))
    if armed:
        reach = float(rng.uniform(3.0, 7.5))
        end = (0, -reach, height + 0.25)
        parts.append(smooth(tube((0, 0, height - 0.2), end, (0.08, 0.05), colour, Material.PAINT)))
        count = 1 + int(reach > 4.5)
        for k in range(count):
            share = 1 - 0.5 * k
            z = height - 0.2 + 0.45 * share - 0.1
            parts.append(place(_signal_head(lit, case), at(0.2, -reach * share + 0.2, z)))
        if rng.random() < 0.5:
            name = (0.05, 1.4, 0.4)
            green = tinted(rng, SIGN_BLUES)
            z = height + 0.05
            parts.append(slab(name, green, Material.SIGN, (0.12, -reach * 0.3, z), rng.random()))
    if rng.random() < 0.6:  # for people on foot
        walk = _signal_head(1 - min(lit, 1), case, 2)
        parts.append(place(walk, at(0, 0.28, 2.4, np.pi / 2)))
        parts.append(slab((0.12, 0.14, 0.2), case, Material.PLAIN, (0.1, 0, 1.1)))
    return join(parts)


def make_gantry(rng: np.random.Generator, span: float) -> Mesh:
    """A beam over the road along y on legs at +-span/2, with signals or direction boards.

    Those over y < 0 face -x, those over y > 0 face +x: traffic keeps to the right.
    """
    colour, height = np.array(STEEL) * rng.uniform(0.6, 1.2), float(rng.uniform(5.8, 6.6))
    parts = []
    for y in (-span / 2, span / 2):
        leg = tube((0, y, -1.0), (0, y, height + 0.9), (0.2, 0.16), colour, Material.METAL, 8)
        parts.append(smooth(leg))
    for x, z in ((-0.3, height), (0.3, height), (0.0, height + 0.8)):
        ends = (x, -span / 2, z), (x, span / 2, z)
        parts.append(tube(*ends, (0.06, 0.06), colour, Material.METAL, 4))
    for k, y in enumerate(np.linspace(-span / 2, span / 2, 11)[:-1]):
        top = (0, y + span / 20, height + 0.8)
        foot = (0.3 * (-1) ** k, y, height)
        parts.append(tube(foot, top, (0.03, 0.03), colour, Material.METAL, 3, False))
    signals = rng.random() < 0.35
    for y in np.linspace(-span / 2, span / 2, 7)[1:-1]:
        if abs(y) < 0.1 * span or rng.random() < 0.25:
            continue
        turn = 0.0 if y > 0 else np.pi
        x = 0.45 * np.cos(turn)
        if signals:
            lit = int(rng.choice([0, 2]))
            parts.append(place(_signal_head(lit, np.array(DARK)), at(x, y, height + 0.2, turn)))
        else:
            parts.append(place(_board(rng, min(span / 7, 4.0)), at(x, y, height - 0.8, turn)))
    return join(parts)


def _board(rng: np.random.Generator, width: float) -> Mesh:
    """A direction board facing +x with a pale rim, ribs on its back."""
    high = float(rng.uniform(1.6, 2.4))
    back = slab((0.06, width, high), (0.35, 0.36, 0.37), Material.METAL)
    rim = slab(
        (0.02, width + 0.06, high + 0.06), (0.7, 0.7, 0.7), Material.PLAIN, (0.035, 0, -0.03)
    )
    face = [(0.05, -width / 2, 0), (0.05, width / 2, 0)]
    face += [(0.05, width / 2, high), (0.05, -width / 2, high)]
    blue = tinted(rng, SIGN_BLUES)
    ribs = [slab((0.06, width, 0.08), STEEL, base=(-0.06, 0, z)) for z in (0.3, high - 0.4)]
    front = quad(face, blue, Material.SIGN, (width, high), rng.random())
    return join([back, rim, front, *ribs])


def _plate(corners: int, radius: float, turn: float, colour, rim, style: float) -> Mesh:
    """A flat sign of some corners facing +x: a rim, the face on it, a grey back."""
    angle = turn + np.arange(corners) * 2 * np.pi / corners
    round_ = np.c_[np.cos(angle), np.sin(angle)]
    fan = np.arange(1, corners - 1)
    triangles = np.c_[0 * fan, fan, fan + 1]
    layers = []
    for x, size, tone, material, way in (
        (-0.015, 1.0, STEEL, Material.PLAIN, -1),
        (0.015, 1.0, rim, Material.PLAIN, 1),
        (0.02, 0.82, colour, Material.SIGN, 1),
    ):
        spots = np.c_[np.full(corners, x), radius * size * round_]
        layers.append(make_mesh(spots, triangles[:, ::way], tone, material, radius * round_, style))
    return join(layers)


def make_sign(rng: np.random.Generator) -> Mesh:
    """One or two plates on a post facing +x, or a direction board on two posts."""
    style, kind = float(rng.random()), int(rng.integers(7))
    white, red = (0.75, 0.75, 0.73), (0.6, 0.02, 0.02)
    if kind == 6:
        board = place(_board(rng, float(rng.uniform(1.2, 2.6))), at(0.08, 0, 1.3))
        half = np.ptp(board.vertices[:, 1]) * 0.35
        posts = [place(_pole(2.6, (0.045, 0.045), STEEL, 6), at(0, y, 0)) for y in (-half, half)]
        return join([board, *posts])
    blue, yellow = (0.02, 0.1, 0.5), (0.7, 0.5, 0.03)
    plates = (
        lambda: _plate(16, 0.33, 0.0, white, red, style),
        lambda: _plate(16, 0.33, 0.0, blue, white, style),
        lambda: _plate(3, 0.45, np.pi / 2, white, red, style),
        lambda: _plate(4, 0.42, np.pi / 4, blue, white, style),
        lambda: _plate(8, 0.4, np.pi / 8, red, white, style),
        lambda: _plate(4, 0.45, 0.0, yellow, DARK, style),
    )
    high = float(rng.uniform(2.2, 2.7))
    parts = [place(plates[kind](), at(0.05, 0, high))]
    if rng.random() < 0.35:
        second = int(rng.integers(6))
        parts.append(place(plates[second](), at(0.05, 0, high - 0.85)))
    elif rng.random() < 0.4:
        parts.append(slab((0.03, 0.5, 0.22), white, Material.SIGN, (0.05, 0, high - 0.7), style))
    post = tube((0, 0, -0.4), (0, 0, high + 0.3), (0.035, 0.035), STEEL, Material.METAL, 6)
    return join([smooth(post), *parts])


def make_utility_pole(rng: np.random.Generator) -> Mesh:
    """A wooden or concrete pole with cross-arms along y, insulators, sometimes a transformer."""
    wooden = rng.random() < 0.7
    colour = np.array((0.16, 0.11, 0.07)) if wooden else np.full(3, 0.4)
    material = Material.BARK if wooden else Material.CONCRETE
    height = float(rng.uniform(8.5, 12))
    parts = [smooth(tube((0, 0, -0.8), (0, 0, height), (0.17, 0.11), colour, material, 8))]
    for k in range(int(rng.integers(1, 4))):
        z, reach = height - 0.4 - 0.9 * k, float(rng.uniform(0.8, 1.3))
        parts.append(slab((0.1, 2 * reach, 0.12), colour * 0.9, material, (0.12, 0, z)))
        for y in (-reach + 0.1, -reach / 2, reach / 2, reach - 0.1):
            foot, top = (0.12, y, z + 0.12), (0.12, y, z + 0.3)
            parts.append(tube(foot, top, (0.04, 0.025), (0.25, 0.12, 0.08), Material.GLASS, 5))
        for way in (-1, 1):
            brace = (0.1, 0, z - 0.5), (0.1, way * reach * 0.6, z)
            parts.append(tube(*brace, (0.02, 0.02), STEEL, Material.METAL, 3, False))
    if rng.random() < 0.4:
        can = tube((0.4, 0, height - 4.2), (0.4, 0, height - 3.3), (0.24, 0.24), (0.4, 0.41, 0.42),
                   Material.METAL, 9)  # fmt: skip
        parts.append(smooth(can))
    return join(parts)
