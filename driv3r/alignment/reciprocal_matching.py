"""Pixels of two images that are each other's nearest by descriptor (MASt3R, Leroy et al. 2024).

Section 3.3: from a sparse grid of the first image, hop to the nearest pixel of the other image and
back until the hop returns where it started. Pixels that many others lead to are found quickly, and
the work grows with the grid, not with the square of the image.
"""

import numpy as np
from jaxtyping import Float, Int

from driv3r.errors import ConfigError

BLOCK = 2048  # starts compared at a time, so that the similarities fit in memory


def match_reciprocal(
    descriptors_first: Float[np.ndarray, "h w d"],
    descriptors_second: Float[np.ndarray, "g u d"],
    step: int = 8,
    rounds: int = 10,
) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, "n 2"]]:
    """(x, y) indices of the matched pixels in both images, every pair once.

    `descriptors` are unit vectors, compared by dot product. The grid has a point every `step`
    pixels; a start that has not come to rest after `rounds` is given up. ConfigError for a step or
    rounds below 1.
    """
    if step < 1 or rounds < 1:
        raise ConfigError(f"step is {step}, rounds {rounds}; expected 1 at least")
    h, w, d = descriptors_first.shape
    first, second = descriptors_first.reshape(-1, d), descriptors_second.reshape(-1, d)
    rows, columns = np.arange(step // 2, h, step), np.arange(step // 2, w, step)
    here = (rows[:, None] * w + columns).ravel()
    met_here, met_there = [here[:0]], [here[:0]]
    for _ in range(rounds):
        there = find_nearest(first[here], second)
        back = find_nearest(second[there], first)
        rest = back == here
        met_here.append(here[rest])
        met_there.append(there[rest])
        here = np.unique(back[~rest])
        if len(here) == 0:
            break
    found = np.unique(np.stack([np.concatenate(met_here), np.concatenate(met_there)], -1), axis=0)
    return _to_xy(found[:, 0], w), _to_xy(found[:, 1], descriptors_second.shape[1])


def find_nearest(
    queries: Float[np.ndarray, "n d"], candidates: Float[np.ndarray, "m d"]
) -> Int[np.ndarray, "n"]:
    """Index of the candidate with the largest dot product, for every query."""
    nearest = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), BLOCK):
        block = slice(start, start + BLOCK)
        nearest[block] = (queries[block] @ candidates.T).argmax(1)
    return nearest


def _to_xy(index: Int[np.ndarray, "n"], width: int) -> Int[np.ndarray, "n 2"]:
    return np.stack([index % width, index // width], -1)
