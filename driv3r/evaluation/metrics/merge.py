"""One dataset's figures from its logs'."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from driv3r.types import Score

Kind = tuple[str, str, str, str, str]


def merge_scores(logs: Sequence[Sequence[Score]]) -> list[Score]:
    """Figures over all logs, each log with the weight that its kind of figure calls for.

    Means over images weigh by images. Errors in percent of the path weigh by its length, so that
    the result is total error over total length. All others count each log once. A log without a
    figure (NaN) has no part in it.
    """
    groups: dict[Kind, list[tuple[Score, float]]] = {}
    for scores in logs:
        length_m = {s.subject: s.value for s in scores if s.metric == "path_length"}
        for s in scores:
            kind = (s.protocol, s.subject, s.scaling, s.camera, s.metric)
            weight = length_m[s.subject] if s.metric == "rpe_percent" else float(s.images or 1)
            groups.setdefault(kind, []).append((s, weight))
    return [_merge(same) for same in groups.values()]


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
