"""Trees, bushes, hedges and grass of small leaf cards in lumps; metres, standing on the origin."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from driv3r.simulator.assets.mesh import Material, Mesh, box, join, make_mesh, smooth
from driv3r.simulator.assets.primitives import lump, tinted, tube

GREENS = ((0.09, 0.15, 0.035), (0.07, 0.12, 0.03), (0.12, 0.17, 0.04), (0.06, 0.11, 0.045))
AUTUMN = ((0.3, 0.17, 0.03), (0.25, 0.08, 0.03), (0.28, 0.2, 0.05))
BARKS = ((0.12, 0.09, 0.06), (0.16, 0.13, 0.1), (0.08, 0.065, 0.05), (0.25, 0.24, 0.21))
SPECIES = ("round",) * 5 + ("broad",) * 3 + ("conical", "poplar", "palm", "bare")


def leaf_cards(
    rng: np.random.Generator,
    middle: Float[np.ndarray, "n 3"],
    normal: Float[np.ndarray, "n 3"],
    size_m: tuple[float, float],
    colour,
    tone: Float[np.ndarray, "n"],
) -> Mesh:
    """Kite-shaped leaf cards about `normal`, tilted at random but shaded with it, `tone` bright."""
    count = len(middle)
    tilt = normal + 0.7 * rng.normal(size=(count, 3))
    tilt *= np.where((tilt * normal).sum(1, keepdims=True) < 0, -1.0, 1.0)
    tilt /= np.linalg.norm(tilt, axis=1, keepdims=True)
    a = np.cross(tilt, rng.normal(size=(count, 3)))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(tilt, a)
    half = rng.uniform(*size_m, (count, 1)) / 2
    width = rng.uniform(0.6, 1.0, (count, 1))
    corners = np.stack([-1.15 * a, -0.1 * a - width * b, 1.15 * a, 0.1 * a + width * b], 1)
    corners = middle[:, None] + corners * half[:, None]
    index = 4 * np.arange(count)[:, None]
    triangles = np.concatenate([index + (0, 1, 2), index + (0, 2, 3)])
    mesh = make_mesh(corners.reshape(-1, 3), triangles, colour, Material.FOLIAGE)
    tone = (tone * rng.uniform(0.75, 1.25, count))[:, None]
    soft = 0.75 * normal + 0.25 * tilt + (0, 0, 0.15)
    return replace(
        mesh,
        colour=np.clip(mesh.colour * np.tile(tone, (2, 1)), 0.004, 1),
        normals=np.repeat(soft / np.linalg.norm(soft, axis=1, keepdims=True), 4, axis=0),
    )


def leaves_on(rng: np.random.Generator, centres, radii, count: int, size_m, colour) -> Mesh:
    """At most `count` leaf cards about the shells of ellipsoids, none deep inside another one.

    Cards low in the whole crown and deep in their ellipsoid are darker; `size_m` (least, most).
    """
    centres, radii = np.asarray(centres, np.float64), np.asarray(radii, np.float64)
    area = radii.prod(1) ** (2 / 3)
    owner = rng.choice(len(centres), 3 * count, p=area / area.sum())
    out = rng.normal(size=(len(owner), 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    reach = rng.uniform(0.68, 1.05, len(owner))
    middle = centres[owner] + out * reach[:, None] * radii[owner]
    depth = np.linalg.norm((middle[:, None] - centres) / radii, axis=2)
    depth[np.arange(len(owner)), owner] = 1.0
    keep = np.flatnonzero(depth.min(1) > 0.75)[:count]
    owner, out, reach, middle = owner[keep], out[keep], reach[keep], middle[keep]
    normal = out / radii[owner]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    height = (middle[:, 2] - middle[:, 2].min()) / (np.ptp(middle[:, 2]) + 1e-6)
    tone = (0.65 + 0.5 * height) * (0.35 + 0.7 * reach)
    tone *= (1 + 0.12 * rng.normal(size=len(centres)))[owner]
    return leaf_cards(rng, middle, normal, size_m, colour, tone)


def cores(rng: np.random.Generator, centres, radii, colour, share=0.55) -> Mesh:
    """Dark bodies within lumps of leaves, so that no crown is a mere shell."""
    pieces = [
        lump(rng, np.asarray(r) * share, colour, Material.FOLIAGE, c, 0.2)
        for c, r in zip(centres, radii, strict=True)
    ]
    return smooth(join(pieces), 100.0)


def limb(rng: np.random.Generator, start, end, radii, colour, count=5, bends=2) -> list[Mesh]:
    """A bent tapering branch."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    share = np.linspace(0, 1, bends + 1)[:, None]
    points = start + share * (end - start)
    points[1:-1] += rng.normal(0, 0.06 * np.linalg.norm(end - start), (bends - 1, 3))
    thick = radii[0] + share[:, 0] * (radii[1] - radii[0])
    return [
        tube(
            points[k], points[k + 1], (thick[k], thick[k + 1]), colour, Material.BARK, count, False
        )
        for k in range(bends)
    ]


