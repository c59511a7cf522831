"""The motion filter against products of Gaussians in closed form."""

import numpy as np
import pytest

from driv3r.geometry.transforms import from_rotvec
from driv3r.tracking.motion_filter import GaussianPose, MotionConfig, MotionFilter

GAP_S = 0.5


def drive(speed_mps: float, yaw_rate: float = 0.0) -> np.ndarray:
    return from_rotvec(np.array([0, 0, yaw_rate * GAP_S]), np.array([speed_mps * GAP_S, 0, 0]))


def test_first_of_a_log_is_the_networks_own():
    belief = MotionFilter(MotionConfig()).predict(drive(10.0, 0.1), GAP_S)
    np.testing.assert_array_equal(belief.prev_T_curr, drive(10.0, 0.1))
    config = MotionConfig()
    ahead_m = (config.speed_share * 10.0 + config.speed_mps) * GAP_S
    assert belief.information[3, 3] == pytest.approx(ahead_m**-2)


def test_speeds_are_weighed_by_their_variances():
    config = MotionConfig(shared_sigma=0.0)
    follower, sure = MotionFilter(config), np.eye(6) * 1e12
    follower.commit(GaussianPose(drive(20.0), sure), GAP_S)
    belief = follower.predict(drive(12.0), GAP_S)
    network = (config.speed_share * 12.0 + config.speed_mps) ** 2
    kept = (config.change_mps2 * GAP_S) ** 2
    expected = (12.0 * kept + 20.0 * network) / (kept + network)
    assert belief.prev_T_curr[0, 3] / GAP_S == pytest.approx(expected, rel=1e-6)
    variance = 1 / (1 / kept + 1 / network)
    assert np.linalg.inv(belief.information)[3, 3] / GAP_S**2 == pytest.approx(variance, rel=1e-5)


def test_an_unsure_past_is_forgotten():
    follower = MotionFilter(MotionConfig())
    follower.commit(GaussianPose(drive(20.0), np.eye(6) * 1e-6), GAP_S)
    belief = follower.predict(drive(12.0), GAP_S)
    np.testing.assert_allclose(belief.prev_T_curr, drive(12.0), atol=1e-3)


def test_state_round_trip():
    a, b = MotionFilter(MotionConfig()), MotionFilter(MotionConfig())
    a.commit(GaussianPose(drive(7.0, 0.2), np.eye(6) * 50.0), GAP_S)
    b.load_state(a.save_state())
    for follower in (a, b):
        follower.predict(drive(5.0), GAP_S)
    np.testing.assert_array_equal(
        a.predict(drive(5.0), GAP_S).prev_T_curr, b.predict(drive(5.0), GAP_S).prev_T_curr
    )
    b.load_state(MotionFilter(MotionConfig()).save_state())
    np.testing.assert_array_equal(b.predict(drive(5.0), GAP_S).prev_T_curr, drive(5.0))
