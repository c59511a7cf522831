"""Normals and mesh of the static map, against surfaces whose shape is known in closed form."""

import numpy as np
import pytest
from street import see, window

from driv3r.fusion import FusionConfig, fuse
from driv3r.fusion.consistency import PixelEvidence
from driv3r.fusion.mesh import make_mesh
from driv3r.fusion.static import StaticFusion, sum_pixels
from driv3r.fusion.tiles import TileCache
from driv3r.fusion.voxels import VoxelGrid
from driv3r.store.morton import morton_order
from driv3r.types import StaticMap

CONFIG = FusionConfig(min_hits=1)


def map_of(points, seen_from) -> StaticMap:
    """Points as exact pixels of a camera at `seen_from`."""
    ray = points - seen_from
    range_m = np.linalg.norm(ray, axis=-1)
    n = len(points)
    whole, real = np.zeros(n, np.int32), np.full(n, 0.01)
    pixels = PixelEvidence(
        0, 1, whole, whole, whole.astype(np.int64), points, ray / range_m[:, None], range_m,
        real, real, whole, whole, real, 0 * real, np.full((n, 3), 90, np.uint8),
    )  # fmt: skip
    static = StaticFusion(CONFIG)
    static.add(sum_pixels(pixels, CONFIG))
    blind = window([see(0, scale=np.nan)])
    return static.result(blind)


def spread(low, high, step=0.05):
    """Points on a grid of two coordinates."""
    a, b = np.meshgrid(np.arange(low[0], high[0], step), np.arange(low[1], high[1], step))
    return a.ravel(), b.ravel()


def test_a_tilted_plane_has_its_normal_towards_the_camera():
    """Across the border of tiles at x = 25.6 m, and off the axes of the grid."""
    x, y = spread((23, -4), (29, 4))
    normal = np.array([-0.3, 0.2, 1.0]) / np.linalg.norm([-0.3, 0.2, 1.0])
    z = -(normal[0] * (x - 26) + normal[1] * y) / normal[2]
    for side in (1.0, -1.0):
        static = map_of(np.stack([x, y, z], -1), np.array([26.0, 0, 0]) + 40 * side * normal)
        inner = (np.abs(static.points_world[:, 1]) < 3) & (
            np.abs(static.points_world[:, 0] - 26) < 2
        )
        cosine = static.normals_world[inner] @ (side * normal)
        assert inner.sum() > 300
        assert np.nanmin(cosine) > 0.99
        assert np.isfinite(cosine).all()


def test_a_pole_faces_the_camera_and_a_bush_has_no_normal():
    z = np.arange(0, 4, 0.02)
    pole = map_of(np.stack([0 * z + 10.1, 0 * z + 0.1, z], -1), np.array([0.0, 0.0, 2.0]))
    expected = -np.array([10.1, 0.1, 0.0]) / np.hypot(10.1, 0.1)
    np.testing.assert_allclose(pole.normals_world, np.tile(expected, (len(z) // 10, 1)), atol=0.03)
    rng = np.random.default_rng(0)
    bush = map_of(rng.uniform(-1, 1, (40_000, 3)) + [10, 0, 2], np.zeros(3))
    inner = (np.abs(bush.points_world - [10, 0, 2]) < 0.4).all(-1)
    assert not bush.normal[inner].any()


def test_the_mesh_of_a_plane_is_flat_without_a_seam_between_tiles():
    x, y = spread((23, -2), (28, 2))
    z = 0.1 * x + 0.07
    mesh = make_mesh(map_of(np.stack([x, y, z], -1), np.array([25.0, 0, 30.0])))
    vertices = mesh.vertices_world
    assert np.abs(vertices[:, 2] - 0.1 * vertices[:, 0] - 0.07).max() < 0.02
    a, b, c = (vertices[mesh.faces[:, i]] for i in range(3))
    area_m2 = np.linalg.norm(np.cross(b - a, c - a), axis=-1).sum() / 2
    slope = np.hypot(1, 0.1)
    assert 5 * 4 * slope <= area_m2 <= 6 * 5 * slope  # the plane, and half a metre around it
    edges = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, count = np.unique(edges, axis=0, return_counts=True)
    assert count.max() == 2
    border = (count == 1).sum() * 0.2  # metres, about: edges of the border only, none inside
    assert border < 2 * (6 + 5) * 1.6
    assert (mesh.rgb == 90).all()


def test_the_mesh_of_a_sphere_lies_on_it():
    rng = np.random.default_rng(0)
    direction = rng.normal(size=(60_000, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    half = direction[direction @ [-1.0, 0, 0] > 0.1]  # what a camera far off sees
    mesh = make_mesh(map_of(5 * half, np.array([-60.0, 0, 0])))
    off_m = np.abs(np.linalg.norm(mesh.vertices_world, axis=-1) - 5)
    assert np.median(off_m) < 0.02
    assert off_m.max() < 0.15


def test_a_map_without_surfaces_has_an_empty_mesh():
    mesh = make_mesh(map_of(np.array([[1.0, 2.0, 3.0]]), np.zeros(3)))
    assert mesh.faces.shape == mesh.vertices_world.shape == (0, 3)


def test_the_street_is_meshed_where_it_is():
    mesh = make_mesh(fuse(window([see(i, ego_x=0.7 * i) for i in range(3)]), CONFIG).static)
    vertices = mesh.vertices_world
    to_street_m = np.minimum(np.abs(vertices[:, 2]), np.abs(vertices[:, 0] - 40))
    assert len(mesh.faces) > 1000
    assert np.percentile(to_street_m, 95) < 0.1


@pytest.mark.parametrize("voxel_m", [0.05, 0.2, 0.31, 25.6])
def test_keys_return_their_voxels_and_sort_as_the_store_does(voxel_m):
    grid = VoxelGrid(voxel_m)
    points = np.random.default_rng(0).uniform(-200, 200, (500, 3))
    key = grid.pack(points)
    index = grid.unpack(key)
    np.testing.assert_array_equal(index, np.floor(points / voxel_m))
    order = np.argsort(key, kind="stable")
    np.testing.assert_array_equal(index[order], index[morton_order(index, voxel_m)])


def test_tiles_that_do_not_fit_in_memory_come_back_as_they_were():
    tiles = TileCache(most_bytes=4000)
    rng = np.random.default_rng(0)
    expected = {}
    for step in range(60):
        tile = int(rng.integers(10))
        arrays = {"a": rng.integers(0, 9, 100), "b": rng.random((step, 3))}
        tiles[tile], expected[tile] = arrays, arrays
        seen = int(rng.choice(list(expected)))
        np.testing.assert_array_equal(tiles[seen]["b"], expected[seen]["b"])
    assert list(tiles) == sorted(expected)
    for tile, arrays in expected.items():
        assert {name: a.tolist() for name, a in tiles[tile].items()} == {
            name: a.tolist() for name, a in arrays.items()
        }
