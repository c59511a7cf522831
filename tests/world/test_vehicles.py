"""Shapes of vehicles and people: sizes as in the world, and gaits that come round."""

import numpy as np
import pytest

from driv3r.world import cars, folk, vehicles

SIZES = {  # low and high of length, width, height in metres
    cars.make_car: ((3.3, 1.6, 1.2), (5.9, 2.4, 2.3)),
    vehicles.make_van: ((4.6, 1.9, 1.9), (6.6, 2.7, 2.9)),
    vehicles.make_truck: ((6.3, 2.3, 2.6), (11.0, 3.1, 4.2)),
    vehicles.make_bus: ((9.4, 2.4, 2.9), (12.9, 2.8, 4.4)),
    folk.make_motorcycle: ((1.6, 0.5, 1.4), (2.3, 0.9, 2.0)),
}


@pytest.mark.parametrize("make", SIZES, ids=lambda make: make.__name__)
def test_sizes_are_those_of_the_street(make):
    for seed in range(12):
        mesh = make(np.random.default_rng(seed))
        size = np.ptp(mesh.vertices, axis=0)
        low, high = SIZES[make]
        assert (size >= low).all(), size
        assert (size <= high).all(), size
        assert abs(mesh.vertices[:, 2].min()) < 0.03
        assert len(mesh.triangles) < 1600
        assert np.isfinite(mesh.normals).all()


def signed_volume(mesh) -> float:
    a, b, c = (mesh.vertices[mesh.triangles[:, i]] for i in range(3))
    return float(np.einsum("nc,nc->n", a, np.cross(b, c)).sum() / 6)


def test_a_body_is_wound_outward():
    body = vehicles.loft(
        vehicles.VAN, (5.0, 2.0, 2.3), vehicles.choose_paint(np.random.default_rng(0))
    )
    assert 10 < signed_volume(body) < 5.0 * 2.0 * 2.3


@pytest.mark.parametrize("make", [folk.make_person, folk.make_cyclist])
def test_a_gait_comes_round_and_is_one_person(make):
    def at(phase):
        return make(np.random.default_rng(4), phase)

    start, end, half = at(0.0), at(1 - 1e-6), at(0.5)
    np.testing.assert_allclose(start.vertices, end.vertices, atol=1e-3)
    np.testing.assert_array_equal(start.triangles, half.triangles)
    np.testing.assert_array_equal(start.colour, half.colour)
    # half a cycle later left and right have changed places
    for k in (0.0, 0.2):
        a, b = at(k).vertices, at(k + 0.5).vertices
        np.testing.assert_allclose(a.min(0), b.min(0) * (1, 1, 1), atol=0.08)
        assert np.abs(a - b).max() > 0.1
    for phase in np.linspace(0, 0.9, 8):
        assert abs(at(phase).vertices[:, 2].min()) < 0.03


def test_people_differ():
    heights = [
        np.ptp(folk.make_person(np.random.default_rng(s), None).vertices[:, 2]) for s in range(30)
    ]
    assert 1.0 < min(heights) < 1.5
    assert 1.6 < max(heights) < 2.1


def test_the_bonnet_lies_before_the_cameras():
    bonnet = vehicles.make_ego_bonnet(np.random.default_rng(0))
    assert bonnet.vertices[:, 0].min() > 1.8
    assert bonnet.vertices[:, 0].max() < 3.7
    assert bonnet.vertices[:, 2].max() < 1.1
