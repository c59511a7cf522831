"""Truth points against a street whose every ray is known in closed form."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import ConfigError, ScoringError
from driv3r.evaluation.metrics.depth import sample_depth
from driv3r.evaluation.metrics.lidar_projection import NEAREST, find_hidden, project_sweep
from driv3r.evaluation.metrics.protocol import PROTOCOLS
from driv3r.geometry.cameras import project, rays_of, unproject
from driv3r.geometry.lidar import measure_spacing
from driv3r.geometry.transforms import apply, from_rotvec, invert
from driv3r.types import Camera, Sweep

PROTOCOL = PROTOCOLS["nuscenes"]
EGO_T_LIDAR = from_rotvec(np.zeros(3), np.array([0.94, 0.0, 1.84]))
FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # ego_R_cam of a camera looking ahead


def place_camera(yaw_rad: float, x: float, y: float, size_hw=(224, 400), focal=316.0) -> Camera:
    ego_T_cam = from_rotvec(np.array([0.0, 0.0, yaw_rad]), np.array([x, y, 1.51]))
    ego_T_cam[:3, :3] = ego_T_cam[:3, :3] @ FORWARD
    K = np.array([[focal, 0, size_hw[1] / 2], [0, focal, size_hw[0] / 2 - 4], [0, 0, 1.0]])
    return Camera(f"yaw{yaw_rad:.1f}", K, size_hw, ego_T_cam)


FRONT = place_camera(0.0, 1.70, 0.0)
LEFT = place_camera(np.deg2rad(55), 1.52, 0.49)
BACK = place_camera(np.pi, 0.03, 0.0)


def make_boxes() -> np.ndarray:
    """(low, high) corners: two rows of houses, parked cars, poles, vans ahead and behind."""
    rng = np.random.default_rng(0)
    boxes = []
    for side in (-1, 1):
        for x in range(-90, 130, 12):
            front, back = side * (9 + rng.uniform(0, 2)), side * 25
            boxes.append([x, min(front, back), 0, x + 12, max(front, back), 14])
        for x in range(-60, 100, 14):
            boxes.append([x, side * 5 - 0.9, 0, x + 4.4, side * 5 + 0.9, 1.5])
            boxes.append([x + 7, side * 7 - 0.15, 0, x + 7.3, side * 7 + 0.15, 5])
    boxes.append([22, -1.2, 0, 28, 1.0, 2.6])
    boxes.append([14, 2.0, 0, 18, 3.6, 1.6])
    boxes.append([-16, -1, 0, -12, 1, 1.7])
    boxes += [[x, -40, 0, x + 5, 40, 20] for x in (-95, 125)]  # the street's ends
    return np.array(boxes).reshape(-1, 2, 3)


BOXES = make_boxes()


def cast(origin_world: np.ndarray, rays_world: np.ndarray) -> np.ndarray:
    """Distance along each ray to the road or a box, in units of the ray's length; inf for none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        nearest = np.where(rays_world[:, 2] < 0, -origin_world[2] / rays_world[:, 2], np.inf)
        for box in BOXES:
            t = (box[:, None] - origin_world) / rays_world
            enter, leave = t.min(0).max(-1), t.max(0).min(-1)
            hit = (enter <= leave) & (enter > 0)
            nearest = np.where(hit, np.minimum(nearest, enter), nearest)
    return nearest


def drive(speed_mps: float, time_s: float) -> np.ndarray:
    return from_rotvec(
        np.array([0, 0, 0.3 * 1e-2 * speed_mps * time_s]), np.array([speed_mps * time_s, 0, 0])
    )


@cache
def scan(speed_mps: float) -> Sweep:
    azimuth, elevation = np.meshgrid(
        np.deg2rad(np.arange(0, 360, 360 / 1084)), np.deg2rad(np.linspace(-30.67, 10.67, 32))
    )
    rays = np.stack(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ],
        -1,
    ).reshape(-1, 3)
    world_T_lidar = drive(speed_mps, 0.0) @ EGO_T_LIDAR
    range_m = cast(world_T_lidar[:3, 3], rays @ world_T_lidar[:3, :3].T)
    hit = range_m < 100
    return Sweep((rays[hit] * range_m[hit, None]).astype(np.float32), 0, world_T_lidar)


@cache
def see(camera: Camera, speed_mps: float) -> np.ndarray:
    """What a perfect network answers: depth_m of every pixel's centre."""
    world_T_cam = drive(speed_mps, 0.05) @ camera.ego_T_cam
    rays = rays_of(camera).reshape(-1, 3) @ world_T_cam[:3, :3].T
    return cast(world_T_cam[:3, 3], rays).reshape(camera.size_hw)


