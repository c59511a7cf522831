"""Images of a log for the report: its best, median and worst frame, and errors by distance."""

import numpy as np

from driv3r.evaluation.log_evaluator import LogScorer
from driv3r.evaluation.metrics.depth import sample_depth
from driv3r.evaluation.stored_frames import StoredFrame
from driv3r.reporting.distance_chart import DistanceErrors, draw_distance_chart
from driv3r.reporting.images import (
    colour_depth,
    colour_error,
    colour_motion,
    compose_sheet,
    encode_jpeg,
)

CANDIDATES = 9  # evenly spaced frames of which one is shown as the median: a bound on memory


class LogImageWriter:
    """Renders the frames of a log that tell most, as JPEG files by title.

    They are those of least and greatest Abs Rel (mean over images, metric), and the median of
    evenly spaced ones; of a log without truth the first and the middle one.
    """

    def __init__(self, log_id: str, frames: int):
        self.log_id = log_id
        self.fallback = (0, frames // 2)
        spaced = np.linspace(0, frames - 1, min(frames, CANDIDATES)) if frames else np.zeros(0)
        self.spaced = {round(float(frame)) for frame in spaced}
        self.errors: dict[int, float] = {}
        self.by_distance = DistanceErrors()
        self._sheets: dict[int, bytes] = {}

    def add(self, stored_frame: StoredFrame, scorer: LogScorer) -> None:
        """Measure a frame, in order, and render it if it may be shown."""
        index = stored_frame.index
        error = self._measure(stored_frame, scorer)
        if np.isfinite(error):
            self.errors[index] = error
        if index not in {*self.spaced, *self.fallback, *self._extremes()}:
            return
        sheet = self._render(stored_frame, scorer)
        if sheet is not None:
            self._sheets[index] = sheet
        kept = {*self.spaced, *self.fallback, *self._extremes()}
        self._sheets = {frame: data for frame, data in self._sheets.items() if frame in kept}

    @property
    def pictures(self) -> dict[str, bytes]:
        """JPEG files by title, once all frames were added."""
        shown = self._choose() or {frame: "" for frame in self.fallback}
        pictures = {}
        for frame, name in shown.items():
            if frame in self._sheets:
                title = f"{self.log_id}, {name}frame {frame}"
                if frame in self.errors:
                    title += f": Abs Rel {self.errors[frame]:.3f}"
                pictures[title] = self._sheets[frame]
        chart = draw_distance_chart(self.by_distance)
        if chart is not None:
            pictures[f"{self.log_id}, depth error by distance"] = encode_jpeg(chart, 92)
        return pictures

    def _extremes(self) -> set[int]:
        """The frames of least and greatest error so far; the earliest of equal ones."""
        if not self.errors:
            return set()
        get = self.errors.__getitem__
        return {min(self.errors, key=get), max(self.errors, key=get)}

    def _choose(self) -> dict[int, str]:
        """What to show and what it is; a frame that is two of them is named once."""
        drawn = {f: e for f, e in self.errors.items() if f in self._sheets}
        if not drawn:
            return {}
        spaced = sorted((f for f in drawn if f in self.spaced), key=drawn.__getitem__)
        chosen = {min(drawn, key=drawn.__getitem__): "best "}
        if spaced:
            chosen.setdefault(spaced[len(spaced) // 2], "median ")
        chosen.setdefault(max(drawn, key=drawn.__getitem__), "worst ")
        return chosen

    def _measure(self, stored_frame: StoredFrame, scorer: LogScorer) -> float:
        """Mean over images of Abs Rel; NaN without truth. Points go to their distances."""
        means = []
        for view, truth in scorer.truths.items():
            predicted_m = sample_depth(stored_frame.record.prediction.depth_m[view], truth.uv)
            share = np.abs(predicted_m - truth.depth_m) / truth.depth_m
            known = np.isfinite(share)
            self.by_distance.add(truth.depth_m[known], share[known])
            if known.any():
                means.append(float(share[known].mean()))
        return float(np.mean(means)) if means else float("nan")

    def _render(self, stored_frame: StoredFrame, scorer: LogScorer) -> bytes | None:
        rows, labels = [], []
        for view, camera in enumerate(stored_frame.rig.cameras):
            if stored_frame.images[view] is not None:
                rows.append(self._render_view(stored_frame, scorer, view))
                labels.append(camera.name)
        return encode_jpeg(compose_sheet(rows, labels)) if rows else None

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
