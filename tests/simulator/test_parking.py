"""Parked cars: mostly dark, still, in dense rows, off each other and off the ego car's path."""

import cv2
import numpy as np
import pytest

from driv3r.geometry.transforms import apply, invert
from driv3r.simulator.assets import asset_library
from driv3r.simulator.assets.mesh import Material
from driv3r.simulator.scene import parking
from driv3r.simulator.scene.road import STRIP_M, Road, RoadStyle
from driv3r.simulator.scene.trajectories import Actor, Trajectory, trajectory_times
from driv3r.simulator.scene.world import make_world

TIME_S = trajectory_times(40.0)
FIRST_SEED = 1_000_000


def make_road() -> Road:
    """A straight level street."""
    s = np.arange(200.0)
    style = RoadStyle(1, STRIP_M, 2.0, False, False)
    return Road(style, -100.0, np.stack([s - 100, 0 * s], -1), 0 * s, 0 * s)


def park(seed: int) -> list[Actor]:
    """One side's cars over 100 m."""
    rng = np.random.default_rng(seed)
    return list(parking.park_along(rng, make_road(), 1, (-50.0, 50.0), TIME_S))


def floor_plan(actor: Actor, shrink_m: float = 0.0) -> np.ndarray:
    """Corners [4, 2] of an actor's box on the ground at time 0, in the world."""
    low, high = actor.phases[0].vertices.min(0), actor.phases[0].vertices.max(0)
    low, high = low + shrink_m, high - shrink_m
    x, y = (
        np.array([low[0], high[0], high[0], low[0]]),
        np.array([low[1], low[1], high[1], high[1]]),
    )
    corners = apply(actor.trajectory.world_T_ego(0.0), np.stack([x, y, 0 * x], -1))
    return corners[:, :2].astype(np.float32)


def overlap_m2(a: np.ndarray, b: np.ndarray) -> float:
    """Area that two convex floor plans share."""
    middle = a.mean(0)  # keeps float32 near zero
    return float(cv2.intersectConvexConvex(a - middle, b - middle)[0])


def box_of_ego(ego: Trajectory, time_s: float) -> np.ndarray:
    """The ego car's floor plan [4, 2] at a time."""
    x = np.array([-parking.EGO_BACK_M, parking.EGO_FRONT_M])[[0, 1, 1, 0]]
    y = parking.EGO_HALF_M * np.array([-1.0, -1.0, 1.0, 1.0])
    return apply(ego.world_T_ego(time_s), np.stack([x, y, 0 * x], -1))[:, :2].astype(np.float32)


def test_parked_cars_stand_still_and_few_shine():
    shining = {Material.HEADLIGHT, Material.TAILLIGHT}
    assert shining & set(asset_library.car(0).material.tolist())
    cars = [car for seed in range(12) for car in park(seed)]
    lit = [bool(shining & set(car.phases[0].material.tolist())) for car in cars]
    assert 0.01 < np.mean(lit) < 0.15
    for car in cars:
        moved = invert(car.trajectory.world_T_ego(0.0)) @ car.trajectory.world_T_ego(30.0)
        np.testing.assert_allclose(moved, np.eye(4), atol=1e-9)


def test_rows_are_dense_at_times_and_hold_vans():
    rows = [park(seed) for seed in range(40)]
    share = np.array([sum(car.size_lwh_m[0] for car in row) / 100 for row in rows])
    assert (share > 0.7).mean() > 0.35  # of the kerb's length
    assert share.min() < 0.5
    lengths_m = [car.size_lwh_m[0] for row in rows for car in row]
    assert 5.8 < max(lengths_m) <= parking.LONGEST_M
    assert len({car.category for row in rows for car in row}) == 2


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + 24, 4))
def test_nothing_parks_in_another_car_or_in_the_ego_cars_way(seed):
    for world in (make_world(seed + k, 3.0) for k in range(4)):
        plans = [floor_plan(car, 0.02) for car in world.parked]
        middles = np.array([plan.mean(0) for plan in plans]).reshape(-1, 2)
        for i, j in np.argwhere(np.linalg.norm(middles[:, None] - middles, axis=-1) < 8.0):
            assert i == j or overlap_m2(plans[i], plans[j]) < 1e-3, (seed, i, j)
        for time_s in np.arange(0.0, 3.2, 0.1):
            own = box_of_ego(world.ego, float(time_s))
            for k in np.flatnonzero(np.linalg.norm(middles - own.mean(0), axis=-1) < 8.0):
                assert overlap_m2(plans[k], own) == 0.0, (seed, time_s)


def test_the_ego_car_drives_beside_its_lanes_middle_and_near_parked_cars():
    near_m, aside_m = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + 12):
        world = make_world(seed, 3.0, "suburb")
        road, here = world.carriageways[0], world.ego.world_T_ego(0.0)[:3, 3]
        s = np.arange(-10, 40, 0.05)
        nearest = road.surface(s, 0 * s)
        k = int(np.argmin(np.linalg.norm(nearest - here, axis=1)))
        aside_m.append(1.75 - float(np.linalg.norm((nearest[k] - here)[:2])))
        near_m += [parking.clearance_m(world.ego, car).min() for car in world.parked]
    assert 0.2 < np.std(aside_m) < 0.6
    assert np.abs(aside_m).max() < 0.75
    close = np.array(near_m)
    assert close.min() > 0.15
    assert ((close > 0.15) & (close < 2.5)).sum() > 12
