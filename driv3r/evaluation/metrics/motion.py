"""Motion masks against truth: masks of a generated world, or LiDAR points in annotated boxes."""

import numpy as np
from jaxtyping import Bool, Float

from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes, Camera, Score, Transform

PROTOCOL = "motion"
MOVES = 0.5
MOVES_MPS, STANDS_MPS = 0.5, 0.2  # faster moves, slower stands, between them nobody knows
SPEEDS_MPS = {"walking": (MOVES_MPS, 3.0), "driving": (3.0, np.inf)}
BOX_MARGIN_M = 0.1  # annotators draw tight; a box is of one time, a sweep of a tenth second
CARD = {
    "protocol": PROTOCOL,
    "truth": f"pixels that a LiDAR point falls into: moving in a box faster than {MOVES_MPS} m/s, "
    f"unknown between that and {STANDS_MPS} m/s, standing elsewhere",
    "positive": f"a probability of {MOVES} or more",
    "recall_walking, recall_driving": "of pixels in boxes of over "
    f"{MOVES_MPS} to {SPEEDS_MPS['walking'][1]:g} m/s, and of faster ones",
}


def label_motion(
    points_world: Float[np.ndarray, "n 3"], boxes: Boxes
) -> tuple[Bool[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """Which points move and of which that is known: points of no box stand.

    A point in a moving box moves; one in a box of unknown or doubtful speed is not known.
    """
    speed_mps = label_speed(points_world, boxes)
    return speed_mps > MOVES_MPS, ~np.isnan(speed_mps)


def label_speed(points_world: Float[np.ndarray, "n 3"], boxes: Boxes) -> Float[np.ndarray, "n"]:
    """Speed (m/s) of the moving box that a point lies in, 0 in no box or one that stands.

    NaN in a box of unknown or doubtful speed.
    """
    speed_mps = np.zeros(len(points_world))
    moving = boxes.speed_mps > MOVES_MPS
    doubtful = ~moving & ~(boxes.speed_mps < STANDS_MPS)  # NaN is doubtful
    for chosen, of_box in ((doubtful, np.full(len(moving), np.nan)), (moving, boxes.speed_mps)):
        for i in np.flatnonzero(chosen):
            inside = find_inside(points_world, boxes.world_T_box[i], boxes.size_m[i])
            speed_mps[inside] = of_box[i]
    return speed_mps


def find_inside(
    points_world: Float[np.ndarray, "n 3"],
    world_T_box: Float[np.ndarray, "4 4"],
    size_m: Float[np.ndarray, "3"],
    margin_m: float = BOX_MARGIN_M,
) -> Bool[np.ndarray, "n"]:
    """Points inside a box that is `margin_m` larger on every side."""
    inside, half_m = np.zeros(len(points_world), bool), size_m / 2 + margin_m
    reach_m, middle = float(np.linalg.norm(half_m)), world_T_box[:3, 3]
    # One axis after the other: nearly all points are far along the first.
    near = np.flatnonzero(np.abs(points_world[:, 0] - middle[0]) <= reach_m)
    for axis in (1, 2):
        near = near[np.abs(points_world[near, axis] - middle[axis]) <= reach_m]
    points_box = apply(invert(world_T_box), points_world[near].astype(np.float64))
    inside[near] = (np.abs(points_box) <= half_m).all(-1)
    return inside


class MotionScorer:
    """Collects a log's LiDAR points in annotated frames with the motion of the pixels they hit."""

    def __init__(self, subject: str):
        self.subject = subject
        self._probability: list[np.ndarray] = []
        self._speed_mps: list[np.ndarray] = []

    def add(
        self,
        truth: ViewTruth,
        camera: Camera,
        world_T_cam: Transform,
        boxes: Boxes,
        probability: Float[np.ndarray, "h w"],
    ) -> None:
        """The points of one image; `camera` and pose are those that they were projected with."""
        speed_mps = label_speed(apply(world_T_cam, truth.lift(camera)), boxes)
        known = ~np.isnan(speed_mps)
        column, row = np.minimum(truth.uv, np.subtract(truth.size_hw[::-1], 1)).astype(int).T
        self._probability.append(probability[row, column][known])
        self._speed_mps.append(speed_mps[known])

    def scores(self) -> list[Score]:
        """Figures over all pixels that have a point of known motion; none without any."""
        if not self._speed_mps:
            return []
        probability, speed_mps = np.concatenate(self._probability), np.concatenate(self._speed_mps)
        given = score_motion(probability, speed_mps > MOVES_MPS, self.subject, PROTOCOL)
        return given + self._recalls(probability, speed_mps)

    def _recalls(
        self, probability: Float[np.ndarray, "n"], speed_mps: Float[np.ndarray, "n"]
    ) -> list[Score]:
        """Recall among the pixels of each of SPEEDS_MPS; those without prediction are left out."""
        scores = []
        for name, (low, high) in SPEEDS_MPS.items():
            given = probability[(speed_mps > low) & (speed_mps <= high) & np.isfinite(probability)]
            if len(given):
                recall = float((given >= MOVES).mean())
                row = (f"recall_{name}", recall, "", len(given), PROTOCOL, self.subject, "none")
                scores.append(Score(*row))
        return scores


def score_motion(
    probability: Float[np.ndarray, "*b"],
    truth_mask: Bool[np.ndarray, "*b"],
    subject: str,
    protocol: str = "motion",
) -> list[Score]:
    """IoU, precision and recall at 0.5 and average precision, pooled over pixels.

    A score's `n` is its denominator. A figure without a denominator (nothing moves, or nothing is
    predicted to) is left out. Pixels of NaN probability have no prediction: they are left out, and
    `unpredicted` says how many.
    """
    known = np.isfinite(probability)
    given, moves = probability[known], truth_mask[known]
    positive = given >= MOVES
    hit = int((positive & moves).sum())
    figures = {
        "iou": (hit, int((positive | moves).sum())),
        "precision": (hit, int(positive.sum())),
        "recall": (hit, int(moves.sum())),
        "average_precision": (_summed_precision(given, moves), int(moves.sum())),
        "unpredicted": (int((~known).sum()), known.size),
    }
    return [
        Score(metric, part / whole, "", whole, protocol, subject, "none")
        for metric, (part, whole) in figures.items()
        if whole
    ]


def _summed_precision(given: Float[np.ndarray, "n"], moves: Bool[np.ndarray, "n"]) -> float:
    """Sum over the moving pixels of the precision at their probability; equal ones rank as one."""
    order = np.argsort(-given, kind="stable")
    last_of_ties = np.append(np.diff(given[order]) != 0, True)[: len(given)]
    hits = np.cumsum(moves[order])[last_of_ties]
    ranks = np.flatnonzero(last_of_ties) + 1
    return float((np.diff(hits, prepend=0) * hits / ranks).sum())
