"""One dataset's figures from its logs'."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from driv3r.evaluation.metrics import flow, removal
from driv3r.types import Score

POOLED = ("map", "removal", "flow", "motion", "objects", "rendered")
DERIVED = {
    of.PROTOCOL: of for of in (flow, removal)
}  # with figures made of others: DERIVED, derive
Kind = tuple[str, str, str, str, str]


def merge_scores(logs: Sequence[Sequence[Score]]) -> list[Score]:
    """Figures over all logs, each log with the weight that its kind of figure calls for.

    Means over images weigh by images. Errors in percent of the path weigh by its length, so that
    the result is total error over total length; figures of POOLED protocols weigh by what they
    rest on, their `n`. All others count each log once. A log without a figure (NaN) has no part.
    What is made of other figures, such as a harmonic mean of rates, is made of the merged ones.
    """
    groups: dict[Kind, list[tuple[Score, float]]] = {}
    for scores in logs:
        length_m = {s.subject: s.value for s in scores if s.metric == "path_length"}
        for s in scores:
            kind = (s.protocol, s.subject, s.scaling, s.camera, s.metric)
            groups.setdefault(kind, []).append((s, _weigh(s, length_m)))
    merged = {kind: _merge(same) for kind, same in groups.items()}
    return [_derive(kind, merged) for kind in merged]


def _derive(kind: Kind, merged: dict[Kind, Score]) -> Score:
    """A merged score; one that is made of others with the value that those have now."""
    protocol, subject, scaling, camera, metric = kind
    source = DERIVED.get(protocol)
    if source is None or metric not in source.DERIVED:
        return merged[kind]
    parts = {part: (protocol, subject, scaling, camera, part) for part in source.DERIVED[metric]}
    known = {part: merged[same].value for part, same in parts.items() if same in merged}
    value = source.derive(metric, known)
    return merged[kind] if value is None else dataclasses.replace(merged[kind], value=value)


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
