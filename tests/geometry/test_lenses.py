"""Lens models against OpenCV, their own inverses, and pictures taken through them."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.datasets.preprocess import prepare_ignored, prepare_images, prepare_rig
from driv3r.errors import GeometryError
from driv3r.geometry.cameras import project, rays_of, unproject
from driv3r.geometry.lenses import bend, unbend, widest_angle
from driv3r.geometry.pinholes import pinhole_of
from driv3r.types import Camera, Frame, Rig, View

K = np.array([[400.0, 0, 320.5], [0, 390, 240.25], [0, 0, 1]])
FISHEYE = (0.05, -0.01, 0.002, -0.0005)
RATIONAL = (0.3, -0.1, 0.001, -0.0008, 0.02, 0.31, -0.05, 0.01)
LENSES = [
    ("brown_conrady", (-0.3, 0.1, 0.001, -0.0008)),
    ("brown_conrady", (-0.12, 0.03, 0.001, -0.0008, 0.002)),
    ("brown_conrady", RATIONAL),
    (
        "brown_conrady",
        (*RATIONAL, 0.001, 0.002, -0.003, 0.001),
    ),
    (
        "brown_conrady",
        (*RATIONAL, 0.001, 0.002, -0.003, 0.001, 0.02, -0.03),
    ),
    ("kannala_brandt", FISHEYE),
    ("mei", (2.2134, 0.016798, 1.6548, -0.000142, -0.000325)),  # like KITTI-360's
    ("mei", (0.8, -0.1, 0.01, 0.001, 0.002)),
    ("f_theta", (1.0, 0.01, -0.02, 0.003)),
    ("double_sphere", (-0.2, 0.6)),
    ("double_sphere", (0.3, 0.55)),
    ("double_sphere", (0.0, 0.4)),
]  # fmt: skip


def directions(lens, coefficients, share, azimuth):
    theta = share * widest_angle(lens, coefficients)
    return np.array(
        [np.sin(theta) * np.cos(azimuth), np.sin(theta) * np.sin(azimuth), np.cos(theta)]
    )


@pytest.mark.parametrize(("lens", "coefficients"), LENSES)
@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 0.97), azimuth=st.floats(0, 6.3), length=st.floats(0.01, 100))
def test_bend_and_unbend_invert_each_other(lens, coefficients, share, azimuth, length):
    ray = directions(lens, coefficients, share, azimuth)
    xy = bend(lens, coefficients, ray * length)
    back = unbend(lens, coefficients, xy)
    np.testing.assert_allclose(back, ray, atol=1e-11)
    off_px = np.abs(bend(lens, coefficients, back) - xy).max() * K[0, 0]
    assert off_px <= 1e-9 * max(1.0, float(np.abs(xy).max()))


@pytest.mark.parametrize(("lens", "coefficients"), LENSES)
def test_lenses_are_opencvs(lens, coefficients):
    rng = np.random.default_rng(0)
    points = rng.uniform([-3, -2, 4], [3, 2, 40], (200, 3))
    zero, matrix, given = np.zeros(3), np.eye(3), np.array(coefficients)
    if lens == "brown_conrady":
        theirs, _ = cv2.projectPoints(points, zero, zero, matrix, given)
        theirs = theirs[:, 0]
    elif lens == "kannala_brandt":
        theirs = cv2.fisheye.projectPoints(points[:, None], zero, zero, matrix, given)[0][:, 0]
    elif lens == "mei":  # the sphere is OpenCV's projectPoints from a point behind its centre
        unit = points / np.linalg.norm(points, axis=-1, keepdims=True)
        behind = np.array([0, 0, coefficients[0]])
        theirs, _ = cv2.projectPoints(unit, zero, behind, matrix, given[1:])
        theirs = theirs[:, 0]
    elif lens == "f_theta":
        theta = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
        radius = sum(k * theta ** (i + 1) for i, k in enumerate(coefficients))
        theirs = radius[:, None] * points[:, :2] / np.hypot(points[:, 0], points[:, 1])[:, None]
    else:  # xi = 0 is the unified camera model; alpha = xi / (1 + xi) of Mei's sphere (section 3)
        xi, alpha = coefficients
        first = np.linalg.norm(points, axis=-1)
        second = np.linalg.norm(points + np.outer(first, [0, 0, xi]), axis=-1)
        under = alpha * second + (1 - alpha) * (xi * first + points[:, 2])
        theirs = points[:, :2] / under[:, None]
    np.testing.assert_allclose(bend(lens, coefficients, points), theirs, atol=1e-12)


def test_double_sphere_without_a_second_sphere_is_meis():
    alpha = 0.6
    points = np.random.default_rng(1).uniform([-3, -2, 0.5], [3, 2, 9], (50, 3))
    theirs = bend("mei", (alpha / (1 - alpha), 0.0, 0.0, 0.0, 0.0), points) / (1 - alpha)
    np.testing.assert_allclose(bend("double_sphere", (0.0, alpha), points), theirs, atol=1e-12)


def test_the_centre_and_what_lies_outside_have_answers():
    for lens, coefficients in LENSES:
        ahead = np.array([[0.0, 0, 3], [1e-9, 0, 1]])
        assert np.abs(bend(lens, coefficients, ahead)).max() < 1e-2  # a tilted sensor moves it
        assert np.isnan(bend(lens, coefficients, np.array([0.0, 0, -1]))).all()
    assert np.isnan(unbend("kannala_brandt", FISHEYE, np.array([1e7, 1e7]))).all()
    folded = ("brown_conrady", (-0.3, 0.0, 0.0, 0.0))
    assert widest_angle(*folded) == pytest.approx(np.arctan(1 / np.sqrt(0.9)), abs=1e-3)
    assert np.isnan(unbend(*folded, np.array([0.9, 0.0]))).all()  # the largest radius is 0.703


def photograph(camera: Camera) -> np.ndarray:
    """A wall at z = 1 whose colour tells the place on it, by every pixel's own ray."""
    ray = unproject(camera, np.stack(np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5), -1))
    shown = np.stack([ray[..., 0] * 60 + 128, ray[..., 1] * 60 + 128, 0 * ray[..., 0] + 200], -1)
    return np.nan_to_num(np.clip(shown, 0, 255)).round().astype(np.uint8)


