"""Track-based refinement: ego motion and depth corrected by features tracked in finer images.

Features of static surfaces are tracked into each camera's last image. They give the rig's motion
and, by triangulation, their depth; a Gaussian process spreads the measured depth errors over the
image (cf. CNN-SLAM, Tateno et al. 2017).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32

from driv3r.geometry.cameras import project
from driv3r.tracking.feature_tracker import Features, RigTracker, TrackerConfig, TrackerFrame
from driv3r.tracking.gp_depth_correction import ErrorModel, PixelSet, gp_regress
from driv3r.tracking.motion_filter import MotionConfig, MotionFilter
from driv3r.tracking.rig_pnp import RigObservations
from driv3r.tracking.triangulation import (
    NEAREST_M,
    NO_LANDMARKS,
    DepthErrors,
    Landmarks,
    TriangulationConfig,
    best_per_cell,
    propagate,
    prune,
    reobserve,
    triangulate,
    triangulated_landmarks,
)
from driv3r.types import Camera, Images, Prediction, Rig, Transform

PASSES = 2  # tracked again with the first answer
MIN_MEASURED = 3  # of a camera
STEP = 2  # pixels between places where the error is reckoned


@dataclass(frozen=True)
class RefineConfig:
    """Configuration of all parts. The Gaussian process' variance reduction counts
    `variance_discount` times.

    `shared_sigma` is the error that all of a frame's triangulated depths share, as speed's is.
    """

    tracker: TrackerConfig = TrackerConfig(
        max_features=300, quality=0.0005, gap_px=8, max_depth_m=120.0, max_sigma=5.0
    )
    motion: MotionConfig = MotionConfig()
    triangulation: TriangulationConfig = TriangulationConfig()
    errors: ErrorModel = ErrorModel()
    shared_sigma: float = 0.05
    variance_discount: float = 0.7


class TrackRefiner:
    """Refines frame after frame. Cameras of `rig` have the size of the images given.

    Predictions may be of any other size that covers the same field of view.
    """

    def __init__(self, rig: Rig, config: RefineConfig | None = None):
        self.config = config or RefineConfig()
        self.tracker = RigTracker(rig, self.config.tracker)
        self.motion = MotionFilter(self.config.motion)
        self._last: TrackerFrame | None = None
        self._landmarks: Landmarks = NO_LANDMARKS

    def step(
        self,
        images: Images,
        prediction: Prediction,
        dt_s: float,
        known_prev_T_curr: Transform | None = None,
    ) -> Prediction:
        """The prediction with refined depth, sigma and ego motion; a log's first frame unchanged.

        A known motion is not estimated. GeometryError for inputs that do not fit the rig.
        """
        now = self.tracker.make_frame(images, prediction)
        last, self._last = self._last, now
        if last is None or prediction.prev_T_curr is None or dt_s <= 0:
            self._landmarks = NO_LANDMARKS  # where they are now is not known
            return prediction
        features = self._find_features(now, last)
        if known_prev_T_curr is None:
            prev_T_curr = self._find_motion(features, now, last, prediction.prev_T_curr, dt_s)
            prediction = replace(prediction, prev_T_curr=prev_T_curr)
        else:
            prev_T_curr = known_prev_T_curr
        observations = self.tracker.track(features, now, last, prev_T_curr)
        return self._correct_depth(prediction, now, observations, prev_T_curr, dt_s)

    def save_state(self) -> dict[str, np.ndarray]:
        """What the next frame needs as arrays, exactly; empty before a frame."""
        if self._last is None:
            return {}
        landmarks = {
            "landmark_points": self._landmarks.points_ego,
            "landmark_noise": self._landmarks.noise,
        }
        return self.tracker.pack(self._last) | self.motion.save_state() | landmarks

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`; GeometryError where it is of another rig."""
        self._last = self.tracker.unpack(arrays) if arrays else None
        self.motion.load_state(arrays)
        landmarks = (
            Landmarks(arrays["landmark_points"], arrays["landmark_noise"])
            if arrays
            else NO_LANDMARKS
        )
        self._landmarks = landmarks

    def _find_features(self, now: TrackerFrame, last: TrackerFrame) -> list[Features]:
        """Separately of the ground and of the rest: weak ground features determine the speed."""
        features = []
        for view in map(int, np.flatnonzero(last.present & now.present)):
            heights_m = self.tracker.heights_m(now, view)
            ground = np.abs(heights_m) < self.config.motion.ground_m
            features.append(self.tracker.find_features(now, view, (ground, ~ground)))
        return features

    def _find_motion(
        self,
        features: list[Features],
        now: TrackerFrame,
        last: TrackerFrame,
        prev_T_curr: Transform,
        dt_s: float,
    ) -> Transform:
        """prev_T_curr by the features and the prior."""
        prior = found = self.motion.predict(prev_T_curr, dt_s)
        for _ in range(PASSES):
            observations = self.tracker.track(features, now, last, found.prev_T_curr)
            found = self.motion.update(self.tracker.rig, observations, prior)
        self.motion.commit(found, dt_s)
        return found.prev_T_curr

    def _correct_depth(
        self,
        prediction: Prediction,
        now: TrackerFrame,
        observations: RigObservations,
        prev_T_curr: Transform,
        dt_s: float,
    ) -> Prediction:
        """Corrected depth and sigma of all cameras; new landmarks are kept."""
        config = self.config.triangulation
        landmarks = propagate(self._landmarks, prev_T_curr, dt_s, config)
        fresh: list[Landmarks] = []
        depth_m, sigma = prediction.depth_m.copy(), prediction.sigma.copy()
        for view in map(int, np.flatnonzero(now.present)):
            camera = self.tracker.rig.cameras[view]
            new = triangulate(camera, observations.of_camera(view), prev_T_curr, config)
            old = reobserve(camera, landmarks, now, view, config)
            best = best_per_cell(camera, (new, old), config.cells)
            if len(best.error) >= MIN_MEASURED:
                depth_m[view], sigma[view] = self._correct_camera(
                    camera, best, now.depth_m[view], now.sigma[view]
                )
            fresh.append(triangulated_landmarks(camera, new))
        self._landmarks = prune([*fresh, landmarks], config)
        return replace(prediction, depth_m=depth_m, sigma=sigma)

    def _correct_camera(
        self,
        camera: Camera,
        measured: DepthErrors,
        depth_m: Float32[np.ndarray, "h w"],
        sigma: Float32[np.ndarray, "h w"],
    ) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
        """Depth and sigma after Gaussian process regression of the measured errors."""
        h, w = depth_m.shape
        uv, there_m, _ = project(camera, measured.points_cam)
        uv = uv * np.array([w / camera.size_hw[1], h / camera.size_hw[0]])
        where = PixelSet(uv / w, np.log(there_m), measured.sigma)
        rows, columns = np.mgrid[:h:STEP, :w:STEP].reshape(2, -1)
        middles = (np.stack([columns, rows], 1) + 0.5 * STEP) / w
        log_depth = np.log(_average_blocks(depth_m)).astype(np.float64)
        queries = PixelSet(middles, log_depth.ravel(), np.ones(len(rows)))
        maps = gp_regress(
            self.config.errors,
            where,
            measured.error,
            measured.noise,
            self.config.shared_sigma,
            queries,
        )
        coarse_hw = (-(-h // STEP), -(-w // STEP))
        by_sigma, left = (cv2.resize(x.reshape(coarse_hw).astype(np.float32), (w, h)) for x in maps)
        shrink = np.sqrt(1 - np.float32(self.config.variance_discount) * (1 - left))
        return depth_m * np.exp(by_sigma * sigma), sigma * shrink


def _average_blocks(depth_m: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "y x"]:
    """Depth at the middles of STEP x STEP blocks: the mean inverse depth, affine on planes.

    1 m where a whole block has none: what is NaN stays so, and must not spread.
    """
    h, w = depth_m.shape
    known = np.isfinite(depth_m)
    inverse = np.where(known, 1 / np.maximum(np.nan_to_num(depth_m, nan=1.0), NEAREST_M), 0.0)
    pad = ((0, -h % STEP), (0, -w % STEP))
    blocks = [np.pad(a.astype(np.float32), pad) for a in (inverse, known)]
    total, count = (
        a.reshape(a.shape[0] // STEP, STEP, a.shape[1] // STEP, STEP).sum((1, 3)) for a in blocks
    )
    return np.where(count > 0, count / np.where(count > 0, total, 1.0), 1.0).astype(np.float32)
