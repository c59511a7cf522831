"""Bollards, barriers, fences and road works; long ones lie along x about the origin."""

import numpy as np

from driv3r.simulator.assets.mesh import (
    Material,
    Mesh,
    at,
    box,
    join,
    make_mesh,
    place,
    prism,
    smooth,
)
from driv3r.simulator.assets.primitives import LUMP, LUMP_FACES, slab, tinted, tube

STEEL = (0.38, 0.39, 0.4)
DARK = (0.02, 0.02, 0.022)
WOODS = ((0.3, 0.22, 0.14), (0.22, 0.15, 0.1), (0.35, 0.31, 0.26), (0.6, 0.6, 0.58))
BRICKS = ((0.38, 0.18, 0.12), (0.42, 0.35, 0.27), (0.3, 0.3, 0.29))
ORANGE = (0.75, 0.16, 0.02)


def _evenly(length: float, step: float, inset: float = 0.1) -> np.ndarray:
    """Places along x from end to end, about `step` apart."""
    count = max(round((length - 2 * inset) / step), 1) + 1
    return np.linspace(-length / 2 + inset, length / 2 - inset, count)


def make_bollards(rng: np.random.Generator, length: float) -> Mesh:
    """A row of posts: iron, concrete, or bent plastic with a white band; perhaps chained."""
    kind, radius = int(rng.integers(3)), float(rng.uniform(0.05, 0.11))
    colour = ((0.03, 0.03, 0.032), (0.4, 0.39, 0.37), ORANGE)[kind]
    material = (Material.PAINT, Material.CONCRETE, Material.PLAIN)[kind]
    high, count = float(rng.uniform(0.75, 1.05)), 7
    shaft = tube((0, 0, -0.3), (0, 0, high), (radius, radius * 0.9), colour, material, count, False)
    dome = tube((0, 0, high), (0, 0, high + 0.06), (radius * 0.9, radius * 0.35), colour, material,
                count)  # fmt: skip
    band = tube((0, 0, high * 0.75), (0, 0, high * 0.88), (radius + 0.006,) * 2, (0.7, 0.7, 0.7),
                Material.PLAIN, count, False)  # fmt: skip
    post = smooth(join([shaft, dome, band]), 60.0)
    step = max(float(rng.uniform(1.2, 2.0)), length / 7)
    spots = _evenly(length, step, 0.15)
    parts = [place(post, at(x, 0)) for x in spots]
    if kind == 0 and rng.random() < 0.4:
        for a, b in zip(spots[:-1], spots[1:], strict=True):
            low = ((a + b) / 2, 0, high - 0.3)
            for end in (a, b):
                chain = tube((end, 0, high - 0.08), low, (0.015, 0.015), DARK, Material.PLAIN, 3)
                parts.append(chain)
    return join(parts)


def make_barrier(rng: np.random.Generator, length: float) -> Mesh:
    """Concrete jersey blocks, red and white plastic ones, or a guard rail on posts."""
    kind = int(rng.integers(4))
    if kind == 3:
        return _guard_rail(rng, length)
    if kind == 2:
        return _hurdles(rng, length)
    concrete = kind == 0
    profile = np.array(
        [(-0.3, -0.2), (0.3, -0.2), (0.3, 0.08), (0.17, 0.35), (0.09, 0.85), (-0.09, 0.85),
         (-0.17, 0.35), (-0.3, 0.08)]
    )  # fmt: skip
    if not concrete:
        profile = np.array(
            [(-0.24, -0.05), (0.24, -0.05), (0.24, 0.12), (0.14, 0.3), (0.12, 0.9), (-0.12, 0.9),
             (-0.14, 0.3), (-0.24, 0.12)]
        )  # fmt: skip
    count = max(round(length / (2.9 if concrete else 1.5)), 1)
    piece = length / count - 0.04
    parts = []
    for k in range(count):
        colour = np.array(ORANGE) if k % 2 else np.array((0.65, 0.65, 0.64))
        if concrete:
            colour = np.full(3, rng.uniform(0.32, 0.42))
        material = Material.CONCRETE if concrete else Material.PLAIN
        block = prism(profile, "x", piece, colour, material)
        parts.append(place(block, at((k + 0.5) * length / count - length / 2, 0)))
        if not concrete and k:
            joint = (k * length / count - length / 2, 0, 0.2)
            parts.append(box((0.08, 0.12, 0.5), colour * 0.6, Material.PLAIN, joint))
    return join(parts)


