"""Scene flow of LiDAR points from the moving objects' tracks: 3-way end-point error.

Rules of the Argoverse 2 scene flow challenge (Chodosh et al., WACV 2024); normalised by speed as
Khatri et al., ECCV 2024, do it, with all dynamic points in one bucket.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.evaluation.metrics.motion import BOX_MARGIN_M, find_inside
from driv3r.evaluation.metrics.static_map import GROUND_M, GroundHeight
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes, MovingObjects, Score, Sweep, Transform

PROTOCOL, SUBJECT = "flow", "fusion"
STEP_S = 0.1  # flow is that of a tenth of a second
DYNAMIC_M = 0.05  # from so much flow on a point is dynamic: 0.5 m/s
REACH_M = 35.0  # forward and sideways: a square of 70 m around the car
LONGEST_S = 1.0  # between annotated frames
BoxesAt = dict[Any, tuple[Transform, Float[np.ndarray, "3"]]]  # ego_T_box and size_m by name
WAYS = ("foreground_dynamic", "foreground_static", "background_static")
CARD = {
    "protocol": PROTOCOL,
    "points": f"LiDAR points over {GROUND_M:g} m above the ground, within {REACH_M:g} m forward "
    "and sideways of the car, in annotated frames whose next annotated one is at most "
    f"{LONGEST_S:g} s later; those in the box of an object that the next frame lacks are left out",
    "flow": f"of the world (ego motion taken out), scaled to {STEP_S:g} s. Truth: rigid with the "
    "point's box, 0 outside boxes. Prediction: rigid with the track in whose box the point lies at "
    "both times, in the car's frame of each, so that the path's drift is not counted again; 0 else",
    "ways": f"foreground: in a box; dynamic: flow of {DYNAMIC_M:g} m or more",
    "epe_three_way": "mean of the mean errors of the three",
    "epe_dynamic_normalised": "mean error of foreground dynamic points over their mean flow: 1 is "
    "what saying that all stands has",
    "over logs": "means by points; the last two are of the means of all logs",
}


@dataclass(frozen=True, eq=False)
class _Annotated:
    """One annotated frame in its ego frame; `rigid_of` are instances and their ego_T_box."""

    frame: int
    time_us: int
    world_T_ego: Transform
    points_ego: Float[np.ndarray, "n 3"]
    rigid_of: BoxesAt


class FlowScorer:
    """Collects a log's annotated frames; `scores` compares a log's tracks with them."""

    def __init__(self) -> None:
        self._frames: list[_Annotated] = []

    def add(self, frame: int, world_T_ego: Transform, boxes: Boxes, sweep: Sweep) -> None:
        """The boxes and the sweep of one frame, in the world of the given ego pose."""
        ego_T_world = invert(world_T_ego)
        points_ego = apply(ego_T_world @ sweep.world_T_lidar, sweep.points_lidar.astype(np.float64))
        points_ego = points_ego[(np.abs(points_ego[:, :2]) < REACH_M).all(-1)]
        points_ego = points_ego[np.isfinite(points_ego[:, 2])]
        if len(points_ego):
            points_ego = points_ego[~GroundHeight(points_ego).is_ground(points_ego)]
        ego_T_box = ego_T_world @ boxes.world_T_box
        rigid_of = dict(zip(boxes.instance, zip(ego_T_box, boxes.size_m, strict=True), strict=True))
        self._frames.append(_Annotated(frame, sweep.time_us, world_T_ego, points_ego, rigid_of))

    def scores(
        self, objects: MovingObjects, world_T_ego: Float[np.ndarray, "t 4 4"]
    ) -> list[Score]:
        """Every figure; none without two frames in a row. `world_T_ego` is the log's own path."""
        errors: dict[str, list[np.ndarray]] = {way: [] for way in WAYS}
        flows: list[np.ndarray] = []
        for first, second in zip(self._frames, self._frames[1:], strict=False):
            seconds = (second.time_us - first.time_us) * 1e-6
            if not 0 < seconds <= LONGEST_S:
                continue
            states = [_states_of(objects, m.frame, world_T_ego[m.frame]) for m in (first, second)]
            given = first.points_ego, invert(first.world_T_ego) @ second.world_T_ego
            true_m, found = find_flow(*given, first.rigid_of, second.rigid_of)
            told_m, _ = find_flow(*given, *states)
            scale, known = STEP_S / seconds, np.isfinite(true_m).all(-1)
            told_m = np.nan_to_num(told_m)[known]
            parts = split_ways(true_m[known] * scale, told_m * scale, found[known])
            for way, error_m in parts.items():
                errors[way].append(error_m)
            flow_m = np.linalg.norm(true_m[known] * scale, axis=-1)
            flows.append(flow_m[found[known] & (flow_m >= DYNAMIC_M)])
        return _make_scores({f"epe_{way}": parts for way, parts in errors.items()}, flows)


