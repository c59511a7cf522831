"""Which points of a picture lie behind the patches of others."""

import math

import numpy as np
from numba import njit


def find_covered(places, radius, depth_m, margin):
    """Which of the `places` [n 2] lie in the square of `radius` around another one that is nearer.

    Nearer is a depth of less than the covered point's by a share of `margin`.
    """
    hidden = np.zeros(len(places), bool)
    if len(places) == 0:
        return hidden
    cells = np.floor(places - places.min(axis=0)).astype(np.int64)
    rows, columns = cells.max(axis=0) + 1
    number = cells[:, 0] * columns + cells[:, 1]
    order = np.argsort(number, kind="stable")
    start = np.append(0, np.cumsum(np.bincount(number, minlength=rows * columns)))
    _mark_covered(places, radius, depth_m, margin, cells, order, start, hidden, columns)
    return hidden


@njit(nogil=True, cache=True)
def _mark_covered(places, radius, depth_m, margin, cells, order, start, hidden, columns):
    rows = (start.shape[0] - 1) // columns
    for near in range(places.shape[0]):
        reach = int(math.ceil(radius[near]))
        row, column = cells[near]
        for r in range(max(row - reach, 0), min(row + reach + 1, rows)):
            low = start[r * columns + max(column - reach, 0)]
            high = start[r * columns + min(column + reach + 1, columns)]
            for at in range(low, high):
                far = order[at]
                if (
                    not hidden[far]
                    and depth_m[near] < depth_m[far] * (1 - margin)
                    and abs(places[far, 0] - places[near, 0]) <= radius[near]
                    and abs(places[far, 1] - places[near, 1]) <= radius[near]
                ):
                    hidden[far] = True
