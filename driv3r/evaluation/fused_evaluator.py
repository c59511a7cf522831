"""Figures of a log's 4D fusion: map, removal, objects, scene flow, motion and rendered depth."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.evaluation.metrics import flow, motion, objects, removal, rendered, static_map
from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.metrics.scans import Scans
from driv3r.evaluation.stored_frames import StoredFrame
from driv3r.store.reconstruction import Reconstruction
from driv3r.types import FusionSource, Rig, Score, Sweep

Figures = dict[str, tuple[dict[str, Any], list[Score]]]  # card and scores by protocol


class FusedScorer:
    """Collects the truth of a log's frames. `rig` is the working one.

    A map that holds LiDAR (`source`) is not scored against LiDAR.
    """

    def __init__(self, rig: Rig, subject: str, source: FusionSource):
        self.rig, self.source = rig, source
        self.scans, self.objects, self.flow = Scans(), objects.ObjectScorer(), flow.FlowScorer()
        self.motion = motion.MotionScorer(subject)
        self.rendered = rendered.RenderedScorer(subject)

    def add(self, stored: StoredFrame, sweep: Sweep) -> None:
        """The sweep and the boxes of one frame."""
        frame, boxes = stored.frame, stored.boxes
        views = [
            (camera, shot.world_T_cam)
            for shot, camera in zip(frame.views, self.rig.cameras, strict=True)
            if shot is not None
        ]
        self.scans.add(stored.index, frame.world_T_ego, sweep, boxes, views)
        if boxes is not None:
            self.objects.add(stored.index, frame.world_T_ego, boxes, sweep)
            self.flow.add(stored.index, frame.world_T_ego, boxes, sweep)

    def add_view(self, stored: StoredFrame, view: int, truth: ViewTruth) -> None:
        """The LiDAR points of one of the frame's views."""
        shot, camera = stored.frame.views[view], self.rig.cameras[view]
        prediction = stored.record.prediction
        if shot is None:
            return
        if stored.boxes is not None:
            moves = prediction.motion[view]
            self.motion.add(truth, camera, shot.world_T_cam, stored.boxes, moves)
        own_world_T_cam = stored.record.world_T_ego_cam[view] @ camera.ego_T_cam
        placed = shot.world_T_cam, own_world_T_cam, shot.time_us
        self.rendered.add(truth, camera, *placed, stored.boxes, prediction.depth_m[view])

    def finish(
        self, fused: Reconstruction | None, world_T_ego: Float[np.ndarray, "t 4 4"]
    ) -> Figures:
        """Cards and figures by protocol. `world_T_ego` is the log's own path."""
        figures: Figures = {motion.PROTOCOL: (motion.CARD, self.motion.scores())}
        if fused is None:
            return figures
        of: list[tuple[Any, Callable[[], list[Score]]]] = [
            (objects, lambda: self.objects.scores(fused.moving, world_T_ego)),
            (flow, lambda: self.flow.scores(fused.moving, world_T_ego)),
        ]
        if self.source == "cameras":
            of += [
                (static_map, lambda: static_map.score_map(self.scans, fused.static, world_T_ego)),
                (removal, lambda: removal.score_removal(self.scans, fused.static, world_T_ego)),
                (rendered, lambda: self.rendered.scores(fused)),
            ]
        return figures | {module.PROTOCOL: (module.CARD, score()) for module, score in of}
