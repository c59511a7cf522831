"""The smoother against weighted least squares over the whole track, solved at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.fusion.moving.kalman import (
    SPEED_MPS,
    Measurement,
    predict,
    process_noise,
    smooth,
    start,
    transition,
)


def solve_at_once(seen, accel_mps2):
    """Maximum a posteriori states: prior of the velocity, measurements, and steps between them."""
    n = 6 * len(seen)
    information, vector = np.zeros((n, n)), np.zeros(n)

    def add(A, cov, target):
        weight = np.linalg.inv(cov)
        information[:] += A.T @ weight @ A
        vector[:] += A.T @ weight @ target

    for k, m in enumerate(seen):
        A = np.zeros((3, n))
        A[:, 6 * k : 6 * k + 3] = np.eye(3)
        add(A, m.covariance, m.place)
    prior = np.zeros((3, n))
    prior[:, 3:6] = np.eye(3)
    add(prior, np.diag(SPEED_MPS**2), np.zeros(3))
    for k in range(len(seen) - 1):
        dt = seen[k + 1].time_s - seen[k].time_s
        A = np.zeros((6, n))
        A[:, 6 * k : 6 * k + 6] = -transition(dt)
        A[:, 6 * k + 6 : 6 * k + 12] = np.eye(6)
        add(A, process_noise(dt, accel_mps2), np.zeros(6))
    covariance = np.linalg.inv(information)
    return (covariance @ vector).reshape(-1, 6), covariance


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 8))
def test_smoothing_is_least_squares_over_all_measurements(seed, count):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.1, 1.0, count))
    seen = []
    for t in times:
        spread = rng.normal(size=(3, 3))
        seen.append(Measurement(float(t), rng.normal(0, 5, 3), spread @ spread.T + 0.1 * np.eye(3)))
    states = smooth(seen, [m.time_s for m in seen], 2.0)
    expected, covariance = solve_at_once(seen, 2.0)
    for k, state in enumerate(states):
        np.testing.assert_allclose(state.mean, expected[k], atol=1e-5)
        block = covariance[6 * k : 6 * k + 6, 6 * k : 6 * k + 6]
        np.testing.assert_allclose(state.covariance, block, atol=1e-5)


def test_a_steady_way_has_its_own_velocity_between_and_beyond_its_measurements():
    velocity = np.array([8.0, -2.0, 0.0])
    seen = [Measurement(t, t * velocity, 0.01 * np.eye(3)) for t in (0.0, 0.5, 1.0, 1.5, 2.0)]
    for state in smooth(seen, [-0.25, 0.25, 1.0, 2.25], 0.5):
        np.testing.assert_allclose(state.place, state.time_s * velocity, atol=0.05)
        np.testing.assert_allclose(state.velocity, velocity, atol=0.1)


def test_a_state_before_the_first_measurement_counts_it_once():
    seen = [Measurement(1.0, np.zeros(3), np.eye(3)), Measurement(2.0, np.ones(3), np.eye(3))]
    alone = smooth(seen, [1.0], 2.0)[0]
    asked = smooth(seen, [0.999, 1.0], 2.0)[1]
    np.testing.assert_allclose(asked.covariance, alone.covariance, rtol=1e-3)


@pytest.mark.parametrize("dt_s", [0.4, -0.4])
def test_prediction_grows_the_uncertainty_both_ways(dt_s):
    state = start(Measurement(1.0, np.zeros(3), np.eye(3)))
    later = predict(state, 1.0 + dt_s, 2.0)
    assert (np.diag(later.covariance)[:3] > np.diag(state.covariance)[:3]).all()