def split_ways(
    true_m: Float[np.ndarray, "n 3"],
    told_m: Float[np.ndarray, "n 3"],
    foreground: Bool[np.ndarray, "n"],
) -> dict[str, Float[np.ndarray, "m"]]:
    """End-point errors (m) of points by way; flows (m) are those of STEP_S."""
    error_m = np.linalg.norm(true_m - told_m, axis=-1)
    dynamic = np.linalg.norm(true_m, axis=-1) >= DYNAMIC_M
    chosen = (foreground & dynamic, foreground & ~dynamic, ~foreground & ~dynamic)
    return {way: error_m[rows] for way, rows in zip(WAYS, chosen, strict=True)}


DERIVED = {
    "epe_three_way": tuple(f"epe_{way}" for way in WAYS),
    "epe_dynamic_normalised": ("epe_foreground_dynamic", "flow_foreground_dynamic"),
}


def derive(name: str, means: dict[str, float]) -> float | None:
    """A figure of the means that it is made of; None where one is not known."""
    known = [means[mean] for mean in DERIVED[name] if mean in means]
    if len(known) < len(DERIVED[name]):
        return None
    return sum(known) / 3 if name == "epe_three_way" else known[0] / known[1]


def _make_scores(
    errors: dict[str, list[Float[np.ndarray, "_"]]], flows: list[Float[np.ndarray, "_"]]
) -> list[Score]:
    samples = {**errors, "flow_foreground_dynamic": flows}
    counts = {name: sum(map(len, parts)) for name, parts in samples.items()}
    means = {
        name: float(np.concatenate(parts).mean()) for name, parts in samples.items() if counts[name]
    }
    scores = [
        Score(name, mean, "m", counts[name], PROTOCOL, SUBJECT, "none")
        for name, mean in means.items()
    ]
    for name, of in DERIVED.items():
        value = derive(name, means)
        if value is not None:
            unit, n = (
                ("m" if name == "epe_three_way" else ""),
                sum(counts[part] for part in of if part in errors),
            )
            scores.append(Score(name, value, unit, n, PROTOCOL, SUBJECT, "none"))
    return scores


def _states_of(objects: MovingObjects, frame: int, world_T_ego: Transform) -> BoxesAt:
    rows: Int[np.ndarray, "m"] = np.flatnonzero(objects.frame == frame)
    ego_T_object = invert(world_T_ego) @ objects.world_T_object[rows]
    size_m = objects.size_m[objects.track_id[rows]]
    return dict(
        zip(objects.track_id[rows].tolist(), zip(ego_T_object, size_m, strict=True), strict=True)
    )


def find_flow(
    points_ego: Float[np.ndarray, "n 3"],
    first_T_second: Transform,
    at_first: BoxesAt,
    at_second: BoxesAt,
) -> tuple[Float[np.ndarray, "n 3"], Bool[np.ndarray, "n"]]:
    """Flow (m) of points with the boxes that they lie in, and which lie in one.

    0 outside boxes, NaN in boxes that the second frame lacks; of several boxes the one whose middle
    is nearest counts. Boxes are in the ego frame of each time; flow is in the first's.
    """
    flow_m, inside = np.zeros_like(points_ego), np.zeros(len(points_ego), bool)
    nearest_m = np.full(len(points_ego), np.inf)
    for name, (ego_T_box, size_m) in at_first.items():
        rows = np.flatnonzero(find_inside(points_ego, ego_T_box, size_m, BOX_MARGIN_M))
        away_m = np.linalg.norm(points_ego[rows] - ego_T_box[:3, 3], axis=-1)
        rows = rows[away_m < nearest_m[rows]]
        nearest_m[rows] = np.linalg.norm(points_ego[rows] - ego_T_box[:3, 3], axis=-1)
        inside[rows] = True
        if name in at_second:
            motion = first_T_second @ at_second[name][0] @ invert(ego_T_box)
            flow_m[rows] = apply(motion, points_ego[rows]) - points_ego[rows]
        else:
            flow_m[rows] = np.nan
    return flow_m, inside
