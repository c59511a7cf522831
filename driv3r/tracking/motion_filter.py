"""Motion filter: a MAP estimate of the rig's motion from a prior and from tracked features.

The prior fuses the network's motion and the last one (a Kalman filter of constant rates; Thrun et
al. 2005, Probabilistic Robotics, section 3.2). Speed scales with depth, whose errors are common to
whole frames except on the ground near the car, where the cameras' heights fix them: so depth above
the ground or farther off counts little, turns and directions in full.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from driv3r.geometry.transforms import from_rotvec, to_rotvec
from driv3r.tracking.rig_pnp import RigObservations, information_matrix, refine_motion
from driv3r.types import Rig, Transform


@dataclass(frozen=True)
class MotionConfig:
    """Standard deviations of the prior and of the process.

    Of the network's motion: `speed_share` of the speed and `speed_mps` ahead, `slip_mps` across and
    up, `turn_dps` (degrees a second) about x, y, z. A rate changes within a second by
    `change_mps2` ahead, `sway_mps2` across and up, `twist_rps2` about x, y, z. Points higher or
    deeper than `ground_m`, or farther than `near_m`, have `above` times their sigma. `shared_sigma`
    is the relative error of speed that is common to all features.
    """

    speed_share: float = 0.3
    speed_mps: float = 0.3
    slip_mps: float = 0.1
    turn_dps: tuple[float, float, float] = (0.3, 0.5, 0.7)
    change_mps2: float = 1.0
    sway_mps2: float = 0.3
    twist_rps2: tuple[float, float, float] = (0.1, 0.1, 0.3)
    ground_m: float = 0.25
    near_m: float = 15.0
    above: float = 5.0
    shared_sigma: float = 0.03
    reprojection_px: float = 4.0


@dataclass(frozen=True, eq=False)
class GaussianPose:
    """A motion and its inverse covariance (turn in rad, shift in m)."""

    prev_T_curr: Transform
    information: Float[np.ndarray, "6 6"]


class MotionFilter:
    """Follows the rates of turn and shift from frame to frame."""

    def __init__(self, config: MotionConfig):
        self.config = config
        self._rate: Float[np.ndarray, "6"] | None = None
        self._covariance: Float[np.ndarray, "6 6"] = np.zeros((6, 6))

    def predict(self, prev_T_curr: Transform, dt_s: float) -> GaussianPose:
        """The prior: the network's motion and the last rate, fused by information."""
        config = self.config
        ahead_m = config.speed_share * abs(prev_T_curr[0, 3]) + config.speed_mps * dt_s
        slip_m = config.slip_mps * dt_s
        turns = np.radians(config.turn_dps) * dt_s
        information = np.diag(1.0 / np.array([*turns, ahead_m, slip_m, slip_m]) ** 2)
        if self._rate is None:
            return GaussianPose(prev_T_curr, information)
        sway = config.sway_mps2
        changes = np.array([*config.twist_rps2, config.change_mps2, sway, sway]) * dt_s
        constant_rate = np.linalg.inv((self._covariance + np.diag(changes**2)) * dt_s**2)
        both = information + constant_rate
        weighted = information @ _to_vector(prev_T_curr) + constant_rate @ (self._rate * dt_s)
        mean = np.linalg.solve(both, weighted)
        return GaussianPose(from_rotvec(mean[:3], mean[3:]), both)

    def update(self, rig: Rig, seen: RigObservations, prior: GaussianPose) -> GaussianPose:
        """The MAP motion; `seen` are this frame's points observed in the last images."""
        config, points = self.config, seen.points_src
        far = np.linalg.norm(points[:, :2], axis=1) > config.near_m
        above = far | (np.abs(points[:, 2]) > config.ground_m)
        seen = replace(seen, sigma=seen.sigma * np.where(above, config.above, 1.0))
        px, information = config.reprojection_px, prior.information
        prev_T_curr = refine_motion(rig, seen, prior.prev_T_curr, px, information=information)
        information = information + information_matrix(rig, seen, prev_T_curr, px)
        return GaussianPose(prev_T_curr, information)

    def commit(self, found: GaussianPose, dt_s: float) -> None:
        """Commit a motion estimate as the last rate."""
        rate = _to_vector(found.prev_T_curr) / dt_s
        slack = np.zeros((6, 6))
        slack[3, 3] = (self.config.shared_sigma * rate[3]) ** 2
        self._rate = rate
        self._covariance = np.linalg.inv(found.information) / dt_s**2 + slack

    def save_state(self) -> dict[str, np.ndarray]:
        """The last rates as arrays; empty before any."""
        return {} if self._rate is None else {"rate": self._rate, "covariance": self._covariance}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        self._rate = arrays.get("rate")
        self._covariance = arrays.get("covariance", np.zeros((6, 6)))


def _to_vector(motion: Transform) -> Float[np.ndarray, "6"]:
    return np.concatenate([to_rotvec(motion), motion[:3, 3]])
