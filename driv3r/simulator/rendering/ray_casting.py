"""Rays into a world: nearest hits of what stands still and of what moves, and what they hit."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float, Float32, Int

from driv3r.simulator.assets.mesh import Mesh
from driv3r.simulator.rendering.actor_geometry import Moving, PixelSet, make_scene
from driv3r.simulator.rendering.jit import kernel

STILL, ACTOR = 1, 2


class Corners(NamedTuple):
    """A mesh's attributes by triangle, as the kernels read them."""

    uv: Float[np.ndarray, "m 3 2"]
    normals: Float[np.ndarray, "m 3 3"]
    face: Float[np.ndarray, "m 3"]
    colour: Float[np.ndarray, "m 3"]
    material: Int[np.ndarray, "m"]
    style: Float[np.ndarray, "m"]
    instance: Int[np.ndarray, "m"]


class Found(NamedTuple):
    """What n rays hit: kind (0 nothing), range, point in the world and in the thing's own frame,
    shading and face normals towards the viewer, uv, material, style, albedo.
    """

    kind: Int[np.ndarray, "n"]
    range_m: Float[np.ndarray, "n"]
    point: Float[np.ndarray, "n 3"]
    own: Float[np.ndarray, "n 3"]
    normal: Float[np.ndarray, "n 3"]
    face: Float[np.ndarray, "n 3"]
    uv: Float[np.ndarray, "n 2"]
    material: Int[np.ndarray, "n"]
    style: Float[np.ndarray, "n"]
    colour: Float[np.ndarray, "n 3"]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Triangles as an Embree scene and their attributes.

    The scene stands turned by `scene_R_world`, so that most edges run along its axes: there boxes
    around triangles are tighter, and rays a sixth faster.
    """

    scene: EmbreeScene
    scene_R_world: Float32[np.ndarray, "3 3"]
    corners: Corners

    def run(self, origins: np.ndarray, directions: np.ndarray, **query):
        """Embree's answer to float32 rays of the world."""
        turned = np.empty((2, *origins.shape), np.float32)
        _turn(origins, self.scene_R_world, turned[0])
        _turn(directions, self.scene_R_world, turned[1])
        return self.scene.run(*turned, **query)


@dataclass(frozen=True, eq=False)
class Hits:
    """Nearest hits of n rays: kind, actor (-1: none), triangle, barycentrics (u, v), distance.

    Triangles are the still mesh's, or the wardrobe's.
    """

    kind: Int[np.ndarray, "n"]
    actor: Int[np.ndarray, "n"]
    triangle: Int[np.ndarray, "n"]
    u: Float32[np.ndarray, "n"]
    v: Float32[np.ndarray, "n"]
    range_m: Float32[np.ndarray, "n"]


