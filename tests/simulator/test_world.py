"""The generated world's truth, against closed forms, itself and the official devkit."""

import dataclasses
import json

import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.cameras import project, rays_of
from driv3r.geometry.transforms import angle_rad, apply, invert
from driv3r.simulator.export.clips import (
    FIRST_TRAIN_SEED,
    ClipConfig,
    ensure_clip,
    read_clip,
    render_clip,
    render_frame,
)
from driv3r.simulator.export.nuscenes_writer import WorldConfig, plan_logs, write_world
from driv3r.simulator.rendering.actor_state import FIRST_ACTOR_INSTANCE
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import EGO_T_LIDAR, make_rig, trigger_offset_us
from driv3r.simulator.scene.world import KINDS, make_world

SIZE = (64, 112)


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(make_world(3, 3.0))


def test_a_seed_is_a_world(renderer):
    again = Renderer(make_world(3, 3.0))
    camera = make_rig(SIZE).cameras[0]
    first, second = renderer.render_view(camera, 1.0), again.render_view(camera, 1.0)
    for field in ("image", "depth_m", "instance", "moving", "velocity_mps"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field))
    for field in ("points_lidar", "intensity", "ring"):
        a, b = getattr(renderer.scan(1.0), field), getattr(again.scan(1.0), field)
        np.testing.assert_array_equal(a, b)
    other = Renderer(make_world(4, 3.0)).render_view(camera, 1.0)
    assert (other.image != first.image).mean() > 0.5


