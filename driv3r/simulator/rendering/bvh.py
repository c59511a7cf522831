"""Which rays come near which things: a tree of boxes, walked by compiled kernels.

Every ray is tested against boxes that stand in the world and, where it meets one, against the
thing's own box in the thing's own frame.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int

from driv3r.simulator.rendering.jit import kernel

MARGIN_M = 0.01
BLOCK = 16  # a camera's rays that are tested together first
NOWHERE_M = 1e9


class Tree(NamedTuple):
    """Boxes in the world: node i holds nodes 2i + 1 and 2i + 2; the last row of nodes are things.

    `thing` numbers the last row's things (-1: none); `own_low` and `own_high` are boxes in the
    things' frames, whose place is `world_T_thing`.
    """

    low: Float[np.ndarray, "nodes 3"]
    high: Float[np.ndarray, "nodes 3"]
    thing: Int[np.ndarray, "leaves"]
    own_low: Float[np.ndarray, "a 3"]
    own_high: Float[np.ndarray, "a 3"]
    world_T_thing: Float[np.ndarray, "a 4 4"]


def make_tree(
    own_low: Float[np.ndarray, "a 3"],
    own_high: Float[np.ndarray, "a 3"],
    world_T_thing: Float[np.ndarray, "a 4 4"],
    chosen: Int[np.ndarray, "k"],
) -> Tree:
    """The tree of some of the things (at least one), halved again and again where they spread."""
    own_low, own_high = own_low - MARGIN_M, own_high + MARGIN_M
    leaves = 1 << max(int(np.ceil(np.log2(len(chosen)))), 0)
    centre, half = 0.5 * (own_low + own_high)[chosen], 0.5 * (own_high - own_low)[chosen]
    turn = world_T_thing[chosen, :3, :3]
    centre = np.einsum("nij,nj->ni", turn, centre) + world_T_thing[chosen, :3, 3]
    half = np.einsum("nij,nj->ni", np.abs(turn), half)
    place = np.concatenate([centre, np.repeat(centre[-1:], leaves - len(chosen), 0)])
    order = np.arange(leaves)
    groups = 1
    while groups < leaves:
        rows = order.reshape(groups, -1)
        axis = np.ptp(place[rows], axis=1).argmax(-1)
        keys = place[rows, axis[:, None]]
        order = np.take_along_axis(rows, np.argsort(keys, axis=1, kind="stable"), 1).reshape(-1)
        groups *= 2
    low, high = np.full((2 * leaves - 1, 3), np.inf), np.full((2 * leaves - 1, 3), -np.inf)
    here = order < len(chosen)
    low[leaves - 1 :][here] = (centre - half)[order[here]]
    high[leaves - 1 :][here] = (centre + half)[order[here]]
    while groups > 1:
        groups //= 2
        below = slice(2 * groups - 1, 4 * groups - 1)
        low[groups - 1 : 2 * groups - 1] = low[below].reshape(groups, 2, 3).min(1)
        high[groups - 1 : 2 * groups - 1] = high[below].reshape(groups, 2, 3).max(1)
    low[low > high] = high[low > high] = NOWHERE_M  # nothing below: no ray comes by
    thing = np.where(here, chosen[np.minimum(order, len(chosen) - 1)], -1)
    return Tree(low, high, thing, own_low, own_high, world_T_thing)


def meetings(
    tree: Tree,
    origins: Float32[np.ndarray, "n 3"],
    directions: Float32[np.ndarray, "n 3"],
    range_m: Float32[np.ndarray, "n"],
) -> tuple[Int[np.ndarray, "p"], Int[np.ndarray, "p"]]:
    """Pairs of a ray and a thing whose box it enters within its range, sorted by thing."""
    range_m = range_m.copy()
    _dismiss(tree.low, tree.high, origins, directions, range_m)
    room = len(origins) + 64
    while True:
        ray, thing = np.empty(room, np.int32), np.empty(room, np.int16)
        count = _walk(tree, origins, directions, range_m, ray, thing)
        if count <= room:
            break
        room = count
    order = np.argsort(thing[:count], kind="stable")
    return ray[:count][order], thing[:count][order]


@kernel
def _enters(low, high, row, ox, oy, oz, ix, iy, iz, wider_m, far_m):
    """Whether a ray (origin, inverse direction) meets a row's widened box before `far_m`."""
    a, b = (low[row, 0] - wider_m - ox) * ix, (high[row, 0] + wider_m - ox) * ix
    if a > b:
        a, b = b, a
    near, far = max(a, 0.0), min(b, far_m)
    a, b = (low[row, 1] - wider_m - oy) * iy, (high[row, 1] + wider_m - oy) * iy
    if a > b:
        a, b = b, a
    near, far = max(a, near), min(b, far)
    a, b = (low[row, 2] - wider_m - oz) * iz, (high[row, 2] + wider_m - oz) * iz
    if a > b:
        a, b = b, a
    return max(a, near) <= min(b, far)


@kernel
def _inverse(x):
    """1 / x, with a large number for axes along which a ray does not move."""
    return 1.0 / x if abs(x) > 1e-12 else 1e12


