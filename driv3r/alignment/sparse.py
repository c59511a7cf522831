"""Alignment over matches (MASt3R-SfM, Duisterhof et al. 2024, section 3.3).

Every image has one canonical pointmap, by all pairs that it comes first in. Matched points are
brought together in 3D by one scale and pose an image ("coarse"); then the matches' reprojection is
made small over focal lengths and depths as well, a depth correction for each cell of pixels
("fine").
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from driv3r.alignment.focal import fit_focal
from driv3r.alignment.optimisation import Cameras, adam_cosine
from driv3r.alignment.pointmaps import (
    Alignment,
    FixedCameras,
    InitialCameras,
    NormalisedFrame,
    PairPoints,
    cast_rays,
    centre_of,
    fill_depth,
    make_K,
    normalise_frame,
)
from driv3r.alignment.reciprocal_matching import match_reciprocal
from driv3r.alignment.similarity import register_points, weighted_median
from driv3r.alignment.spanning_tree import anchor_to_known_poses, order_tree
from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.transforms import invert

SMALLEST = 1e-4  # of a distance: a root has no slope at zero


@dataclass(frozen=True)
class SparseConfig:
    """Steps, rates and exponents of the coarse and the fine descent, and a depth cell's side.

    The paper has a `coarse_power` of 1.5, by which wrong matches pull much: with 30 % of them our
    test scene ends 2.7 degrees off, with 0.5 it ends 0.2 off.
    """

    coarse_steps: int = 300
    coarse_learning_rate: float = 0.07
    coarse_power: float = 0.5
    fine_steps: int = 300
    fine_learning_rate: float = 0.014
    fine_power: float = 0.5
    cell_px: int = 8

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            least = 1 if name == "cell_px" else 0
            if not math.isfinite(value) or value < least:
                raise ConfigError(f"sparse: {name} is {value}; expected a number from {least}")


@dataclass(frozen=True, eq=False)
class Matches:
    """Pixels of both images of a pair that see the same point: (x, y) indices, and weights.

    `pair` says of which pair (the row of `PairPoints.pairs`) a match is.
    """

    pair: Int[np.ndarray, "n"]
    xy: Int[np.ndarray, "n 2 2"]
    weight: Float[np.ndarray, "n"]


def match_pairs(
    descriptors: Float[np.ndarray, "e 2 h w d"],
    confidence: Float[np.ndarray, "e 2 h w"],
    step: int = 8,
) -> Matches:
    """Reciprocal matches of every pair, weighted by the geometric mean of both confidences."""
    parts = []
    for k, (first, second) in enumerate(descriptors):
        found = np.stack(match_reciprocal(first, second, step), axis=1)
        sure = [confidence[k, side, found[:, side, 1], found[:, side, 0]] for side in (0, 1)]
        parts.append((np.full(len(found), k), found, np.sqrt(sure[0] * sure[1])))
    pair, xy, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Matches(pair, xy, weight.astype(np.float64))


DEFAULT = SparseConfig()
NO_FIXED = FixedCameras()


def align_sparse(
    pairs: PairPoints,
    matches: Matches,
    given: FixedCameras = NO_FIXED,
    config: SparseConfig = DEFAULT,
) -> Alignment:
    """Cameras and depths from matches and canonical pointmaps; `loss` is the fine descent's.

    Every image must come first in a pair: give both orders. GeometryError where one does not, or
    the matches leave images unconnected.
    """
    points_cam, confidence = merge_own_points(pairs)
    matches = _keep_known(matches, pairs, points_cam)
    start, scale = _place_images(pairs, points_cam, matches, given)
    depth = fill_depth(points_cam[..., 2] * scale[:, None, None])
    frame = normalise_frame(start, depth)
    near = frame.enter(start)
    scene = _Scene(near, depth / frame.unit, pairs.pairs, matches, config.cell_px)
    adam_cosine(
        lambda _: scene.point_distance(config.coarse_power),
        [*scene.cameras.poses.parameters(), scene.change],
        config.coarse_steps,
        config.coarse_learning_rate,
        0.0,
    )
    loss = adam_cosine(
        lambda _: scene.error_px(config.fine_power),
        scene.parameters(),
        config.fine_steps,
        config.fine_learning_rate,
        0.0,
    )
    return _read(scene, frame, start, confidence, loss)


def merge_own_points(
    pairs: PairPoints,
) -> tuple[Float[np.ndarray, "v h w 3"], Float[np.ndarray, "v h w"]]:
    """Canonical pointmaps, each image's points in its own frame, and their confidence.

    Averages over the pairs that an image comes first in, weighted by log confidence; NaN where no
    pair has any. GeometryError where an image is first in no pair.
    """
    weight = pairs.weights()[:, 0]
    merged = np.full((pairs.images, *pairs.size_hw, 3), np.nan)
    confidence = np.ones((pairs.images, *pairs.size_hw))
    for image in range(pairs.images):
        own = np.flatnonzero((pairs.pairs[:, 0] == image) & (weight.max((1, 2)) > 0))
        if len(own) == 0:
            raise GeometryError(
                f"image {image} comes first in no pair, or without confidence above 1; expected "
                "both orders of every pair"
            )
        maps = _match_scales(
            np.where(weight[own][..., None] > 0, pairs.points[own, 0], 0), weight[own]
        )
        total = weight[own].sum(0)
        summed = (weight[own][..., None] * maps).sum(0)
        seen = total > 0
        merged[image][seen] = summed[seen] / total[seen][:, None]
        confidence[image] = np.exp(total / len(own))
    return merged, confidence


def _match_scales(
    maps: Float[np.ndarray, "k h w 3"], weight: Float[np.ndarray, "k h w"]
) -> Float[np.ndarray, "k h w 3"]:
    """Pointmaps of one image in the unit of the surest, by the median ratio of distances."""
    size = np.linalg.norm(maps, axis=-1)
    surest = int(weight.mean((1, 2)).argmax())
    out = maps.copy()
    for k, each in enumerate(weight):
        both = (size[k] > 0) & (size[surest] > 0)
        shared = (each * weight[surest])[both]
        if shared.sum() > 0:
            out[k] *= weighted_median(size[surest][both] / size[k][both], shared)
    return out


def _keep_known(
    matches: Matches, pairs: PairPoints, points_cam: Float[np.ndarray, "v h w 3"]
) -> Matches:
    """Matches whose points are known in both images."""
    x, y = matches.xy.transpose(2, 0, 1)
    kept = np.isfinite(points_cam[pairs.pairs[matches.pair], y, x]).all((1, 2))
    return Matches(matches.pair[kept], matches.xy[kept], matches.weight[kept])


def _place_images(
    pairs: PairPoints,
    points_cam: Float[np.ndarray, "v h w 3"],
    matches: Matches,
    given: FixedCameras,
) -> tuple[InitialCameras, Float[np.ndarray, "v"]]:
    """Cameras and scales along the tree of the best matched pairs, by a similarity each."""
    v = len(points_cam)
    score = np.bincount(matches.pair, matches.weight, len(pairs.pairs))
    matched = np.flatnonzero(score > 0)
    if len(matched) == 0:
        raise GeometryError("there are no matches with a weight: nothing to align")
    scale, world_T_cam = np.ones(v), np.tile(np.eye(4), (v, 1, 1))
    placed: set[int] = set()
    for k in matched[order_tree(pairs.pairs[matched], score[matched], v)]:
        ends, rows = pairs.pairs[k].tolist(), matches.pair == k
        side = 1 if ends[1] in placed else 0
        old, new = ends[side], ends[1 - side]
        x, y = matches.xy[rows].transpose(2, 1, 0)
        found = register_points(
            points_cam[old][y[side], x[side]],
            points_cam[new][y[1 - side], x[1 - side]],
            matches.weight[rows],
        )
        old_T_new = found.ref_T_local.copy()
        old_T_new[:3, 3] *= scale[old]
        scale[new] = scale[old] * found.scale
        world_T_cam[new] = world_T_cam[old] @ old_T_new
        placed |= {old, new}
    world_T_cam, growth, _ = anchor_to_known_poses(world_T_cam, given)
    has_K, has_pose = given.known_masks(v)
    return InitialCameras(_find_K(points_cam, given), world_T_cam, has_K, has_pose), scale * growth


def _find_K(
    points_cam: Float[np.ndarray, "v h w 3"], given: FixedCameras
) -> Float[np.ndarray, "v 3 3"]:
    has_K, _ = given.known_masks(len(points_cam))
    centre = centre_of((points_cam.shape[1], points_cam.shape[2]))
    K = np.stack([make_K(fit_focal(points, centre), centre) for points in points_cam])
    return K if given.K is None else np.where(has_K[:, None, None], given.K, K)


class _Scene(nn.Module):
    """Cameras, one scale an image, one depth correction a cell, and the matches laid out by pair.

    `k` is the largest number of matches of a pair; the others' rows end in weights of 0.
    """

    def __init__(
        self,
        start: InitialCameras,
        depth: Float[np.ndarray, "v h w"],
        pairs: Int[np.ndarray, "e 2"],
        matches: Matches,
        cell_px: int,
    ):
        super().__init__()
        self.cameras, self.loose = Cameras(start), not start.has_scale
        self.ends, self.depth = torch.from_numpy(pairs), depth
        v, h, w = depth.shape
        self.cell = _number_cells(v, (h, w), cell_px)
        self.change = nn.Parameter(torch.zeros(v))
        self.bend = nn.Parameter(torch.zeros(int(self.cell.max()) + 1))
        x, y, weight = _lay_out(matches, len(pairs))
        image = pairs[:, :, None]
        self.uv = torch.from_numpy(np.stack([x, y], -1) + 0.5).float()
        self.rays = torch.from_numpy(cast_rays(start.K, (h, w))[image, y, x]).float()
        self.near = torch.from_numpy(depth[image, y, x]).float()
        self.at = torch.from_numpy(self.cell[image, y, x])
        self.weight = torch.from_numpy(weight / weight.sum()).float()

    def log_growth(self) -> Float[Tensor, "v"]:
        """Log of the images' scales; without a known unit their mean stays 0."""
        return self.change - self.change.mean() if self.loose else self.change

    def points(self) -> Float[Tensor, "e 2 k 3"]:
        """World points of both ends of the matches."""
        log_scale = self.log_growth()[self.ends][..., None] + self.bend[self.at]
        return self.cameras.lift(self.ends, self.rays, self.near * log_scale.exp())

    def point_distance(self, power: float) -> Float[Tensor, ""]:
        """Mean power of the distances between matched points, relative to the scene's growth."""
        first, second = self.points().unbind(1)
        apart = ((first - second).square().sum(-1) + SMALLEST**2).sqrt()
        growth = self.log_growth().mean().exp()
        return (self.weight * (apart / growth) ** power).sum()

    def error_px(self, power: float) -> Float[Tensor, ""]:
        """Mean power of the matches' reprojection errors in pixels, over both directions."""
        seen, _ = self.cameras.project(self.ends.flip(1), self.points())
        apart = ((seen - self.uv.flip(1)).square().sum(-1) + SMALLEST**2).sqrt()
        return (self.weight[:, None] * apart**power).sum() / 2

    def read_depth(self) -> Float[np.ndarray, "v h w"]:
        """Depth of every pixel as it stands."""
        growth = self.log_growth().detach().numpy()[:, None, None]
        return self.depth * np.exp(growth + self.bend.detach().numpy()[self.cell])