@cache
def error(
    camera: Camera, speed_mps: float, protocol=PROTOCOL, shared_pose=False
) -> tuple[float, int]:
    """abs_rel of a perfect prediction whose camera fires 50 ms after the LiDAR, and its points."""
    sweep = scan(speed_mps)
    world_T_cam = drive(speed_mps, 0.05) @ camera.ego_T_cam
    if shared_pose:
        sweep = dataclasses.replace(sweep, world_T_lidar=drive(speed_mps, 0.05) @ EGO_T_LIDAR)
    truth = project_sweep(sweep, camera, world_T_cam, protocol)
    predicted = np.minimum(sample_depth(see(camera, speed_mps), truth.uv), protocol.max_m)
    return float(np.mean(np.abs(predicted - truth.depth_m) / truth.depth_m)), len(truth.uv)


@pytest.mark.parametrize("speed_mps", [0.0, 10.0, 20.0])
@pytest.mark.parametrize("camera", [FRONT, LEFT, BACK], ids=["front", "left", "back"])
def test_a_perfect_prediction_scores_almost_nothing(camera, speed_mps):
    abs_rel, n = error(camera, speed_mps)
    assert abs_rel <= 0.005
    assert n > 2500


@pytest.mark.parametrize("speed_mps", [0.0, 20.0])
def test_hidden_points_are_what_made_it_imperfect(speed_mps):
    filtered, n = error(FRONT, speed_mps)
    unfiltered, n_all = error(FRONT, speed_mps, PROTOCOL.unfiltered())
    assert unfiltered > 4 * filtered
    assert n > 0.9 * n_all


@pytest.mark.parametrize("camera", [FRONT, LEFT], ids=["front", "left"])
def test_the_filter_takes_what_a_ray_says_is_hidden_and_little_else(camera):
    sweep, world_T_cam = scan(20.0), drive(20.0, 0.05) @ camera.ego_T_cam
    every = project_sweep(sweep, camera, world_T_cam, PROTOCOL.unfiltered())
    kept = project_sweep(sweep, camera, world_T_cam, PROTOCOL)
    to_point = unproject(camera, every.uv) * every.depth_m[:, None] @ world_T_cam[:3, :3].T
    hidden = cast(world_T_cam[:3, 3], to_point) < 0.98  # something else is met on the way
    is_kept = np.isin(every.uv @ [1.0, 1e4], kept.uv @ [1.0, 1e4])
    assert hidden.sum() > 100
    assert (hidden & ~is_kept).sum() > 0.95 * hidden.sum()
    assert (~hidden & ~is_kept).sum() < 0.03 * (~hidden).sum()


@pytest.mark.parametrize("size_hw", [(112, 200), (896, 1600)])
def test_the_filter_takes_the_same_points_at_any_image_size(size_hw):
    sweep = scan(10.0)
    resized = place_camera(0.0, 1.70, 0.0, size_hw, 316.0 * size_hw[1] / 400)
    resized.K[1, 2] = FRONT.K[1, 2] * size_hw[0] / 224
    truths = [project_sweep(sweep, c, c.ego_T_cam, PROTOCOL) for c in (FRONT, resized)]
    assert truths[0].lost == truths[1].lost
    np.testing.assert_allclose(
        truths[0].uv * size_hw[1] / 400, truths[1].uv, atol=1e-6 * size_hw[1]
    )


@pytest.mark.parametrize("speed_mps", [10.0, 20.0])
def test_one_shared_ego_pose_for_lidar_and_camera_is_much_worse(speed_mps):
    assert error(FRONT, speed_mps, shared_pose=True)[0] > 4 * error(FRONT, speed_mps)[0]


def test_lost_points_and_kept_ones_are_the_sweep():
    sweep = scan(10.0)
    points = sweep.points_lidar.copy()
    points[:7] = np.nan
    points[7:9] = np.inf
    sweep = dataclasses.replace(sweep, points_lidar=points)
    protocol = dataclasses.replace(PROTOCOLS["kitti"], min_m=3.0, max_m=30.0)
    truth = project_sweep(sweep, FRONT, FRONT.ego_T_cam, protocol)
    assert len(truth.uv) + sum(truth.lost.values()) == len(points)
    assert truth.lost["not finite"] == 9
    for reason in ("behind", "outside image", "out of range", "outside crop", "hidden (parallax)"):
        assert truth.lost[reason] > 0
    assert truth.depth_m.min() >= 3
    assert truth.depth_m.max() <= 30
    assert truth.uv[:, 1].min() >= 0.40810811 * 224


def test_an_empty_sweep_is_no_truth():
    sweep = Sweep(np.zeros((0, 3), np.float32), 0, np.eye(4))
    truth = project_sweep(sweep, FRONT, FRONT.ego_T_cam, PROTOCOL)
    assert len(truth.uv) == sum(truth.lost.values()) == 0


