"""What the generated world says of itself, in scenes of every kind, against geometry."""

import dataclasses

import numpy as np
import pytest

from driv3r.errors import ConfigError
from driv3r.evaluation.metrics.lidar_projection import project_sweep
from driv3r.evaluation.metrics.protocol import PROTOCOLS
from driv3r.geometry.cameras import project, rays_of
from driv3r.geometry.transforms import apply, invert
from driv3r.simulator.rendering.actor_state import FIRST_ACTOR_INSTANCE, STEP_S
from driv3r.simulator.rendering.ray_casting import STILL, cast
from driv3r.simulator.rendering.renderer import EGO_INSTANCE, Renderer, make_rays
from driv3r.simulator.scene.camera_rig import EGO_T_LIDAR, make_rig, trigger_offset_us
from driv3r.simulator.scene.trajectories import TrafficFlow, simulate_flow, trajectory_times
from driv3r.simulator.scene.world import EGO, KINDS, World, make_world
from driv3r.types import Sweep

SIZE = (96, 168)


@pytest.fixture(scope="module", params=KINDS)
def renderer(request) -> Renderer:
    return Renderer(make_world(40, 3.0, request.param))


def test_moving_points_go_where_their_velocity_says(renderer):
    """A point moved by its velocity lies, STEP_S later, on the same actor's surface."""
    time_s, compared = 1.0, 0
    for camera in make_rig(SIZE).cameras:
        ego = renderer.world.ego
        now, later = (renderer.render_view(camera, t) for t in (time_s, time_s + STEP_S))
        moving = now.moving
        points = apply(
            ego.world_T_ego(time_s) @ camera.ego_T_cam,
            rays_of(camera) * now.depth_m[..., None].astype(float),
        )
        points = points + now.velocity_mps * STEP_S
        cam_T_world = invert(ego.world_T_ego(time_s + STEP_S) @ camera.ego_T_cam)
        uv, depth_m, inside = project(camera, apply(cam_T_world, points))
        rows = moving & inside
        u, v = np.floor(uv[rows]).astype(int).T
        same = later.instance[v, u] == now.instance[rows]
        ratio = later.depth_m[v, u][same] / depth_m[rows][same]
        compared += same.sum()
        if same.sum() > 50:
            assert np.median(np.abs(ratio - 1)) < 0.01
        assert (now.velocity_mps[now.instance == -1] == 0).all()
    if renderer.world.kind == "streets":
        assert compared > 100


def test_velocity_is_that_of_the_drive(renderer):
    """A vehicle's points move as its rigid body does."""
    time_s = 1.0
    for camera in make_rig(SIZE).cameras:
        truth = renderer.render_view(camera, time_s)
        world_T_cam = renderer.world.ego.world_T_ego(time_s) @ camera.ego_T_cam
        points = apply(world_T_cam, rays_of(camera) * truth.depth_m[..., None].astype(float))
        for instance in np.unique(truth.instance[truth.moving]):
            actor = renderer.world.actors[instance - FIRST_ACTOR_INSTANCE]
            if len(actor.phases) > 1:
                continue
            rows = truth.instance == instance
            frames = [actor.trajectory.world_T_ego(time_s + t) for t in (0, STEP_S)]
            expected = apply(frames[1] @ invert(frames[0]), points[rows]) - points[rows]
            np.testing.assert_allclose(truth.velocity_mps[rows] * STEP_S, expected, atol=6e-4)


def test_lidar_points_lie_on_surfaces_at_the_sweeps_end(renderer):
    """Compensated points of what stands still are seen again by a ray from where they were shot."""
    end_s = 1.0
    sweep = renderer.scan(end_s)
    world_T_lidar = renderer.world.ego.world_T_ego(end_s) @ EGO_T_LIDAR
    points = apply(world_T_lidar, sweep.points_lidar.astype(float))
    points_ego = apply(EGO_T_LIDAR, sweep.points_lidar.astype(float))
    turned = (np.pi - np.arctan2(points_ego[:, 1], points_ego[:, 0])) / (2 * np.pi)
    start = renderer.world.ego.world_T_ego_at(end_s - 0.05 * (1 - turned)) @ EGO_T_LIDAR
    away = points - start[:, :3, 3]
    length = np.linalg.norm(away, axis=1)
    hits = cast(renderer.still, None, start[:, :3, 3], away / length[:, None])
    off_m = np.abs(np.where(hits.kind > 0, hits.range_m, 1e9) - length)
    assert np.median(off_m) < 0.02
    assert (off_m < 0.06).mean() > 0.7  # the others hit actors, or are false points at edges
    assert len(points) > 8000
    assert sweep.ring.min() >= 0
    assert sweep.ring.max() <= 31
    assert ((sweep.intensity >= 0) & (sweep.intensity <= 255)).all()


def test_the_own_car_gives_no_lidar_points(renderer):
    points_ego = apply(EGO_T_LIDAR, renderer.scan(1.0).points_lidar.astype(float))
    inside = (np.abs(points_ego[:, 1]) < 0.7) & (points_ego[:, 0] > 2) & (points_ego[:, 0] < 3.4)
    assert not (inside & (points_ego[:, 2] > 0.5)).any()


