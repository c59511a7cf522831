"""Triangle soups with what shading needs, and the primitives that things are made of."""

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int


class Material(IntEnum):
    """How a triangle's surface looks; the shading kernels switch on it."""

    ROAD = 0
    PAVEMENT = 1
    GRASS = 2
    FACADE = 3
    PLAIN = 4
    FOLIAGE = 5
    PAINT = 6
    GLASS = 7
    BARK = 8
    LAMP = 9
    FENCE = 10
    BRICK = 11
    TILE = 12
    CONCRETE = 13
    HEADLIGHT = 14
    TAILLIGHT = 15
    SIGN = 16
    CLOTH = 17
    STRIPES = 18
    METAL = 19
    SOIL = 20
    JUNCTION = 21
    LOT = 22


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices with surface coordinates in metres; colour, material and style a triangle.

    `instance` tells things apart (0 is the ground), `style` in [0, 1) varies a material. A vertex
    normal of zero means a flat face; others are interpolated, so that few triangles look round.
    """

    vertices: Float[np.ndarray, "n 3"]
    normals: Float[np.ndarray, "n 3"]
    uv: Float[np.ndarray, "n 2"]
    triangles: Int[np.ndarray, "m 3"]
    colour: Float[np.ndarray, "m 3"]
    material: Int[np.ndarray, "m"]
    style: Float[np.ndarray, "m"]
    instance: Int[np.ndarray, "m"]


def make_mesh(vertices, triangles, colour, material: Material, uv=None, style=0.0) -> Mesh:
    """One piece of one colour and material; without `uv` the (x, y) of the vertices serve."""
    vertices = np.asarray(vertices, np.float64)
    triangles = np.asarray(triangles, np.int64)
    m = len(triangles)
    return Mesh(
        vertices,
        np.zeros_like(vertices),
        np.asarray(vertices[:, :2] if uv is None else uv, np.float64),
        triangles,
        np.broadcast_to(np.asarray(colour, np.float64), (m, 3)),
        np.full(m, int(material)),
        np.full(m, float(style)),
        np.zeros(m, np.int64),
    )


def join(pieces: list[Mesh], number_instances_from: int | None = None) -> Mesh:
    """All pieces in one mesh; with `number_instances_from` each piece becomes an instance."""
    starts = np.cumsum([0, *(len(p.vertices) for p in pieces)])
    instances = [
        p.instance
        if number_instances_from is None
        else np.full(len(p.triangles), number_instances_from + i)
        for i, p in enumerate(pieces)
    ]
    return Mesh(
        np.concatenate([p.vertices for p in pieces]),
        np.concatenate([p.normals for p in pieces]),
        np.concatenate([p.uv for p in pieces]),
        np.concatenate([p.triangles + s for p, s in zip(pieces, starts[:-1], strict=True)]),
        np.concatenate([p.colour for p in pieces]),
        np.concatenate([p.material for p in pieces]),
        np.concatenate([p.style for p in pieces]),
        np.concatenate(instances),
    )


def place(mesh: Mesh, dst_T_src: Float[np.ndarray, "4 4"], scale: float = 1.0) -> Mesh:
    """The mesh moved into another frame."""
    return replace(
        mesh,
        vertices=mesh.vertices @ (scale * dst_T_src[:3, :3].T) + dst_T_src[:3, 3],
        normals=mesh.normals @ dst_T_src[:3, :3].T,
    )


def smooth(mesh: Mesh, crease_deg: float = 40.0) -> Mesh:
    """The mesh with round normals: faces that meet at less than `crease_deg` share them.

    Vertices at one place count as one; each corner gets the area-weighted mean of the faces about
    it that lie within the crease angle of its own face.
    """
    corners = mesh.vertices[mesh.triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    unit = face / (np.linalg.norm(face, axis=1, keepdims=True) + 1e-12)
    _, spot = np.unique(np.round(corners.reshape(-1, 3), 4), axis=0, return_inverse=True)
    spot = spot.reshape(-1)
    owner = np.repeat(np.arange(len(face)), 3)
    order = np.argsort(spot, kind="stable")
    sizes = np.bincount(spot)
    starts = np.cumsum(sizes) - sizes
    # every ordered pair of corners at one spot
    first = np.repeat(order, sizes[spot[order]])
    within = np.arange(len(first)) - np.repeat(
        np.cumsum(sizes[spot[order]]) - sizes[spot[order]], sizes[spot[order]]
    )
    second = order[starts[spot[first]] + within]
    near = np.einsum("nc,nc->n", unit[owner[first]], unit[owner[second]])
    pair = near > np.cos(np.radians(crease_deg))
    normals = np.stack(
        [
            np.bincount(first[pair], face[owner[second[pair]], c], minlength=len(spot))
            for c in range(3)
        ],
        axis=-1,
    )
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    return replace(
        mesh,
        vertices=corners.reshape(-1, 3),
        normals=normals,
        uv=mesh.uv[mesh.triangles].reshape(-1, 2),
        triangles=np.arange(3 * len(face)).reshape(-1, 3),
    )


def at(x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Float[np.ndarray, "4 4"]:
    """dst_T_src of a thing standing upright at (x, y, z), turned by yaw (radians)."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


