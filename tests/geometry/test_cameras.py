import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import GeometryError
from driv3r.geometry import cameras as cams
from driv3r.types import Camera

K = np.array([[800.0, 0, 805.5], [0, 790, 440.25], [0, 0, 1]])
LENS = (-0.12, 0.03, 0.001, -0.0008, 0.002)


def make_camera(distortion=(), size_hw=(900, 1600)) -> Camera:
    return Camera("front", K, size_hw, np.eye(4), distortion)


@pytest.mark.parametrize("distortion", [(), LENS])
def test_projection_agrees_with_opencv(distortion):
    rng = np.random.default_rng(0)
    points = rng.uniform([-5, -3, 4], [5, 3, 40], (50, 3))
    uv, depth_m, inside = cams.project(make_camera(distortion), points)
    theirs, _ = cv2.projectPoints(
        points, np.zeros(3), np.zeros(3), K, np.array(distortion or (0.0,) * 5)
    )
    np.testing.assert_allclose(uv, theirs[:, 0], atol=1e-6)
    np.testing.assert_allclose(depth_m, points[:, 2])
    assert inside.any()


@pytest.mark.parametrize("distortion", [(), LENS])
@settings(max_examples=30, deadline=None)
@given(u=st.floats(10, 1590), v=st.floats(10, 890), depth=st.floats(0.5, 200))
def test_unproject_inverts_project(distortion, u, v, depth):
    camera = make_camera(distortion)
    ray = cams.unproject(camera, np.array([u, v]))
    uv, depth_m, inside = cams.project(camera, ray * depth)
    np.testing.assert_allclose(uv, [u, v], atol=1e-4)
    assert inside
    np.testing.assert_allclose(depth_m, depth)


def test_points_behind_the_camera_are_not_inside():
    _, _, inside = cams.project(make_camera(), np.array([[0.0, 0, -5], [0, 0, 5]]))
    assert inside.tolist() == [False, True]


@settings(max_examples=30, deadline=None)
@given(h=st.integers(20, 300), w=st.integers(20, 300))
def test_crop_and_resize_keeps_what_a_pixel_sees(h, w):
    camera = make_camera()
    small, (y0, x0, crop_h, crop_w) = cams.crop_resize(camera, (h, w))
    for corner, full in (
        ([0.0, 0.0], [x0, y0]),
        ([float(w), float(h)], [x0 + crop_w, y0 + crop_h]),
    ):
        np.testing.assert_allclose(
            cams.unproject(small, np.array(corner)),
            cams.unproject(camera, np.array(full, float)),
            atol=1e-9,
        )
    assert x0 >= 0
    assert y0 >= 0
    assert crop_h <= 900
    assert crop_w <= 1600


def test_an_empty_size_is_refused():
    with pytest.raises(GeometryError, match="positive"):
        cams.crop_resize(make_camera(), (0, 10))
