"""Ego motion between surround frames from tracked features and predicted metric depth."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.errors import GeometryError
from driv3r.geometry.transforms import from_rotvec, invert, to_rotvec
from driv3r.tracking.feature_tracker import (
    Features,
    RigTracker,
    TrackerConfig,
    TrackerFrame,
    check_positive,
)
from driv3r.tracking.rig_pnp import find_inliers, ransac_hypotheses, refine_motion
from driv3r.types import Images, Prediction, Rig, Transform

PASSES = 2  # after a poor guess, track again in images drawn with the first answer
INITIAL_SPEEDS_MPS = (0.0, 3.0, 6.0, 10.0, 15.0, 22.0, 32.0)  # tried where nothing is known


@dataclass(frozen=True)
class OdometryConfig:
    """Which features are tracked, and when they support a motion.

    A motion needs `min_inliers` over the whole rig and `min_share` of the features tracked.
    """

    tracker: TrackerConfig = TrackerConfig()
    reprojection_px: float = 2.0
    min_inliers: int = 12
    min_share: float = 0.2
    seed: int = 0

    def __post_init__(self):
        numbers = dataclasses.asdict(self)
        del numbers["tracker"]
        check_positive("odometry", numbers, may_be_zero=("seed",))


class RigOdometry:
    """Ego motion from frame to frame. Cameras of `rig` have the size of the images given.

    Predictions may be of any other size that covers the same field of view.
    """

    def __init__(self, rig: Rig, config: OdometryConfig | None = None):
        self.config = config or OdometryConfig()
        self.tracker = RigTracker(rig, self.config.tracker)
        self._last: TrackerFrame | None = None
        self._rate: Float[np.ndarray, "6"] | None = None  # turn and shift a second

    def step(
        self,
        images: Images,
        prediction: Prediction,
        dt_s: float,
        prior: Transform | None,
    ) -> Transform | None:
        """prev_T_curr, which maps the current ego frame to the last frame's.

        None on the first frame, and where too few features support a motion: nothing in sight,
        no texture, no depth, or a guess too far off. The guess is `prior`, else the last answer's
        speed; with neither, INITIAL_SPEEDS_MPS are tried and the result of most inliers counts.
        GeometryError for what does not fit the rig.
        """
        _check(dt_s, prior)
        now = self.tracker.make_frame(images, prediction)
        last, rate = self._last, self._rate
        self._last, self._rate = now, None
        if last is None:
            return None
        views = np.flatnonzero(last.present & now.present)
        features = [self.tracker.find_features(last, int(view)) for view in views]
        guesses = _guess_motions(prior, rate, dt_s)
        answers = [self._solve(features, last, now, invert(guess)) for guess in guesses]
        ego_T_last, inlier_count = max(answers, key=lambda answer: answer[1])
        if inlier_count == 0:
            return None
        prev_T_curr = invert(ego_T_last)
        if dt_s > 0:
            self._rate = np.concatenate([to_rotvec(prev_T_curr), prev_T_curr[:3, 3]]) / dt_s
        return prev_T_curr

    def save_state(self) -> dict[str, np.ndarray]:
        """The last frame as arrays, exactly, so that a killed log can go on; empty before one."""
        if self._last is None:
            return {}
        arrays = self.tracker.pack(self._last)
        return arrays if self._rate is None else arrays | {"rate": self._rate}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave; GeometryError where it is of another rig."""
        self._last = self.tracker.unpack(arrays) if arrays else None
        self._rate = arrays.get("rate")

    def _solve(
        self,
        features: Sequence[Features],
        last: TrackerFrame,
        now: TrackerFrame,
        ego_T_last: Transform,
    ) -> tuple[Transform, int]:
        """The best supported motion near a guess, or of any one camera; inliers, 0 if too few."""
        config, rig = self.config, self.tracker.rig
        px = config.reprojection_px
        inliers = np.zeros(0, bool)
        for _ in range(PASSES):
            seen = self.tracker.track(features, last, now, ego_T_last)
            hypotheses = [ego_T_last, *ransac_hypotheses(rig, seen, px, config.seed)]
            inlier_count = [np.count_nonzero(find_inliers(rig, seen, T, px)) for T in hypotheses]
            ego_T_last = refine_motion(rig, seen, hypotheses[int(np.argmax(inlier_count))], px)
            inliers = find_inliers(rig, seen, ego_T_last, px)
            if inlier_count[0] >= 0.5 * len(inliers):  # the guess was near: nothing to gain
                break
        count = int(np.count_nonzero(inliers))
        enough = count >= max(config.min_inliers, config.min_share * len(inliers))
        return ego_T_last, count if enough else 0


def _check(dt_s: float, prior: Transform | None) -> None:
    if not math.isfinite(dt_s) or dt_s < 0:
        raise GeometryError(f"dt_s is {dt_s}; expected seconds since the last frame")
    if prior is not None and not np.isfinite(prior).all():
        raise GeometryError(f"prior is {prior}; expected a finite prev_T_curr, or None")


def _guess_motions(
    prior: Transform | None, rate: Float[np.ndarray, "6"] | None, dt_s: float
) -> list[Transform]:
    if prior is not None:
        return [prior]
    if rate is not None:
        return [from_rotvec(rate[:3] * dt_s, rate[3:] * dt_s)]
    ahead = np.array([1.0, 0.0, 0.0])
    return [from_rotvec(np.zeros(3), ahead * mps * dt_s) for mps in INITIAL_SPEEDS_MPS]
