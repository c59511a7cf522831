"""Depth against LiDAR: every metric under four scalings, image by image and over logs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import distance_transform_edt

from driv3r.errors import ScoringError
from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.metrics.protocol import DepthProtocol
from driv3r.evaluation.metrics.uncertainty import SIGMA_METRICS, sigma_figures
from driv3r.types import Score

SCALINGS = ("metric", "per_log", "per_frame", "per_view")
METRICS = {
    "abs_rel": "",
    "sq_rel": "m",
    "rmse": "m",
    "rmse_log": "",
    "silog": "100 log",
    "delta1": "",
    "delta2": "",
    "delta3": "",
}
FARTHEST_M = 1e6  # stands for infinite depth, which no scale may turn into NaN
NO_PREDICTION = "no prediction"


def sample_depth(
    depth_m: Float[np.ndarray, "h w"], uv: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n"]:
    """Depth at subpixel positions, bilinear in inverse depth, which is affine on a plane's image.

    Positions in the outer half pixel take the border's value. NaN where a pixel that takes part is
    NaN or not positive, and outside the image; infinite depth is a value like any other.
    """
    (h, w), xy = depth_m.shape, uv - 0.5
    inside = np.all((uv >= 0) & (uv <= (w, h)), axis=-1)
    xy = np.clip(np.where(inside[:, None], xy, 0.0), 0, (w - 1, h - 1))
    x0, y0 = np.floor(xy).astype(int).T
    fx, fy = xy[:, 0] - x0, xy[:, 1] - y0
    inverse = np.zeros(len(uv))
    for y, weight_y in ((y0, 1 - fy), (np.minimum(y0 + 1, h - 1), fy)):
        for x, weight_x in ((x0, 1 - fx), (np.minimum(x0 + 1, w - 1), fx)):
            corner_m = depth_m[y, x].astype(float)
            corner_m = np.where(corner_m > 0, corner_m, np.nan)
            weight = weight_y * weight_x
            inverse += np.where(weight > 0, weight / corner_m, 0.0)
    sampled = np.full(len(uv), np.inf)
    np.divide(1.0, inverse, out=sampled, where=inverse != 0)
    return np.where(inside, sampled, np.nan)


def floor_depth(truth: ViewTruth) -> Float[np.ndarray, "h w"]:
    """The truth itself as a prediction: what resolution, sampling and mixed edges alone cost.

    Mean inverse depth of a pixel's points; an empty pixel takes its nearest filled one. All NaN
    where there is no truth.
    """
    if len(truth.uv) == 0:
        return np.full(truth.size_hw, np.nan)
    h, w = truth.size_hw
    u, v = np.floor(truth.uv).astype(int).T
    pixel = np.clip(v, 0, h - 1) * w + np.clip(u, 0, w - 1)
    count = np.bincount(pixel, minlength=h * w).reshape(h, w)
    inverse = np.bincount(pixel, 1 / truth.depth_m, minlength=h * w).reshape(h, w)
    nearest = distance_transform_edt(count == 0, return_distances=False, return_indices=True)
    rows, columns = np.asarray(nearest)
    return (count / np.where(count, inverse, 1.0))[rows, columns]


def depth_figures(
    truth_m: Float[np.ndarray, "n"], predicted_m: Float[np.ndarray, "n"]
) -> dict[str, float]:
    """Every metric of METRICS over one image's points (Eigen et al., NeurIPS 2014, section 4)."""
    off_m = predicted_m - truth_m
    off_log = np.log(predicted_m) - np.log(truth_m)
    worst = np.maximum(predicted_m / truth_m, truth_m / predicted_m)
    return {
        "abs_rel": float(np.mean(np.abs(off_m) / truth_m)),
        "sq_rel": float(np.mean(off_m**2 / truth_m)),
        "rmse": float(np.sqrt(np.mean(off_m**2))),
        "rmse_log": float(np.sqrt(np.mean(off_log**2))),
        "silog": float(100 * np.std(off_log)),
        **{f"delta{k}": float(np.mean(worst < 1.25**k)) for k in (1, 2, 3)},
    }