def _trunk(rng: np.random.Generator, height: float, radius: float, colour) -> list[Mesh]:
    """A trunk flaring at its foot, and where it ends."""
    foot = tube((0, 0, -0.3), (0, 0, 0.35), (1.7 * radius, 1.05 * radius), colour, Material.BARK, 8)
    stem = limb(rng, (0, 0, 0.35), (0, 0, height), (1.05 * radius, 0.75 * radius), colour, 8, 3)
    return [foot, *stem]


def make_tree(rng: np.random.Generator) -> Mesh:
    """A street tree: round, broad, conical, poplar, palm, or bare in winter."""
    kind = SPECIES[int(rng.integers(len(SPECIES)))]
    makers = {"conical": _make_conical, "palm": _make_palm, "bare": _make_bare}
    if kind in makers:
        return makers[kind](rng)
    return _make_leafy(rng, kind)


def _make_leafy(rng: np.random.Generator, kind: str) -> Mesh:
    """Lumps of leaves at the ends of forked branches."""
    height = float(rng.uniform(5.0, 9.5)) * (1.25 if kind == "poplar" else 1.0)
    stem = height * {"round": 0.32, "broad": 0.3, "poplar": 0.14}[kind]
    reach = height * {"round": 0.25, "broad": 0.31, "poplar": 0.1}[kind] * rng.uniform(0.85, 1.15)
    bark = tinted(rng, BARKS)
    green = tinted(rng, AUTUMN if rng.random() < 0.12 else GREENS, 0.35)
    radius = height * rng.uniform(0.016, 0.026)
    parts = _trunk(rng, stem, radius, bark)
    middle, rise = (stem * 0.9 + height) / 2, (height - stem * 0.9) / 2
    count = int(rng.integers(11, 16))
    turn = np.arange(count) * 2.4 + rng.uniform(0, 6)
    level = np.linspace(-0.85, 0.8, count)
    wide = np.sqrt(1 - level**2) * rng.uniform(0.5, 0.85, count)
    centres = np.c_[
        reach * wide * np.cos(turn), reach * wide * np.sin(turn), middle + rise * level * 0.8
    ]
    size = reach * rng.uniform(0.44, 0.62, count) * (1.25 if kind == "poplar" else 1.0)
    radii = np.c_[size, size, size * rng.uniform(0.7, 0.95, count)]
    for k in range(0, count, 2):
        fork = (0, 0, stem * rng.uniform(0.8, 1.0) if k < 6 else stem + rise * rng.uniform(0, 0.6))
        parts += limb(rng, fork, centres[k], (radius * 0.55, radius * 0.15), bark, 5)
    parts += limb(rng, (0, 0, stem), (0, 0, height - 0.3 * rise), (radius * 0.7, 0.02), bark, 6)
    wood = smooth(join(parts), 60.0)
    leaf = float(np.clip(0.18 * reach, 0.26, 0.44))
    leaves = leaves_on(rng, centres, radii, 1000, (0.5 * leaf, leaf), green)
    return join([wood, cores(rng, centres, radii, green * 0.55), leaves])


def _make_conical(rng: np.random.Generator) -> Mesh:
    """A spruce or cypress: tiers of needles narrowing to a tip."""
    height, reach = float(rng.uniform(5, 12)), float(rng.uniform(1.1, 2.2))
    bark, green = tinted(rng, BARKS), tinted(rng, GREENS, 0.25) * (0.7, 0.75, 0.9)
    tiers = int(rng.integers(7, 10))
    start = height * 0.12
    level = np.linspace(0, 1, tiers)
    centres, radii = [], []
    for t in level:
        wide = reach * (1.02 - t) + 0.12
        for turn in np.arange(3 if t < 0.6 else 1) * 2.1 + rng.uniform(0, 6):
            off = 0.35 * wide if t < 0.6 else 0.0
            centres.append((off * np.cos(turn), off * np.sin(turn), start + t * (height - start)))
            radii.append((wide * 0.72, wide * 0.72, 0.75 * (height - start) / tiers + 0.1))
    wood = smooth(join(_trunk(rng, height * 0.6, height * 0.014, bark)), 60.0)
    leaves = leaves_on(rng, centres, radii, 900, (0.15, 0.34), green)
    return join([wood, cores(rng, centres, radii, green * 0.5, 0.55), leaves])


