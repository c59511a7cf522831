import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyquaternion import Quaternion

from driv3r.errors import GeometryError
from driv3r.geometry import transforms as tf

finite = st.floats(-3.0, 3.0)
vectors = st.tuples(finite, finite, finite).map(np.array)


def make(rotvec, translation):
    return tf.from_rotvec(rotvec, translation)


@settings(max_examples=40, deadline=None)
@given(vectors, vectors, vectors, vectors)
def test_group_axioms(r1, t1, r2, t2):
    a, b = make(r1, t1), make(r2, t2)
    np.testing.assert_allclose(a @ tf.invert(a), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(tf.invert(a @ b), tf.invert(b) @ tf.invert(a), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(vectors, vectors, vectors)
def test_apply_is_the_matrix_product(rotvec, translation, point):
    dst_T_src = make(rotvec, translation)
    expected = (dst_T_src @ np.append(point, 1.0))[:3]
    np.testing.assert_allclose(tf.apply(dst_T_src, point), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(vectors)
def test_rotvec_and_quaternion_round_trips(rotvec):
    dst_T_src = make(rotvec, np.zeros(3))
    np.testing.assert_allclose(
        tf.from_rotvec(tf.to_rotvec(dst_T_src), np.zeros(3)), dst_T_src, atol=1e-9
    )
    wxyz = tf.to_quaternion(dst_T_src)
    np.testing.assert_allclose(Quaternion(wxyz).rotation_matrix, dst_T_src[:3, :3], atol=1e-9)
    np.testing.assert_allclose(tf.from_quaternion(wxyz, np.zeros(3)), dst_T_src, atol=1e-9)
    turn = np.linalg.norm(rotvec) % (2 * np.pi)
    np.testing.assert_allclose(tf.angle_rad(dst_T_src), min(turn, 2 * np.pi - turn), atol=1e-6)


def test_zero_quaternion_is_refused():
    with pytest.raises(GeometryError, match="quaternion"):
        tf.from_quaternion(np.zeros(4), np.zeros(3))


def test_interpolation_of_a_constant_screw_motion_is_exact():
    times_us = np.array([1_700_000_000_000_000, 1_700_000_000_500_000])
    world_T_ego = np.stack([np.eye(4), make(np.array([0, 0, 0.4]), np.array([4.0, 2.0, 0]))])
    at_us = times_us[0] + np.array([0, 125_000, 500_000, 900_000])
    out = tf.interpolate(times_us, world_T_ego, at_us)
    np.testing.assert_allclose(tf.to_rotvec(out)[:, 2], [0, 0.1, 0.4, 0.4], atol=1e-12)
    np.testing.assert_allclose(out[1, :3, 3], [1.0, 0.5, 0], atol=1e-12)


def test_interpolation_refuses_times_that_stand_still():
    with pytest.raises(GeometryError, match="increasing"):
        tf.interpolate(np.array([5, 5]), np.stack([np.eye(4)] * 2), np.array([5]))


def test_no_transforms_are_none_in_every_form():
    """A frame of a log without boxes, a log without moving objects."""
    none = tf.from_rotvec(np.zeros((0, 3)), np.zeros((0, 3)))
    assert none.shape == tf.invert(none).shape == (0, 4, 4)
    assert tf.to_rotvec(none).shape == (0, 3)
    assert tf.to_quaternion(none).shape == (0, 4)
    assert tf.from_quaternion(np.zeros((0, 4)), np.zeros((0, 3))).shape == (0, 4, 4)