def test_lidar_agrees_with_the_depth_maps(renderer):
    """Within 2 cm + 1 % away from edges, where one pixel sees one surface."""
    time_s = 1.0
    world_T_ego = renderer.world.ego.world_T_ego(time_s)
    points_ego = apply(EGO_T_LIDAR, renderer.scan(time_s).points_lidar.astype(float))
    compared = 0
    for camera in make_rig((256, 448)).cameras[:2]:
        truth = renderer.render_view(camera, time_s)
        uv, depth_m, inside = project(camera, apply(invert(camera.ego_T_cam), points_ego))
        u, v = np.floor(uv[inside]).astype(int).T
        near = np.stack(
            [
                truth.depth_m[np.clip(v + dy, 0, 255), np.clip(u + dx, 0, 447)]
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
        )
        instance = truth.instance[v, u]
        still = (instance >= 0) & (instance < FIRST_ACTOR_INSTANCE)
        smooth = (near.min(0) > 0) & (near.max(0) < 1.06 * near.min(0)) & still
        low, high = near.min(0)[smooth], near.max(0)[smooth]
        lidar = depth_m[inside][smooth]
        # the point lies somewhere in the pixel, so between its neighbours' depths
        good = (lidar > low * 0.99 - 0.05) & (lidar < high * 1.01 + 0.05)
        # what only the LiDAR sees, from higher up or past a trunk close by, lies well behind
        hidden = lidar > 1.3 * high
        assert hidden.mean() < 0.12
        assert good[~hidden].mean() > 0.97  # the others: false points at edges
        assert np.median(np.abs(lidar / truth.depth_m[v, u][smooth] - 1)) < 0.01
        compared += smooth.sum()
    assert compared > 2000
    assert np.isfinite(world_T_ego).all()


def test_a_static_pixel_lands_on_itself(renderer):
    """World points of one time, seen at another, have that time's depth unless hidden."""
    camera = make_rig((128, 224)).cameras[0]
    before, after = (renderer.render_view(camera, t) for t in (1.0, 1.2))
    world_T_cam = [renderer.world.ego.world_T_ego(t) @ camera.ego_T_cam for t in (1.0, 1.2)]
    points = apply(world_T_cam[0], rays_of(camera) * before.depth_m[..., None].astype(float))
    points_cam = apply(invert(world_T_cam[1]), points)
    uv, depth_m, inside = project(camera, points_cam)
    still = inside & (before.depth_m > 0) & ~before.moving & (depth_m < 60)
    u, v = np.floor(uv[still]).astype(int).T
    ratio = after.depth_m[v, u] / depth_m[still]
    assert np.median(np.abs(ratio - 1)) < 0.01
    assert (ratio < 1.05).mean() > 0.95  # nothing static is nearer in truth than it was


def test_moving_pixels_are_those_of_moving_actors(renderer):
    stage = renderer.stage(1.0)
    rig = make_rig(SIZE)
    seen = [renderer.render_view(camera, 1.0) for camera in rig.cameras]
    moving = np.concatenate([v.instance[v.moving] for v in seen])
    assert len(moving) > 0
    for instance in np.unique(moving):
        assert renderer.world.actors[instance - 100_000].speed_mps(1.0) > 0.3
    assert len(stage.actor_moves) == len(renderer.world.actors)


def test_the_ego_car_stands_on_the_road_and_looks_ahead(renderer):
    ego = renderer.world.ego
    for t in (0.5, 1.5, 2.5):
        here, ahead = ego.world_T_ego(t), ego.world_T_ego(t + 0.05)
        step = ahead[:3, 3] - here[:3, 3]
        np.testing.assert_allclose(here[:3, :3] @ here[:3, :3].T, np.eye(3), atol=1e-9)
        assert here[2, 2] > 0.95
        if np.linalg.norm(step) > 0.05:
            assert step @ here[:3, 0] > 0.99 * np.linalg.norm(step)


def test_a_slow_car_turns_no_faster_than_a_car_can():
    """Heading follows the distance driven: nothing slides or spins while it stands."""
    for seed in range(12):
        ego = make_world(seed, 4.0).ego
        times_s = np.arange(0.2, 4.0, 0.1)
        poses = np.stack([ego.world_T_ego(float(t)) for t in times_s])
        moved_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        turned = [angle_rad(invert(a) @ b) for a, b in zip(poses[:-1], poses[1:], strict=True)]
        assert (np.array(turned) < moved_m / 4.0 + 0.02).all()  # no tighter than 4 m of radius


@pytest.mark.parametrize("kind", KINDS)
def test_roads_do_not_end_in_nothing(kind):
    road = make_world(5, 2.0, kind).carriageways[0]
    far = road.surface(np.array([-1e4, 1e4]), np.array([1.0, -1.0]))
    assert np.isfinite(far).all()
    beyond = [road.surface(s, 0.0)[:2] for s in (5000.0, 5001.0)]
    np.testing.assert_allclose(np.linalg.norm(beyond[1] - beyond[0]), 1.0, atol=1e-6)


def test_cameras_fire_within_the_sweep():
    rig = make_rig(SIZE)
    offsets = [trigger_offset_us(camera) for camera in rig.cameras]
    assert all(-50_000 <= offset <= 0 for offset in offsets)
    assert len(set(offsets)) == len(offsets)


def test_clips_keep_to_training_seeds_and_survive_the_disk(tmp_path):
    with pytest.raises(ConfigError, match="evaluated worlds"):
        render_clip(7, ClipConfig())
    recipe = ClipConfig(size_hw=(32, 48), frames=2)
    clip = render_clip(FIRST_TRAIN_SEED, recipe)
    read = read_clip(ensure_clip(tmp_path, FIRST_TRAIN_SEED, recipe))
    np.testing.assert_array_equal(read.images, clip.images)
    np.testing.assert_array_equal(read.moving, clip.moving)
    np.testing.assert_allclose(read.depth_m, clip.depth_m, rtol=1e-3)
    (tmp_path / "bad.npz").write_bytes(b"x")
    with pytest.raises(DatasetError, match="not a training clip"):
        read_clip(tmp_path / "bad.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    write_world(root, WorldConfig(seeds=(3,), keyframes=2, size_hw=SIZE, camera_hz=4), workers=1)
    return root


def test_the_official_devkit_reads_the_folder(folder, capsys):
    from nuscenes import NuScenes

    devkit = NuScenes("v1.0-trainval", str(folder), verbose=False)
    scene = devkit.scene[0]
    assert scene["name"] == "scene-0003"
    sample = devkit.get("sample", scene["first_sample_token"])
    for channel in ("CAM_FRONT", "CAM_BACK"):
        points, depths, image = devkit.explorer.map_pointcloud_to_image(
            sample["data"]["LIDAR_TOP"], sample["data"][channel]
        )
        assert image.size == (SIZE[1], SIZE[0])
        image.close()  # the devkit leaves the file open
        assert len(depths) > 100
    tables = {p.stem: json.loads(p.read_text()) for p in (folder / "v1.0-trainval").glob("*.json")}
    assert len(tables) == 13
    tokens = [row["token"] for rows in tables.values() for row in rows]
    assert len(tokens) == len(set(tokens)) + len(tables["sample_data"])  # poses share theirs
    assert devkit.map[0]["mask"].mask().any()


def test_boxes_hold_their_points(folder):
    from nuscenes import NuScenes
    from nuscenes.utils.data_classes import LidarPointCloud
    from nuscenes.utils.geometry_utils import points_in_box

    devkit = NuScenes("v1.0-trainval", str(folder), verbose=False)
    sample = devkit.sample[0]
    path, boxes, _ = devkit.get_sample_data(sample["data"]["LIDAR_TOP"])
    cloud = LidarPointCloud.from_file(path)
    counts = [(points_in_box(box, cloud.points[:3]).sum(), box.token) for box in boxes]
    told = [devkit.get("sample_annotation", token)["num_lidar_pts"] for _, token in counts]
    assert sum(told) > 50
    np.testing.assert_allclose([n for n, _ in counts], told, atol=0.1 * max(told) + 3)


def test_our_reader_gives_back_what_was_generated(folder):
    scene = open_dataset("nuscenes", folder).read("scene-0003")
    plan = plan_logs(WorldConfig(seeds=(3,), keyframes=2, size_hw=SIZE, camera_hz=4))[0]
    world = make_world(3, 0.2 + 2 * 0.5 + 0.5)
    renderer = Renderer(world)
    time_s = (scene.frames[1].time_us - plan.start_us) * 1e-6
    rig = make_rig(SIZE)
    truth = render_frame(renderer, rig, time_s)
    shift = scene.frames[1].world_T_ego[:3, 3] - world.ego.world_T_ego(time_s)[:3, 3]
    for camera, theirs, view, (_, world_T_cam) in zip(
        rig.cameras, scene.rig.cameras, scene.frames[1].views, truth, strict=True
    ):
        assert theirs.name == camera.name
        np.testing.assert_allclose(theirs.K, camera.K, atol=1e-9)
        np.testing.assert_allclose(theirs.ego_T_cam, camera.ego_T_cam, atol=1e-9)
        world_T_cam = world_T_cam.copy()
        world_T_cam[:3, 3] += shift
        np.testing.assert_allclose(view.world_T_cam, world_T_cam, atol=2e-5)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (WorldConfig(split="nowhere"), "nowhere"),
        (WorldConfig(seeds=(FIRST_TRAIN_SEED,)), "seeds below"),
        (WorldConfig(camera_hz=7), "camera_hz"),
    ],
)
def test_recipes_that_can_not_be(recipe, message):
    with pytest.raises(ConfigError, match=message):
        plan_logs(recipe)


