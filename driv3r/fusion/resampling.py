"""Surface between pixels: metres of a road lie between two rows of an image."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from driv3r.fusion.consistency import PixelEvidence
from driv3r.fusion.frames import FusionConfig

MOST = 32  # places between two neighbouring pixels
STEP = 1.0  # voxels between places, at most
UPRIGHT = 0.9  # of a patch's normal, in z: of a road or a pavement
FARTHEST_STEP = 0.3  # share of its range by which a neighbour on the same surface may differ


@dataclass(frozen=True, eq=False)
class SurfacePlaces:
    """Places of the surface that the rows `pixel` of some evidence tell of."""

    pixel: Int[np.ndarray, "n"]
    point_world: Float[np.ndarray, "n 3"]


def fill_between(pixels: PixelEvidence, config: FusionConfig) -> SurfacePlaces:
    """The pixels' places, and those between them on level patches of a pixel and its neighbours.

    A patch is the bilinear one of four neighbouring pixels of a view; the place of each corner is
    taken for as exact as the pixel's own. Places lie about a voxel apart.
    """
    rows, right, down, across = _find_patches(pixels)
    place = pixels.point_world
    normal = np.cross(place[right] - place[rows], place[down] - place[rows])
    lies = np.abs(normal[:, 2]) >= UPRIGHT * np.linalg.norm(normal, axis=-1)
    flat = lies & (pixels.edge[rows] <= config.max_edge)
    rows, right, down, across = (of[flat] for of in (rows, right, down, across))
    step_m = STEP * config.voxel_m
    counts = [
        np.clip(np.ceil(np.linalg.norm(place[to] - place[rows], axis=-1) / step_m), 1, MOST)
        for to in (right, down)
    ]
    counts = [count.astype(int) for count in counts]
    total = counts[0] * counts[1]
    patch = np.repeat(np.arange(len(rows)), total - 1)
    within = np.arange(len(patch)) - np.repeat(np.cumsum(total - 1) - (total - 1), total - 1) + 1
    j, i = np.divmod(within, counts[0][patch])
    a, b = (i / counts[0][patch])[:, None], (j / counts[1][patch])[:, None]
    corner = [place[of[patch]] for of in (rows, right, down, across)]
    between = (1 - b) * ((1 - a) * corner[0] + a * corner[1]) + b * (
        (1 - a) * corner[2] + a * corner[3]
    )
    told_by = np.concatenate([np.arange(len(pixels)), rows[patch]])
    return SurfacePlaces(told_by, np.concatenate([place, between]))


def _find_patches(pixels: PixelEvidence) -> tuple[Int[np.ndarray, "k"], ...]:
    """Pixels with their neighbours right, down and across, all of one surface."""
    n = len(pixels)
    width = pixels.columns + 1
    height = int(pixels.pixel.max(initial=0)) // pixels.columns + 2
    row, column = np.divmod(pixels.pixel, pixels.columns)
    cell = (pixels.view.astype(np.int64) * height + row) * width + column
    slot = np.full(int(cell.max(initial=0)) + width + 2, -1)
    slot[cell] = np.arange(n)
    near = np.stack([slot[cell + step] for step in (1, width, width + 1)])
    rows = np.flatnonzero((near >= 0).all(0))
    range_m = pixels.range_m
    step = np.abs(range_m[near[:, rows]] / range_m[rows] - 1).max(0, initial=0.0)
    rows = rows[step <= FARTHEST_STEP]
    return rows, *near[:, rows]