@pytest.mark.parametrize(("lens", "coefficients"), LENSES)
def test_working_images_are_a_pinholes(lens, coefficients):
    """A photographed wall is, at the working size, where the pinhole's rays meet it."""
    camera = Camera("a", K, (480, 640), np.eye(4), coefficients, lens)
    work = prepare_rig(Rig((camera,)), (96, 160))
    frame = Frame(0, np.eye(4), (View(photograph(camera), 0, np.eye(4)),))
    (image,) = prepare_images(frame, work)
    rays = rays_of(work.rig.cameras[0])
    outside = prepare_ignored((None,), work)[0]
    seen = ~outside & (np.abs(rays[..., :2]) < 2).all(-1)
    assert seen.mean() > 0.5
    off = np.abs(image[..., :2] - (rays[..., :2] * 60 + 128))[seen]
    assert off.max() < 2.0
    assert (image[..., 2][seen] > 190).all()


def test_what_a_lens_does_not_see_is_ignored():
    camera = Camera("a", K, (480, 640), np.eye(4), (0.4, 0.0, 0.0, 0.0))
    work = prepare_rig(Rig((camera,)), (96, 160))
    (outside,) = prepare_ignored((None,), work)
    uv, _, inside = project(camera, rays_of(work.rig.cameras[0]))
    assert (outside[~inside]).all()
    assert 0.1 < outside.mean() < 0.5
    mask = np.zeros((480, 640), bool)
    mask[:, :320] = True
    (both,) = prepare_ignored((mask,), work)
    assert (both == (outside | (uv[..., 0] < 320))).mean() > 0.98


def test_only_a_field_of_view_that_both_have_is_taken():
    fisheye = Camera("a", K, (480, 640), np.eye(4), FISHEYE, "kannala_brandt", 60.0)
    assert 2 * np.degrees(np.arctan(320 / pinhole_of(fisheye).K[0, 0])) == pytest.approx(60)
    with pytest.raises(GeometryError, match="expected 1 to 8"):
        pinhole_of(Camera("a", K, (480, 640), np.eye(4), FISHEYE, "kannala_brandt", 140.0))