def quad(corners, colour, material: Material, size_m=(1.0, 1.0), style=0.0) -> Mesh:
    """Four corners, counter-clockwise from the face's lower left; uv in metres."""
    uv = np.array([[0, 0], [size_m[0], 0], [size_m[0], size_m[1]], [0, size_m[1]]])
    return make_mesh(corners, [[0, 1, 2], [0, 2, 3]], colour, material, uv, style)


def box(size, colour, material=Material.PLAIN, base=(0, 0, 0), top=None, style=0.0) -> Mesh:
    """A box standing on `base` (centre of its floor), uv in metres on each face.

    `top` = (shrink_x, shrink_y, shift_x) narrows and shifts the upper face (cabins, roofs).
    """
    lx, ly, lz = size
    shrink_x, shrink_y, shift_x = top or (1.0, 1.0, 0.0)
    floor = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (lx / 2, ly / 2)
    roof = floor * (shrink_x, shrink_y) + (shift_x, 0.0)
    low = np.c_[floor, np.zeros(4)] + base
    high = np.c_[roof, np.full(4, lz)] + base
    sides = [
        quad(
            [low[i], low[(i + 1) % 4], high[(i + 1) % 4], high[i]],
            colour,
            material,
            (lx if i % 2 == 0 else ly, lz),
            style,
        )
        for i in range(4)
    ]
    return join([*sides, quad(high, colour, material, (lx, ly), style)])


def prism(profile, axis: str, length: float, colour, material, sides: bool = True) -> Mesh:
    """A convex profile (counter-clockwise, 2D) extruded along `axis` ('x', 'y' or 'z'), centred."""
    profile = np.asarray(profile, np.float64)
    n = len(profile)
    ends = []
    for shift in (-length / 2, length / 2):
        along = np.full(n, shift)
        columns = {
            "x": (along, profile[:, 0], profile[:, 1]),
            "y": (profile[:, 0], along, profile[:, 1]),
            "z": (profile[:, 0], profile[:, 1], along + length / 2),
        }[axis]
        ends.append(np.stack(columns, axis=-1))
    ring = np.arange(n)
    turn = (ring + 1) % n
    triangles = [np.c_[ring, turn, turn + n], np.c_[ring, turn + n, ring + n]]
    if sides:
        fan = np.arange(1, n - 1)
        zeros = np.zeros_like(fan)
        triangles += [np.c_[zeros, fan + 1, fan], np.c_[zeros + n, fan + n, fan + 1 + n]]
    vertices = np.concatenate(ends)
    around = np.r_[0, np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1))]
    uv = np.c_[np.tile(around, 2), np.repeat([0.0, length], n)]
    return make_mesh(vertices, np.concatenate(triangles), colour, material, uv)


def cylinder(radius: float, length: float, colour, material, axis="z", count=8) -> Mesh:
    """A regular prism; along z it stands on the origin, else it is centred."""
    angle = np.arange(count) * 2 * np.pi / count
    return prism(np.c_[np.cos(angle), np.sin(angle)] * radius, axis, length, colour, material)


def cards(rng: np.random.Generator, count: int, radii, size_m: float, colour, style=0.0) -> Mesh:
    """Randomly turned small leaf cards filling an ellipsoid shell about the origin."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    centre = direction * rng.uniform(0.55, 1.0, (count, 1)) * np.asarray(radii)
    a = rng.normal(size=(count, 3))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(a, direction)
    b /= np.linalg.norm(b, axis=1, keepdims=True) + 1e-9
    half = size_m * rng.uniform(0.6, 1.4, (count, 1)) / 2
    corners = np.stack([centre - half * (a + b), centre + half * (a - b), centre + half * b], 1)
    corners = np.concatenate([corners, (centre - half * (a - b) * 0.9)[:, None]], 1)
    index = np.arange(count)[:, None] * 4
    triangles = np.concatenate([index + [0, 1, 2], index + [0, 2, 3]])
    vertices = corners.reshape(-1, 3)
    mesh = make_mesh(vertices, triangles, colour, Material.FOLIAGE, style=style)
    tint = rng.uniform(0.7, 1.25, (count, 1))
    return replace(mesh, colour=mesh.colour * np.tile(tint, (2, 1)))
