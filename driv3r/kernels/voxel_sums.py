"""Sums of observations that fall into the same voxel, in integers."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True, error_model="numpy")
def sum_observations(order, start, place, source, ray, error_m, rgb, voxel_m, fine, full, total):
    """Write the sums of voxels [r m]: the observations `order[start[i]:start[i + 1]]` are one's.

    An observation at `place` [n 3] has the `source`-th ray, error and colour. Rows of `total` are
    the count, the weight, and the weight times colour, place in the voxel (in 1/`fine` of a side)
    and direction to the camera in 1/127. The weight is the inverse variance in integers, `full`
    from a quarter of a voxel down.
    """
    for voxel in range(total.shape[1]):
        end = start[voxel + 1] if voxel + 1 < total.shape[1] else order.shape[0]
        for at in range(start[voxel], end):
            n = order[at]
            s = source[n]
            relative = voxel_m / 4 / max(error_m[s], voxel_m / 4)
            weight = max(np.int64(np.rint(full * relative * relative)), 1)
            total[0, voxel] += 1
            total[1, voxel] += weight
            for axis in range(3):
                cell = place[n, axis] / voxel_m
                within = np.int64(np.floor((cell - np.floor(cell)) * fine))
                total[2 + axis, voxel] += weight * np.int64(rgb[s, axis])
                total[5 + axis, voxel] += weight * within
                total[8 + axis, voxel] += weight * np.int64(np.rint(-127 * ray[s, axis]))


@njit(nogil=True, cache=True)
def join_sums(order, start, total, first, last, joined, joined_first, joined_last):
    """Write the sums [r m] of groups of columns of `total` [r n], and their first and last."""
    for group in range(joined.shape[1]):
        end = start[group + 1] if group + 1 < joined.shape[1] else order.shape[0]
        low, high = first[order[start[group]]], last[order[start[group]]]
        for at in range(start[group], end):
            n = order[at]
            low, high = min(low, first[n]), max(high, last[n])
            for row in range(joined.shape[0]):
                joined[row, group] += total[row, n]
        joined_first[group], joined_last[group] = low, high
