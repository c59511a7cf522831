"""Sums over the voxels around a voxel, in integers."""

from numba import njit


@njit(nogil=True, cache=True)
def sum_moments(slot, cell, place, reach, moments):
    """Moments of the surface's places around each voxel, relative to its own: exact integers.

    `slot` [x y z] holds the row of every voxel, -1 where there is none; `cell` [n 3] is where the
    voxels to be looked around lie in it, no nearer to its border than `reach`; `place` [m 3] are
    places in any integer unit, the n own ones first. `moments` [n 10] gets count, x, y, z, xx, xy,
    xz, yy, yz, zz.
    """
    for n in range(cell.shape[0]):
        i, j, k = cell[n, 0], cell[n, 1], cell[n, 2]
        for a in range(i - reach, i + reach + 1):
            for b in range(j - reach, j + reach + 1):
                for c in range(k - reach, k + reach + 1):
                    other = slot[a, b, c]
                    if other < 0:
                        continue
                    x = place[other, 0] - place[n, 0]
                    y = place[other, 1] - place[n, 1]
                    z = place[other, 2] - place[n, 2]
                    moments[n, 0] += 1
                    moments[n, 1] += x
                    moments[n, 2] += y
                    moments[n, 3] += z
                    moments[n, 4] += x * x
                    moments[n, 5] += x * y
                    moments[n, 6] += x * z
                    moments[n, 7] += y * y
                    moments[n, 8] += y * z
                    moments[n, 9] += z * z
