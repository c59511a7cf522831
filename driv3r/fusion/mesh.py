"""A triangle mesh of the static map: implicit moving least squares, then marching cubes."""

import numpy as np
from jaxtyping import Float, Int, UInt8
from scipy.spatial import KDTree

from driv3r.errors import ConfigError
from driv3r.kernels.signed_distance import splat_distance
from driv3r.store.morton import count_tile_voxels
from driv3r.types import Mesh, StaticMap, place_surface

REACH = 2.5  # voxels in which a voxel's plane counts: holes up to about twice as wide are closed
LEAST_SHARE = 0.02  # of a voxel's weight, below which a node is too far from any surface
FULL_WEIGHT = 16.0  # of a voxel: more observations do not make its plane count more
SAME_M = 1e-3  # vertices nearer than this are one, where tiles meet


def make_mesh(static: StaticMap) -> Mesh:
    """Triangles of the surface through the voxels that have normals; empty where none have.

    The signed distance of a grid node is the weighted mean of its distances from the planes of the
    voxels around (Kolluri, Provably Good Moving Least Squares, 2008); marching cubes finds its
    zero (Lewiner et al., 2003). ConfigError without scikit-image.
    """
    known = np.flatnonzero(static.normal.any(-1))
    surface = static.take(known)
    edge = count_tile_voxels(static.voxel_m)
    place = place_surface(surface.index, surface.offset)
    tile = np.floor_divide(surface.index, edge)
    parts = []
    for number in np.unique(tile, axis=0):
        low = number * edge
        near = ((place > low - REACH) & (place < low + edge + REACH)).all(-1)
        vertices, faces = _mesh_tile(surface.take(near), place[near] - low, edge)
        parts.append(((vertices + low) * static.voxel_m, faces))
    return _join(parts, surface)


def _mesh_tile(
    surface: StaticMap, place: Float[np.ndarray, "n 3"], edge: int
) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Triangles within a tile, in voxels from its corner."""
    try:
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise ConfigError(
            "a mesh needs scikit-image, which is not installed: pip install 'driv3r[export]'"
        ) from error
    shape = (edge + 1, edge + 1, edge + 1)
    distance, total = np.zeros(shape), np.zeros(shape)
    weight = np.minimum(surface.weight, FULL_WEIGHT).astype(np.float64)
    splat_distance(place, surface.normals_world, weight, REACH, distance, total)
    near = total > LEAST_SHARE
    distance[near] /= total[near]
    inside = np.zeros(shape, bool)
    # A cube counts where all of its eight corners are near a surface; the mask of marching_cubes
    # names cubes by their highest corner.
    corners = [near[i : i + edge, j : j + edge, k : k + edge] for i, j, k in np.ndindex(2, 2, 2)]
    inside[1:, 1:, 1:] = np.logical_and.reduce(corners)
    values = distance[near]
    if not inside.any() or values.min() >= 0 or values.max() <= 0:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    try:
        vertices, faces, *_ = marching_cubes(distance, 0.0, mask=inside)
    except RuntimeError:  # no cube that counts has a surface in it
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    return vertices.astype(np.float64), faces.astype(np.int64)


def _join(parts: list[tuple[np.ndarray, np.ndarray]], surface: StaticMap) -> Mesh:
    """One mesh of all tiles; what they share at their sides is there once."""
    start = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    vertices = np.concatenate([np.zeros((0, 3)), *(vertices for vertices, _ in parts)])
    faces = np.concatenate(
        [np.zeros((0, 3), np.int64), *(f + s for (_, f), s in zip(parts, start, strict=False))]
    )
    rounded = np.rint(vertices / SAME_M).astype(np.int64)
    _, first, same = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    faces = same.reshape(-1)[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    used, renumbered = np.unique(faces, return_inverse=True)
    vertices = vertices[first[used]]
    return Mesh(vertices, renumbered.reshape(-1, 3), _colour(vertices, surface))


def _colour(vertices: np.ndarray, surface: StaticMap) -> UInt8[np.ndarray, "n 3"]:
    if not len(vertices):
        return np.zeros((0, 3), np.uint8)
    nearest = np.asarray(KDTree(surface.points_world).query(vertices)[1])
    return surface.rgb[nearest]