def test_boxes_hold_what_is_seen_of_their_instances(renderer):
    world, time_s = renderer.world, 1.0
    held = 0
    for camera in make_rig(SIZE).cameras:
        truth = renderer.render_view(camera, time_s)
        world_T_cam = world.ego.world_T_ego(time_s) @ camera.ego_T_cam
        points = apply(world_T_cam, rays_of(camera) * truth.depth_m[..., None].astype(float))
        for instance in np.unique(truth.instance):
            if instance < FIRST_ACTOR_INSTANCE:
                continue
            actor = world.actors[instance - FIRST_ACTOR_INSTANCE]
            own = apply(
                invert(actor.trajectory.world_T_ego(time_s)), points[truth.instance == instance]
            )
            vertices, _ = actor.shape_at(time_s)
            assert (own > vertices.min(0) - 0.02).all()
            assert (own < vertices.max(0) + 0.02).all()
            held += len(own)
        bonnet = truth.instance == EGO_INSTANCE
        assert not truth.moving[bonnet].any()
        if bonnet.any():
            assert truth.depth_m[bonnet].max() < 4
    if renderer.world.kind == "streets":
        assert held > 100  # elsewhere there may be nobody to see
    for actor in world.parked:
        low, high = actor.phases[0].vertices.min(0), actor.phases[0].vertices.max(0)
        np.testing.assert_allclose(high - low, actor.size_lwh_m)


def test_nobody_stands_in_the_own_car(renderer):
    world = renderer.world
    for time_s in (0.2, 1.0, 2.0, 2.8):
        here = world.ego.world_T_ego(time_s)
        for actor in (*world.actors, *world.parked):
            if actor.category == EGO:
                continue
            own = apply(invert(here), actor.trajectory.world_T_ego(time_s)[:3, 3])
            if abs(own[2]) < 2:
                assert abs(own[0] - 1.4) > 1.5 or abs(own[1]) > 1.0, (actor.category, own)


def test_perfect_depth_at_motorway_speed():
    """What a camera sees through a LiDAR point's place is the point, as our protocol places it."""
    world = _fast_world()
    renderer, protocol, end_s = Renderer(world), PROTOCOLS["nuscenes"], 1.0
    world_T_lidar = world.ego.world_T_ego(end_s) @ EGO_T_LIDAR
    sweep = Sweep(renderer.scan(end_s).points_lidar, 1_000_000, world_T_lidar)
    errors = []
    for camera in make_rig((224, 392)).cameras:
        at_s = end_s + trigger_offset_us(camera) * 1e-6
        world_T_cam = world.ego.world_T_ego(at_s) @ camera.ego_T_cam
        truth = project_sweep(sweep, camera, world_T_cam, protocol)
        origins, directions, depth_per_range = make_rays(camera, world_T_cam, truth.uv)
        hits = cast(renderer.still, renderer.stage(at_s).surfaces, origins, directions)
        still = hits.kind == STILL
        depth_m = (hits.range_m * depth_per_range)[still]
        errors.append(np.abs(depth_m / truth.depth_m[still] - 1))
    error = np.concatenate(errors)
    assert len(error) > 8000
    assert np.median(error) < 0.002
    assert (error < 0.02).mean() > 0.97
    assert error.mean() < 0.008  # edges seen by one sensor and not by the other are in it


def _fast_world() -> World:
    for seed in range(10, 60):  # of the first, some have fences close by: edges for one sensor
        world = make_world(seed, 2.0, "highway")
        if world.ego.speed_mps(1.0) > 19:
            return world
    raise AssertionError("no seed drives at 20 m/s")


def test_cars_keep_behind_their_leader_and_stop_at_red():
    time_s = trajectory_times(20.0)
    red = np.ones((len(time_s), 1), bool)
    flow = TrafficFlow(
        np.array([0.0, -15.0, -30.0]), np.array([12.0, 14.0, 13.0]), np.array([-1, 0, 1]),
        np.array([60.0]), red, np.full(3, np.inf), np.full(3, 2.3), np.full(3, 2.3),
    )  # fmt: skip
    s = simulate_flow(flow, time_s)
    assert (np.diff(s, axis=0) >= -1e-9).all()
    assert s[-1, 0] == pytest.approx(60.0, abs=1.5)
    assert (s[:, :-1] - s[:, 1:] > 4.6 + 1.0).all()
    free = simulate_flow(dataclasses.replace(flow, red=~red), time_s)
    assert free[-1, 0] > 200


def test_a_kind_that_is_not_there():
    with pytest.raises(ConfigError, match="moon"):
        make_world(0, 2.0, "moon")


@pytest.mark.parametrize("mood", [0, 4])
def test_the_same_pixels_whatever_is_drawn_before(mood):
    """No state leaks from one view into the next (workers draw in different orders)."""
    world = make_world(50 + mood, 2.0)
    rig = make_rig((48, 84))
    first = Renderer(world)
    first.scan(0.9)
    first.render_view(rig.cameras[3], 0.5, 3)
    a = first.render_view(rig.cameras[0], 1.0)
    b = Renderer(world).render_view(rig.cameras[0], 1.0)
    np.testing.assert_array_equal(a.image, b.image)
