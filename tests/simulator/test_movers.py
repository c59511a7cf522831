"""Cars, heavy vehicles and people: real sizes, closed bodies, gaits that come round."""

from dataclasses import replace

import numpy as np
import pytest

from driv3r.simulator.assets.mesh import Material, Mesh, join
from driv3r.simulator.assets.people import human_pose, humans, pedestrians
from driv3r.simulator.assets.vehicles import cars, trucks_buses, vehicle_bodies

SEEDS = range(20)
SIZES = {  # low and high of length, width (with mirrors), height in metres; most triangles
    cars.make_car: ((3.5, 1.8, 1.2), (5.75, 2.45, 2.25), 960),
    cars.make_motorcycle: ((1.5, 0.6, 1.4), (2.2, 1.0, 2.0), 1300),
    trucks_buses.make_van: ((4.7, 2.1, 1.9), (6.5, 2.6, 2.75), 1000),
    trucks_buses.make_truck: ((6.3, 2.5, 2.3), (10.8, 3.1, 4.0), 1300),
    trucks_buses.make_bus: ((9.7, 2.5, 2.9), (12.7, 2.9, 4.4), 1200),
}


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def check_mesh(mesh: Mesh, most: int) -> None:
    assert len(mesh.triangles) <= most
    assert abs(mesh.vertices[:, 2].min()) < 0.02
    assert np.isfinite(mesh.normals).all()
    assert ((mesh.colour >= 0) & (mesh.colour <= 1)).all()
    assert mesh.triangles.max() < len(mesh.vertices)


@pytest.mark.parametrize("make", SIZES, ids=lambda make: make.__name__)
def test_vehicles_have_the_sizes_of_the_street(make):
    low, high, most = SIZES[make]
    for seed in SEEDS:
        mesh = make(rng(seed))
        check_mesh(mesh, most)
        size = np.ptp(mesh.vertices, axis=0)
        assert (size >= low).all(), (seed, size)
        assert (size <= high).all(), (seed, size)


@pytest.mark.parametrize("make", [*SIZES, cars.make_ego_bonnet], ids=lambda make: make.__name__)
def test_the_same_generator_makes_the_same_thing(make):
    a, b = make(rng(3)), make(rng(3))
    np.testing.assert_array_equal(a.vertices, b.vertices)
    np.testing.assert_array_equal(a.colour, b.colour)


@pytest.mark.parametrize("make", [cars.make_car, *list(SIZES)[2:]], ids=lambda make: make.__name__)
def test_vehicles_have_lamps_glass_and_plates_where_they_belong(make):
    for seed in range(6):
        mesh = make(rng(seed))
        centre = mesh.vertices[mesh.triangles].mean(axis=1)
        lamps = centre[mesh.material == Material.HEADLIGHT]
        tails = centre[mesh.material == Material.TAILLIGHT]
        half = 0.5 * np.ptp(mesh.vertices[:, 0])
        assert lamps[:, 0].min() > 0.7 * half
        assert tails[:, 0].max() < -0.7 * half
        for both in (lamps, tails):
            assert both[:, 1].min() < -0.3
            assert both[:, 1].max() > 0.3
            assert (both[:, 2] > 0.2).all()
            assert (both[:, 2] < 1.6).all()
        assert (mesh.material == Material.GLASS).sum() >= 8
        assert (mesh.material == Material.SIGN).any()


def signed_volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    return float(np.einsum("nc,nc->n", a, np.cross(b, c)).sum() / 6)


