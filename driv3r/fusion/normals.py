"""Surface normals of the static map, from the places of the surface in the voxels around."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Float, Int8, Int64

from driv3r.fusion.tiles import Arrays
from driv3r.fusion.voxels import VoxelGrid
from driv3r.kernels.symmetric_eigen import find_eigenvectors
from driv3r.kernels.voxel_neighbours import sum_moments
from driv3r.types import FINE

REACH = 3  # voxels around, on every side
LEAST_SHEET, LEAST_LINE = 6, 4  # voxels that tell one
SHEET = 0.35  # a sheet's variance across it is at most this share of the next
LINE = 0.05  # a line's second variance is at most this share of the first
UPRIGHT = 0.7  # of a pole's axis, in z


def list_around(tile: int, grid: VoxelGrid) -> list[int]:
    """The 26 tiles around one; the grid ends nowhere near a log."""
    steps = np.array([step for step in product((-1, 0, 1), repeat=3) if any(step)])
    return grid.pack_tiles(grid.unpack_tiles(np.array([tile])) + steps).tolist()


def find_normals(
    voxels: Arrays, around: Sequence[Arrays], grid: VoxelGrid
) -> Int8[np.ndarray, "n 3"]:
    """Normals (1/127) of a tile's voxels, towards the cameras; 0 0 0 where they are not known.

    The axis of least variance of the places within `REACH` voxels (Hoppe et al., 1992), where
    these are a sheet; across an upright line, a pole, the direction to the cameras.
    """
    low = voxels["index"].min(0) - REACH
    high = voxels["index"].max(0) + REACH
    near = [
        (part["index"][rows], part["offset"][rows])
        for part in around
        if (rows := ((part["index"] >= low) & (part["index"] <= high)).all(-1)).any()
    ]
    index = np.concatenate([voxels["index"], *(i for i, _ in near)]).astype(np.int64) - low
    offset = np.concatenate([voxels["offset"], *(o for _, o in near)]).astype(np.int64)
    slot = np.full(high - low + 1, -1, np.int32)
    slot[tuple(index.T)] = np.arange(len(index))
    moments = np.zeros((len(voxels["index"]), 10), np.int64)
    sum_moments(slot, index[: len(moments)], index * FINE + offset, REACH, moments)
    return _orient(*_axes(moments), voxels["towards"].astype(np.float64), moments[:, 0])


def _axes(
    moments: Int64[np.ndarray, "n 10"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3 3"]]:
    """Variances in ascending order and their axes (columns)."""
    count = moments[:, :1]
    mean, square = moments[:, 1:4] / count, moments[:, 4:] / count
    scatter = square[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]].reshape(-1, 3, 3)
    values, vectors = np.empty((len(count), 3)), np.empty((len(count), 3, 3))
    find_eigenvectors(scatter - mean[:, :, None] * mean[:, None, :], values, vectors)
    return values, vectors


def _orient(
    variance: Float[np.ndarray, "n 3"],
    axes: Float[np.ndarray, "n 3 3"],
    towards: Float[np.ndarray, "n 3"],
    count: Int64[np.ndarray, "n"],
) -> Int8[np.ndarray, "n 3"]:
    across, along = axes[:, :, 0], axes[:, :, 2]
    thin = variance[:, 1] <= LINE * variance[:, 2]
    # A line that lies may be one row of pixels on a distant road.
    line = thin & (np.abs(along[:, 2]) >= UPRIGHT) & (count >= LEAST_LINE)
    sheet = ~thin & (variance[:, 0] <= SHEET * variance[:, 1]) & (count >= LEAST_SHEET)
    facing = towards - along * (along * towards).sum(-1, keepdims=True)
    normal = np.where(line[:, None], facing, across)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    known = (line | sheet) & (length[:, 0] > 0)
    sign = np.where((normal * towards).sum(-1, keepdims=True) < 0, -127.0, 127.0)
    return np.where(known[:, None], np.rint(normal / np.maximum(length, 1e-12) * sign), 0.0).astype(
        np.int8
    )
