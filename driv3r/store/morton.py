"""The order of static voxels: by tile, then along the Morton curve within the tile."""

import math

import numpy as np
from jaxtyping import Int, Int64, UInt64

from driv3r.errors import StoreError

TILE_M = 25.6
_SPREAD = (  # doubling shifts that leave two empty bits between the bits of a 21-bit number
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)
_EVERY_THIRD = np.uint64(_SPREAD[-1][1])
_CLOSED = [mask for _, mask in reversed(_SPREAD[:-1])] + [0x1FFFFF]


def count_tile_voxels(voxel_m: float) -> int:
    """Voxels along a tile's edge: 25.6 m rounded to whole voxels."""
    if not (math.isfinite(voxel_m) and TILE_M / 2**21 < voxel_m <= TILE_M):
        raise StoreError(f"voxel_m is {voxel_m}; expected metres above 2e-5, at most {TILE_M}")
    return round(TILE_M / voxel_m)


def morton_code(cell: Int[np.ndarray, "n 3"]) -> UInt64[np.ndarray, "n"]:
    """Interleave the bits of x, y, z in [0, 2^21); x holds the lowest bit."""
    bits = cell.astype(np.uint64)
    for shift, mask in _SPREAD:
        bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
    return bits[:, 0] | (bits[:, 1] << np.uint64(1)) | (bits[:, 2] << np.uint64(2))


def morton_decode(code: UInt64[np.ndarray, "n"]) -> Int64[np.ndarray, "n 3"]:
    """The x, y, z of `morton_code`."""
    bits = np.stack([code >> np.uint64(axis) for axis in range(3)], axis=-1) & _EVERY_THIRD
    for (shift, _), mask in zip(reversed(_SPREAD), _CLOSED, strict=True):
        bits = (bits | (bits >> np.uint64(shift))) & np.uint64(mask)
    return bits.astype(np.int64)


def morton_order(index: Int[np.ndarray, "n 3"], voxel_m: float) -> Int[np.ndarray, "n"]:
    """Permutation that sorts voxel indices by tile (x, y, z), then Morton code within the tile."""
    edge = count_tile_voxels(voxel_m)
    tile, cell = np.divmod(index.astype(np.int64), edge)
    return np.lexsort((morton_code(cell), tile[:, 2], tile[:, 1], tile[:, 0]))
