"""Rays into a world: nearest hits of a still and of a moving Embree scene, and what they hit."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Bool, Float, Int
from numba import njit

from driv3r.world.mesh import Mesh

STILL, ACTOR = 1, 2


class Corners(NamedTuple):
    """A scene's attributes by triangle, as the kernels read them."""

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
    """Triangles as an Embree scene and their attributes."""

    scene: EmbreeScene
    corners: Corners


@dataclass(frozen=True, eq=False)
class Hits:
    """Nearest hits of n rays: kind, triangle, barycentrics (u, v), distance."""

    kind: Int[np.ndarray, "n"]
    triangle: Int[np.ndarray, "n"]
    bary: Float[np.ndarray, "n 2"]
    range_m: Float[np.ndarray, "n"]

    def take(self, rows: Int[np.ndarray, "k"]) -> "Hits":
        """Some of the rays."""
        return Hits(self.kind[rows], self.triangle[rows], self.bary[rows], self.range_m[rows])


def make_corners(mesh: Mesh) -> Corners:
    """Unpack a mesh's attributes to its triangles."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    face /= np.linalg.norm(face, axis=1, keepdims=True) + 1e-12
    return Corners(
        mesh.uv[mesh.triangles],
        mesh.normals[mesh.triangles],
        face,
        np.ascontiguousarray(mesh.colour),
        mesh.material.astype(np.int64),
        np.ascontiguousarray(mesh.style, np.float64),
        mesh.instance.astype(np.int64),
    )


def make_scene(vertices: np.ndarray, triangles: np.ndarray) -> EmbreeScene:
    """An Embree scene of triangles."""
    scene = EmbreeScene()
    vertices = np.ascontiguousarray(vertices, np.float32)
    TriangleMesh(scene, vertices, np.ascontiguousarray(triangles, np.int32))
    return scene


def make_surfaces(mesh: Mesh) -> Surfaces:
    """Scene and attributes of a mesh."""
    return Surfaces(make_scene(mesh.vertices, mesh.triangles), make_corners(mesh))


def cast(
    still: Surfaces, moving: Surfaces | None, origins: np.ndarray, directions: np.ndarray
) -> Hits:
    """Nearest hits of rays [n, 3] from `origins` along unit `directions`."""
    origins = np.ascontiguousarray(origins, np.float32)
    directions = np.ascontiguousarray(directions, np.float32)
    first = still.scene.run(origins, directions, output=True)
    kind = (first["primID"] >= 0).astype(np.int8)
    if moving is not None:
        other = moving.scene.run(origins, directions, output=True)
        nearer = other["tfar"] < first["tfar"]
        kind[nearer] = ACTOR
        for key in ("primID", "u", "v", "tfar"):
            first[key][nearer] = other[key][nearer]
    bary = np.stack([first["u"], first["v"]], -1).astype(np.float64)
    return Hits(kind, first["primID"].astype(np.int64), bary, first["tfar"].astype(np.float64))


def is_clear(
    still: Surfaces, moving: Surfaces | None, origins: np.ndarray, directions: np.ndarray
) -> Bool[np.ndarray, "n"]:
    """Whether rays leave the world without a hit."""
    origins = np.ascontiguousarray(origins, np.float32)
    directions = np.ascontiguousarray(directions, np.float32)
    clear = still.scene.run(origins, directions, query="OCCLUDED") != 0
    if moving is not None:
        clear &= moving.scene.run(origins, directions, query="OCCLUDED") != 0
    return clear


def find(
    hits: Hits,
    origins: Float[np.ndarray, "n 3"],
    directions: Float[np.ndarray, "n 3"],
    still: Surfaces,
    moving: Surfaces | None,
    world_T_actor: Float[np.ndarray, "a 4 4"],
    first_actor: int,
) -> Found:
    """Look up what was hit."""
    n = len(hits.kind)
    found = Found(
        hits.kind.astype(np.int64),
        hits.range_m,
        np.zeros((n, 3)),
        np.zeros((n, 3)),
        np.zeros((n, 3)),
        np.zeros((n, 3)),
        np.zeros((n, 2)),
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros((n, 3)),
    )
    others = still.corners if moving is None else moving.corners
    _look_up(
        hits.triangle, hits.bary, np.ascontiguousarray(origins), np.ascontiguousarray(directions),
        still.corners, others, np.ascontiguousarray(world_T_actor), first_actor, found,
    )  # fmt: skip
    return found


@njit(cache=True, nogil=True)
def _look_up(triangle, bary, origins, directions, still, moving, world_T_actor, first_actor, found):
    for i in range(len(triangle)):
        kind = found.kind[i]
        if kind == 0:
            found.material[i], found.normal[i, 2] = -1, 1.0
            continue
        corners = still if kind == 1 else moving
        t, u, v = triangle[i], bary[i, 0], bary[i, 1]
        w = 1.0 - u - v
        facing, square, agree = 0.0, 0.0, 0.0
        for c in range(3):
            found.point[i, c] = origins[i, c] + directions[i, c] * found.range_m[i]
            found.own[i, c] = found.point[i, c]
            found.colour[i, c] = corners.colour[t, c]
            facing += corners.face[t, c] * directions[i, c]
            corner = corners.normals[t]
            value = w * corner[0, c] + u * corner[1, c] + v * corner[2, c]
            found.normal[i, c] = value
            square += value * value
            agree += value * corners.face[t, c]
        sign = 1.0 if facing < 0 else -1.0
        round_sign = sign if agree >= 0 else -sign
        length = square**0.5
        for c in range(3):
            found.face[i, c] = sign * corners.face[t, c]
            found.normal[i, c] *= round_sign / max(length, 1e-9)
            if length < 0.1:
                found.normal[i, c] = found.face[i, c]
        for c in range(2):
            uv = corners.uv[t]
            found.uv[i, c] = w * uv[0, c] + u * uv[1, c] + v * uv[2, c]
        found.material[i] = corners.material[t]
        found.style[i] = corners.style[t]
        if kind == 2:
            T = world_T_actor[corners.instance[t] - first_actor]
            for c in range(3):
                found.own[i, c] = 0.0
                for k in range(3):
                    found.own[i, c] += T[k, c] * (found.point[i, k] - T[k, 3])
