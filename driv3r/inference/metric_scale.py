"""Metres per unit of a system's answers, from what is known of the rig and of its motion."""

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
REMEMBERED = 15  # frames that the unit of length is a median over
MOVED_M = 0.5
MISPLACED = 0.3  # of the cameras' spread: a rig placed worse shows no unit
TOLD_SIGMA = 0.1  # of the logarithm of what road or motion tell of one camera


@dataclass(frozen=True, eq=False)
class UnscaledPrediction:
    """A system's answer for one surround frame in units of its own, one unit a camera.

    `last_T_cam` is each camera's motion since its last image, NaN where there is none. With
    `shared_scale` all cameras share their unit of length, and `ref_T_cam` may tell where they stand
    in one frame, NaN where that is not known. A camera without input has NaN depth.
    """

    depth: Float[np.ndarray, "v h w"]
    confidence: Float[np.ndarray, "v h w"]
    last_T_cam: Float[np.ndarray, "v 4 4"]
    shared_scale: bool = False
    ref_T_cam: Float[np.ndarray, "v 4 4"] | None = None


class ScaleEstimator:
    """Metres per unit of a system's answers, for each camera.

    From the known motion of the cameras where that is given and longer than MOVED_M; from the rig's
    baselines where a system places all cameras in one frame; from the road where it is flat under
    the cameras, whose heights the rig knows. All are medians over the last frames, so that one bad
    frame changes little. A camera of which none of them tells has no scale: NaN, never a guess.
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
        self.road: list[deque[float]] = [deque(maxlen=REMEMBERED) for _ in rig.cameras]
        self.driven: list[deque[float]] = [deque(maxlen=REMEMBERED) for _ in rig.cameras]
        self.apart: deque[float] = deque(maxlen=REMEMBERED)
        self.world_T_last: Float[np.ndarray, "v 4 4"] | None = None

    def measure(
        self, sight: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> Float[np.ndarray, "v"]:
        """Metres per unit after one more frame; NaN for cameras of which nothing has told yet."""
        self._update_from_ground(sight)
        self._update_from_baselines(sight)
        if world_T_cam is not None and self.world_T_last is not None:
            self._update_from_odometry(sight, invert(self.world_T_last) @ world_T_cam)
        metres = np.exp(self._conclude(sight, world_T_cam))
        self.world_T_last = world_T_cam
        return metres

    def _update_from_ground(self, sight: UnscaledPrediction) -> None:
        for v, depth in enumerate(sight.depth):
            seen = self.on_road[v] & np.isfinite(depth) & (depth > 0)
            if seen.sum() > 50:
                self.road[v].append(float(np.median(np.log(self.road_m[v][seen] / depth[seen]))))

    def _update_from_baselines(self, sight: UnscaledPrediction) -> None:
        """Cameras stand as far apart as the rig says, if they are placed about as it says."""
        if sight.ref_T_cam is None:
            return
        here = np.isfinite(sight.ref_T_cam).all((1, 2))
        if here.sum() < 3:
            return
        known, found = self.ego_T_cam[here], sight.ref_T_cam[here]
        try:
            scale, ego_T_ref = fit_poses(known, found)
        except GeometryError:
            return
        off_m = apply(ego_T_ref, scale * found[:, :3, 3]) - known[:, :3, 3]
        spread_m = known[:, :3, 3] - known[:, :3, 3].mean(0)
        if np.linalg.norm(off_m) < MISPLACED * np.linalg.norm(spread_m):
            self.apart.append(float(np.log(scale)))

    def _update_from_odometry(
        self, sight: UnscaledPrediction, last_T_cam: Float[np.ndarray, "v 4 4"]
    ) -> None:
        lengths_m = np.linalg.norm(last_T_cam[:, :3, 3], axis=-1)
        raw = np.linalg.norm(sight.last_T_cam[:, :3, 3], axis=-1)
        for v in np.flatnonzero((lengths_m > MOVED_M) & (raw > 1e-6)):
            self.driven[v].append(float(np.log(lengths_m[v] / raw[v])))

    def tell(self) -> Float[np.ndarray, "v"]:
        """Log of the metres in each camera's unit; NaN where nothing has told of it."""
        told = [driven or road for driven, road in zip(self.driven, self.road, strict=True)]
        return np.array([np.median(t) if t else np.nan for t in told])

    def _conclude(
        self, sight: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> Float[np.ndarray, "v"]:
        """Log of the metres in each unit: a camera's own, or the one that all share; else NaN."""
        logs = self.tell()
        if not sight.shared_scale:
            return logs
        everyone = float(np.nanmedian(logs)) if np.isfinite(logs).any() else np.nan
        if self.apart and not any(self.driven):
            everyone = float(np.median(self.apart))
        return np.full(len(logs), everyone)

    def save_state(self) -> dict[str, np.ndarray]:
        """What was measured so far."""
        state = {
            f"{name}_{v}": np.array(values)
            for name, cameras in (("road", self.road), ("driven", self.driven))
            for v, values in enumerate(cameras)
        } | {"apart": np.array(self.apart)}
        return state if self.world_T_last is None else state | {"world_T_last": self.world_T_last}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave."""
        self.world_T_last = arrays.get("world_T_last")
        self.apart.clear()
        self.apart.extend(arrays.get("apart", np.zeros(0)).tolist())
        for name, cameras in (("road", self.road), ("driven", self.driven)):
            for v, values in enumerate(cameras):
                values.clear()
                values.extend(arrays.get(f"{name}_{v}", np.zeros(0)).tolist())


class RigScaleEstimator(ScaleEstimator):
    """Also ties the units of cameras that see the same things: Driv3R's alignment, done right.

    With given poses every camera stands where it was at its own time, and its known baseline shows
    the unit (align_rig). Without them all cameras are taken to look at one instant.
    """

    source = f"{ScaleEstimator.source}; cameras that overlap share it"

    def _conclude(
        self, sight: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> Float[np.ndarray, "v"]:
        logs, told = super()._conclude(sight, world_T_cam), self.tell()
        clues = [
            ScaleConstraint(int(v), None, float(told[v]), TOLD_SIGMA)
            for v in np.flatnonzero(np.isfinite(told))
        ]
        try:
            unit_m = align_rig(self._gather(sight, world_T_cam), others=clues).unit_m
        except GeometryError:  # nothing ties some camera to metres: each stays by itself
            return logs
        return np.where(np.isfinite(unit_m), np.log(unit_m), logs)

    def _gather(
        self, sight: UnscaledPrediction, world_T_cam: Float[np.ndarray, "v 4 4"] | None
    ) -> RigPoints:
        """The frame's points, in the cameras of the last frame where its poses are known."""
        cameras = self.rig.cameras
        K = np.stack([camera.K for camera in cameras])
        points = np.stack(
            [lift_depth(c, d, np.eye(4)) for c, d in zip(cameras, sight.depth, strict=True)]
        )
        if world_T_cam is None or self.world_T_last is None:
            return RigPoints(points[None], sight.confidence[None], K, self.ego_T_cam[None])
        in_last = [apply(T, p) for T, p in zip(sight.last_T_cam, points, strict=True)]
        unknown = np.full_like(points, np.nan)
        return RigPoints(
            np.stack([unknown, np.stack(in_last)]),
            np.stack([np.zeros_like(sight.confidence), sight.confidence]),
            K,
            np.stack([self.world_T_last, world_T_cam]),
        )
