"""Figures of a log: our depth, the baselines' and the floor's against LiDAR; the ego path."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from driv3r.errors import ConfigError
from driv3r.geometry.transforms import invert
from driv3r.network.baselines import PositionalPrior, predict_ground_plane
from driv3r.pipelines.replay import Moment
from driv3r.pipelines.results import Path2D
from driv3r.scoring.depth import DepthScorer, floor_depth
from driv3r.scoring.ego import score_ego
from driv3r.scoring.projection import ViewTruth, project_sweep
from driv3r.scoring.protocol import PROTOCOLS
from driv3r.types import EgoPoses, Repair, Rig, Score, Transform

FLOOR = "floor"


@dataclass(frozen=True, eq=False)
class EvalPart:
    """The figures of one protocol, as the store keeps them."""

    protocol: str
    card: dict[str, Any]
    scores: tuple[Score, ...]
    per_view: dict[str, np.ndarray]
    lost: dict[str, int]


@dataclass(frozen=True, eq=False)
class Verdict:
    """All figures of a log."""

    parts: tuple[EvalPart, ...]
    lost: dict[str, int]
    paths: tuple[Path2D, ...]

    def as_result(self) -> dict[str, Any]:
        """The fields of a LogResult that come from scoring."""
        return {
            "scores": tuple(s for part in self.parts for s in part.scores),
            "cards": {part.protocol: part.card for part in self.parts},
            "lost": self.lost,
            "paths": self.paths,
        }


class LogScorer:
    """Collects a log's frames; `finish` gives the figures. `rig` is the working one."""

    def __init__(self, protocol: str, rig: Rig, subject: str, ego_poses: EgoPoses):
        if protocol not in PROTOCOLS:
            raise ConfigError(f"no protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
        self.protocol, self.rig = PROTOCOLS[protocol], rig
        self.subject, self.ego_poses = subject, ego_poses
        self.fixed = {
            "positional-prior": PositionalPrior.load().predict(rig),
            "ground-plane": predict_ground_plane(rig),
        }
        names = [camera.name for camera in rig.cameras]
        self.depth = {
            who: DepthScorer(self.protocol, names, who) for who in (subject, *self.fixed, FLOOR)
        }
        self.truths: dict[int, ViewTruth] = {}
        self.repairs: list[tuple[Repair, ...]] = []
        self.time_us: list[int] = []
        self.true: list[Transform] = []
        self.predicted: list[Transform] = []
        self.used: list[Transform] = []

    def add(self, moment: Moment) -> None:
        """Score one frame; `truths` then holds its LiDAR points by view."""
        frame, prediction = moment.frame, moment.record.prediction
        self.repairs.append(frame.repairs)
        self._add_ego(moment)
        self.truths = {}
        if frame.sweep is None or (self.protocol.keyframes_only and not frame.is_keyframe):
            return
        for view, (shot, camera) in enumerate(zip(frame.views, self.rig.cameras, strict=True)):
            if shot is None:
                continue
            truth = project_sweep(frame.sweep, camera, shot.world_T_cam, self.protocol)
            self.truths[view] = truth
            key = (moment.index, view, truth)
            self.depth[self.subject].add(*key, prediction.depth_m[view], prediction.sigma[view])
            for who, depth_m in self.fixed.items():
                self.depth[who].add(*key, depth_m[view])
            self.depth[FLOOR].add(*key, floor_depth(truth))

    def _add_ego(self, moment: Moment) -> None:
        self.time_us.append(moment.frame.time_us)
        self.true.append(moment.frame.world_T_ego)
        self.used.append(moment.record.world_T_ego)
        last_T_ego = moment.record.prediction.last_T_ego
        start = moment.frame.world_T_ego if not self.predicted else self.predicted[-1]
        self.predicted.append(start if last_T_ego is None else start @ last_T_ego)

    def finish(self) -> Verdict:
        """Every figure; with no LiDAR at all the depth part is left out."""
        tables = {who: scorer.table() for who, scorer in self.depth.items()}
        parts = []
        if len(tables[self.subject].frames):
            parts.append(
                EvalPart(
                    self.protocol.name,
                    self.protocol.card(),
                    tuple(s for scorer in self.depth.values() for s in scorer.scores()),
                    tables[self.subject].figures["metric"] | {"n": tables[self.subject].n},
                    tables[self.subject].lost,
                )
            )
        parts.append(self._finish_ego())
        return Verdict(tuple(parts), tables[self.subject].lost, self._paths())

    def _ego_paths(self) -> dict[str, list[Transform]]:
        """The network's own path, and the odometry's where that was used."""
        paths = {self.subject: self.predicted}
        return paths | ({"odometry": self.used} if self.ego_poses == "odometry" else {})

    def _finish_ego(self) -> EvalPart:
        true, time_us = np.stack(self.true), np.array(self.time_us)
        verdicts = {
            who: score_ego(true, np.stack(path), time_us, who)
            for who, path in self._ego_paths().items()
        }
        card: dict[str, Any] = {
            "protocol": "ego",
            "path": "relative motions chained from the first true pose; the truth is the dataset's",
            "omitted": {who: verdict.omitted for who, verdict in verdicts.items()},
        }
        scores = tuple(s for verdict in verdicts.values() for s in verdict.scores)
        return EvalPart("ego", card, scores, {}, {})

    def _paths(self) -> tuple[Path2D, ...]:
        start_T_world = invert(self.true[0])
        paths = []
        for who, poses in {"truth": self.true, **self._ego_paths()}.items():
            xy = np.round([(start_T_world @ pose)[:2, 3] for pose in poses], 3)
            paths.append(Path2D(who, tuple(xy[:, 0].tolist()), tuple(xy[:, 1].tolist())))
        return tuple(paths)
