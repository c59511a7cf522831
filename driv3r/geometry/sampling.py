"""Evenly spread samples."""

import numpy as np
from jaxtyping import Int


def spread_rows(n: int, most: int) -> Int[np.ndarray, "k"]:
    """At most so many of n rows, evenly spread; all of them where they are no more."""
    count = min(n, most)
    return np.arange(count) * n // max(count, 1)
