"""Metric scale of a system's predictions, from the rig and its known motion."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.alignment.rig_scale import RigPoints, ScaleConstraint, align_rig
from driv3r.alignment.spanning_tree import fit_poses
from driv3r.errors import GeometryError
from driv3r.geometry.cameras import lift_depth
from driv3r.geometry.ground_plane import predict_ground_plane
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Rig

ROAD_M = (3.0, 15.0)  # where the road is seen well and is flat
MEDIAN_FRAMES = 15  # frames that the unit of length is a median over
MOVED_M = 0.5
MAX_POSE_ERROR = 0.3  # of the cameras' spread: a rig placed worse shows no unit
CONSTRAINT_SIGMA = 0.1  # of the logarithm of what road or motion tell of one camera


@dataclass(frozen=True, eq=False)
class UnscaledPrediction:
    """A system's prediction for one surround frame in an arbitrary unit per camera.

    `last_T_cam` is each camera's motion since its last image, NaN where there is none. With
    `shared_scale` all cameras share one unit, and `ref_T_cam` are their poses in one frame, NaN
    where unknown. A camera without input has NaN depth.
    """

    depth: Float[np.ndarray, "v h w"]
    confidence: Float[np.ndarray, "v h w"]
    last_T_cam: Float[np.ndarray, "v 4 4"]
    shared_scale: bool = False
    ref_T_cam: Float[np.ndarray, "v 4 4"] | None = None


class ScaleEstimator:
    """Metres per unit of a system's predictions, for each camera.

    From the given motion of the cameras where it exceeds MOVED_M; from the rig's baselines where a
    system places all cameras in one frame; from the cameras' heights over the flat road. All are
    medians over the last frames, robust to single bad frames. The scale is NaN where none applies.
    """

    source = (
        "similarity made metric per camera: by the given ego motion where there is one and the car "
        "moves, else by the rig's baselines where all cameras are placed in one frame, else by the "
        "cameras' heights over the flat road"
    )

    def __init__(self, rig: Rig):
        self.rig = rig
        self.road_m = predict_ground_plane(rig)
        near, far = ROAD_M
        self.on_road = (self.road_m > near) & (self.road_m < far)
        self.ego_T_cam = np.stack([camera.ego_T_cam for camera in rig.cameras])
        self.ground_scales: list[deque[float]] = [deque(maxlen=MEDIAN_FRAMES) for _ in rig.cameras]
        self.odometry_scales: list[deque[float]] = [
            deque(maxlen=MEDIAN_FRAMES) for _ in rig.cameras
        ]
        self.baseline_scales: deque[float] = deque(maxlen=MEDIAN_FRAMES)
        self.world_T_last: Float[np.ndarray, "v 4 4"] | None = None

    def update(
        self, raw: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> Float[np.ndarray, "v"]:
        """Metres per unit after one more frame; NaN for cameras of unknown scale."""
        self._update_from_ground(raw)
        self._update_from_baselines(raw)
        if world_T_cam is not None and self.world_T_last is not None:
            self._update_from_odometry(raw, invert(self.world_T_last) @ world_T_cam)
        metres = np.exp(self._conclude(raw, world_T_cam))
        self.world_T_last = world_T_cam
        return metres

    def _update_from_ground(self, raw: UnscaledPrediction) -> None:
        for v, depth in enumerate(raw.depth):
            seen = self.on_road[v] & np.isfinite(depth) & (depth > 0)
            if seen.sum() > 50:
                self.ground_scales[v].append(
                    float(np.median(np.log(self.road_m[v][seen] / depth[seen])))
                )

    def _update_from_baselines(self, raw: UnscaledPrediction) -> None:
        """Scale of the rig's baselines, where the predicted poses fit the rig."""
        if raw.ref_T_cam is None:
            return
        here = np.isfinite(raw.ref_T_cam).all((1, 2))
        if here.sum() < 3:
            return
        known, found = self.ego_T_cam[here], raw.ref_T_cam[here]
        try:
            scale, ego_T_ref = fit_poses(known, found)
        except GeometryError:
            return
        off_m = apply(ego_T_ref, scale * found[:, :3, 3]) - known[:, :3, 3]
        spread_m = known[:, :3, 3] - known[:, :3, 3].mean(0)
        if np.linalg.norm(off_m) < MAX_POSE_ERROR * np.linalg.norm(spread_m):
            self.baseline_scales.append(float(np.log(scale)))

    def _update_from_odometry(
        self, raw: UnscaledPrediction, last_T_cam: Float[np.ndarray, "v 4 4"]
    ) -> None:
        lengths_m = np.linalg.norm(last_T_cam[:, :3, 3], axis=-1)
        raw_lengths = np.linalg.norm(raw.last_T_cam[:, :3, 3], axis=-1)
        for v in np.flatnonzero((lengths_m > MOVED_M) & (raw_lengths > 1e-6)):
            self.odometry_scales[v].append(float(np.log(lengths_m[v] / raw_lengths[v])))

    def log_scale(self) -> Float[np.ndarray, "v"]:
        """Log of the metres in each camera's unit; NaN where unknown."""
        known = [
            odometry or ground
            for odometry, ground in zip(self.odometry_scales, self.ground_scales, strict=True)
        ]
        return np.array([np.median(t) if t else np.nan for t in known])

    def _conclude(
        self, raw: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> Float[np.ndarray, "v"]:
        """Log of the metres in each unit: a camera's own, or the one that all share; else NaN."""
        logs = self.log_scale()
        if not raw.shared_scale:
            return logs
        global_scale = float(np.nanmedian(logs)) if np.isfinite(logs).any() else np.nan
        if self.baseline_scales and not any(self.odometry_scales):
            global_scale = float(np.median(self.baseline_scales))
        return np.full(len(logs), global_scale)

    def save_state(self) -> dict[str, np.ndarray]:
        """The measurements so far."""
        state = {
            f"{name}_{v}": np.array(values)
            for name, cameras in (
                ("ground", self.ground_scales),
                ("odometry", self.odometry_scales),
            )
            for v, values in enumerate(cameras)
        } | {"baseline": np.array(self.baseline_scales)}
        return state if self.world_T_last is None else state | {"world_T_last": self.world_T_last}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        self.world_T_last = arrays.get("world_T_last")
        self.baseline_scales.clear()
        self.baseline_scales.extend(arrays.get("baseline", np.zeros(0)).tolist())
        for name, cameras in (("ground", self.ground_scales), ("odometry", self.odometry_scales)):
            for v, values in enumerate(cameras):
                values.clear()
                values.extend(arrays.get(f"{name}_{v}", np.zeros(0)).tolist())


class RigScaleEstimator(ScaleEstimator):
    """Also constrains the units of overlapping cameras (after Driv3R's alignment).

    With given poses every camera has its pose at its own time, and its known baseline determines
    the unit (align_rig). Without them all cameras are assumed simultaneous.
    """

    source = f"{ScaleEstimator.source}; cameras that overlap share it"

    def _conclude(
        self, raw: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> Float[np.ndarray, "v"]:
        logs, known = super()._conclude(raw, world_T_cam), self.log_scale()
        constraints = [
            ScaleConstraint(int(v), None, float(known[v]), CONSTRAINT_SIGMA)
            for v in np.flatnonzero(np.isfinite(known))
        ]
        try:
            unit_m = align_rig(self._gather(raw, world_T_cam), others=constraints).unit_m
        except GeometryError:  # nothing ties some camera to metres: each stays by itself
            return logs
        return np.where(np.isfinite(unit_m), np.log(unit_m), logs)

    def _gather(
        self, raw: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> RigPoints:
        """The frame's points, in the cameras of the last frame where its poses are known."""
        cameras = self.rig.cameras
        K = np.stack([camera.K for camera in cameras])
        points = np.stack(
            [lift_depth(c, d, np.eye(4)) for c, d in zip(cameras, raw.depth, strict=True)]
        )
        if world_T_cam is None or self.world_T_last is None:
            return RigPoints(points[None], raw.confidence[None], K, self.ego_T_cam[None])
        in_last = [apply(T, p) for T, p in zip(raw.last_T_cam, points, strict=True)]
        unknown = np.full_like(points, np.nan)
        return RigPoints(
            np.stack([unknown, np.stack(in_last)]),
            np.stack([np.zeros_like(raw.confidence), raw.confidence]),
            K,
            np.stack([self.world_T_last, world_T_cam]),
        )