def lower_median(values: Float[np.ndarray, "n"]) -> float:
    """The middle value, or the lower of two, as torch.median has it."""
    middle = (len(values) - 1) // 2
    return float(np.partition(values, middle)[middle])


@dataclass(frozen=True, eq=False)
class DepthTable:
    """Figures of every image of a log: `figures[scaling][metric]`, NaN where there are none.

    `n` counts the scored points. Rows follow `frames`, columns `camera_names`.
    """

    protocol: str
    subject: str
    camera_names: tuple[str, ...]
    frames: Int[np.ndarray, "t"]
    figures: dict[str, dict[str, Float[np.ndarray, "t v"]]]
    n: Int[np.ndarray, "t v"]
    lost: dict[str, int]


class DepthScorer:
    """Collects the images of one log; figures come out at the end, because medians need all points.

    Keeps 8 bytes a point (truth and sampled prediction as float32).
    """

    def __init__(self, protocol: DepthProtocol, camera_names: Sequence[str], subject: str):
        self.protocol = protocol
        self.camera_names = tuple(camera_names)
        self.subject = subject
        self._lost: Counter[str] = Counter()
        self._points: dict[tuple[int, int], Float[np.ndarray, "2 n"]] = {}
        self._sigma: dict[tuple[int, int], dict[str, float]] = {}

    def add(
        self,
        frame: int,
        view: int,
        truth: ViewTruth,
        depth_m: Float[np.ndarray, "h w"] | None,
        sigma: Float[np.ndarray, "h w"] | None = None,
    ) -> dict[str, float]:
        """Score one image, None where the camera or network gave nothing; its metric figures.

        `sigma` is the Laplace scale of log depth. Empty where no point could be scored. Raises
        ScoringError on an image added twice, an unknown view, and sizes or truth that do not fit.
        """
        self._check(frame, view, truth, depth_m, sigma)
        if depth_m is None:
            predicted_m = np.full(len(truth.uv), np.nan)
        else:
            predicted_m = np.minimum(sample_depth(depth_m, truth.uv), FARTHEST_M)
        known = np.isfinite(predicted_m)
        self._lost.update(truth.lost)
        self._lost[NO_PREDICTION] += int((~known).sum())
        points = np.stack([truth.depth_m[known], predicted_m[known]]).astype(np.float32)
        self._points[frame, view] = points
        if not known.any():
            return {}
        if sigma is not None:
            truth_m, predicted_m = points.astype(float)
            pixel = np.minimum(np.floor(truth.uv[known]), np.subtract(truth.size_hw[::-1], 1))
            columns, rows = pixel.astype(int).T
            of_sigma = sigma_figures(truth_m, predicted_m, sigma[rows, columns].astype(float))
            self._sigma[frame, view] = of_sigma
        return self._figures((frame, view), 1.0) | self._sigma.get((frame, view), {})

    def table(self) -> DepthTable:
        """Every image's figures under every scaling."""
        frames = sorted({frame for frame, _ in self._points})
        shape = (len(frames), len(self.camera_names))
        n = np.zeros(shape, int)
        for (frame, view), points in self._points.items():
            n[frames.index(frame), view] = points.shape[1]
        figures = {scaling: {m: np.full(shape, np.nan) for m in METRICS} for scaling in SCALINGS}
        figures["metric"] |= {m: np.full(shape, np.nan) for m in SIGMA_METRICS if self._sigma}
        scored = [key for key, points in self._points.items() if points.shape[1]]
        for scaling in SCALINGS:
            for (frame, view), scale in zip(scored, self._scales(scored, scaling), strict=True):
                of_image = self._figures((frame, view), scale)
                if scaling == "metric":
                    of_image |= self._sigma.get((frame, view), {})
                for metric, value in of_image.items():
                    figures[scaling][metric][frames.index(frame), view] = value
        names = (self.protocol.name, self.subject, self.camera_names)
        return DepthTable(*names, np.array(frames, int), figures, n, dict(self._lost))

    def scores(self) -> list[Score]:
        """The log's figures: every metric, scaling and camera."""
        return merge_logs([self.table()])

    def per_view(self, scaling: str = "metric") -> dict[str, Float[np.ndarray, "t v"]]:
        """One scaling's figures of every image, NaN where there are none."""
        return self.table().figures[scaling]

    @property
    def lost(self) -> dict[str, int]:
        """Points that were not scored, by the filter that took them."""
        return dict(self._lost)

    def _figures(self, key: tuple[int, int], scale: float) -> dict[str, float]:
        truth_m, predicted_m = self._points[key].astype(float)
        # A prediction of 0 m has no logarithm; a protocol from 0 m clamps just above it.
        low_m = max(self.protocol.min_m, 1e-3)
        return depth_figures(truth_m, np.clip(scale * predicted_m, low_m, self.protocol.max_m))

    def _scales(self, keys: list[tuple[int, int]], scaling: str) -> list[float]:
        """Each image's factor: the ratio of medians over the group of images it belongs to."""
        if scaling == "metric":
            return [1.0] * len(keys)
        group_of = {
            "per_log": lambda key: None,
            "per_frame": lambda key: key[0],
            "per_view": lambda key: key,
        }[scaling]
        members: dict[object, list[np.ndarray]] = {}
        for key in keys:
            members.setdefault(group_of(key), []).append(self._points[key])
        ratio = {}
        for group, points in members.items():
            truth_m, predicted_m = np.concatenate(points, axis=1).astype(float)
            ratio[group] = lower_median(truth_m) / lower_median(predicted_m)
        return [ratio[group_of(key)] for key in keys]

    def _check(
        self,
        frame: int,
        view: int,
        truth: ViewTruth,
        depth_m: Float[np.ndarray, "h w"] | None,
        sigma: Float[np.ndarray, "i j"] | None,
    ) -> None:
        where = f"frame {frame}, view {view} of {self.subject!r}"
        if not 0 <= view < len(self.camera_names):
            raise ScoringError(f"{where}: the scorer knows views 0-{len(self.camera_names) - 1}")
        if (frame, view) in self._points:
            raise ScoringError(f"{where} was added before; add each image once")
        for name, image in (("depth", depth_m), ("sigma", sigma)):
            if image is not None and image.shape != truth.size_hw:
                raise ScoringError(
                    f"{where}: {name} has size {image.shape}, its truth {truth.size_hw}; project "
                    "the truth with the prediction's camera (geometry.cameras.crop_resize)"
                )
        in_range = (truth.depth_m >= self.protocol.min_m) & (truth.depth_m <= self.protocol.max_m)
        if not (in_range & (truth.depth_m > 0)).all():
            raise ScoringError(
                f"{where}: truth outside protocol {self.protocol.name!r} "
                f"({self.protocol.min_m}-{self.protocol.max_m} m); project it under this protocol"
            )