def directed_edges(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Each triangle's edges, their ends numbered by place."""
    _, spot = np.unique(np.round(mesh.vertices, 5), axis=0, return_inverse=True)
    corners = spot.reshape(-1)[mesh.triangles]
    pairs = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    return np.unique(pairs, axis=0, return_counts=True)


@pytest.mark.parametrize("name", cars.SHAPES)
def test_a_body_is_closed_and_wound_outward(name):
    size = (4.5, 1.8, 1.6)
    body = cars.shape_body(cars.SHAPES[name], size)
    looks = vehicle_bodies.make_looks(np.full(3, 0.5))
    codes = np.zeros((len(body.rings) - 1, 5), int)
    shell = join(
        [
            vehicle_bodies.skin(body.rings, codes, looks),
            vehicle_bodies.cap(body.rings[0], ((0, 0),) * 4, looks, 0.05),
            vehicle_bodies.cap(body.rings[-1], ((0, 0),) * 4, looks, 0.05, rear=True),
        ]
    )
    assert 0.35 < signed_volume(shell) / np.prod(size) < 0.8
    edges, counts = directed_edges(shell)
    there = {tuple(e) for e in edges[(counts == 1) & (edges[:, 0] != edges[:, 1])]}
    open_edges = [e for e in there if e[::-1] not in there]
    assert len(open_edges) <= 8  # the low edge of the two ends, split in three


def test_the_wheels_are_round_and_stand_on_the_ground():
    wheel = vehicle_bodies.make_wheel(0.33, 0.22)
    reach = np.linalg.norm(wheel.vertices[:, [0, 2]], axis=1)
    assert reach.max() == pytest.approx(0.33)
    assert wheel.vertices[:, 2].min() == pytest.approx(-0.33)
    assert len(np.unique(np.round(wheel.vertices[reach > 0.32][:, [0, 2]], 4), axis=0)) >= 14


def test_the_bonnet_lies_before_the_cameras():
    for seed in SEEDS:
        bonnet = cars.make_ego_bonnet(rng(seed))
        assert len(bonnet.triangles) < 200
        low, high = bonnet.vertices.min(axis=0), bonnet.vertices.max(axis=0)
        assert 1.85 < low[0] < 2.0
        assert 3.5 < high[0] < 3.7
        assert 0.8 < high[2] < 1.03
        top = bonnet.vertices[:, 2] > high[2] - 0.05
        assert bonnet.normals[top, 2].max() > 0.9
        # from the front camera all of it lies more than 10 degrees below the horizon
        fall = (1.51 - bonnet.vertices[:, 2]) / (bonnet.vertices[:, 0] - 1.70)
        assert fall.min() > np.tan(np.radians(10))


PHASES = np.linspace(0, 1, 8, endpoint=False)


@pytest.mark.parametrize("seed", range(6))
def test_a_walker_is_one_person_at_every_phase(seed):
    first = pedestrians.make_person(rng(seed), 0.0)
    for phase in PHASES:
        mesh = pedestrians.make_person(rng(seed), float(phase))
        check_mesh(mesh, 760)
        np.testing.assert_array_equal(mesh.triangles, first.triangles)
        np.testing.assert_array_equal(mesh.colour, first.colour)
        np.testing.assert_array_equal(mesh.material, first.material)
        tall = np.ptp(mesh.vertices[:, 2])
        assert tall == pytest.approx(np.ptp(first.vertices[:, 2]), rel=0.05)


@pytest.mark.parametrize(
    "make", [pedestrians.make_person, pedestrians.make_cyclist, cars.make_motorcycle]
)
def test_a_cycle_comes_round(make):
    start, end, later = (make(rng(4), phase) for phase in (0.0, 1 - 1e-7, 0.3))
    np.testing.assert_allclose(start.vertices, end.vertices, atol=1e-4)
    assert np.abs(start.vertices - later.vertices).max() > 0.05


def test_left_and_right_change_places_after_half_a_cycle():
    mirror = np.array([1, -1, 1])
    for phase in PHASES:
        here = human_pose.walk(1.75, 1.0, float(phase))
        there = human_pose.walk(1.75, 1.0, float(phase) + 0.5)
        for limbs, others in ((here.legs, there.legs), (here.arms, there.arms)):
            for limb, other in zip(limbs, others[::-1], strict=True):
                for part in ("root", "joint", "end"):
                    np.testing.assert_allclose(
                        getattr(limb, part), getattr(other, part) * mirror, atol=1e-9
                    )
                assert limb.end_rad == pytest.approx(other.end_rad)


def test_bones_keep_their_length_and_knees_bend_backwards():
    for phase in PHASES:
        for leg in human_pose.walk(1.75, 1.0, float(phase)).legs:
            thigh, shin = leg.joint - leg.root, leg.end - leg.joint
            assert np.linalg.norm(thigh) == pytest.approx(human_pose.THIGH * 1.75)
            assert np.linalg.norm(shin) == pytest.approx(human_pose.SHIN * 1.75)
            assert np.cross(thigh, shin)[1] > -1e-9  # the shin turns back about the y axis


def test_a_limb_reaches_what_it_is_asked_to():
    end = np.array([0.3, 0.1, -0.4])
    limb = human_pose.reach(np.zeros(3), end, (0.4, 0.35), np.array([1.0, 0, 0]))
    np.testing.assert_allclose(limb.end, end)
    assert np.linalg.norm(limb.joint) == pytest.approx(0.4)
    assert np.linalg.norm(limb.end - limb.joint) == pytest.approx(0.35)


def test_a_body_is_wound_outward():
    person = replace(
        humans.choose_person(rng(0)), bag="none", umbrella=False, hat="none", legs="trousers"
    )
    pose = human_pose.walk(person.height, person.wide, 0.1)
    assert 0.03 < signed_volume(humans.dress(person, pose)) < 0.2


def test_people_differ_and_stand_on_the_ground():
    heights, hues = [], set()
    for seed in range(40):
        mesh = pedestrians.make_person(rng(seed), None)
        check_mesh(mesh, 760)
        size = np.ptp(mesh.vertices, axis=0)
        assert size[0] < 1.3
        assert size[1] < 1.3
        heights.append(size[2])
        hues.add(tuple(np.round(mesh.colour[0], 4)))
    assert 0.9 < min(heights) < 1.5
    assert 1.7 < np.median(heights) + 0.1 < 1.9
    assert len(hues) > 15


def test_a_bicycle_is_seen_through():
    for seed in range(6):
        mesh = pedestrians.make_cyclist(rng(seed), 0.1)
        check_mesh(mesh, 1300)
        size = np.ptp(mesh.vertices, axis=0)
        assert 1.6 < size[0] < 1.8
        assert 1.45 < size[2] < 2.1
        centre = mesh.vertices[mesh.triangles].mean(axis=1)
        hub = np.array([0.56, 0.34])  # only the fork stands inside the front wheel
        inside = np.linalg.norm(centre[:, [0, 2]] - hub, axis=1) < 0.12
        assert inside.sum() < 30