@kernel
def _walk(tree, origins, directions, range_m, ray, thing):
    """Fill in pairs as far as there is room; how many there are."""
    stack = np.empty(64, np.int64)
    low, high, things, own_low, own_high, T = tree
    first_leaf, count = len(things) - 1, 0
    for i in range(len(origins)):
        ox, oy, oz = float(origins[i, 0]), float(origins[i, 1]), float(origins[i, 2])
        dx, dy, dz = float(directions[i, 0]), float(directions[i, 1]), float(directions[i, 2])
        ix, iy, iz = _inverse(dx), _inverse(dy), _inverse(dz)
        far_m = float(range_m[i])
        stack[0], top = 0, 1 if far_m > 0 else 0
        while top > 0:
            top -= 1
            node = stack[top]
            if not _enters(low, high, node, ox, oy, oz, ix, iy, iz, 0.0, far_m):
                continue
            if node < first_leaf:
                stack[top], stack[top + 1] = 2 * node + 2, 2 * node + 1
                top += 2
                continue
            k = things[node - first_leaf]
            if k < 0:
                continue
            x, y, z = ox - T[k, 0, 3], oy - T[k, 1, 3], oz - T[k, 2, 3]
            if _enters(
                own_low, own_high, k,
                T[k, 0, 0] * x + T[k, 1, 0] * y + T[k, 2, 0] * z,
                T[k, 0, 1] * x + T[k, 1, 1] * y + T[k, 2, 1] * z,
                T[k, 0, 2] * x + T[k, 1, 2] * y + T[k, 2, 2] * z,
                _inverse(T[k, 0, 0] * dx + T[k, 1, 0] * dy + T[k, 2, 0] * dz),
                _inverse(T[k, 0, 1] * dx + T[k, 1, 1] * dy + T[k, 2, 1] * dz),
                _inverse(T[k, 0, 2] * dx + T[k, 1, 2] * dy + T[k, 2, 2] * dz),
                0.0,
                far_m,
            ):  # fmt: skip
                if count < len(ray):
                    ray[count], thing[count] = i, k
                count += 1
    return count


@kernel
def _dismiss(low, high, origins, directions, range_m):
    """Shorten to nothing the ranges of blocks of rays from one place that meet no leaf's box.

    A block is its mean ray, as wide at each distance as its rays stray from it.
    """
    stack = np.empty(64, np.int64)
    for start in range(0, len(origins) - BLOCK + 1, BLOCK):
        stop = start + BLOCK
        ox, oy, oz = float(origins[start, 0]), float(origins[start, 1]), float(origins[start, 2])
        if ox != origins[stop - 1, 0] or oy != origins[stop - 1, 1] or oz != origins[stop - 1, 2]:
            continue
        dx, dy, dz, far_m = 0.0, 0.0, 0.0, 0.0
        for i in range(start, stop):
            dx, dy, dz = dx + directions[i, 0], dy + directions[i, 1], dz + directions[i, 2]
            far_m = max(far_m, float(range_m[i]))
        dx, dy, dz, stray = dx / BLOCK, dy / BLOCK, dz / BLOCK, 0.0
        for i in range(start, stop):
            stray = max(stray, abs(directions[i, 0] - dx), abs(directions[i, 1] - dy))
            stray = max(stray, abs(directions[i, 2] - dz))
        ix, iy, iz = _inverse(dx), _inverse(dy), _inverse(dz)
        stack[0], top, met = 0, 1, False
        while top > 0 and not met:
            top -= 1
            node = stack[top]
            end_m = max(abs(low[node, 0] - ox), abs(high[node, 0] - ox))
            end_m += max(abs(low[node, 1] - oy), abs(high[node, 1] - oy))
            end_m += max(abs(low[node, 2] - oz), abs(high[node, 2] - oz))
            end_m = min(end_m, far_m)
            if _enters(low, high, node, ox, oy, oz, ix, iy, iz, stray * end_m, end_m):
                met = node >= len(low) // 2
                stack[top], stack[top + 1] = 2 * node + 2, 2 * node + 1
                top += 2
        if not met:
            range_m[start:stop] = -1.0


@kernel
def turn_rays(ray, origins, directions, frame_of, world_T_thing, own_origins, own_directions):
    """Some rays in frames, each in its own of `world_T_thing` [a, 4, 4], given by row."""
    for p in range(len(ray)):
        i, f = ray[p], frame_of[p]
        for c in range(3):
            start, way = 0.0, 0.0
            for k in range(3):
                turn = world_T_thing[f, k, c]
                start += turn * (origins[i, k] - world_T_thing[f, k, 3])
                way += turn * directions[i, k]
            own_origins[p, c], own_directions[p, c] = start, way


@kernel
def shoot(directions_sensor, frame_of, world_T_sensor, origins, directions):
    """World rays of a sensor, each in its own frame of `world_T_sensor` [k, 4, 4]."""
    for i in range(len(frame_of)):
        f = frame_of[i]
        for c in range(3):
            origins[i, c], way = world_T_sensor[f, c, 3], 0.0
            for k in range(3):
                way += world_T_sensor[f, c, k] * directions_sensor[i, k]
            directions[i, c] = way


def rays_near(
    origins: Float32[np.ndarray, "n 3"],
    directions: Float32[np.ndarray, "n 3"],
    range_m: Float32[np.ndarray, "n"],
    centre: Float[np.ndarray, "3"],
    radius_m: float,
) -> Int[np.ndarray, "k"]:
    """The rays that come within `radius_m` of a place before their range ends."""
    near = np.zeros(len(origins), np.bool_)
    _mark_near(origins, directions, range_m, centre, radius_m, near)
    return np.flatnonzero(near).astype(np.int32)


@kernel
def _mark_near(origins, directions, range_m, centre, radius_m, near):
    for i in range(len(origins)):
        x, y, z = centre[0] - origins[i, 0], centre[1] - origins[i, 1], centre[2] - origins[i, 2]
        along = x * directions[i, 0] + y * directions[i, 1] + z * directions[i, 2]
        aside = x * x + y * y + z * z - along * along
        near[i] = aside < radius_m**2 and -radius_m < along < range_m[i] + radius_m
