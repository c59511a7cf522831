"""Dynamic removal against the published rates in loops, and scenes whose figures are known."""

import dataclasses

import numpy as np
import pytest
import removal_by_loops
from fused_scenes import EYE, boxes_at, map_of, named, street, sweep_of

from driv3r.evaluation.merge import merge_scores
from driv3r.evaluation.metrics import removal
from driv3r.evaluation.metrics.scans import Scans
from driv3r.evaluation.metrics.static_map import score_map
from driv3r.types import Camera

SIDE = np.arange(-0.75, 0.8, 0.3)
CAR = np.array([(x, y, z) for x in (13.65, 14.45) for y in SIDE for z in (0.7, 1.1)])


def scored(points, cars=((15, 0, 0.8), 5.0), body=CAR, views=None):
    scans = Scans()
    sweep = sweep_of(np.concatenate([street(), body]))
    scans.add(0, EYE, sweep, boxes_at([cars[0]], [cars[1]]), views)
    return removal.score_removal(scans, map_of(points), EYE[None])


@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_the_published_code(seed):
    rng = np.random.default_rng(seed)
    static, dynamic = rng.uniform(0, 2.0, (120, 3)), rng.uniform(1.2, 2.4, (60, 3))
    points = np.concatenate([static[:80], dynamic[:15]]) + rng.normal(0, 0.06, (95, 3))
    truth = removal.Truth(static, dynamic)
    voxels = removal.compare_voxels(points, truth)
    pr, rr = removal_by_loops.erasor(points.tolist(), static.tolist(), dynamic.tolist(), 0.2)
    assert (voxels["pr"][0], voxels["rr"][0]) == pytest.approx((pr, rr))
    assert 0.1 < pr < 0.95
    assert 0.1 < rr < 0.95
    reach_m = 0.2 * 3**0.5 / 2
    expected = removal_by_loops.dynamic_map(
        points.tolist(), static.tolist(), dynamic.tolist(), reach_m
    )
    rates = {name: value for name, (value, _) in removal.compare_points(points, truth).items()}
    found = rates["sa"], rates["da"], removal.derive("aa", rates), removal.derive("ha", rates)
    assert found == pytest.approx(expected)


def test_a_map_of_all_that_stands_is_perfect_and_one_with_the_car_keeps_it():
    clean, ghost = named(scored(street())), named(scored(np.concatenate([street(), CAR])))
    assert all(clean[name] == 1.0 for name in ("pr", "rr", "f1", "sa", "da", "aa", "ha"))
    assert clean["occupancy_iou"] == 1.0
    assert ghost["pr"] == ghost["sa"] == 1.0
    assert ghost["rr"] == ghost["da"] == ghost["f1"] == ghost["ha"] == 0.0
    assert ghost["occupancy_iou"] < 1.0


def test_half_a_map_has_half_the_rates():
    """Of the wall and the road the half up to x = 17 m; all of the car removed."""
    half = street()
    half = half[half[:, 0] < 17]
    share = len(half) / len(street())
    figures = named(scored(half))
    assert figures["sa"] == pytest.approx(share, abs=0.02)
    assert figures["pr"] == pytest.approx(share, abs=0.02)
    assert figures["ha"] == pytest.approx(2 * share / (1 + share), abs=0.02)
    assert figures["occupancy_iou"] == pytest.approx(share, abs=0.02)


def test_an_empty_map_has_removed_all():
    figures = named(scored(np.zeros((0, 3))))
    assert figures["rr"] == figures["da"] == 1.0
    assert figures["pr"] == figures["sa"] == figures["ha"] == figures["occupancy_iou"] == 0.0


