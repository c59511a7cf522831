"""Dot products of vectors with a map of vectors, read bilinearly."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, fastmath=True)
def dot_view(cells, maps, places, out):
    """`out` [n r]: cells [n c] with maps [y x c] at places [n r 2], (column, row), 0 outside.

    `fastmath` lets the sums over channels be vectorised.
    """
    height, width, channels = maps.shape
    for n in range(cells.shape[0]):
        cell = cells[n]
        for r in range(places.shape[1]):
            x, y = places[n, r, 0], places[n, r, 1]
            total = np.float32(0.0)
            if -1.0 < x < width and -1.0 < y < height:
                left, top = int(np.floor(x)), int(np.floor(y))
                for i in range(2):
                    row = top + i
                    if row < 0 or row >= height:
                        continue
                    weight_y = y - top if i else 1 - (y - top)
                    for j in range(2):
                        column = left + j
                        if column < 0 or column >= width:
                            continue
                        feature, dot = maps[row, column], np.float32(0.0)
                        for c in range(channels):
                            dot += cell[c] * feature[c]
                        total += np.float32(weight_y * (x - left if j else 1 - (x - left))) * dot
            out[n, r] = total
