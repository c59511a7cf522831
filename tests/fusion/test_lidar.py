"""LiDAR in the static map, of a spinning sensor on a street that is known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from street import car, see, window

from driv3r.fusion import FusionConfig, fuse
from driv3r.fusion.lidar import compare_sweeps, find_static_returns
from driv3r.fusion.sweeps import PlacedSweep, clean_sweep
from driv3r.geometry.transforms import from_rotvec

WALLS_M = 12.0  # to both sides
HEIGHT_M = 1.8


def scan(index, boxes=(), x=0.0, wall_m=WALLS_M):
    """A sweep of 32 beams of a canyon: road, two walls and boxes."""
    azimuth, elevation = np.meshgrid(
        np.deg2rad(np.arange(-180, 180, 0.5)), np.deg2rad(np.linspace(-25, 8, 32))
    )
    ray = np.stack(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation),
         np.sin(elevation)], axis=-1,
    ).reshape(-1, 3)  # fmt: skip
    origin = np.array([x, 0.0, HEIGHT_M])
    with np.errstate(divide="ignore", invalid="ignore"):
        range_m = np.minimum(
            np.where(ray[:, 2] < 0, -HEIGHT_M / ray[:, 2], np.inf), wall_m / np.abs(ray[:, 1])
        )
        for low, high in boxes:
            a, b = (low - origin) / ray, (high - origin) / ray
            enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
            hit = (enter < leave) & (enter > 0) & (enter < range_m)
            range_m[hit] = enter[hit]
    near = range_m < 45
    world_T_lidar = from_rotvec(np.zeros(3), origin)
    return PlacedSweep(ray[near] * range_m[near, None], world_T_lidar, 500_000 * index)


def in_box(points, box, margin_m=0.05):
    low, high = box
    return ((points >= low - margin_m) & (points <= high + margin_m)).all(-1) & (points[:, 2] > 0.3)


def test_a_car_that_passes_is_looked_through_and_one_that_stands_is_not():
    passing = [car(10 + 5 * i, 4) for i in range(5)]
    parked = car(14, -5)
    sweeps = [scan(i, [passing[i], parked], x=0.8 * i) for i in range(5)]
    missed = []
    for index, sweep in enumerate(sweeps):
        agrees, through = compare_sweeps(sweeps.__getitem__, index, 5, FusionConfig())
        stands = find_static_returns(agrees, through)
        places = sweep.points_world
        moves = in_box(places, passing[index])
        stays = in_box(places, parked)
        assert moves.sum() > 20
        assert stays.sum() > 20
        high = moves & (places[:, 2] > 0.8)  # low ones lie between the rings of the road
        missed.append(stands[high])
        assert stands[stays].mean() > 0.97
        assert stands[~moves].mean() > 0.99
    assert np.concatenate(missed).mean() < 0.1


def test_a_sweep_that_is_missing_says_nothing():
    sweeps = {0: scan(0), 2: scan(2, x=1.0)}
    agrees, through = compare_sweeps(sweeps.get, 0, 3, FusionConfig())
    assert agrees.max() == 1
    assert not through.any()
    agrees, _ = compare_sweeps(sweeps.get, 1, 3, FusionConfig())
    assert len(agrees) == 0


def test_returns_that_are_broken_or_of_the_own_car_are_left_out():
    points = np.array([[10.0, 0, 0], [np.nan, 1, 1], [0.5, 0.5, 0.0], [np.inf, 0, 0]])
    assert clean_sweep(points).tolist() == [[10.0, 0, 0]]


@pytest.mark.parametrize("source", ["cameras", "lidar", "both"])
def test_the_map_is_of_what_it_is_told_to_be(source):
    """Cameras see a wall ahead at 40 m, the LiDAR walls at both sides; a car passes both."""
    passing = [car(12 + 3 * i, 4) for i in range(5)]
    frames = [see(i, moving=[passing[i]], ego_x=0.8 * i) for i in range(5)]
    sweeps = [scan(i, [passing[i]], x=0.8 * i) for i in range(5)]
    view = window(replace(f, sweep=sweep) for f, sweep in zip(frames, sweeps, strict=True))
    fused = fuse(view, FusionConfig(pixel_stride=1, source=source))
    places = fused.static.points_world
    ahead = (np.abs(places[:, 0] - 40) < 0.3) & (places[:, 2] > 0.5) & (np.abs(places[:, 1]) < 10)
    beside = (np.abs(np.abs(places[:, 1]) - WALLS_M) < 0.1) & (places[:, 2] > 0.5)
    assert (ahead.sum() > 100) == (source != "lidar")
    assert (beside.sum() > 100) == (source != "cameras")
    for box in passing:
        assert in_box(places, box, -0.1).sum() == 0
    assert len(fused.moving.size_m) == 1  # of the cameras, whatever the map is of
    normals = fused.static.normals_world[beside]
    if source != "cameras":
        cosine = -normals[:, 1] * np.sign(places[beside, 1])
        assert np.nanmedian(cosine) > 0.99


def test_returns_take_the_colour_of_the_camera_that_sees_them():
    view = window([replace(see(0), rgb=np.full((2, 40, 120, 3), 200, np.uint8), sweep=scan(0))])
    static = fuse(view, FusionConfig(source="lidar", min_hits=1)).static
    ahead = static.points_world[:, 0] > 10
    sides = static.points_world[:, 0] < -1
    assert (static.rgb[ahead & (np.abs(static.points_world[:, 1]) < 3)] == 200).any()
    assert (static.rgb[sides] == 128).all()