def test_what_waits_and_drives_off_is_dynamic_from_its_first_frame():
    """It stands in the first frame and has left in the second; a car that stays is static."""
    for speed_then, kept in ((5.0, 0.0), (0.0, 1.0)):
        scans = Scans()
        first = sweep_of(np.concatenate([street(), CAR]))
        scans.add(0, EYE, first, boxes_at([(15, 0, 0.8)], [0.0]))
        elsewhere = (15 if speed_then == 0 else 25, 0, 0.8)
        scans.add(1, EYE, sweep_of(street()), boxes_at([elsewhere], [speed_then]))
        path = np.tile(EYE, (2, 1, 1))
        without = named(removal.score_removal(scans, map_of(street()), path))
        with_car = np.concatenate([street(), CAR])
        held = named(removal.score_removal(scans, map_of(with_car), path))
        assert ("da" in held) == (speed_then > 0)
        if speed_then:
            assert (without["da"], held["da"]) == (1.0, 0.0)
            assert without["sa"] == 1.0
        else:
            assert without["sa"] < held["sa"] == kept


def test_only_what_a_camera_sees_is_asked_of_the_map():
    """A camera that looks forward within 45 degrees, and a map of only what it sees."""
    world_T_cam = EYE.copy()
    world_T_cam[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    world_T_cam[2, 3] = 1.5
    camera = Camera("front", np.array([[50.0, 0, 50], [0, 50, 50], [0, 0, 1]]), (100, 100), EYE)
    seen = street()
    seen = seen[np.abs(seen[:, 1]) < 1.02 * seen[:, 0]]
    seen = seen[np.abs(seen[:, 2] - 1.5) < 1.02 * seen[:, 0]]
    assert len(seen) < len(street())
    assert named(scored(seen, views=[(camera, world_T_cam)]))["sa"] == 1.0
    assert named(scored(seen))["sa"] < 1.0


def test_points_in_the_air_that_rays_cross_are_false_and_those_behind_a_wall_are_not_judged():
    """A ray to a wall point crosses the middle between it and the sensor."""
    wall = street()[street()[:, 1] > 7.9]
    lidar = np.array([0, 0, 1.8])
    air = lidar + (wall[wall[:, 0] > 12] - lidar) * 0.6
    static_voxels = scored(street())[-4].n
    count = len(map_of(air).index)
    figures = named(scored(np.concatenate([street(), air])))
    assert figures["occupancy_iou"] == pytest.approx(
        static_voxels / (static_voxels + count), abs=0.03
    )
    behind = lidar + (wall - lidar) * 1.5
    assert named(scored(np.concatenate([street(), behind])))["occupancy_iou"] == 1.0


@pytest.mark.parametrize("points", [[], [[np.nan, 1, 2]], [[1.0, 0, 1.8], [np.inf, 0, 0]]])
def test_a_sweep_of_no_use_changes_nothing(points):
    plain, with_it = Scans(), Scans()
    for scans in (plain, with_it):
        scans.add(0, EYE, sweep_of(street()), boxes_at([(15, 0, 0.8)], [5.0]))
    with_it.add(1, EYE, sweep_of(np.reshape(points, (-1, 3))), boxes_at([(16, 0, 0.8)], [5.0]))
    args = map_of(street()), np.tile(EYE, (2, 1, 1))
    assert removal.score_removal(plain, *args) == removal.score_removal(with_it, *args)
    assert score_map(plain, *args) == score_map(with_it, *args)


def test_without_boxes_nobody_knows_what_is_dynamic():
    scans = Scans()
    scans.add(0, EYE, sweep_of(street()), None)
    assert removal.score_removal(scans, map_of(street()), EYE[None]) == []


def test_means_of_rates_over_logs_are_of_the_pooled_rates():
    """A log that keeps all of many, and one that keeps the half of few but removes nothing."""
    many, few = scored(street()), scored(street())
    few = [
        dataclasses.replace(s, value=v, n=10)
        for s in few
        if (v := {"sa": 0.5, "da": 0.0, "ha": 0.0, "aa": 0.0}.get(s.metric)) is not None
    ]
    n = {s.metric: s.n for s in many}
    pooled = named(merge_scores([many, few]))
    sa, da = (n["sa"] + 5) / (n["sa"] + 10), n["da"] / (n["da"] + 10)
    assert pooled["sa"] == pytest.approx(sa)
    assert pooled["da"] == pytest.approx(da)
    assert pooled["ha"] == pytest.approx(2 * sa * da / (sa + da))
    assert pooled["aa"] == pytest.approx((sa * da) ** 0.5)