def _guard_rail(rng: np.random.Generator, length: float) -> Mesh:
    """A W beam on posts, facing -y."""
    y = np.array([0.0, -0.08, -0.08, -0.01, -0.01, -0.08, -0.08, 0.0])
    z = np.array([0.44, 0.48, 0.54, 0.58, 0.62, 0.66, 0.72, 0.76])
    z += float(rng.uniform(-0.08, 0.12))
    steel = np.array(STEEL) * rng.uniform(0.7, 1.25)
    half, n = length / 2, len(y)
    vertices = np.concatenate([np.c_[np.full(n, x), y - 0.06, z] for x in (-half, half)])
    k = np.arange(n - 1)
    triangles = np.concatenate([np.c_[k, k + n, k + n + 1], np.c_[k, k + n + 1, k + 1]])
    uv = np.c_[vertices[:, 0] * 0.05, z.tolist() * 2]
    beam = make_mesh(vertices, triangles, steel, Material.METAL, uv)
    posts = [slab((0.06, 0.12, 1.15), steel, Material.METAL, (x, 0.02, -0.4))
             for x in _evenly(length, 2.0, 0.3)]  # fmt: skip
    return join([smooth(beam, 80.0), *posts])


def _hurdles(rng: np.random.Generator, length: float) -> Mesh:
    """Plastic work barriers: red and white boards on feet with lamps."""
    parts, count = [], max(round(length / 2.0), 1)
    piece, high = length / count, float(rng.uniform(0.9, 1.2))
    for k in range(count):
        x = (k + 0.5) * piece - length / 2
        for z in (0.25, high - 0.25):
            board = (piece - 0.1, 0.04, 0.22)
            parts.append(slab(board, (0.6, 0.1, 0.05), Material.STRIPES, (x, 0, z)))
        for side in (-1, 1):
            post = (x + side * (piece / 2 - 0.12), 0, 0.0)
            parts.append(box((0.05, 0.05, high + 0.03), (0.7, 0.7, 0.68), Material.PLAIN, post))
            parts.append(box((0.12, 0.7, 0.08), DARK, Material.PLAIN, post))
    return join(parts)


def make_fence(rng: np.random.Generator, length: float) -> Mesh:
    """Boards, pickets, chain link, a brick wall with piers, or iron railings."""
    kind = int(rng.integers(6))
    makers = (_boards, _pickets, _chain_link, _brick_wall, _railings, _railings)
    return makers[kind](rng, length)


def _boards(rng: np.random.Generator, length: float) -> Mesh:
    height, colour = float(rng.uniform(1.2, 2.0)), tinted(rng, WOODS, 0.3)
    panel = box(
        (length, 0.04, height - 0.12), colour, Material.FENCE, (0, 0, 0.1), style=rng.random()
    )
    posts = [box((0.11, 0.11, height + 0.35), colour * 0.8, Material.BARK, (x, 0, -0.3))
             for x in _evenly(length, 2.0)]  # fmt: skip
    rails = [slab((length, 0.06, 0.09), colour * 0.9, Material.PLAIN, (0, 0.05, z))
             for z in (0.3, height - 0.35)]  # fmt: skip
    cap = slab((length, 0.1, 0.05), colour * 0.9, Material.PLAIN, (0, 0, height - 0.03))
    return join([panel, *posts, *rails, cap])


def _pickets(rng: np.random.Generator, length: float) -> Mesh:
    high, colour = float(rng.uniform(0.8, 1.15)), tinted(rng, ((0.62, 0.62, 0.6), *WOODS), 0.15)
    step, parts = max(0.15, length / 38), []
    for x in _evenly(length, step, 0.06):
        outline = [(x - 0.04, 0.06), (x + 0.04, 0.06), (x + 0.04, high - 0.06), (x, high)]
        outline.append((x - 0.04, high - 0.06))
        spots = np.array([(px, -0.03, pz) for px, pz in outline])
        fan = np.array([(0, 1, 2), (0, 2, 4), (2, 3, 4)])
        parts.append(make_mesh(spots, fan, colour, Material.PLAIN))
    rails = [slab((length, 0.04, 0.07), colour * 0.9, Material.PLAIN, (0, 0, z * high))
             for z in (0.22, 0.7)]  # fmt: skip
    posts = [box((0.09, 0.09, high + 0.2), colour, Material.PLAIN, (x, 0.05, -0.2))
             for x in _evenly(length, 2.2, 0.06)]  # fmt: skip
    return join([*parts, *rails, *posts])