def merge_logs(tables: Sequence[DepthTable]) -> list[Score]:
    """Figures over all logs together: the mean over their images, `n` summing their points.

    Cameras are matched by name. Raises ScoringError on no logs, or on logs of different protocols
    or subjects.
    """
    kinds = {(table.protocol, table.subject) for table in tables}
    if len(kinds) != 1:
        raise ScoringError(
            f"need logs of one protocol and subject, got {sorted(kinds)}: merge each kind alone"
        )
    ((protocol, subject),) = kinds
    cameras = dict.fromkeys(name for table in tables for name in table.camera_names)
    scores = []
    for camera in ("all", *cameras):
        for scaling in SCALINGS:
            for metric, unit in (METRICS | SIGMA_METRICS).items():
                values, n = _pool(tables, camera, scaling, metric)
                if len(values):
                    who = (protocol, subject, scaling, camera, len(values))
                    scores.append(Score(metric, float(values.mean()), unit, n, *who))
    return scores


def _pool(
    tables: Sequence[DepthTable], camera: str, scaling: str, metric: str
) -> tuple[Float[np.ndarray, "i"], int]:
    """One metric's figures of all images of a camera, and how many points they rest on."""
    values, n = [np.zeros(0)], 0
    for table in tables:
        of_images = table.figures[scaling].get(metric)
        columns = [i for i, name in enumerate(table.camera_names) if camera in ("all", name)]
        if of_images is not None:
            known = np.isfinite(of_images[:, columns])
            values.append(of_images[:, columns][known])
            n += int(table.n[:, columns][known].sum())
    return np.concatenate(values), n