def test_points_far_from_the_world_origin_keep_their_precision():
    sweep, far = scan(0.0), from_rotvec(np.array([0, 0, 1.0]), np.array([4e5, 5e6, 30.0]))
    moved = dataclasses.replace(sweep, world_T_lidar=far @ sweep.world_T_lidar)
    here = project_sweep(sweep, FRONT, FRONT.ego_T_cam, PROTOCOL)
    there = project_sweep(moved, FRONT, far @ FRONT.ego_T_cam, PROTOCOL)
    np.testing.assert_allclose(here.uv, there.uv, atol=1e-3)


def test_a_lens_that_folds_shows_only_points_it_can_see():
    lens = dataclasses.replace(FRONT, distortion=(-0.3, 0.0, 0.0, 0.0))
    sweep = scan(0.0)
    truth = project_sweep(sweep, lens, lens.ego_T_cam, PROTOCOL.unfiltered())
    assert truth.lost["outside lens model"] > 0
    back = apply(
        invert(EGO_T_LIDAR) @ lens.ego_T_cam, unproject(lens, truth.uv) * truth.depth_m[:, None]
    )
    again = project(lens, apply(invert(lens.ego_T_cam) @ EGO_T_LIDAR, back))[0]
    np.testing.assert_allclose(again, truth.uv, atol=5.0)
    assert np.abs(np.arctan2(back[:, 1], back[:, 0])).max() < np.deg2rad(60)


def test_beam_spacing_is_read_from_the_sweep(recordings):
    along, across = np.rad2deg(measure_spacing(scan(0.0).points_lidar))
    assert (along, across) == pytest.approx((360 / 1084, 41.34 / 31), rel=0.05)
    (file,) = (recordings / "nuscenes_one_sample" / "samples" / "LIDAR_TOP").glob("*.bin")
    real = np.fromfile(file, np.float32).reshape(-1, 5)[:, :3]
    assert np.rad2deg(measure_spacing(real)) == pytest.approx((1 / 3, 4 / 3), rel=0.15)  # HDL-32E


def test_a_pose_that_is_not_finite_is_refused():
    with pytest.raises(ScoringError, match="not finite"):
        project_sweep(scan(0.0), FRONT, np.full((4, 4), np.nan), PROTOCOL)


def test_protocols_say_what_they_do():
    with pytest.raises(ConfigError, match="range"):
        PROTOCOL.with_range(80.0, 0.0)
    with pytest.raises(ConfigError, match="parallax"):
        dataclasses.replace(PROTOCOL, parallax_margin=0.0)
    near = PROTOCOL.with_range(0.0, 50.0)
    assert (near.name, near.max_m) == ("nuscenes@0-50m", 50)
    cards = {name: protocol.card() for name, protocol in PROTOCOLS.items()}
    assert cards["ddad"]["max_m"] == 200
    assert "Garg" in str(cards["kitti"]["crop"])
    assert cards["nuscenes-unfiltered"]["hidden points"] == "left in"
    assert "5%" in str(cards["nuscenes"]["hidden points"])
    assert all(card["protocol"] == name for name, card in cards.items())


def test_of_joined_lidars_one_tells_how_points_are_hidden():
    """Beams of another between its own would tell of gaps half as large, and hide less."""
    own = scan(0.0).points_lidar
    turn = from_rotvec(np.array([0.0, np.deg2rad(0.5), 0.0]), np.zeros(3))
    both = np.concatenate([own, apply(turn, own.astype(float)).astype(np.float32)])
    joined = dataclasses.replace(scan(0.0), points_lidar=both, own_count=len(own))
    assert measure_spacing(joined.own_points) == measure_spacing(own)
    told = project_sweep(joined, FRONT, FRONT.ego_T_cam, PROTOCOL).lost
    untold = project_sweep(
        dataclasses.replace(joined, own_count=None), FRONT, FRONT.ego_T_cam, PROTOCOL
    ).lost
    assert told["hidden (parallax)"] > untold["hidden (parallax)"] > 0


@given(count=st.integers(0, 60), seed=st.integers(0, 2**16), spread=st.sampled_from([3.0, 40.0]))
@settings(max_examples=60, deadline=None)
def test_hidden_points_are_those_in_the_patch_of_a_nearer_one(count, seed, spread):
    """Against every pair."""
    rng = np.random.default_rng(seed)
    uv = rng.uniform(-spread, spread, (count, 2)).round(1)  # some on the very edge of a patch
    depth_m, nearness = rng.uniform(2, 60, count), rng.choice([0.5, 1.0, 2.5, 9.0], count)
    reach_px = np.array([0.5, 2.0])
    found = find_hidden(uv, depth_m, nearness, reach_px, 0.05)
    place = uv / reach_px
    apart = np.abs(place[:, None] - place[None]).max(axis=-1)
    covers = apart <= np.minimum(nearness, NEAREST)[:, None]
    nearer = depth_m[:, None] < depth_m[None] * 0.95
    np.testing.assert_array_equal(found, (covers & nearer).any(axis=0))