def _make_palm(rng: np.random.Generator) -> Mesh:
    """A palm: a slightly leaning stem and arched fronds of leaflets."""
    height, bark = float(rng.uniform(5, 10)), tinted(rng, BARKS)
    lean = rng.normal(0, 0.25, 2)
    top = np.array([*lean, height])
    parts = [
        tube((0, 0, -0.3), top * 0.5 * (0.6, 0.6, 1), (0.24, 0.17), bark, Material.BARK, 8, False),
        tube(top * 0.5 * (0.6, 0.6, 1), top, (0.17, 0.15), bark, Material.BARK, 8, False),
        lump(rng, (0.28, 0.28, 0.45), bark * 0.8, Material.BARK, top, 0.1),
    ]
    green = tinted(rng, GREENS, 0.25)
    fronds = [_make_frond(rng, top, green) for _ in range(int(rng.integers(28, 34)))]
    return join([smooth(join(parts), 60.0), *fronds])


def _make_frond(rng: np.random.Generator, top, green) -> Mesh:
    """One arched frond: pairs of leaflets hanging from a rib."""
    turn, lift = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 1.1)
    length, pairs = rng.uniform(1.8, 2.8), 17
    t = np.linspace(0.08, 1, pairs + 1)
    out = length * t * np.cos(lift * (1 - 0.5 * t))
    drop = length * (np.sin(lift) * t - 0.75 * t**2)
    rib = np.c_[out * np.cos(turn), out * np.sin(turn), drop] + top
    aside = np.array([-np.sin(turn), np.cos(turn), 0.0])
    corners = []
    for k in range(pairs):
        leaf = 0.55 * np.sin(np.pi * min(0.97, t[k] * 0.85 + 0.12)) + 0.08
        ahead = 0.5 * (rib[k + 1] - rib[k])
        for way in (-1, 1):
            tip = rib[k] + way * aside * leaf + 2.2 * ahead - (0, 0, 0.45 * leaf)
            corners.append(np.stack([rib[k], rib[k + 1], tip])[::way])
    vertices = np.concatenate(corners)
    mesh = make_mesh(vertices, np.arange(len(vertices)).reshape(-1, 3), green, Material.FOLIAGE)
    up = np.tile((0.28 * np.cos(turn), 0.28 * np.sin(turn), 0.96), (len(vertices), 1))
    tone = np.linspace(0.6, 1.15, len(mesh.triangles))[:, None] * rng.uniform(0.75, 1.15)
    return replace(mesh, normals=up, colour=mesh.colour * tone)


def _make_bare(rng: np.random.Generator) -> Mesh:
    """A winter tree: boughs that fork into thin twigs."""
    height, bark = float(rng.uniform(5, 10)), tinted(rng, BARKS) * 0.85
    radius, stem = height * 0.022, height * 0.3
    parts = _trunk(rng, stem, radius, bark)
    twigs = []
    tips = [(np.array([0, 0, stem]), np.array([0, 0, 1.0]), height * 0.3, radius * 0.75)]
    for depth, forks in enumerate((5, 4, 4)):
        grown = []
        for point, ahead, length, thick in tips:
            turn = rng.uniform(0, 6)
            for k in range(forks):
                angle = turn + k * 2 * np.pi / forks
                spread = 0.55 + 0.25 * depth * rng.random()
                way = ahead + spread * np.array([np.cos(angle), np.sin(angle), rng.uniform(0, 0.4)])
                way = way / np.linalg.norm(way) * length * rng.uniform(0.65, 1.1)
                end = point + way
                sides, bends = ((5, 2), (4, 1), (3, 1))[depth]
                parts += limb(rng, point, end, (thick, thick * 0.5), bark, sides, bends)
                share = rng.uniform(0.75, 1.0)
                tip = (point + share * way, way / np.linalg.norm(way), length * 0.62, thick * 0.5)
                grown.append(tip)
        tips = grown
    for point, ahead, length, _ in tips:
        for _ in range(3):
            end = point + (ahead + 0.6 * rng.normal(size=3)) * length * 0.9
            twigs.append(tube(point, end, (0.012, 0.004), bark, Material.BARK, 3, False))
    return join([smooth(join(parts), 60.0), *twigs])


