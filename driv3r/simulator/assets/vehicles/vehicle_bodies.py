"""Bodies of vehicles: skins over rings of cross-sections, their ends, wheels and thin details.

A ring is the left half of a cross-section, from the low edge (row 0) to the middle of the top;
rings are ordered from front to rear. The right half is its mirror image.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

from driv3r.simulator.assets.mesh import Material, Mesh, at, box, join, make_mesh, place, smooth

PAINT, GLASS, DARK, HEAD, TAIL, SHINE, SECOND = range(7)  # codes of looks
MIRROR = np.array([1.0, -1.0, 1.0])
RUBBER = (0.018, 0.018, 0.019)
BLACK = (0.015, 0.015, 0.017)
PAINTS = np.array(
    [
        [0.74, 0.74, 0.73], [0.62, 0.62, 0.6], [0.45, 0.46, 0.47], [0.33, 0.34, 0.36],
        [0.17, 0.18, 0.19], [0.09, 0.095, 0.1], [0.018, 0.018, 0.02], [0.42, 0.015, 0.02],
        [0.2, 0.012, 0.02], [0.02, 0.07, 0.32], [0.015, 0.03, 0.1], [0.12, 0.27, 0.42],
        [0.02, 0.12, 0.05], [0.12, 0.13, 0.08], [0.13, 0.07, 0.035], [0.4, 0.34, 0.24],
        [0.68, 0.45, 0.02], [0.6, 0.16, 0.02],
    ]
)  # fmt: skip
PAINT_CHANCES = np.array([21, 5, 11, 9, 9, 6, 16, 5, 2, 4, 4, 2, 1, 1, 1, 1, 1, 1]) / 100


@dataclass(frozen=True)
class Looks:
    """Colour and material of each code on one vehicle."""

    colours: Float[np.ndarray, "7 3"]
    materials: Int[np.ndarray, "7"]


def choose_paint(rng: np.random.Generator) -> Float[np.ndarray, "3"]:
    """White, silver, grey and black, mostly."""
    return PAINTS[int(rng.choice(len(PAINTS), p=PAINT_CHANCES))] * rng.uniform(0.85, 1.1)


def make_looks(paint, second=None, body: Material = Material.PAINT) -> Looks:
    """The looks of a vehicle of a paint, and of a second one (roof, bumpers)."""
    second = paint if second is None else second
    glass, head, tail = (0.012, 0.014, 0.016), (0.5, 0.51, 0.53), (0.3, 0.008, 0.01)
    colours = np.array([paint, glass, BLACK, head, tail, (0.42, 0.42, 0.43), second])
    kinds = [body, Material.GLASS, Material.PLAIN, Material.HEADLIGHT, Material.TAILLIGHT]
    return Looks(colours, np.array([int(k) for k in (*kinds, Material.PAINT, body)]))


def patches(corners: Float[np.ndarray, "n 4 3"], codes: Int[np.ndarray, "n"], looks: Looks) -> Mesh:
    """Four-cornered patches, counter-clockwise from outside; uv in metres along their edges."""
    n = len(corners)
    wide = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
    high = np.linalg.norm(corners[:, 3] - corners[:, 0], axis=1)
    zero = np.zeros(n)
    uv = np.stack([zero, zero, wide, zero, wide, high, zero, high], 1).reshape(-1, 2)
    start = 4 * np.arange(n)[:, None]
    triangles = np.concatenate([start + (0, 1, 2), start + (0, 2, 3)], 1).reshape(-1, 3)
    area = np.cross(
        *(corners.reshape(-1, 3)[triangles[:, k]] - corners.reshape(-1, 3)[triangles[:, 0]]
          for k in (1, 2))
    )  # fmt: skip
    keep = np.linalg.norm(area, axis=1) > 1e-8
    both = np.repeat(codes, 2)[keep]
    mesh = make_mesh(corners.reshape(-1, 3), triangles[keep], looks.colours[0], Material.PAINT, uv)
    return Mesh(
        mesh.vertices, mesh.normals, mesh.uv, mesh.triangles, looks.colours[both],
        looks.materials[both], mesh.style, mesh.instance,
    )  # fmt: skip


def skin(rings: Float[np.ndarray, "s r 3"], codes: Int[np.ndarray, "i j"], looks: Looks) -> Mesh:
    """The sides, top and underside between rings; `codes` [s - 1, r - 1] for the left half."""
    a, b, c, d = rings[:-1, :-1], rings[1:, :-1], rings[1:, 1:], rings[:-1, 1:]
    left = np.stack([a, b, c, d], axis=2).reshape(-1, 4, 3)
    right = np.stack([b, a, d, c], axis=2).reshape(-1, 4, 3) * MIRROR
    low = rings[:, 0]
    under = np.stack([low[:-1], low[:-1] * MIRROR, low[1:] * MIRROR, low[1:]], axis=1)
    every = np.concatenate([codes.reshape(-1), codes.reshape(-1), np.full(len(under), DARK)])
    return patches(np.concatenate([left, right, under]), every, looks)


def cap(
    ring: Float[np.ndarray, "r 3"],
    codes: tuple[tuple[int, int], ...],
    looks: Looks,
    bulge_m: float,
    split: float = 0.55,
    rear: bool = False,
) -> Mesh:
    """The front or rear end across a ring; `codes` (outer, middle) for each row, upwards.

    Its middle part, `split` of the half width, stands out by `bulge_m` except at the low edge.
    """
    out = np.array([-bulge_m if rear else bulge_m, 0, 0])
    inner = ring * (1, split, 1) + out * (np.arange(len(ring)) > 0)[:, None]
    levels = np.stack([ring, inner, inner * MIRROR, ring * MIRROR], axis=1)[:-1]
    corners, kinds = [], []
    for k in range(len(levels) - 1):
        for column in range(3):
            low, high = levels[k], levels[k + 1]
            corners.append((low[column + 1], low[column], high[column], high[column + 1]))
            kinds.append(codes[k][int(column == 1)])
    edge, top = levels[-1], ring[-1]
    corners.append((edge[1], edge[0], top, top))
    corners.append((edge[2], edge[1], top, top))
    corners.append((edge[3], edge[2], top, top))
    kinds += [codes[-1][1]] * 3
    turned = np.array(corners)
    return patches(turned[:, ::-1] if rear else turned, np.array(kinds), looks)


def spot(rings: Float[np.ndarray, "s r 3"], x: float, row: float) -> Float[np.ndarray, "3"]:
    """The place on the left side at x; `row` may lie between two rows."""
    low = min(int(row), rings.shape[1] - 2)
    ends = []
    for k in (low, low + 1):
        line = rings[::-1, k]
        ends.append(np.array([x, np.interp(x, line[:, 0], line[:, 1]),
                              np.interp(x, line[:, 0], line[:, 2])]))  # fmt: skip
    return ends[0] + (row - low) * (ends[1] - ends[0])


def side_patch(
    rings: Float[np.ndarray, "s r 3"],
    x: tuple[float, float],
    rows: tuple[float, float],
    colour,
    material: Material = Material.PLAIN,
    out_m: float = 0.006,
    style: float = 0.0,
) -> Mesh:
    """A thin patch on both sides from x[0] (front) to x[1], between two rows."""
    corners = np.array(
        [spot(rings, x[i], rows[j]) for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]
    )  # fmt: skip
    normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
    left = corners + out_m * normal / (np.linalg.norm(normal) + 1e-12)
    right = (left * MIRROR)[[1, 0, 3, 2]]
    size = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    uv = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]])
    faces = [[0, 1, 2], [0, 2, 3]]
    return join([make_mesh(c, faces, colour, material, uv, style) for c in (left, right)])


def door_line(rings: Float[np.ndarray, "s r 3"], x: float, rows: tuple[int, int]) -> Mesh:
    """A thin dark gap down both sides."""
    return join(
        [
            side_patch(rings, (x + 0.007, x - 0.007), (k, k + 1), BLACK, out_m=0.004)
            for k in range(*rows)
        ]
    )


def end_patch(
    ring: Float[np.ndarray, "r 3"],
    bulge_m: float,
    y: float,
    z: tuple[float, float],
    colour,
    material: Material = Material.PLAIN,
    style: float = 0.0,
    out_m: float = 0.008,
) -> Mesh:
    """A thin patch on the middle of an end made by `cap`, |y| <= y; `bulge_m` < 0 at the rear."""
    rows = ring[:-1]
    end = np.sign(bulge_m) if bulge_m else np.sign(ring[0, 0])
    line = rows[:, 0] + bulge_m * (np.arange(len(rows)) > 0) + end * out_m
    low, high = (float(np.interp(level, rows[:, 2], line)) for level in z)
    corners = [(low, -y, z[0]), (low, y, z[0]), (high, y, z[1]), (high, -y, z[1])]
    corners = corners if end > 0 else [corners[k] for k in (1, 0, 3, 2)]
    uv = np.array([[0, 0], [2 * y, 0], [2 * y, z[1] - z[0]], [0, z[1] - z[0]]])
    return make_mesh(corners, [[0, 1, 2], [0, 2, 3]], colour, material, uv, style)


@cache
def _wheel(radius: float, width: float, rim: float, bright: float, spokes: int, count: int) -> Mesh:
    turn = np.arange(count) * 2 * np.pi / count - np.pi / 2  # a vertex touches the ground
    circle = np.c_[np.cos(turn), np.zeros(count), np.sin(turn)]
    spans = ((radius, -width), (radius, -0.03), (radius * rim, 0.0))
    rings = [circle * r + (0, y, 0) for r, y in spans]
    points = np.concatenate([*rings, [[0.0, -0.035, 0.0]]])
    k, after = np.arange(count), (np.arange(count) + 1) % count
    faces, colours = [], []
    for row in range(2):
        a, b = k + row * count, after + row * count
        faces += [np.c_[a, b + count, b], np.c_[a, a + count, b + count]]
        colours += [np.tile(RUBBER, (count, 1))] * 2
    faces.append(np.c_[k + 2 * count, np.full(count, 3 * count), after + 2 * count])
    open_part = (k * spokes * 2 // count) % 2 == 1 if spokes else np.zeros(count, bool)
    tone = np.where(open_part, 0.02, bright)[:, None]
    colours.append(np.repeat(tone, 3, axis=1))
    mesh = make_mesh(points, np.concatenate(faces), RUBBER, Material.PLAIN)
    material = np.r_[np.full(4 * count, int(Material.PLAIN)), np.full(count, int(Material.PAINT))]
    return smooth(
        Mesh(mesh.vertices, mesh.normals, mesh.uv, mesh.triangles, np.concatenate(colours),
             material, mesh.style, mesh.instance), 30
    )  # fmt: skip


def make_wheel(
    radius: float,
    width: float,
    rim: float = 0.68,
    bright: float = 0.35,
    spokes: int = 7,
    count: int = 14,
) -> Mesh:
    """A wheel about the origin whose outer face is at y = 0 and looks to +y; open behind.

    `rim` is the rim's share of the radius, `bright` its albedo, `spokes` 0 a closed disc.
    """
    return _wheel(radius, width, rim, bright, spokes, count)


def make_axle(x: float, radius: float, outside_m: float, width: float = 0.22, **kind) -> list[Mesh]:
    """Two wheels that stand on the ground, their outer faces `outside_m` from the middle."""
    wheel = make_wheel(radius, width, **kind)
    left = place(wheel, at(x, outside_m, radius))
    return [left, place(wheel, at(x, -outside_m, radius, np.pi))]


def make_core(axles: tuple[float, ...], radius: float, width: float, low: float) -> Mesh:
    """What stops the view through the wheel arches to the other side."""
    length = max(axles) - min(axles) + 2.2 * radius
    size = (length, width - 0.62, 2.1 * radius - low)
    return box(size, BLACK, Material.PLAIN, (0.5 * (max(axles) + min(axles)), 0, low + 0.02))


def flank(x, z, y: float, colour, material: Material, style: float = 0.0) -> Mesh:
    """Upright boards on both sides from x[0] (front) to x[1] and z[0] to z[1], at |y|."""
    corners = np.array([(x[0], y, z[0]), (x[1], y, z[0]), (x[1], y, z[1]), (x[0], y, z[1])])
    wide, tall = x[0] - x[1], z[1] - z[0]
    uv = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]])
    both = (corners, (corners * MIRROR)[[1, 0, 3, 2]])
    faces = [[0, 1, 2], [0, 2, 3]]
    return join([make_mesh(c, faces, colour, material, uv, style) for c in both])


def make_plates(front, rear, rng: np.random.Generator) -> list[Mesh]:
    """Licence plates on both ends, each given as (ring, bulge, z of the lower edge)."""
    white = (0.72, 0.72, 0.7)
    colours = (white, (0.68, 0.5, 0.05) if rng.random() < 0.2 else white)
    style = float(rng.random())
    return [
        end_patch(ring, bulge, 0.26, (low, low + 0.115), colour, Material.SIGN, style, 0.016)
        for (ring, bulge, low), colour in zip((front, rear), colours, strict=True)
    ]


def make_mirrors(x: float, y: float, z: float, size, colour, material=Material.PAINT) -> list[Mesh]:
    """Door mirrors beside |y|, their glass to the rear."""
    parts = []
    for side in (-1, 1):
        shell = box(size, colour, material, (0, 0, 0), (0.7, 0.9, 0.01))
        parts.append(place(shell, at(x, side * (y + size[1] / 2), z, 0.15 * side)))
    return parts