def test_the_same_bytes_on_every_worker_count(folder, tmp_path):
    recipe = WorldConfig(seeds=(3,), keyframes=2, size_hw=SIZE, camera_hz=4)
    write_world(tmp_path, recipe, workers=2)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / file).read_bytes(), file


def test_random_rigs_have_three_to_eight_cameras_of_many_kinds():
    rigs = [make_rig(SIZE, np.random.default_rng(seed), lenses=True) for seed in range(60)]
    counts = {len(rig.cameras) for rig in rigs}
    assert min(counts) == 3
    assert max(counts) == 8
    heights = [rig.cameras[0].ego_T_cam[2, 3] for rig in rigs]
    assert np.ptp(heights) > 0.8
    assert np.ptp([rig.cameras[0].K[0, 0] / SIZE[1] for rig in rigs]) > 0.4
    assert all(camera.distortion for rig in rigs for camera in rig.cameras)
    for rig in rigs:
        yaw = [np.arctan2(c.ego_T_cam[1, 2], c.ego_T_cam[0, 2]) for c in rig.cameras]
        assert np.ptp(yaw) > 2  # they look all about


def test_a_distorted_camera_sees_what_its_rays_meet(renderer):
    """Depth along a distorted camera's ray is that of a pinhole camera's pixel at the same ray."""
    plain = make_rig((128, 224)).cameras[0]
    bent = dataclasses.replace(plain, distortion=(-0.1, 0.02))
    truth, other = (renderer.render_view(camera, 1.0) for camera in (plain, bent))
    points_cam = rays_of(bent) * other.depth_m[..., None].astype(float)
    uv, depth_m, inside = project(plain, points_cam)
    seen = inside & (other.depth_m > 0) & (other.depth_m < 40)
    u, v = np.floor(uv[seen]).astype(int).T
    assert np.median(np.abs(truth.depth_m[v, u] / depth_m[seen] - 1)) < 0.01
    assert np.abs(rays_of(bent) - rays_of(plain)).max() > 0.01


def test_clips_of_finer_cameras_show_the_same_world():
    plain, fine = (
        render_clip(FIRST_TRAIN_SEED + 5, ClipConfig((64, 112), 2, finest=finest))
        for finest in (1.0, 2.0)
    )
    np.testing.assert_allclose(fine.K, plain.K, atol=0.01 * 112)
    off = np.abs(fine.depth_m - plain.depth_m) / np.maximum(plain.depth_m, 1.0)
    assert np.median(off) < 0.01
    assert (off < 0.1).mean() > 0.92  # the rest are edges
    assert fine.images.shape == plain.images.shape
    assert np.abs(fine.images.astype(int) - plain.images).mean() < 25
    with pytest.raises(ConfigError, match="finest"):
        ClipConfig(finest=0.5)
