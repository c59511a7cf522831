"""Houses, plants and street furniture: sizes asked for, ground, budgets, and one look a seed."""

from functools import partial

import numpy as np
import pytest
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from driv3r.simulator.assets.buildings import buildings
from driv3r.simulator.assets.mesh import Material, Mesh
from driv3r.simulator.assets.street import plants, street_furniture

SEEDS = range(20)
LONG_M = 6.0
# name: (maker, triangles at least, at most, low, high): how deep in and how high over the ground
THINGS = {
    "house": (buildings.make_house, 200, 900, -1.6, 14.0),
    "tree": (plants.make_tree, 400, 2600, -0.4, 16.0),
    "bush": (plants.make_bush, 200, 1100, -0.1, 2.5),
    "hedge": (partial(plants.make_hedge, length=LONG_M), 200, 2400, -0.1, 2.4),
    "far_trees": (partial(plants.make_far_trees, length=40.0), 200, 1500, -4.0, 20.0),
    "grass_tufts": (partial(plants.make_grass_tufts, length=4.0, depth=2.0), 20, 400, -0.1, 0.7),
    "lamp": (street_furniture.make_lamp, 20, 400, -0.6, 12.0),
    "traffic_light": (street_furniture.make_traffic_light, 20, 400, -0.6, 8.0),
    "gantry": (partial(street_furniture.make_gantry, span=20.0), 20, 400, -1.1, 9.0),
    "sign": (street_furniture.make_sign, 20, 400, -0.6, 5.0),
    "bin": (street_furniture.make_bin, 20, 400, -0.1, 1.6),
    "bench": (street_furniture.make_bench, 20, 400, -0.1, 1.1),
    "bus_stop": (street_furniture.make_bus_stop, 20, 400, -0.4, 3.5),
    "bollards": (partial(street_furniture.make_bollards, length=LONG_M), 20, 400, -0.4, 1.3),
    "barrier": (partial(street_furniture.make_barrier, length=LONG_M), 20, 400, -0.5, 1.3),
    "fence": (partial(street_furniture.make_fence, length=LONG_M), 12, 400, -0.7, 2.8),
    "cone": (street_furniture.make_cone, 20, 400, -0.1, 1.1),
    "kiosk": (street_furniture.make_kiosk, 20, 400, -0.4, 4.0),
    "utility_pole": (street_furniture.make_utility_pole, 20, 400, -0.9, 13.0),
    "hydrant": (street_furniture.make_hydrant, 20, 400, -0.2, 1.1),
    "works": (street_furniture.make_works, 20, 900, -0.2, 3.5),
    "bike_rack": (street_furniture.make_bike_rack, 20, 400, -0.2, 1.2),
    "planter": (street_furniture.make_planter, 20, 400, -0.1, 2.0),
}
LONG = ("hedge", "bollards", "barrier", "fence")


def _same(first: Mesh, second: Mesh) -> bool:
    fields = ("vertices", "normals", "uv", "triangles", "colour", "material", "style")
    return all(np.array_equal(getattr(first, f), getattr(second, f)) for f in fields)


def _check_sound(mesh: Mesh) -> None:
    """Finite, indexed within bounds, normals of length 0 or 1, albedo within 0 and 1."""
    for part in (mesh.vertices, mesh.normals, mesh.uv, mesh.colour, mesh.style):
        assert np.isfinite(part).all()
    assert mesh.triangles.min() >= 0
    assert mesh.triangles.max() < len(mesh.vertices)
    assert len(mesh.uv) == len(mesh.normals) == len(mesh.vertices)
    length = np.linalg.norm(mesh.normals, axis=1)
    assert np.all((length < 1e-6) | (np.abs(length - 1) < 1e-6))
    assert mesh.colour.min() >= 0
    assert mesh.colour.max() <= 1.0
    assert mesh.style.min() >= 0
    assert mesh.style.max() <= 1.0
    assert set(np.unique(mesh.material)) <= {int(m) for m in Material}


@pytest.mark.parametrize("name", THINGS)
def test_stands_within_its_budget(name):
    make, least, most, low, high = THINGS[name]
    for seed in SEEDS:
        mesh = make(np.random.default_rng(seed))
        _check_sound(mesh)
        assert least <= len(mesh.triangles) <= most, (seed, len(mesh.triangles))
        z = mesh.vertices[:, 2]
        assert low <= z.min() <= 0.05, seed
        assert 0.05 < z.max() <= high, seed


