"""Fusion of images whose lines are read one after another, beside a wall that is known exactly."""

from dataclasses import replace

import numpy as np
from street import START_US, window

from driv3r.fusion import FusedFrame, FusionConfig, fuse
from driv3r.fusion.consistency import gather_evidence
from driv3r.geometry.cameras import rays_of
from driv3r.geometry.rolling_shutter import place_lines, project_rolling, with_ego_motion
from driv3r.geometry.transforms import apply, from_rotvec
from driv3r.types import Camera, RollingShutter

K = np.array([[100.0, 0.0, 100.0], [0.0, 100.0, 60.0], [0.0, 0.0, 1.0]])
EGO_T_CAM = np.eye(4)  # looks left: the camera's x is the car's x
EGO_T_CAM[:3, :3] = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]
EGO_T_CAM[:3, 3] = [1.0, 0.5, 1.5]
CAMERA = Camera("left", K, (120, 200), EGO_T_CAM)
RATE = np.array([0.0, 0.0, 0.15, 15.0, 0.0, 0.0])  # a turn at 15 m/s
STEP_S, WALL_Y_M = 0.1, 8.0
READ = RollingShutter(-22_000, 22_000, "right", np.zeros(3), np.zeros(3))


def drive(i: int) -> np.ndarray:
    return from_rotvec(RATE[:3] * STEP_S * (i - 2), RATE[3:] * STEP_S * (i - 2))


def see(i: int) -> FusedFrame:
    """Exact depth of a wall to the left, at the time of each column."""
    shutter = with_ego_motion(READ, EGO_T_CAM, RATE)
    assert shutter is not None
    height, width = CAMERA.size_hw
    rows, columns = np.mgrid[:height, :width] + 0.5
    uv = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    world_T_cam = drive(i) @ EGO_T_CAM
    world_T_line = world_T_cam @ place_lines(CAMERA, uv, shutter)
    rays = np.einsum("nij,nj->ni", world_T_line[:, :3, :3], rays_of(CAMERA).reshape(-1, 3))
    depth_m = ((WALL_Y_M - world_T_line[:, 1, 3]) / rays[:, 1]).reshape(1, height, width)
    time_us = START_US + round(i * STEP_S * 1e6)
    shape = depth_m.shape
    return FusedFrame(
        i, time_us, (CAMERA,), np.array([time_us]), drive(i), world_T_cam[None], depth_m,
        np.full(shape, 0.002), np.zeros(shape), np.full((*shape, 3), 90, np.uint8),
        shutters=(shutter,),
    )  # fmt: skip


def test_a_wall_stays_one_and_its_views_agree():
    rolling = [see(i) for i in range(5)]
    at_once = [replace(frame, shutters=()) for frame in rolling]
    config = FusionConfig(pixel_stride=1, base_error_m=0.02, max_depth_m=30.0)
    good, bad = (gather_evidence(window(frames), 2, config) for frames in (rolling, at_once))
    off_m = np.abs(good.point_world[:, 1] - WALL_Y_M)
    assert off_m.max() < 0.02
    assert good.agrees.mean() > 2.5
    assert good.through.mean() < 0.01
    assert np.median(np.abs(bad.point_world[:, 1] - WALL_Y_M)) > 5 * np.median(off_m)
    static = fuse(window(rolling), config).static
    assert np.abs(static.points_world[:, 1] - WALL_Y_M).max() < 0.05


def test_points_fall_into_the_pixels_that_projection_has():
    frame = see(2)
    shutter = frame.shutter(0)
    points_cam = np.random.default_rng(0).uniform([-9, -3, 4], [9, 3, 25], (2000, 3))
    uv, depth_m, inside = project_rolling(CAMERA, points_cam, shutter)
    pixel, z_m = frame.placed.locate(apply(frame.world_T_cam[0], points_cam))
    assert np.mean((pixel[0] >= 0) == inside) > 0.998
    both = inside & (pixel[0] >= 0)
    assert both.sum() > 800
    expected = np.floor(uv[both, 1]).astype(int) * 200 + np.floor(uv[both, 0]).astype(int)
    assert np.mean(pixel[0][both] == expected) > 0.99
    np.testing.assert_allclose(z_m[0][both], depth_m[both], atol=2e-3)
