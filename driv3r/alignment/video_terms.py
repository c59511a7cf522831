"""Video terms of an alignment: pose smoothness and flow (MonST3R, Zhang et al. 2024, 3.3)."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from driv3r.alignment.optimisation import Cameras
from driv3r.errors import GeometryError
from driv3r.geometry.cameras import pixel_grid


@dataclass(frozen=True, eq=False)
class Video:
    """Temporal order and optical flow of images.

    `neighbours` are the pairs of images of one camera that follow each other. `flow_px[k]` leads
    from each pixel of the first image of `flow_pairs[k]` to the second; it counts where `still`.
    """

    neighbours: Int[np.ndarray, "m 2"]
    flow_pairs: Int[np.ndarray, "f 2"]
    flow_px: Float[np.ndarray, "f h w 2"]
    still: Bool[np.ndarray, "f h w"]

    def check(self, images: int, size_hw: tuple[int, int]) -> None:
        """GeometryError where the clues are of other images or of another size."""
        for name, pairs in (("neighbours", self.neighbours), ("flow_pairs", self.flow_pairs)):
            if pairs.size and (pairs.min() < 0 or pairs.max() >= images):
                raise GeometryError(
                    f"{name} are {pairs.tolist()}, there are {images} images; expected their "
                    "indices, from 0"
                )
        expected = (len(self.flow_pairs), *size_hw)
        if self.still.shape != expected or self.flow_px.shape != (*expected, 2):
            raise GeometryError(
                f"flow_px is {self.flow_px.shape}, still {self.still.shape}; expected "
                f"{(*expected, 2)} and {expected}: resize them to the pointmaps"
            )


class VideoTerms:
    """A video's smoothness and flow as loss terms."""

    def __init__(self, video: Video):
        h, w = video.still.shape[1:]
        self.neighbours = torch.from_numpy(video.neighbours)
        self.flow_pairs = torch.from_numpy(video.flow_pairs)
        flows = len(video.flow_px)
        target = (pixel_grid((h, w)) + video.flow_px).reshape(flows, h * w, 2)
        usable = (video.still & np.isfinite(video.flow_px).all(-1)).reshape(flows, h * w)
        self.target_px = torch.from_numpy(np.where(usable[..., None], target, 0.0)).float()
        self.usable = torch.from_numpy(usable)

    def pose_smoothness(self, cameras: Cameras) -> Float[Tensor, ""]:
        """Sum over neighbours of how far the second is turned and moved as the first sees it."""
        rotation, translation = cameras.poses()
        before, after = self.neighbours.unbind(-1)
        back = rotation[before].mT
        turned = back @ rotation[after] - torch.eye(3)
        moved = (back @ (translation[after] - translation[before])[..., None])[..., 0]
        return turned.flatten(1).norm(dim=-1).sum() + moved.norm(dim=-1).sum()

    def flow_residual(
        self, cameras: Cameras, points_world: Float[Tensor, "v n 3"]
    ) -> Float[Tensor, ""]:
        """Mean L1 distance between the flow that depth and poses make and the one that is known."""
        before, after = self.flow_pairs.unbind(-1)
        uv, ahead = cameras.project(after, points_world[before])
        usable = self.usable & ahead
        error_px = torch.where(usable[..., None], uv - self.target_px, 0.0).abs().sum(-1)
        return error_px.sum() / usable.sum().clamp(min=1)
