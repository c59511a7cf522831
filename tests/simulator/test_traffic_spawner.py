"""Who walks and who stands: people keep to their light."""

import numpy as np

from driv3r.simulator.scene.road import Road, RoadStyle
from driv3r.simulator.scene.traffic_spawner import RUN_MPS, walk_across
from driv3r.simulator.scene.trajectories import trajectory_times

TIME_S = trajectory_times(40.0)


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
            away_m = np.abs(actor.trajectory.origin[:, 1])
            on_road = away_m < road.style.half_width_m
            assert not (on_road & ~red).any()
            speed_mps = np.abs(np.diff(actor.trajectory.origin[:, 1])) / np.diff(TIME_S)
            assert speed_mps.max() < RUN_MPS + 1e-6
            walked += bool(on_road.any())
    assert walked > 20
