"""Global alignment of pairwise pointmaps (DUSt3R, Wang et al. 2024, section 3.3).

Every pair has a scale and a pose of its own, which bring its two pointmaps onto the world points of
both images; these are lifted from one depth a pixel by one camera an image. All of it is found by
gradient descent. With a video's clues it is MonST3R's alignment (Zhang et al. 2024, section 3.3).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.alignment.optimisation import Cameras, Poses, adam_cosine
from driv3r.alignment.pointmaps import (
    Alignment,
    FixedCameras,
    InitialCameras,
    NormalisedFrame,
    PairPoints,
    cast_rays,
    fill_depth,
    merge_confidence,
    normalise_frame,
)
from driv3r.alignment.similarity import register_points
from driv3r.alignment.spanning_tree import initialise_from_tree
from driv3r.alignment.video_terms import Video, VideoTerms
from driv3r.errors import ConfigError
from driv3r.geometry.transforms import invert

SMALLEST = 1e-8  # a distance of zero has no slope


@dataclass(frozen=True)
class PairwiseConfig:
    """Steps and rates of the descent (the published code's), and what each term weighs.

    `distance` is the Euclidean distance ("l1") or its square ("l2"). Flow counts from the share
    `flow_from` of the steps on, when depths and poses are near.
    """

    steps: int = 300
    learning_rate: float = 0.01
    last_learning_rate: float = 1e-6
    distance: Literal["l1", "l2"] = "l1"
    smooth_weight: float = 0.01
    flow_weight: float = 0.01
    flow_from: float = 0.15

    def __post_init__(self):
        if self.distance not in ("l1", "l2"):
            raise ConfigError(f"pairwise: distance is {self.distance!r}; expected l1 or l2")
        for name, value in dataclasses.asdict(self).items():
            if name != "distance" and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"pairwise: {name} is {value}; expected a finite number from 0")


@dataclass(frozen=True, eq=False)
class PairAlignment:
    """The images' alignment, and how each pair lies in it: world = world_T_pair (scale * points).

    Without known places the product of the scales is 1, which fixes the unit.
    """

    views: Alignment
    scale: Float[np.ndarray, "e"]
    world_T_pair: Float[np.ndarray, "e 4 4"]


DEFAULT = PairwiseConfig()
NO_FIXED = FixedCameras()


def align_pairs(
    pairs: PairPoints,
    given: FixedCameras = NO_FIXED,
    video: Video | None = None,
    config: PairwiseConfig = DEFAULT,
) -> PairAlignment:
    """Cameras, depths and pair transforms that minimise the pointmaps' weighted distances (eq. 5).

    Weights are log confidences; distances are means over all points, in median depths of the start.
    GeometryError for pairs that leave images unconnected, hold nothing to align, or do not fit the
    video or what is given.
    """
    if video is not None:
        video.check(pairs.images, pairs.size_hw)
    start, points_world = initialise_from_tree(pairs, given)
    depth = _measure_depth(start, points_world)
    frame = normalise_frame(start, depth)
    scene = _Scene(frame.enter(start), depth / frame.unit)
    fits = _Pairs(pairs, frame, points_world, not start.has_scale)
    video_terms = None if video is None else VideoTerms(video)

    def loss_at(done: float) -> Float[Tensor, ""]:
        points = scene()
        loss = fits(points, config.distance)
        if video_terms is not None:
            loss = loss + config.smooth_weight * video_terms.pose_smoothness(scene.cameras)
            if done >= config.flow_from:
                loss = loss + config.flow_weight * video_terms.flow_residual(scene.cameras, points)
        return loss

    parameters = [*scene.parameters(), *fits.parameters()]
    loss = adam_cosine(
        loss_at, parameters, config.steps, config.learning_rate, config.last_learning_rate
    )
    return _read(scene, fits, frame, start, merge_confidence(pairs), loss)


class _Scene(nn.Module):
    """Cameras, and the depth of every pixel of theirs."""

    def __init__(self, start: InitialCameras, depth: Float[np.ndarray, "v h w"]):
        super().__init__()
        self.cameras = Cameras(start)
        self.size_hw = depth.shape[1], depth.shape[2]
        self.rays = torch.from_numpy(cast_rays(start.K, self.size_hw)).float().flatten(1, 2)
        self.image = torch.arange(len(depth))
        self.log_depth = nn.Parameter(torch.from_numpy(np.log(depth)).float().flatten(1))

    def forward(self) -> Float[Tensor, "v n 3"]:
        """World points of every pixel."""
        return self.cameras.lift(self.image, self.rays, self.log_depth.exp())


class _Pairs(nn.Module):
    """The pairs' pointmaps, and the scale and pose that bring each pair to the world.

    With a `loose` unit, the mean log scale stays what it was: else all would shrink to nothing.
    """

    def __init__(
        self,
        pairs: PairPoints,
        frame: NormalisedFrame,
        points_world: Float[np.ndarray, "v h w 3"],
        loose: bool,
    ):
        super().__init__()
        weight = pairs.weights()
        found = [
            register_points(points_world[ends], points, each)
            for ends, points, each in zip(pairs.pairs, pairs.points, weight, strict=True)
        ]
        world_T_pair = np.stack([one.ref_T_local for one in found])
        self.poses = Poses(frame.enter_poses(world_T_pair), np.ones(len(found), bool))
        scale = np.array([one.scale for one in found]) / frame.unit
        self.first_log_scale = torch.from_numpy(np.log(scale)).float()
        self.change = nn.Parameter(torch.zeros(len(found)))
        self.loose = loose
        self.ends = torch.from_numpy(pairs.pairs)
        usable = np.where(weight[..., None] > 0, pairs.points, 0.0)
        self.points = torch.from_numpy(usable).float().flatten(2, 3)
        self.weight = torch.from_numpy(weight).float().flatten(2)

    def log_scale(self) -> Float[Tensor, "e"]:
        """Log of world lengths (of the descent's frame) by the pairs'."""
        change = self.change - self.change.mean() if self.loose else self.change
        return self.first_log_scale + change

    def forward(
        self, points: Float[Tensor, "v n 3"], distance: Literal["l1", "l2"]
    ) -> Float[Tensor, ""]:
        """Mean weighted distance between the pairs' points and the images'.

        Where the unit is known, distances count by how much the pairs have grown: in plain metres a
        scene that shrinks has less to pay for noise, and known places do not hold it (half of its
        true size with 2 % noise and 20 % outliers).
        """
        rotation, translation = self.poses()
        scaled = self.points * self.log_scale().exp()[:, None, None, None]
        placed = scaled @ rotation[:, None].mT + translation[:, None, None]
        square = (points[self.ends] - placed).square().sum(-1)
        apart = square if distance == "l2" else (square + SMALLEST**2).sqrt()
        growth = 1.0 if self.loose else self.change.mean().exp() ** (2 if distance == "l2" else 1)
        return (self.weight * apart).mean() / growth


def _measure_depth(
    start: InitialCameras, points_world: Float[np.ndarray, "v h w 3"]
) -> Float[np.ndarray, "v h w"]:
    """Depth of world points in their own cameras; the median where one is not ahead."""
    moved = points_world - start.world_T_cam[:, None, None, :3, 3]
    depth = np.einsum("vhwi,vi->vhw", moved, start.world_T_cam[:, :3, 2])
    return fill_depth(depth)


def _read(
    scene: _Scene,
    fits: _Pairs,
    frame: NormalisedFrame,
    start: InitialCameras,
    confidence: Float[np.ndarray, "v h w"],
    loss: float,
) -> PairAlignment:
    """The answer in the world's frame and unit."""
    log_scale = fits.log_scale().detach().numpy().astype(np.float64)
    if not start.has_scale:
        frame = dataclasses.replace(frame, unit=float(np.exp(-log_scale.mean())))
    world_T_cam = frame.leave_poses(scene.cameras.poses.read())
    world_T_pair = frame.leave_poses(fits.poses.read())
    if not start.has_pose.any():
        cam_T_world = invert(world_T_cam[0])
        world_T_cam, world_T_pair = cam_T_world @ world_T_cam, cam_T_world @ world_T_pair
    world_T_cam[start.has_pose] = start.world_T_cam[start.has_pose]
    depth = scene.log_depth.detach().exp().numpy().reshape(len(world_T_cam), *scene.size_hw)
    views = Alignment(
        world_T_cam,
        scene.cameras.read_K(),
        depth.astype(np.float64) * frame.unit,
        confidence,
        "metric" if start.has_scale else "similarity",
        loss,
    )
    return PairAlignment(views, np.exp(log_scale) * frame.unit, world_T_pair)
