"""One dataset's figures from its logs'."""

from collections.abc import Sequence

import numpy as np

from driv3r.types import Score


def merge_scores(logs: Sequence[Sequence[Score]]) -> list[Score]:
    """Figures over all logs: the mean over images where images are counted, else over logs."""
    groups: dict[tuple[str, ...], list[Score]] = {}
    for scores in logs:
        for s in scores:
            key = (s.protocol, s.subject, s.scaling, s.camera, s.metric)
            groups.setdefault(key, []).append(s)
    merged = []
    for same in groups.values():
        weights = np.array([s.images or 1 for s in same], float)
        value = float(np.average([s.value for s in same], weights=weights))
        first = same[0]
        merged.append(
            Score(
                first.metric,
                value,
                first.unit,
                sum(s.n for s in same),
                first.protocol,
                first.subject,
                first.scaling,
                first.camera,
                sum(s.images for s in same),
            )
        )
    return merged