def make_bush(rng: np.random.Generator) -> Mesh:
    """A shrub of a few lumps that reach the ground, some with flowers."""
    return make_shrub(rng, float(rng.uniform(0.45, 1.0)), 420)


def make_shrub(rng: np.random.Generator, radius: float, leaves: int) -> Mesh:
    """A shrub about `radius` wide each way, of at most that many leaf cards."""
    count = int(rng.integers(3, 7))
    turn = rng.uniform(0, 6) + np.arange(count) * 2.4
    off = radius * rng.uniform(0.2, 0.6, count)
    size = radius * rng.uniform(0.45, 0.7, count)
    centres = np.c_[off * np.cos(turn), off * np.sin(turn), size * rng.uniform(0.7, 1.3, count)]
    radii = np.c_[size, size, size * 0.85]
    green = tinted(rng, GREENS, 0.35)
    leaf_m = float(np.sqrt(42 / leaves)) * radius
    cards = leaves_on(rng, centres, radii, leaves, (0.35 * leaf_m, 0.85 * leaf_m), green)
    parts = [cores(rng, centres, radii, green * 0.4, 0.7), cards]
    if rng.random() < 0.3:
        flower = tinted(rng, ((0.6, 0.1, 0.2), (0.6, 0.5, 0.1), (0.6, 0.55, 0.6)))
        size_m = (0.25 * leaf_m, 0.45 * leaf_m)
        parts.append(leaves_on(rng, centres, radii * 1.06, leaves // 7, size_m, flower))
    return _above_ground(join(parts))


def _above_ground(mesh: Mesh) -> Mesh:
    return replace(mesh, vertices=np.maximum(mesh.vertices, (-np.inf, -np.inf, -0.02)))


def make_hedge(rng: np.random.Generator, length: float) -> Mesh:
    """A clipped hedge along x, its faces rough with leaves."""
    height, depth = float(rng.uniform(0.8, 2.0)), float(rng.uniform(0.6, 1.0))
    green = tinted(rng, GREENS, 0.3)
    inner = (length - 0.12, depth - 0.12, height - 0.06)
    core = box(inner, green * 0.45, Material.FOLIAGE, (0, 0, 0), (1.0, 0.92, 0.0))
    count = int(min(140 * length, 1600))
    x = rng.uniform(-0.5, 0.5, count) * (length - 0.08)
    around = rng.uniform(-1, 1, count) * (height + depth / 2)
    wall = np.abs(around) > depth / 2
    z = np.where(wall, height + depth / 2 - np.abs(around), height)
    y = np.where(wall, np.sign(around) * depth / 2 * (1 - 0.08 * z / height), around)
    normal = np.where(wall[:, None], np.c_[0 * x, np.sign(around), 0 * x], (0.0, 0.0, 1.0))
    cap = rng.random(count) < depth * height / (length * (2 * height + depth))
    x = np.where(cap, np.sign(x) * (length / 2 - 0.04), x)
    y = np.where(cap, rng.uniform(-0.5, 0.5, count) * depth, y)
    normal = np.where(cap[:, None], np.c_[np.sign(x), 0 * x, 0 * x], normal)
    bulge = 0.03 * np.sin(2.1 * x + 3 * z) + 0.02 * rng.normal(size=count) - 0.03
    middle = np.c_[x, y, z] + normal * bulge[:, None]
    tone = (0.6 + 0.5 * z / height) * (1 + 4 * bulge)
    leaves = leaf_cards(rng, middle, normal, (0.12, 0.24), green, tone)
    return _above_ground(join([core, leaves]))


def make_far_trees(rng: np.random.Generator, length: float) -> Mesh:
    """A wood's edge along x: a lumpy wall of overlapping crowns 8 to 15 m high, leaves on it."""
    count = max(int(length * 0.62), 8) + 1
    crowns = max(int(length / 4.5), 2)
    x = np.linspace(-length / 2, length / 2, count)
    middle = (np.arange(crowns) + rng.uniform(0.1, 0.9, crowns)) * length / crowns - length / 2
    reach, top = rng.uniform(2.6, 4.6, crowns), rng.uniform(8.5, 15.0, crowns)
    across = np.clip(1 - ((x[:, None] - middle) / reach) ** 2, 0.0, 1.0)
    dome = top * (0.52 + 0.48 * np.sqrt(across))
    crown = np.argmax(dome, axis=1)
    height = dome.max(1) * rng.uniform(0.9, 1.04, count)
    green = tinted(rng, GREENS, 0.25)
    tones = rng.uniform(0.75, 1.2, (crowns, 1)) * (1 + 0.08 * rng.normal(size=(crowns, 3)))
    walls = []
    for way in (1, -1):
        wall = _leafy_wall(rng, x, height, np.sqrt(across.max(1)), way)
        shade = 0.35 + 0.5 * wall.vertices[wall.triangles][:, :, 2].mean(1, keepdims=True) / 12
        shade = shade * rng.uniform(0.75, 1.25, (len(shade), 1))
        column = wall.triangles.min(1) // 7
        walls.append(replace(wall, colour=np.clip(green * tones[crown[column]] * shade, 0, 1)))
    shell = smooth(join(walls), 70.0)
    return join([shell, _leaves_over(rng, shell, int(11 * length))])


def _leafy_wall(rng: np.random.Generator, x, height, bulge, way: int) -> Mesh:
    """One side of a wood's edge, facing -y (way 1) or +y; seven vertices from foot to top."""
    share = np.array([-0.08, 0.12, 0.3, 0.5, 0.7, 0.88, 1.0])
    out = np.array([0.7, 1.0, 0.8, 1.15, 1.1, 0.75, 0.0])
    count = len(x)
    deep = out * (0.6 + 1.7 * bulge[:, None] ** 2) * rng.uniform(0.4, 1.5, (count, 7))
    deep[[0, -1]] = 0.0
    deep[:, -1] = 0.0
    wobble = 0.35 * rng.normal(size=(count, 7)) * (np.arange(count) % (count - 1) > 0)[:, None]
    wobble[:, -1] = 0.0  # both sides meet along the top
    z = height[:, None] * share + np.where((share > 0) & (share < 1), 1.6 * wobble, 0.0)
    vertices = np.stack([x[:, None] + wobble, -way * deep, z], -1).reshape(-1, 3)
    k = (7 * np.arange(count - 1)[:, None] + np.arange(6)).ravel()
    triangles = np.concatenate([np.c_[k, k + 7, k + 8], np.c_[k, k + 8, k + 1]])[:, ::way]
    return make_mesh(vertices, triangles, (0.1, 0.1, 0.1), Material.FOLIAGE)


def _leaves_over(rng: np.random.Generator, shell: Mesh, count: int) -> Mesh:
    """Large leaf cards over a mesh's surface, in its colours."""
    corners = shell.vertices[shell.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    pick = rng.choice(len(area), count, p=area / area.sum())
    weight = rng.dirichlet((1.0, 1.0, 1.0), count)
    normal = cross[pick] / area[pick, None]
    middle = (
        np.einsum("nk,nkc->nc", weight, corners[pick]) + rng.uniform(0, 0.7, (count, 1)) * normal
    )
    tone = rng.uniform(0.6, 1.6, count)
    cards = leaf_cards(rng, middle, normal, (0.5, 1.3), (1.0, 1.0, 1.0), tone)
    colour = np.tile(shell.colour[pick], (2, 1)) * cards.colour
    return replace(cards, colour=np.clip(colour, 0, 1))


def make_grass_tufts(rng: np.random.Generator, length: float, depth: float) -> Mesh:
    """Sparse tufts of blades over a rectangle centred on the origin."""
    tufts, blades = max(int(length * depth * 1.2), 4), 7
    foot = np.c_[rng.uniform(-0.5, 0.5, (tufts, 2)) * (length, depth), np.zeros(tufts)]
    green = tinted(rng, GREENS, 0.3) * (1.2, 1.1, 1.0)
    base = (
        np.repeat(foot, blades, axis=0)
        + np.c_[0.05 * rng.normal(size=(tufts * blades, 2)), np.full(tufts * blades, -0.03)]
    )
    turn = rng.uniform(0, 2 * np.pi, tufts * blades)
    aside = 0.012 * np.c_[np.cos(turn), np.sin(turn), 0 * turn]
    high = np.repeat(rng.uniform(0.08, 0.35, tufts), blades) * rng.uniform(0.5, 1, tufts * blades)
    tip = base + np.c_[0.45 * high[:, None] * rng.normal(size=(len(high), 2)), high]
    vertices = np.stack([base - aside, base + aside, tip], 1).reshape(-1, 3)
    mesh = make_mesh(vertices, np.arange(len(vertices)).reshape(-1, 3), green, Material.FOLIAGE)
    tone = rng.uniform(0.7, 1.4, (len(mesh.triangles), 1))
    up = np.tile((0.0, 0.0, 1.0), (len(vertices), 1))
    return replace(mesh, colour=mesh.colour * tone, normals=up)
