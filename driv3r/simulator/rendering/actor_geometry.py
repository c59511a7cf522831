"""The moving things of a world as rays meet them: each in its own frame, with its own scene."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore import EmbreeDevice
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float, Float32, Int

from driv3r.simulator.assets.mesh import Mesh
from driv3r.simulator.rendering.bvh import Tree, meetings, turn_rays


class MeshPool(NamedTuple):
    """All moving things' meshes, one after the other, in their own frames.

    Vertices and normals hold every phase of a gait in turn; `corners` count from a phase's first
    vertex. Triangles of all phases are the same.
    """

    vertices: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    corners: Int[np.ndarray, "m 3"]
    uv: Float[np.ndarray, "m 3 2"]
    colour: Float[np.ndarray, "m 3"]
    material: Int[np.ndarray, "m"]
    style: Float[np.ndarray, "m"]


class PixelSet(NamedTuple):
    """Where things are and how they stand: between two phases, whose first vertices are told."""

    world_T_thing: Float[np.ndarray, "a 4 4"]
    before: Int[np.ndarray, "a"]
    after: Int[np.ndarray, "a"]
    part: Float[np.ndarray, "a"]


@dataclass(frozen=True, eq=False)
class Moving:
    """Moving things at an instant: a tree of their boxes, and what gives each one's scene.

    `own_scene` is a thing's shape at this instant in its own frame.
    """

    wardrobe: MeshPool
    places: PixelSet
    first_triangle: Int[np.ndarray, "a"]
    tree: Tree
    own_scene: Callable[[int], EmbreeScene]

    def met(
        self,
        origins: Float32[np.ndarray, "n 3"],
        directions: Float32[np.ndarray, "n 3"],
        range_m: Float32[np.ndarray, "n"],
    ) -> Iterator[tuple[int, Int[np.ndarray, "k"], np.ndarray, np.ndarray]]:
        """Each thing near rays: its number, the rays' rows, and those rays in its own frame."""
        ray, thing = meetings(self.tree, origins, directions, range_m)
        own_origins = np.empty((len(ray), 3), np.float32)
        own_directions = np.empty((len(ray), 3), np.float32)
        frames = self.places.world_T_thing
        turn_rays(ray, origins, directions, thing, frames, own_origins, own_directions)
        stops = np.flatnonzero(np.diff(thing, append=-1)) + 1
        start = 0
        for stop in stops:
            rows = slice(start, stop)
            yield int(thing[start]), ray[rows], own_origins[rows], own_directions[rows]
            start = stop


@cache
def _device() -> EmbreeDevice:
    """One for all scenes of a process: a scene that opens its own crashes after some thousands."""
    return EmbreeDevice()


def make_scene(vertices: np.ndarray, triangles: np.ndarray) -> EmbreeScene:
    """An Embree scene of triangles."""
    scene = EmbreeScene(_device())
    vertices = np.ascontiguousarray(vertices, np.float32)
    TriangleMesh(scene, vertices, np.ascontiguousarray(triangles, np.int32))
    return scene


def make_wardrobe(things: list[tuple[Mesh, ...]]) -> tuple[MeshPool, np.ndarray, np.ndarray]:
    """The wardrobe of things given by their phases, and each one's first vertex and triangle.

    Things of one mesh share it.
    """
    worn = list({id(phases[0]): phases for phases in things}.values())
    v = np.cumsum([0, *(len(phases) * len(phases[0].vertices) for phases in worn)])
    m = np.cumsum([0, *(len(phases[0].triangles) for phases in worn)])
    starts = {id(phases[0]): (v[i], m[i]) for i, phases in enumerate(worn)}
    first = np.array([starts[id(phases[0])] for phases in things], np.int64).reshape(-1, 2)
    meshes = [phases[0] for phases in worn]

    def gather(rows: list[np.ndarray], *shape: int, dtype: type = np.float64) -> np.ndarray:
        return np.concatenate([np.zeros((0, *shape)), *rows]).astype(dtype)

    wardrobe = MeshPool(
        gather([mesh.vertices for phases in worn for mesh in phases], 3),
        gather([mesh.normals for phases in worn for mesh in phases], 3),
        gather([mesh.triangles for mesh in meshes], 3, dtype=np.int64),
        gather([mesh.uv[mesh.triangles] for mesh in meshes], 3, 2),
        gather([mesh.colour for mesh in meshes], 3),
        gather([mesh.material for mesh in meshes], dtype=np.int64),
        gather([mesh.style for mesh in meshes]),
    )
    return wardrobe, first[:, 0], first[:, 1]
