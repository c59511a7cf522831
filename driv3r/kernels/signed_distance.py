"""Signed distance of grid nodes from oriented points."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def splat_distance(place, normal, weight, reach, distance, total):
    """Add every oriented point to the nodes within `reach` of it.

    `place` [n 3] are in units of the grid, `normal` [n 3] unit vectors. `distance` [x y z] sums the
    distance of a node from each point's plane times its weight, `total` the weights: `weight` [n]
    times (1 - r^2)^4, where r is the distance from the point over `reach`.
    """
    for n in range(place.shape[0]):
        low, high = np.empty(3, np.int64), np.empty(3, np.int64)
        for axis in range(3):
            low[axis] = max(int(np.ceil(place[n, axis] - reach)), 0)
            high[axis] = min(int(np.floor(place[n, axis] + reach)), distance.shape[axis] - 1)
        for i in range(low[0], high[0] + 1):
            for j in range(low[1], high[1] + 1):
                for k in range(low[2], high[2] + 1):
                    a, b, c = i - place[n, 0], j - place[n, 1], k - place[n, 2]
                    near = 1 - (a * a + b * b + c * c) / (reach * reach)
                    if near <= 0.0:
                        continue
                    share = weight[n] * near**4
                    plane = a * normal[n, 0] + b * normal[n, 1] + c * normal[n, 2]
                    distance[i, j, k] += share * plane
                    total[i, j, k] += share
