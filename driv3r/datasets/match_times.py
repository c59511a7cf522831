"""Which datum of one sensor belongs to which frame, by their times."""

import numpy as np
from jaxtyping import Int


def match_nearest(
    at_us: Int[np.ndarray, "t"], times_us: Int[np.ndarray, "n"], within_us: int
) -> list[int | None]:
    """For each of `at_us` the index of the nearest of `times_us`, each used at most once.

    A time goes to its nearest `at_us`; of several, that one takes the nearest; None is left when
    none lies `within_us`. Of two as near the later is taken: a LiDAR's time is its turn's end, and
    the exposure lies within that turn.
    """
    if not len(at_us) or not len(times_us):
        return [None] * len(at_us)
    gap_us = np.abs(times_us[:, None] - at_us[None])
    claimed = gap_us.argmin(axis=1)
    out: list[int | None] = []
    for i in range(len(at_us)):
        rivals = np.flatnonzero((claimed == i) & (gap_us[:, i] <= within_us))
        least = rivals[gap_us[rivals, i] == gap_us[rivals, i].min()] if len(rivals) else rivals
        out.append(int(least[-1]) if len(least) else None)
    return out
