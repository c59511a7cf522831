"""Dense optical flow between two images of a camera by the network's matching features."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from driv3r.models.driv3r.matcher import correlate
from driv3r.models.driv3r.network import Driv3r, normalise
from driv3r.models.driv3r.reprojection import STRIDE

SEARCH_CELLS = 8  # search radius of a match in cells
OUTSIDE = -3.0  # correlation beyond the image, as low as the worst match inside
SMOOTH_CELLS = 5  # side of the square of cells whose correlations are averaged


class MatcherFlow:
    """Flow (u, v) in pixels from a first image to a second one of the same size.

    The displacement with the highest correlation averaged around each cell, refined to a softmax
    mean over its neighbours, at a stride of 8 pixels and interpolated linearly. Flow is arbitrary
    at occlusions and for displacements beyond SEARCH_CELLS.
    """

    def __init__(self, model: Driv3r, device: torch.device):
        self.matcher, self.device = model.matcher.to(device).eval(), device
        self.size_hw = model.config.size_hw

    @torch.no_grad()
    def __call__(
        self, first: UInt8[np.ndarray, "h w 3"], second: UInt8[np.ndarray, "h w 3"]
    ) -> Float32[np.ndarray, "h w 2"]:
        """Flow of every pixel of the first image."""
        rows, columns = self.size_hw
        small = [
            cv2.resize(i, (columns, rows), interpolation=cv2.INTER_AREA) for i in (first, second)
        ]
        images = torch.from_numpy(np.stack(small)).to(self.device).permute(0, 3, 1, 2).float() / 255
        features = self.matcher(normalise(images)[:, None, None])
        volume = correlate(self.matcher.sharpen(features[:1]), features[1:])[0, 0, 0]
        cells = find_matches(volume)
        h, w = first.shape[:2]
        fine = cv2.resize(cells.cpu().numpy(), (w, h), interpolation=cv2.INTER_LINEAR)
        return fine * np.array([w / columns, h / rows], np.float32)


def find_matches(volume: Float[Tensor, "n y x"]) -> Float[Tensor, "y x 2"]:
    """Flow (u, v) in pixels at the working size of n = y * x cells from their correlations."""
    y, x = volume.shape[-2:]
    side = 2 * SEARCH_CELLS + 1
    moved = gather_around(volume, torch.arange(len(volume), device=volume.device), SEARCH_CELLS)
    moved = moved.flatten(1).T.unflatten(1, (y, x))[None]
    margin = SMOOTH_CELLS // 2
    smoothed = F.avg_pool2d(F.pad(moved, (margin,) * 4, mode="replicate"), SMOOTH_CELLS, 1)
    smoothed = smoothed[0].flatten(1).T.unflatten(1, (side, side))
    best = smoothed.flatten(1).argmax(1)
    weight = gather_around(smoothed, best, 1).flatten(1).softmax(1).unflatten(1, (3, 3))
    offset = torch.arange(-1, 2, device=volume.device, dtype=volume.dtype)
    right = best % side - SEARCH_CELLS + (weight.sum(1) * offset).sum(1)
    down = best // side - SEARCH_CELLS + (weight.sum(2) * offset).sum(1)
    return (torch.stack([right, down], -1) * STRIDE).unflatten(0, (y, x))


def gather_around(
    maps: Float[Tensor, "n y x"], middle: Int[Tensor, "n"], reach: int
) -> Float[Tensor, "n s s"]:
    """The square about a cell of each map; far below any correlation outside of it."""
    columns = maps.shape[-1]
    padded = F.pad(maps, (reach,) * 4, value=OUTSIDE)
    step = torch.arange(2 * reach + 1, device=maps.device)
    row = (middle // columns)[:, None, None] + step[:, None]
    column = (middle % columns)[:, None, None] + step
    return padded[torch.arange(len(maps), device=maps.device)[:, None, None], row, column]