def _chain_link(rng: np.random.Generator, length: float) -> Mesh:
    """Posts, rails and a sparse mesh of slanting wires."""
    high, grey = float(rng.uniform(1.5, 2.4)), (0.36, 0.37, 0.38)
    posts = [tube((x, 0, -0.3), (x, 0, high), (0.03, 0.03), grey, Material.METAL, 5)
             for x in _evenly(length, 2.4, 0.05)]  # fmt: skip
    rails = [tube((-length / 2, 0, z), (length / 2, 0, z), (0.02, 0.02), grey, Material.METAL, 4)
             for z in (0.08, high - 0.03)]  # fmt: skip
    starts = np.linspace(-length / 2 - high, length / 2, 60)
    corners = []
    for way in (1, -1):
        low, top = (
            np.stack([starts, 0 * starts + 0.08], 1),
            np.stack([starts + high, 0 * starts + high], 1),
        )
        cut_low = np.clip((-length / 2 - starts) / high, 0, 1)[:, None]
        cut_top = np.clip((length / 2 - starts) / high, 0, 1)[:, None]
        a, b = low + cut_low * (top - low), low + cut_top * (top - low)
        keep = (cut_top - cut_low)[:, 0] > 0.02
        wire = 0.008 * np.array([1.0, -1.0])
        for p, q in zip(a[keep] * (way, 1), b[keep] * (way, 1), strict=True):
            flat = np.array([p - wire, p + wire, q + wire, q - wire])
            corners.append(np.insert(flat, 1, 0.0, axis=1))
    index = 4 * np.arange(len(corners))[:, None]
    triangles = np.concatenate([index + (0, 1, 2), index + (0, 2, 3)])
    wires = make_mesh(np.concatenate(corners), triangles, grey, Material.PLAIN)
    return join([*posts, *rails, wires])


def _brick_wall(rng: np.random.Generator, length: float) -> Mesh:
    high, colour = float(rng.uniform(0.7, 2.1)), tinted(rng, BRICKS)
    parts = [box((length, 0.24, high + 0.6), colour, Material.BRICK, (0, 0, -0.6))]
    parts.append(slab((length, 0.32, 0.07), (0.42, 0.41, 0.38), Material.CONCRETE, (0, 0, high)))
    for x in _evenly(length, 3.0, 0.2):
        parts.append(box((0.38, 0.38, high + 0.8), colour, Material.BRICK, (x, 0, -0.6)))
        cap = (x, 0, high + 0.2)
        parts.append(slab((0.48, 0.48, 0.1), (0.42, 0.41, 0.38), Material.CONCRETE, cap))
    return join(parts)


def _railings(rng: np.random.Generator, length: float) -> Mesh:
    """Iron bars between two rails, on a low wall or on posts."""
    colour = np.array(
        ((0.03, 0.03, 0.032), (0.03, 0.08, 0.05), (0.35, 0.36, 0.37))[rng.integers(3)]
    )
    base, high = float(rng.choice([0.0, 0.4])), float(rng.uniform(0.9, 1.7))
    parts = (
        []
        if not base
        else [box((length, 0.3, base + 0.5), (0.35, 0.34, 0.32), Material.CONCRETE, (0, 0, -0.5))]
    )
    for x in _evenly(length, max(0.14, length / 34), 0.06):
        bar = tube(
            (x, 0, base + 0.08), (x, 0, high), (0.012, 0.012), colour, Material.PAINT, 3, False
        )
        parts.append(bar)
    for z in (base + 0.1, high - 0.12):
        parts.append(slab((length, 0.035, 0.04), colour, Material.PAINT, (0, 0, z)))
    for x in _evenly(length, 2.5, 0.05):
        parts.append(box((0.07, 0.07, high + 0.1), colour, Material.PAINT, (x, 0, 0.0)))
    return join(parts)


