"""Who walks and who stands: people keep to their light, parked cars shine nowhere."""

import numpy as np

from driv3r.geometry.transforms import invert
from driv3r.world import props
from driv3r.world.crowd import RUN_MPS, park_along, walk_across
from driv3r.world.mesh import Material
from driv3r.world.road import Road, RoadStyle
from driv3r.world.traffic import drive_times

TIME_S = drive_times(40.0)


def make_road() -> Road:
    """A straight level street."""
    s = np.arange(200.0)
    style = RoadStyle(1, 2.2, 2.0, False, False)
    return Road(style, -100.0, np.stack([s - 100, 0 * s], -1), 0 * s, 0 * s)


def test_people_are_on_the_carriageway_only_while_cars_wait():
    road, walked = make_road(), 0
    red = (TIME_S % 20.0 > 6) & (TIME_S % 20.0 < 17)
    for seed in range(12):
        for actor in walk_across(np.random.default_rng(seed), road, 0.0, red, TIME_S):
            away_m = np.abs(actor.drive.origin[:, 1])
            on_road = away_m < road.style.half_width_m
            assert not (on_road & ~red).any()
            speed_mps = np.abs(np.diff(actor.drive.origin[:, 1])) / np.diff(TIME_S)
            assert speed_mps.max() < RUN_MPS + 1e-6
            walked += bool(on_road.any())
    assert walked > 20


def test_parked_cars_do_not_shine_and_stand_still():
    shining = {Material.HEADLIGHT, Material.TAILLIGHT}
    assert shining & set(props.car(0).material.tolist())
    cars = list(park_along(np.random.default_rng(0), make_road(), 1, (-50.0, 50.0), TIME_S))
    assert len(cars) > 3
    for car in cars:
        assert not shining & set(car.phases[0].material.tolist())
        moved = invert(car.drive.world_T_ego(0.0)) @ car.drive.world_T_ego(30.0)
        np.testing.assert_allclose(moved, np.eye(4), atol=1e-9)
