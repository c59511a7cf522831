"""Depth of the fused 4D model, seen by the log's own cameras, against LiDAR."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.metrics.motion import label_motion
from driv3r.geometry.transforms import apply
from driv3r.store.reconstruction import Reconstruction
from driv3r.types import Boxes, Camera, Score, Transform

PROTOCOL, SUBJECT = "rendered", "fusion"
FARTHEST_M = 50.0  # of what the static map is made of
DELTA = 1.25
CARD = {
    "protocol": PROTOCOL,
    "truth": f"LiDAR points within {FARTHEST_M:g} m in the log's images, without those in boxes "
    "that move or of which that is unknown",
    "depth": "of the static map and the objects, splatted into the camera where the log's own path "
    "has it, at its own time",
    "subjects": "the network's own depth at the same pixels; both are scored where both are known",
    "coverage": "share of the points whose pixel the fused model has",
}


@dataclass(frozen=True, eq=False)
class _SeenView:
    """A view's standing LiDAR points, and the network's depth at their pixels."""

    camera: Camera
    world_T_cam: Transform
    time_us: int
    column: np.ndarray
    row: np.ndarray
    true_m: Float[np.ndarray, "n"]
    own_m: Float[np.ndarray, "n"]


class RenderedScorer:
    """Collects the views of a log; `scores` renders a reconstruction into each."""

    def __init__(self, subject: str):
        self.subject = subject
        self._views: list[_SeenView] = []

    def add(
        self,
        truth: ViewTruth,
        camera: Camera,
        true_world_T_cam: Transform,
        own_world_T_cam: Transform,
        time_us: int,
        boxes: Boxes | None,
        depth_m: Float[np.ndarray, "h w"],
    ) -> None:
        """One view: its LiDAR points, where truth and the log's own path have it, its depth."""
        kept = truth.depth_m <= FARTHEST_M
        if boxes is not None:
            points_world = apply(true_world_T_cam, truth.lift(camera))
            moves, known = label_motion(points_world, boxes)
            kept &= ~moves & known
        if not kept.any() or not np.isfinite(own_world_T_cam).all():
            return
        last = np.subtract(truth.size_hw[::-1], 1)
        column, row = np.minimum(truth.uv[kept], last).astype(np.int32).T
        true_m, own_m = truth.depth_m[kept], depth_m[row, column].astype(np.float64)
        self._views.append(
            _SeenView(camera, own_world_T_cam, time_us, column, row, true_m, own_m)
        )  # fmt: skip

    def scores(self, fused: Reconstruction) -> list[Score]:
        """Figures of both at the pixels that both have; none without any."""
        rendered = []
        for view in self._views:
            depth_m = fused.camera(view.camera, view.world_T_cam, view.time_us).depth_m
            rendered.append(depth_m[view.row, view.column].astype(np.float64))
        if not rendered:
            return []
        fused_m = np.concatenate(rendered)
        true_m, own_m = (
            np.concatenate([getattr(view, name) for view in self._views])
            for name in ("true_m", "own_m")
        )
        known = np.isfinite(fused_m) & np.isfinite(own_m)
        scores = [_score("coverage", known.mean(), SUBJECT, len(known))]
        for subject, depth_m in ((SUBJECT, fused_m), (self.subject, own_m)):
            scores += _compare(depth_m[known], true_m[known], subject)
        return scores


def _compare(
    depth_m: Float[np.ndarray, "n"], true_m: Float[np.ndarray, "n"], subject: str
) -> list[Score]:
    if not len(depth_m):
        return []
    relative = np.abs(depth_m - true_m) / true_m
    ratio = np.maximum(depth_m / true_m, true_m / depth_m)
    n = len(depth_m)
    return [
        _score("depth_abs_rel", relative.mean(), subject, n),
        _score("depth_error_median", np.median(np.abs(depth_m - true_m)), subject, n, "m"),
        _score("depth_delta1", (ratio < DELTA).mean(), subject, n),
    ]


def _score(metric: str, value: float, subject: str, n: int, unit: str = "") -> Score:
    return Score(metric, float(value), unit, n, PROTOCOL, subject, "metric")