def make_cone(rng: np.random.Generator) -> Mesh:
    """A traffic cone with one or two white bands on a square foot."""
    high, wide = float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.13, 0.18))
    orange = np.array(ORANGE) * rng.uniform(0.8, 1.15)
    foot = slab((2.7 * wide, 2.7 * wide, 0.04), DARK if rng.random() < 0.5 else orange)
    cuts = (0.04, 0.35, 0.5, 0.68, 0.8, 1.0)
    parts = []
    for k, (low, top) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        colour = (0.75, 0.75, 0.74) if k % 2 else orange
        radii = (wide * (1 - 0.82 * low), wide * (1 - 0.82 * top))
        ends = (0, 0, low * high), (0, 0, top * high)
        parts.append(tube(*ends, radii, colour, Material.PLAIN, 9, k == 4))
    return join([foot, smooth(join(parts))])


def make_works(rng: np.random.Generator) -> Mesh:
    """Road works about 6 m long: cones, barriers, a heap of soil, perhaps a digger."""
    parts = [place(_heap(rng), at(float(rng.uniform(-0.8, 0.8)), 0.6))]
    cone = make_cone(rng)
    for x in np.linspace(-3.0, 3.0, 4):
        parts.append(place(cone, at(x, -1.1 + rng.normal(0, 0.08), 0, rng.uniform(0, 1.5))))
    hurdle = _hurdles(rng, 2.0)
    for x, y, turn in ((-3.2, 0.0, np.pi / 2), (3.2, 0.0, np.pi / 2)):
        parts.append(place(hurdle, at(x, y, 0, turn + rng.normal(0, 0.1))))
    if rng.random() < 0.6:
        parts.append(place(_digger(rng), at(-1.4, 1.9, 0, float(rng.uniform(-0.5, 0.5)))))
    return join(parts)


def _heap(rng: np.random.Generator) -> Mesh:
    rough = 1 + 0.2 * rng.uniform(-1, 1, (len(LUMP), 1))
    size = rng.uniform(0.7, 1.3), rng.uniform(0.6, 0.9), rng.uniform(0.5, 0.9)
    vertices = np.maximum(LUMP * rough * size, (-9, -9, -0.1))
    return smooth(make_mesh(vertices, LUMP_FACES, (0.16, 0.11, 0.07), Material.SOIL), 50.0)


def _digger(rng: np.random.Generator) -> Mesh:
    """A small excavator on tracks, its arm towards +x."""
    yellow = np.array(((0.65, 0.4, 0.02), (0.6, 0.2, 0.02), (0.5, 0.5, 0.48))[rng.integers(3)])
    track = [(-1.0, 0.0), (1.0, 0.0), (1.2, 0.25), (1.0, 0.5), (-1.0, 0.5), (-1.2, 0.25)]
    parts = [place(prism(track, "y", 0.35, DARK, Material.PLAIN), at(0, y)) for y in (-0.6, 0.6)]
    parts.append(slab((1.9, 1.5, 0.6), yellow, Material.PAINT, (-0.1, 0, 0.6)))
    parts.append(box((0.95, 0.8, 1.2), DARK, Material.GLASS, (0.2, 0.3, 1.2), (0.85, 0.9, 0)))
    parts.append(slab((1.0, 0.85, 0.1), yellow, Material.PAINT, (0.2, 0.3, 2.4)))
    parts.append(
        box((0.7, 1.45, 0.5), yellow * 0.9, Material.PAINT, (-0.75, 0, 1.2), (0.8, 0.9, 0))
    )
    joints = np.array([(0.7, -0.3, 1.0), (1.8, -0.3, 2.5), (2.9, -0.3, 1.9), (2.7, -0.3, 0.9)])
    for a, b, thick in zip(joints[:-1], joints[1:], (0.17, 0.13, 0.1), strict=True):
        parts.append(tube(a, b, (thick, thick * 0.8), yellow, Material.PAINT, 4))
    parts.append(slab((0.5, 0.6, 0.45), (0.1, 0.1, 0.1), Material.METAL, (2.6, -0.3, 0.5)))
    return join(parts)
