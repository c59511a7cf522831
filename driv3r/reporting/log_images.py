"""Images of a log for the report: image, depth, error against LiDAR, motion."""

import numpy as np

from driv3r.evaluation.log_evaluator import LogScorer
from driv3r.evaluation.metrics.depth import sample_depth
from driv3r.evaluation.stored_frames import StoredFrame
from driv3r.reporting.images import (
    colour_depth,
    colour_error,
    colour_motion,
    compose_sheet,
    encode_jpeg,
)


class LogImageWriter:
    """Renders the first and the middle frame of a log as JPEG files by title."""

    def __init__(self, log_id: str, frames: int):
        self.log_id = log_id
        self.chosen = {0, frames // 2}
        self.pictures: dict[str, bytes] = {}

    def add(self, stored_frame: StoredFrame, scorer: LogScorer) -> None:
        """Render the frame if it is one of the chosen."""
        if stored_frame.index not in self.chosen:
            return
        rows, labels = [], []
        for view, camera in enumerate(stored_frame.rig.cameras):
            if stored_frame.images[view] is not None:
                rows.append(self._render_view(stored_frame, scorer, view))
                labels.append(camera.name)
        if not rows:
            return
        title = f"{self.log_id}, frame {stored_frame.index}"
        self.pictures[title] = encode_jpeg(compose_sheet(rows, labels))

    def _render_view(
        self, stored_frame: StoredFrame, scorer: LogScorer, view: int
    ) -> list[np.ndarray]:
        image = stored_frame.images[view]
        assert image is not None  # the caller looked
        prediction = stored_frame.record.prediction
        depth_m = prediction.depth_m[view]
        truth = scorer.truths.get(view)
        error = image // 3
        if truth is not None:
            predicted_m = sample_depth(depth_m, truth.uv)
            error = colour_error(truth.uv, truth.depth_m, predicted_m, image)
        return [image, colour_depth(depth_m), error, colour_motion(image, prediction.motion[view])]
