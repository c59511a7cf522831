"""Rolling shutters against the closed form of each line's own time."""

import numpy as np
import pytest

from driv3r.geometry.cameras import project
from driv3r.geometry.rolling_shutter import crop_shutter, project_rolling
from driv3r.geometry.transforms import apply, from_rotvec, invert
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
