"""Figures of a log: depth with baselines and floor, ego path, motion, map and objects."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from driv3r.evaluation.baselines import PositionalPrior
from driv3r.evaluation.fused_evaluator import FusedScorer
from driv3r.evaluation.metrics import light
from driv3r.evaluation.metrics.depth import DepthScorer, DepthTable, floor_depth
from driv3r.evaluation.metrics.ego import score_ego, without_metres
from driv3r.evaluation.metrics.lidar_projection import ViewTruth, project_annotated, project_sweep
from driv3r.evaluation.metrics.protocol import choose_protocol
from driv3r.evaluation.records import EGO, PATH
from driv3r.evaluation.stored_frames import StoredFrame, find_gaps
from driv3r.geometry.ego_path import EgoPath
from driv3r.geometry.ground_plane import predict_ground_plane
from driv3r.geometry.transforms import invert
from driv3r.store.reconstruction import Reconstruction
from driv3r.types import EgoPoses, FusionSource, Repair, Rig, Scale, Score, Transform

FLOOR = "floor"
UNSCORED = Repair("lidar", "not scored against: the log is up to scale")


@dataclass(frozen=True, eq=False)
class EvalPart:
    """The figures of one protocol, as the store keeps them."""

    protocol: str
    card: dict[str, Any]
    scores: tuple[Score, ...]
    per_view: dict[str, np.ndarray]
    lost: dict[str, int]
    dims: tuple[str, ...] = ("scored_frame", "camera")


class LogScorer:
    """Collects a log's frames; `finish` gives the figures. `rig` is the working one.

    Figures of `generated` data say so on their cards. `source` is what the static map is of. What
    is not of metric `scale` is not held against LiDAR, and the path only after a fit of scale.
    """

    def __init__(
        self,
        protocol: str,
        rig: Rig,
        subject: str,
        ego_poses: EgoPoses,
        generated: bool = False,
        source: FusionSource = "cameras",
        scale: Scale = "metric",
    ):
        self.protocol, self.rig = choose_protocol(protocol), rig
        self.data = {"data": "generated, no recording"} if generated else {}
        self.subject, self.ego_poses, self.metric = subject, ego_poses, scale == "metric"
        self.fixed = {
            "positional-prior": PositionalPrior.load().predict(rig),
            "ground-plane": predict_ground_plane(rig),
        }
        names = [camera.name for camera in rig.cameras]
        self.depth = {
            who: DepthScorer(self.protocol, names, who) for who in (subject, *self.fixed, FLOOR)
        }
        self.truths: dict[int, ViewTruth] = {}
        self.brightness: dict[tuple[int, int], float] = {}
        self.repairs: list[tuple[Repair, ...]] = []
        self.time_us: list[int] = []
        self.true: list[Transform] = []
        self.path = EgoPath()
        self.predicted: list[tuple[Transform, bool]] = []  # and whether it was only extrapolated
        self.used: list[tuple[Transform, bool]] = []
        self.fused = FusedScorer(rig, subject, source)

    def add(self, stored: StoredFrame) -> None:
        """Score one frame; `truths` then holds the true points of its depth by view."""
        frame, record = stored.frame, stored.record
        prediction = record.prediction
        sweep = frame.sweep if self.metric else None
        unscored = () if sweep is frame.sweep else (UNSCORED,)
        gaps = find_gaps(prediction, record.extrapolated)
        self.repairs.append((*frame.repairs, *gaps, *unscored))
        self._add_ego(stored)
        self.truths = {}
        if self.protocol.keyframes_only and not frame.is_keyframe:
            return
        if sweep is not None:
            self.fused.add(stored, sweep)
        for view, (shot, camera) in enumerate(zip(frame.views, self.rig.cameras, strict=True)):
            if shot is None:
                continue
            truth = None
            if sweep is not None:
                placing = camera, shot.world_T_cam, self.protocol, stored.shutters[view]
                truth = project_sweep(sweep, *placing)
                self.fused.add_view(stored, view, truth)
            if self.protocol.truth == "annotated":
                truth = None
                if self.metric and shot.annotated_cam is not None:
                    truth = project_annotated(shot.annotated_cam, camera, self.protocol)
            if truth is not None:
                self.truths[view] = truth
                self._add_depth(stored, view, truth)

    def _add_depth(self, stored: StoredFrame, view: int, truth: ViewTruth) -> None:
        prediction, image = stored.record.prediction, stored.images[view]
        if image is not None:
            self.brightness[stored.index, view] = light.measure_brightness(image)
        key = (stored.index, view, truth)
        self.depth[self.subject].add(*key, prediction.depth_m[view], prediction.sigma[view])
        for who, depth_m in self.fixed.items():
            self.depth[who].add(*key, depth_m[view])
        self.depth[FLOOR].add(*key, floor_depth(truth))

    def _add_ego(self, stored: StoredFrame) -> None:
        frame, record = stored.frame, stored.record
        self.time_us.append(frame.time_us)
        self.true.append(frame.world_T_ego)
        self.used.append((record.world_T_ego, record.extrapolated))
        prev_T_curr = record.prediction.prev_T_curr
        self.predicted.append(self.path.advance(frame.time_us, frame.world_T_ego, prev_T_curr))

    def finish(self, fused: Reconstruction | None) -> tuple[EvalPart, ...]:
        """Every figure; depth and map need LiDAR, all else of the fused annotated boxes, too.

        `fused` is None where a log holds no reconstruction.
        """
        tables = {who: scorer.table() for who, scorer in self.depth.items()}
        parts = []
        if len(tables[self.subject].frames):
            parts.append(
                EvalPart(
                    self.protocol.name,
                    self.protocol.card() | self.data,
                    tuple(s for scorer in self.depth.values() for s in scorer.scores()),
                    tables[self.subject].figures["metric"] | {"n": tables[self.subject].n},
                    tables[self.subject].lost,
                )
            )
            parts += self._finish_light(tables[self.subject])
        return (*parts, *self._finish_fused(fused), self._finish_ego())

    def _finish_light(self, table: DepthTable) -> list[EvalPart]:
        """Depth errors by the brightness of images, and that of each."""
        views = range(table.n.shape[1])
        brightness = np.array(
            [[self.brightness.get((int(f), view), np.nan) for view in views] for f in table.frames]
        )
        scores = tuple(light.score_by_light(table, brightness))
        per_view = {"brightness": brightness}
        card = light.CARD | self.data
        return [EvalPart(light.PROTOCOL, card, scores, per_view, {})] if scores else []

    def _finish_fused(self, fused: Reconstruction | None) -> list[EvalPart]:
        """Every protocol of the 4D fusion that has figures."""
        found = self.fused.finish(fused, np.stack([pose for pose, _ in self.used]))
        return [
            EvalPart(name, card | self.data, tuple(scores), {}, {})
            for name, (card, scores) in found.items()
            if scores
        ]

    def _ego_paths(self) -> dict[str, list[tuple[Transform, bool]]]:
        """The network's own path, and the odometry's where that was used."""
        paths = {self.subject: self.predicted}
        return paths | ({"odometry": self.used} if self.ego_poses == "odometry" else {})

    def _finish_ego(self) -> EvalPart:
        true, time_us = np.stack(self.true), np.array(self.time_us)
        verdicts = {}
        for who, path in self._ego_paths().items():
            poses = np.stack([world_T_ego for world_T_ego, _ in path])
            found = np.array([not extrapolated for _, extrapolated in path])
            verdict = score_ego(true, poses, time_us, who, found)
            verdicts[who] = verdict if self.metric else without_metres(verdict)
        card: dict[str, Any] = {
            "protocol": EGO,
            "path": "relative motions chained from the first true pose; the truth is the dataset's",
            "omitted": {who: verdict.omitted for who, verdict in verdicts.items()},
        }
        scores = tuple(s for verdict in verdicts.values() for s in verdict.scores)
        return EvalPart(EGO, card | self.data, scores, self._drives(), {}, ("frame", "axis"))

    def _drives(self) -> dict[str, np.ndarray]:
        """Positions (m) from the first true place, in its frame, of truth and every subject."""
        start_T_world = invert(self.true[0])
        paths = {"truth": self.true}
        paths |= {who: [pose for pose, _ in path] for who, path in self._ego_paths().items()}
        return {
            f"{PATH}{who}": np.array([(start_T_world @ pose)[:3, 3] for pose in poses])
            for who, poses in paths.items()
        }
