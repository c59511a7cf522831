"""Rolling shutters against the closed form of each line's own time."""

import numpy as np
import pytest

from driv3r.geometry.cameras import project, rays_of, unproject
from driv3r.geometry.rolling_shutter import (
    crop_shutter,
    lift_rolling,
    place_lines,
    project_rolling,
    with_ego_motion,
)
from driv3r.geometry.transforms import apply, from_rotvec, invert, to_rotvec
from driv3r.types import Camera, RollingShutter

K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
CAMERA = Camera("front", K, (480, 640), np.eye(4))


@pytest.mark.parametrize("read", ["down", "up", "right", "left"])
def test_each_point_is_seen_when_its_line_is_read(read):
    shutter = RollingShutter(
        -20_000, 24_000, read, np.array([0.4, 0.1, 15.0]), np.array([0.01, 0.3, 0.02])
    )
    points = np.random.default_rng(0).uniform([-8, -4, 6], [8, 4, 40], (400, 3))
    uv, depth_m, inside = project_rolling(CAMERA, points, shutter)
    assert inside.sum() > 200
    share = {"down": uv[:, 1] / 480, "right": uv[:, 0] / 640}
    share |= {"up": 1 - share["down"], "left": 1 - share["right"]}
    for point, pixel, depth, s in zip(
        points[inside], uv[inside], depth_m[inside], share[read][inside], strict=True
    ):
        dt_s = (-20_000 + s * 44_000) * 1e-6
        now_T_then = from_rotvec(shutter.turn_cam_radps * dt_s, shutter.velocity_cam_mps * dt_s)
        then = apply(invert(now_T_then), point[None])
        np.testing.assert_allclose(project(CAMERA, then)[0][0], pixel, atol=1e-3)
        assert depth == pytest.approx(then[0, 2], abs=1e-4)
    still = project(CAMERA, points)
    assert np.abs(uv - still[0])[inside].max() > 5
    np.testing.assert_array_equal(project_rolling(CAMERA, points, None)[0], still[0])


@pytest.mark.parametrize("read", ["down", "up", "right", "left"])
def test_a_crop_has_the_times_of_its_lines(read):
    """The same points fall onto the same places of the scene, whichever part is looked at."""
    shutter = RollingShutter(0, 48_000, read, np.array([0.0, 0.0, 20.0]), np.zeros(3))
    y0, x0, h, w = 120, 40, 300, 500
    K_crop = K - np.array([[0, 0, x0], [0, 0, y0], [0, 0, 0]])
    part = Camera("front", K_crop, (h, w), np.eye(4))
    points = np.random.default_rng(1).uniform([-4, -1, 8], [4, 2, 40], (300, 3))
    whole_uv, whole_m, _ = project_rolling(CAMERA, points, shutter)
    cropped = crop_shutter(shutter, (y0, x0, h, w), (480, 640))
    uv, depth_m, inside = project_rolling(part, points, cropped)
    assert inside.sum() > 100
    np.testing.assert_allclose(uv[inside] + [x0, y0], whole_uv[inside], atol=1e-2)
    np.testing.assert_allclose(depth_m[inside], whole_m[inside], atol=1e-3)


@pytest.mark.parametrize("read", ["down", "up", "right", "left"])
def test_lifting_undoes_projection(read):
    shutter = RollingShutter(
        -20_000, 24_000, read, np.array([0.4, 0.1, 15.0]), np.array([0.01, 0.3, 0.02])
    )
    points = np.random.default_rng(2).uniform([-8, -4, 6], [8, 4, 40], (400, 3))
    uv, depth_m, inside = project_rolling(CAMERA, points, shutter)
    cam_T_line = place_lines(CAMERA, uv[inside], shutter)
    seen = unproject(CAMERA, uv[inside]) * depth_m[inside, None]
    lifted = np.einsum("nij,nj->ni", cam_T_line[:, :3, :3], seen) + cam_T_line[:, :3, 3]
    np.testing.assert_allclose(lifted, points[inside], atol=1e-3)


def see_plane(camera, world_T_cam, shutter, normal, offset_m):
    """Depth (m) at the time of each pixel's line of the plane `normal` x = `offset_m`."""
    height, width = camera.size_hw
    rows, columns = np.mgrid[:height, :width] + 0.5
    cam_T_line = place_lines(camera, np.stack([columns, rows], -1).reshape(-1, 2), shutter)
    world_T_line = world_T_cam @ cam_T_line
    rays = np.einsum("nij,nj->ni", world_T_line[:, :3, :3], rays_of(camera).reshape(-1, 3))
    with np.errstate(divide="ignore"):
        depth_m = (offset_m - world_T_line[:, :3, 3] @ normal) / (rays @ normal)
    return np.where((depth_m > 0) & (depth_m < 200), depth_m, np.nan).reshape(height, width)


def test_a_plane_is_one_in_the_world():
    shutter = RollingShutter(-20_000, 24_000, "right", np.array([15.0, 0.2, 1.0]), np.full(3, 0.2))
    world_T_cam = from_rotvec(np.array([0.3, -0.2, 0.1]), np.array([5.0, -3.0, 2.0]))
    normal = np.array([0.1, 0.2, 0.97]) / np.linalg.norm([0.1, 0.2, 0.97])
    depth_m = see_plane(CAMERA, world_T_cam, shutter, normal, 20.0)
    found = lift_rolling(CAMERA, depth_m, world_T_cam, shutter) @ normal
    np.testing.assert_allclose(found[np.isfinite(depth_m)], 20.0, atol=1e-6)
    still = lift_rolling(CAMERA, depth_m, world_T_cam, None) @ normal
    assert np.nanmax(np.abs(still - 20.0)) > 0.1


def test_a_shutter_is_driven_as_its_car_is():
    """Against the poses of a camera on a car that turns and shifts, a millisecond apart."""
    ego_T_cam = from_rotvec(np.array([0.1, 1.2, -0.4]), np.array([1.5, 0.8, 1.6]))
    rate = np.array([0.02, -0.05, 0.4, 9.0, 0.3, -0.1])
    given = RollingShutter(-10_000, 10_000, "up", np.zeros(3), np.zeros(3))
    shutter = with_ego_motion(given, ego_T_cam, rate)
    assert shutter is not None
    assert (shutter.first_us, shutter.last_us, shutter.read) == (-10_000, 10_000, "up")
    step = 1e-4
    later = from_rotvec(rate[:3] * step, rate[3:] * step)
    cam_T_later = invert(ego_T_cam) @ later @ ego_T_cam
    np.testing.assert_allclose(cam_T_later[:3, 3] / step, shutter.velocity_cam_mps, atol=1e-3)
    np.testing.assert_allclose(to_rotvec(cam_T_later) / step, shutter.turn_cam_radps, atol=1e-6)
    assert with_ego_motion(given, ego_T_cam, None) is None
    assert with_ego_motion(None, ego_T_cam, rate) is None