@pytest.mark.parametrize("name", THINGS)
def test_a_seed_is_a_thing(name):
    make = THINGS[name][0]
    meshes = [make(np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    assert _same(meshes[0], meshes[1])
    assert not any(_same(meshes[0], other) for other in meshes[2:])


@pytest.mark.parametrize("name", LONG)
def test_long_things_are_as_long_as_asked(name):
    for seed in SEEDS:
        x = THINGS[name][0](np.random.default_rng(seed)).vertices[:, 0]
        assert -LONG_M / 2 - 0.4 <= x.min() <= -LONG_M / 2 + 0.5
        assert LONG_M / 2 - 0.5 <= x.max() <= LONG_M / 2 + 0.4


def test_gantries_leave_room_for_traffic():
    for seed in SEEDS:
        mesh = street_furniture.make_gantry(np.random.default_rng(seed), 20.0)
        y = mesh.vertices[:, 1]
        assert 9.9 < y.max() < 10.5
        assert -10.5 < y.min() < -9.9
        assert mesh.vertices[np.abs(y) < 9.0, 2].min() > 4.6


def test_a_traffic_light_has_one_lamp_lit_and_reaches_over_the_road():
    arms = []
    for seed in SEEDS:
        mesh = street_furniture.make_traffic_light(np.random.default_rng(seed))
        lit = mesh.colour[mesh.material == Material.LAMP]
        assert 1 <= len(np.unique(lit, axis=0)) <= 2  # that of the people on foot may differ
        arms.append(-mesh.vertices[:, 1].min())
    assert max(arms) > 3.0


def test_a_street_lamp_shines_from_where_its_arm_ends():
    for seed in SEEDS:
        mesh = street_furniture.make_lamp(np.random.default_rng(seed))
        head = mesh.vertices[mesh.triangles[mesh.material == Material.LAMP]].reshape(-1, 3)
        assert head[:, 2].min() > 3.0
        assert head[:, 0].mean() > -0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_houses_keep_to_their_plot(seed):
    rng = np.random.default_rng(100 + seed)
    width, depth = float(rng.uniform(8, 26)), float(rng.uniform(9, 15))
    height = float(rng.uniform(5, 34))
    mesh = buildings.make_building(rng, width, depth, height)
    _check_sound(mesh)
    assert 150 <= len(mesh.triangles) <= 2500
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    assert low[1] >= -2.0
    assert high[1] <= depth + 1.0
    assert -width / 2 - 0.5 <= low[0] <= -width / 2 + 0.05
    assert width / 2 - 0.05 <= high[0] <= width / 2 + 0.5
    assert low[2] == -1.5
    assert height <= high[2] + 1e-9 <= height + 7.0


def _first_hits_m(mesh: Mesh, origins, directions) -> np.ndarray:
    scene = EmbreeScene()
    TriangleMesh(scene, mesh.vertices.astype(np.float32), mesh.triangles.astype(np.int32))
    origins, directions = origins.astype(np.float32), directions.astype(np.float32)
    found = scene.run(origins, directions, output=True)
    return np.where(found["primID"] >= 0, found["tfar"], np.inf)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_ray_slips_into_a_house(seed):
    """From the front at most an arcade and a doorway deep, from the sides and behind a window."""
    rng = np.random.default_rng(400 + seed)
    size = float(rng.uniform(8, 26)), float(rng.uniform(9, 15)), float(rng.uniform(5, 32))
    mesh = buildings.make_building(rng, *size)
    low, high = np.array([-size[0] / 2, 0.0, 0.0]), np.array([size[0] / 2, size[1], size[2]])
    for axis, way, deep_m in ((1, 1, 4.5), (1, -1, 0.6), (0, 1, 0.6), (0, -1, 0.6)):
        target = rng.uniform(low + 0.15, high - 0.15, (2000, 3))
        target[:, axis] = low[axis] if way > 0 else high[axis]
        ray = rng.normal(0, 0.15, (2000, 3))
        ray[:, axis] = way
        behind_m = _first_hits_m(mesh, target - 30 * ray, ray) - 30
        assert behind_m.max() < deep_m, (axis, way, target[behind_m.argmax()])


@pytest.mark.parametrize("seed", SEEDS)
def test_fronts_have_depth(seed):
    """Seen straight on, a front's windows lie behind its wall: their truth is not one plane."""
    rng = np.random.default_rng(200 + seed)
    mesh = buildings.make_building(rng, 16.0, 12.0, 15.0)
    corners = mesh.vertices[mesh.triangles]
    glass = corners[(mesh.material == Material.GLASS)]
    flat = np.ptp(glass[:, :, 1], axis=1) < 1e-6
    assert len(np.unique(np.round(glass[flat][:, 0, 1], 2))) >= 2
    assert (glass[flat][:, 0, 1] > 0.05).sum() >= 8


@pytest.mark.parametrize("seed", SEEDS)
def test_halls_and_far_blocks(seed):
    rng = np.random.default_rng(300 + seed)
    hall = buildings.make_building(rng, 45.0, 24.0, 7.0)
    assert 100 <= len(hall.triangles) <= 2500
    assert np.abs(hall.vertices[:, 0]).max() <= 23.0
    assert hall.vertices[:, 1].min() >= -2.0
    block = buildings.make_far_block(rng, 30.0, 20.0, 40.0)
    assert len(block.triangles) < 60
    assert np.abs(block.vertices[:, 0]).max() <= 15.5
    assert 30.0 < block.vertices[:, 2].max() < 45.0


def test_houses_of_two_seeds_differ_and_of_one_do_not():
    def make(seed: int) -> Mesh:
        return buildings.make_building(np.random.default_rng(seed), 15.0, 12.0, 14.0)

    assert _same(make(5), make(5))
    assert not _same(make(5), make(6))