def _number_cells(v: int, size_hw: tuple[int, int], cell_px: int) -> Int[np.ndarray, "v h w"]:
    """Which cell a pixel is of, counted over all images."""
    rows, columns = np.arange(size_hw[0]) // cell_px, np.arange(size_hw[1]) // cell_px
    grid = rows[:, None] * (columns[-1] + 1) + columns
    return np.arange(v)[:, None, None] * (grid[-1, -1] + 1) + grid


def _lay_out(
    matches: Matches, pairs: int
) -> tuple[Int[np.ndarray, "e 2 k"], Int[np.ndarray, "e 2 k"], Float[np.ndarray, "e k"]]:
    """x, y and weight of the matches, a row for each pair."""
    count = np.bincount(matches.pair, minlength=pairs)
    order = np.argsort(matches.pair, kind="stable")
    pair = matches.pair[order]
    place = np.arange(len(pair)) - (np.cumsum(count) - count)[pair]
    xy = np.zeros((pairs, int(count.max()), 2, 2), np.int64)
    weight = np.zeros(xy.shape[:2])
    xy[pair, place], weight[pair, place] = matches.xy[order], matches.weight[order]
    x, y = xy.transpose(3, 0, 2, 1)
    return x, y, weight


def _read(
    scene: _Scene,
    frame: NormalisedFrame,
    start: InitialCameras,
    confidence: Float[np.ndarray, "v h w"],
    loss: float,
) -> Alignment:
    """The answer in the world's frame and unit."""
    world_T_cam = frame.leave_poses(scene.cameras.poses.read())
    if not start.has_pose.any():
        world_T_cam = invert(world_T_cam[0]) @ world_T_cam
    world_T_cam[start.has_pose] = start.world_T_cam[start.has_pose]
    return Alignment(
        world_T_cam,
        scene.cameras.read_K(),
        scene.read_depth() * frame.unit,
        confidence,
        "metric" if start.has_scale else "similarity",
        loss,
    )
