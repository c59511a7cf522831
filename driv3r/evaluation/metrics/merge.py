"""One dataset's figures from its logs'."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from driv3r.types import Score

POOLED = ("map", "motion", "objects")
Kind = tuple[str, str, str, str, str]


def merge_scores(logs: Sequence[Sequence[Score]]) -> list[Score]:
    """Figures over all logs, each log with the weight that its kind of figure calls for.

    Means over images weigh by images. Errors in percent of the path weigh by its length, so that
    the result is total error over total length; figures of POOLED protocols weigh by what they
    rest on, their `n`. All others count each log once. A log without a figure (NaN) has no part.
    """
    groups: dict[Kind, list[tuple[Score, float]]] = {}
    for scores in logs:
        length_m = {s.subject: s.value for s in scores if s.metric == "path_length"}
        for s in scores:
            kind = (s.protocol, s.subject, s.scaling, s.camera, s.metric)
            groups.setdefault(kind, []).append((s, _weigh(s, length_m)))
    return [_merge(same) for same in groups.values()]


def _weigh(score: Score, length_m: dict[str, float]) -> float:
    if score.protocol in POOLED:
        return float(score.n)
    return length_m[score.subject] if score.metric == "rpe_percent" else float(score.images or 1)


def _merge(same: list[tuple[Score, float]]) -> Score:
    known = [(s, weight) for s, weight in same if not math.isnan(s.value)]
    if not known:
        return same[0][0]
    values, weights = np.array([s.value for s, _ in known]), np.array([w for _, w in known])
    return dataclasses.replace(
        known[0][0],
        value=float(np.average(values, weights=weights)),
        n=sum(s.n for s, _ in known),
        images=sum(s.images for s, _ in known),
    )
