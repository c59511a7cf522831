"""Which points lie in a box."""

from numba import njit


@njit(nogil=True, cache=True)
def mark_inside(points_world, box_T_world, half_m, inside):
    """Write which of the points [n 3] are at most `half_m` [3] from the middle of a box."""
    T = box_T_world
    for n in range(points_world.shape[0]):
        x, y, z = points_world[n, 0], points_world[n, 1], points_world[n, 2]
        inside[n] = True
        for axis in range(3):
            along = T[axis, 0] * x + T[axis, 1] * y + T[axis, 2] * z + T[axis, 3]
            inside[n] &= abs(along) <= half_m[axis]