def make_corners(mesh: Mesh) -> Corners:
    """Unpack a mesh's attributes to its triangles."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    face /= np.linalg.norm(face, axis=1, keepdims=True) + 1e-12
    return Corners(
        mesh.uv.astype(np.float32)[mesh.triangles],
        mesh.normals.astype(np.float32)[mesh.triangles],
        face.astype(np.float32),
        np.ascontiguousarray(mesh.colour, np.float32),
        mesh.material.astype(np.int16),
        np.ascontiguousarray(mesh.style, np.float32),
        mesh.instance.astype(np.int32),
    )


def make_surfaces(mesh: Mesh) -> Surfaces:
    """Scene and attributes of a mesh."""
    turn = align_edges(mesh)
    scene = make_scene(mesh.vertices @ turn.T, mesh.triangles)
    return Surfaces(scene, turn.astype(np.float32), make_corners(mesh))


def align_edges(mesh: Mesh) -> Float[np.ndarray, "3 3"]:
    """The turn about z that brings long edges nearest to the x and y axes.

    Fourth powers of directions in the plane forget quarter turns; their mean's angle is the answer.
    """
    corners = mesh.vertices[mesh.triangles]
    edges = (np.roll(corners, -1, axis=1) - corners)[..., :2].reshape(-1, 2)
    along = edges[:, 0] + 1j * edges[:, 1]
    length = np.abs(along) + 1e-9
    angle = -np.angle(np.sum(along**4 / length**2)) / 4
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def cast(
    still: Surfaces, moving: Moving | None, origins: np.ndarray, directions: np.ndarray
) -> Hits:
    """Nearest hits of rays [n, 3] from `origins` along unit `directions`."""
    origins = np.ascontiguousarray(origins, np.float32)
    directions = np.ascontiguousarray(directions, np.float32)
    hits = cast_still(still, origins, directions)
    if moving is not None:
        for thing, rows, o, d in moving.met(origins, directions, hits.range_m):
            cast_one(moving.own_scene(thing), thing, moving.first_triangle[thing], rows, o, d, hits)
    return hits


def cast_still(still: Surfaces, origins: np.ndarray, directions: np.ndarray) -> Hits:
    """Nearest hits on what stands still; `origins` and `directions` are float32."""
    first = still.run(origins, directions, output=True)
    kind = (first["primID"] >= 0).astype(np.int8)
    actor = np.full(len(kind), -1, np.int16)
    return Hits(kind, actor, first["primID"], first["u"], first["v"], first["tfar"])


def cast_one(
    scene: EmbreeScene, thing: int, first_triangle: int, rows: np.ndarray, origins: np.ndarray,
    directions: np.ndarray, hits: Hits,
) -> None:  # fmt: skip
    """Replace the hits, of some rows, that one thing is nearer than; the rays are in its frame."""
    out = scene.run(origins, directions, dists=hits.range_m[rows], output=True)
    _keep_nearer(
        rows, out["primID"], out["u"], out["v"], out["tfar"], thing, first_triangle, hits.kind,
        hits.actor, hits.triangle, hits.u, hits.v, hits.range_m,
    )  # fmt: skip


def is_clear(
    still: Surfaces, moving: Moving | None, origins: np.ndarray, directions: np.ndarray
) -> Bool[np.ndarray, "n"]:
    """Whether rays leave the world without a hit."""
    origins = np.ascontiguousarray(origins, np.float32)
    directions = np.ascontiguousarray(directions, np.float32)
    clear = still.run(origins, directions, query="OCCLUDED") != 0
    if moving is not None:
        reach_m = np.where(clear, np.float32(1e30), np.float32(-1.0))
        for thing, rows, o, d in moving.met(origins, directions, reach_m):
            clear[rows] &= moving.own_scene(thing).run(o, d, query="OCCLUDED") != 0
    return clear


def find(
    hits: Hits,
    origins: Float32[np.ndarray, "n 3"],
    directions: Float32[np.ndarray, "n 3"],
    still: Surfaces,
    moving: Moving | None,
) -> Found:
    """Look up what was hit."""
    n = len(hits.kind)
    point, own, normal, face, colour = np.zeros((5, n, 3), np.float32)
    uv, style = np.zeros((n, 2), np.float32), np.zeros(n, np.float32)
    material = np.zeros(n, np.int16)
    found = Found(hits.kind, hits.range_m, point, own, normal, face, uv, material, style, colour)
    _look_up(hits.triangle, hits.u, hits.v, origins, directions, still.corners, found)
    if moving is not None:
        _look_up_moving(
            hits.actor, hits.triangle, hits.u, hits.v, directions, moving.wardrobe, moving.places,
            found,
        )  # fmt: skip
    return found


def velocities(
    hits: Hits, moving: Moving | None, later: PixelSet, step_s: float
) -> Float[np.ndarray, "n 3"]:
    """World velocity (m/s) of what was hit: the same spot of the same triangle `step_s` later."""
    out = np.zeros((len(hits.kind), 3))
    if moving is not None:
        surface_velocity(
            hits.actor, hits.triangle, hits.u, hits.v, moving.wardrobe, moving.places, later,
            step_s, out,
        )  # fmt: skip
    return out


@kernel
def _turn(rows, turn, out):
    """Rows turned about z."""
    c, s = turn[0, 0], turn[1, 0]
    for i in range(len(rows)):
        x, y = rows[i, 0], rows[i, 1]
        out[i, 0], out[i, 1], out[i, 2] = c * x - s * y, s * x + c * y, rows[i, 2]


@kernel
def _keep_nearer(
    rows, prim, u, v, tfar, thing, first_triangle, kind, actor, triangle, all_u, all_v, range_m
):  # fmt: skip
    for p in range(len(rows)):
        i = rows[p]
        if prim[p] >= 0 and tfar[p] < range_m[i]:
            kind[i], actor[i], triangle[i] = 2, thing, first_triangle + prim[p]
            all_u[i], all_v[i], range_m[i] = u[p], v[p], tfar[p]


@kernel
def _look_up(triangle, all_u, all_v, origins, directions, corners, found):
    for i in range(len(triangle)):
        kind = found.kind[i]
        if kind == 0:
            found.material[i], found.normal[i, 2] = -1, 1.0
            continue
        for c in range(3):
            found.point[i, c] = origins[i, c] + directions[i, c] * found.range_m[i]
            found.own[i, c] = found.point[i, c]
        if kind == 2:
            continue
        t, u, v = triangle[i], all_u[i], all_v[i]
        w = 1.0 - u - v
        corner, uv = corners.normals, corners.uv
        for c in range(3):
            found.colour[i, c] = corners.colour[t, c]
            found.face[i, c] = corners.face[t, c]
            found.normal[i, c] = w * corner[t, 0, c] + u * corner[t, 1, c] + v * corner[t, 2, c]
        for c in range(2):
            found.uv[i, c] = w * uv[t, 0, c] + u * uv[t, 1, c] + v * uv[t, 2, c]
        found.material[i], found.style[i] = corners.material[t], corners.style[t]
        _turn_to_viewer(i, directions, found.face, found.normal)


@kernel
def _look_up_moving(actor, triangle, all_u, all_v, directions, wardrobe, places, found):
    shape, round_own = np.empty((3, 3)), np.empty((3, 3))
    for i in range(len(triangle)):
        if found.kind[i] != 2:
            continue
        a, t, u, v = actor[i], triangle[i], all_u[i], all_v[i]
        w = 1.0 - u - v
        _stand(wardrobe.vertices, wardrobe.corners[t], places, a, shape)
        _stand(wardrobe.normals, wardrobe.corners[t], places, a, round_own)
        T, uv = places.world_T_thing[a], wardrobe.uv[t]
        p, q = shape[1] - shape[0], shape[2] - shape[0]
        face = (p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0])
        length = (face[0] ** 2 + face[1] ** 2 + face[2] ** 2) ** 0.5 + 1e-12
        for c in range(3):
            found.own[i, c] = w * shape[0, c] + u * shape[1, c] + v * shape[2, c]
            found.colour[i, c] = wardrobe.colour[t, c]
            found.face[i, c], found.normal[i, c] = 0.0, 0.0
            for k in range(3):
                mean = w * round_own[0, k] + u * round_own[1, k] + v * round_own[2, k]
                found.face[i, c] += T[c, k] * face[k] / length
                found.normal[i, c] += T[c, k] * mean
        for c in range(2):
            found.uv[i, c] = w * uv[0, c] + u * uv[1, c] + v * uv[2, c]
        found.material[i], found.style[i] = wardrobe.material[t], wardrobe.style[t]
        _turn_to_viewer(i, directions, found.face, found.normal)


@kernel
def _turn_to_viewer(i, direction, face, normal):
    """Let row i of both face the viewer, the round normal as a unit vector (else the face's)."""
    facing, square, agree = 0.0, 0.0, 0.0
    for c in range(3):
        facing += face[i, c] * direction[i, c]
        square += normal[i, c] * normal[i, c]
        agree += normal[i, c] * face[i, c]
    sign = 1.0 if facing < 0 else -1.0
    round_sign = sign if agree >= 0 else -sign
    length = square**0.5
    for c in range(3):
        face[i, c] *= sign
        normal[i, c] = face[i, c] if length < 0.1 else normal[i, c] * round_sign / length


@kernel
def _stand(rows, corners, places, a, out):
    """A triangle's three rows of vertices or normals of an actor, between its phases."""
    before, after, part = places.before[a], places.after[a], places.part[a]
    for k in range(3):
        for c in range(3):
            low = rows[before + corners[k], c]
            out[k, c] = low + part * (rows[after + corners[k], c] - low)


@kernel
def surface_velocity(actor, triangle, all_u, all_v, wardrobe, places, later, step_s, out):
    """Velocity of the surface points that rays hit on actors, by finite difference."""
    now_own, later_own = np.empty((3, 3)), np.empty((3, 3))
    for i in range(len(actor)):
        a, t, u, v = actor[i], triangle[i], all_u[i], all_v[i]
        if a < 0:
            continue
        w = 1.0 - u - v
        _stand(wardrobe.vertices, wardrobe.corners[t], places, a, now_own)
        _stand(wardrobe.vertices, wardrobe.corners[t], later, a, later_own)
        before, after = places.world_T_thing[a], later.world_T_thing[a]
        for c in range(3):
            step = after[c, 3] - before[c, 3]
            for k in range(3):
                step += after[c, k] * (
                    w * later_own[0, k] + u * later_own[1, k] + v * later_own[2, k]
                )
                step -= before[c, k] * (w * now_own[0, k] + u * now_own[1, k] + v * now_own[2, k])
            out[i, c] = step / step_s
