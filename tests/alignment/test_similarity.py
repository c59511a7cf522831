"""Similarity registration against known transforms and the plain closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from driv3r.alignment.similarity import (
    RegisterConfig,
    fit_similarity,
    register_points,
    weighted_median,
)
from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.transforms import angle_rad, apply, from_rotvec, invert
from driv3r.geometry.umeyama import align_umeyama

TRUTH = from_rotvec(np.array([0.4, -1.2, 0.7]), np.array([3.0, -2.0, 8.0]))


def make_points(noise=0.0, outliers=0.0, shape=(20, 30)):
    """Local points, the same in the scene (2.5 times as large), and confidence."""
    rng = np.random.default_rng(0)
    local = rng.normal(0, 2, (*shape, 3)) + [0, 0, 6]
    scene = apply(TRUTH, 2.5 * local) + rng.normal(0, noise, local.shape)
    wild = rng.random(shape) < outliers
    scene[wild] += rng.uniform(0, 20, (np.count_nonzero(wild), 3))
    return scene, local, rng.uniform(1, 5, shape)


def test_exact_points_give_the_similarity():
    scene, local, confidence = make_points()
    found = register_points(scene, local, confidence)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.ref_T_local, TRUTH, atol=1e-9)
    np.testing.assert_allclose(found.move(local), scene, atol=1e-9)
    assert found.residual < 1e-9


def test_outliers_are_withstood():
    """10 cm of noise, 30 % of points up to 20 m off to one side: measured 0.05 % of scale,
    0.06 degrees, 2.0 cm."""
    scene, local, confidence = make_points(noise=0.1, outliers=0.3)
    found = register_points(scene, local, confidence)
    step = invert(TRUTH) @ found.ref_T_local
    assert found.scale == pytest.approx(2.5, rel=0.005)
    assert np.degrees(angle_rad(step)) < 0.2
    assert np.linalg.norm(step[:3, 3]) < 0.05
    assert 0.1 < found.residual < 0.3


def test_unknown_points_and_those_without_confidence_are_left_out():
    scene, local, confidence = make_points()
    scene[0], local[1], scene[2], confidence[2], confidence[3] = np.nan, np.inf, 9.0, 0.0, np.nan
    found = register_points(scene, local, confidence)
    np.testing.assert_allclose(found.ref_T_local, TRUTH, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(4, 30))
def test_whole_weights_are_repetitions(seed, n):
    rng = np.random.default_rng(seed)
    dst, src, times = rng.normal(size=(n, 3)), rng.normal(size=(n, 3)), rng.integers(1, 4, n)
    scale, dst_T_src = fit_similarity(dst, src, times.astype(float))
    expected = align_umeyama(np.repeat(dst, times, 0), np.repeat(src, times, 0), with_scale=True)
    assert scale == pytest.approx(expected[0])
    np.testing.assert_allclose(dst_T_src, expected[1], atol=1e-9)


def test_the_weighted_median_is_where_half_the_weight_is():
    values = np.array([5.0, 1.0, 3.0])
    assert weighted_median(values, np.array([1.0, 1.0, 1.0])) == 3.0
    assert weighted_median(values, np.array([3.0, 1.0, 1.0])) == 5.0
    assert weighted_median(values, np.array([1.0, 2.0, 1.0])) == 1.0


def test_points_that_determine_nothing_are_refused():
    scene, local, confidence = make_points()
    few = np.zeros_like(confidence)
    few[0, :2] = 1.0
    with pytest.raises(GeometryError, match="2 of 600"):
        register_points(scene, local, few)
    with pytest.raises(GeometryError, match="one place"):
        register_points(scene, np.ones_like(local), confidence)
    with pytest.raises(GeometryError, match="one place"):
        register_points(np.ones_like(scene), local, confidence)
    with pytest.raises(GeometryError, match="add up to 0"):
        fit_similarity(scene[0], local[0], np.zeros(30))
    with pytest.raises((ConfigError, TypeCheckError)):
        RegisterConfig(cutoff=0.0)
