"""Motion masks against the truth of a generated world."""

import numpy as np
from jaxtyping import Bool, Float

from driv3r.types import Score

MOVES = 0.5


def score_motion(
    probability: Float[np.ndarray, "*b"],
    truth_mask: Bool[np.ndarray, "*b"],
    subject: str,
    protocol: str = "motion",
) -> list[Score]:
    """IoU, precision and recall at 0.5 and average precision, pooled over pixels.

        A score's `n` is its denominator.
    A figure without a denominator (nothing moves, or nothing is said to) is left out. Pixels of
        NaN probability have no prediction: they are left out, and `unpredicted` says how many.
    """
    known = np.isfinite(probability)
    given, moves = probability[known], truth_mask[known]
    said = given >= MOVES
    hit = int((said & moves).sum())
    figures = {
        "iou": (hit, int((said | moves).sum())),
        "precision": (hit, int(said.sum())),
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
