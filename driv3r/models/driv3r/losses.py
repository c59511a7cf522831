"""Training losses."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.models.driv3r.depth_sweep import soft_bin_targets
from driv3r.models.driv3r.ego_motion_sweep import SPEEDS_MPS, YAW_RATES
from driv3r.models.driv3r.heads import OUTPUT_BIAS_INIT, RATE_SCALE
from driv3r.models.driv3r.inputs import Outputs
from driv3r.models.driv3r.reprojection import around_cell_centers, cell_center_log_depth

SKY_DEPTH_M = 200.0
NEAREST_M = 0.5
NEAR_M, ROAD_M = 20.0, 0.3
CONFIDENCE_ALPHA = 0.2  # DUSt3R's confidence regularisation


@dataclass(frozen=True, eq=False)
class Targets:
    """Truth of a batch of clips. A `valid` pixel of depth 0 is sky.

    `moving` counts where `motion_valid`, `ego_rate` (as in Outputs) where `has_last`. `height_m` is
    the height of what a valid pixel shows over the ego frame's ground plane.
    """

    depth_m: Float[Tensor, "b t v h w"]
    valid: Bool[Tensor, "b t v h w"]
    height_m: Float[Tensor, "b t v h w"]
    moving: Bool[Tensor, "b t v h w"]
    motion_valid: Bool[Tensor, "b t v h w"]
    ego_rate: Float[Tensor, "b t 6"]
    has_last: Bool[Tensor, "b t"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms: `depth` of the Laplace likelihood, `relative` of |p - g| / g.

    `depth_sweep` is of the depth hypotheses' log probabilities, `matching` of those that the sweep
    features give alone, `ego_sweep` of the ego hypotheses'. Pixels of `sky` count less; those of
    things nearer than NEAR_M and higher than ROAD_M over the ground `standing` times as much.
    Without `sigma` the likelihood's scale is fixed where the head starts, and none is learned.
    """

    depth: float = 1.0
    relative: float = 1.0
    edge: float = 0.5
    motion: float = 0.5
    ego: float = 10.0
    ego_sweep: float = 0.3
    coarse: float = 0.5
    depth_sweep: float = 0.2
    matching: float = 0.1
    sky: float = 0.2
    standing: float = 1.0
    sigma: bool = True


def measure_height(
    depth_m: Float[Tensor, "b t v h w"],
    K: Float[Tensor, "b v 3 3"],
    ego_T_cam: Float[Tensor, "b v 4 4"],
) -> Float[Tensor, "b t v h w"]:
    """Height (m) of each pixel's surface over the plane z = 0 of the ego frame."""
    h, w = depth_m.shape[-2:]
    rows = torch.arange(h, device=depth_m.device) + 0.5
    columns = torch.arange(w, device=depth_m.device) + 0.5
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1).to(K)
    upward = ego_T_cam[..., 2, None, :3] @ torch.linalg.inv_ex(K)[0]
    rise = torch.einsum("bvij,hwj->bvhw", upward, pixels)
    return rise[:, None] * depth_m + ego_T_cam[..., 2, 3][:, None, :, None, None]


def compute_losses(
    outputs: Outputs, targets: Targets, present: Bool[Tensor, "b t v"], weights: LossWeights
) -> dict[str, Float[Tensor, ""]]:
    """Each term by name, weighted, and their sum as `total`."""
    sky = targets.depth_m <= 0
    truth = torch.where(sky, SKY_DEPTH_M, targets.depth_m.clamp(NEAREST_M, SKY_DEPTH_M)).log()
    seen = (targets.valid & present[..., None, None]).float()
    standing = (targets.height_m > ROAD_M) & (targets.depth_m < NEAR_M) & ~sky
    weight = torch.where(sky, weights.sky, torch.where(standing, weights.standing, 1.0)) * seen
    terms = _depth_terms(outputs, truth, weight, weights)
    terms["edge"] = weights.edge * _edge_term(outputs.log_depth, truth, seen * ~sky)
    shown = (targets.motion_valid & present[..., None, None]) * torch.where(sky, weights.sky, 1.0)
    terms["motion"] = weights.motion * _motion_term(outputs.motion_logit, targets.moving, shown)
    cells = find_cell_targets(truth, weight, seen > 0, sky, targets.moving)
    terms |= _sweep_terms(outputs, cells, weights)
    terms |= _ego_terms(outputs, targets, weights)
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


@dataclass(frozen=True, eq=False)
class CellTargets:
    """Truth at the rays of cells: log depth, its weight, whether all pixels there are static."""

    log_depth: Float[Tensor, "b t v y x"]
    weight: Float[Tensor, "b t v y x"]
    static: Bool[Tensor, "b t v y x"]


def find_cell_targets(
    log_depth: Float[Tensor, "b t v h w"],
    weight: Float[Tensor, "b t v h w"],
    seen: Bool[Tensor, "b t v h w"],
    sky: Bool[Tensor, "b t v h w"],
    moving: Bool[Tensor, "b t v h w"],
) -> CellTargets:
    """Targets of cells from the `seen` pixels around their centres.

    The weight is 0 where these are both of sky and of surfaces.
    """
    there = around_cell_centers(seen)

    def agree(mask: Tensor) -> Tensor:
        return (around_cell_centers(mask) | ~there).all(-3) & there.any(-3)

    mean = (around_cell_centers(weight) * there).sum(-3) / there.sum(-3).clamp(min=1)
    return CellTargets(
        cell_center_log_depth(log_depth, seen),
        mean * (agree(sky) | agree(~sky)),
        agree(~sky & ~moving),
    )


def _depth_terms(
    outputs: Outputs, truth: Tensor, weight: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    off, count = outputs.log_depth - truth, weight.sum().clamp(min=1)
    relative = off.clamp(-3.0, 1.5).expm1().abs()
    log_b = outputs.log_sigma.clamp(-4.5, 1.0)
    log_b = log_b if weights.sigma else torch.full_like(log_b, OUTPUT_BIAS_INIT[1])
    laplace = off.abs() * (-log_b).exp() + log_b
    return {
        "depth": weights.depth * (laplace * weight).sum() / count,
        "relative": weights.relative * (relative * weight).sum() / count,
    }


def _motion_term(logit: Tensor, moving: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy, a mean over all pixels as before some were unknown; movers count twice."""
    twice = torch.full((), 2.0, device=logit.device)
    each = F.binary_cross_entropy_with_logits(
        logit, moving.float(), weight=weight, pos_weight=twice, reduction="sum"
    )
    return each / (weight > 0).sum().clamp(min=1)


def _sweep_terms(outputs: Outputs, cells: CellTargets, weights: LossWeights) -> dict[str, Tensor]:
    """Coarse depth, the hypotheses' log probabilities, and the sweep features' alone.

    The latter are supervised where the scene is static and some source sees the true depth.
    """
    truth, weight = cells.log_depth, cells.weight
    coarse = (outputs.coarse_log_depth - truth).abs()
    log_b = outputs.coarse_log_sigma.clamp(-4.5, 1.0)
    coarse = coarse + 0.2 * (coarse.detach() * (-log_b).exp() + log_b)
    count = weight.sum().clamp(min=1)
    matched = weight * cells.static * (read_bins(outputs.matching_seen, truth) > 0)
    matching = -read_bins(outputs.matching_log_prob, truth) * matched
    return {
        "coarse": weights.coarse * (coarse * weight).sum() / count,
        "depth_sweep": -weights.depth_sweep
        * (read_bins(outputs.depth_log_prob, truth) * weight).sum()
        / count,
        "matching": weights.matching * matching.sum() / matched.sum().clamp(min=1),
    }


def _ego_terms(outputs: Outputs, targets: Targets, weights: LossWeights) -> dict[str, Tensor]:
    has_last, moves = targets.has_last, targets.has_last.sum().clamp(min=1)
    unit = outputs.ego_rate.new_tensor(RATE_SCALE)
    ego = ((outputs.ego_rate - targets.ego_rate).abs() / unit).mean(-1) * has_last
    sweep = -(outputs.ego_log_prob * soft_ego_targets(targets.ego_rate)).sum(-1) * has_last
    return {
        "ego": weights.ego * ego.sum() / moves,
        "ego_sweep": weights.ego_sweep * sweep.sum() / moves,
    }


def read_bins(
    volume: Float[Tensor, "b t v r y x"], log_depth: Float[Tensor, "b t v y x"]
) -> Float[Tensor, "b t v y x"]:
    """A volume over depth hypotheses at a log depth, linear between them."""
    below, share = soft_bin_targets(log_depth)
    low, high = (volume.gather(3, (below + i)[:, :, :, None])[:, :, :, 0] for i in (0, 1))
    return low * (1 - share) + high * share


def compute_point_loss(
    points: Float[Tensor, "b f h w 3"],
    confidence: Float[Tensor, "b f h w"],
    truth: Float[Tensor, "b f h w 3"],
    valid: Bool[Tensor, "b f h w"],
) -> Float[Tensor, ""]:
    """DUSt3R's confidence-weighted distance of points (Wang et al. 2024, eq. 4).

    A sample's clouds are scaled to mean length one, each by itself.
    """
    count = valid.sum((1, 2, 3)).clamp(min=1)

    def scaled(cloud: Float[Tensor, "b f h w 3"]) -> Tensor:
        mean = (cloud.norm(dim=-1) * valid).sum((1, 2, 3)) / count
        return cloud / mean.clamp(min=1e-6)[:, None, None, None, None]

    off = (scaled(points) - scaled(truth)).norm(dim=-1)
    weighted = confidence * off - CONFIDENCE_ALPHA * confidence.log()
    return (weighted * valid).sum() / valid.sum().clamp(min=1)


def soft_ego_targets(ego_rate: Float[Tensor, "b t 6"]) -> Float[Tensor, "b t k"]:
    """Target probabilities of the ego hypotheses with the truth as mean: linear on each axis."""
    speed = linear_interp_targets(ego_rate[..., 0], SPEEDS_MPS)
    yaw_rate = linear_interp_targets(ego_rate[..., 5], YAW_RATES)
    return (speed[..., :, None] * yaw_rate[..., None, :]).flatten(-2)


def linear_interp_targets(
    x: Float[Tensor, "*s"], knots: tuple[float, ...]
) -> Float[Tensor, "*s k"]:
    """Linear interpolation weights, clamped at the ends."""
    at = x.new_tensor(knots)
    x = x.clamp(knots[0], knots[-1]).contiguous()
    right = torch.searchsorted(at, x).clamp(1, len(knots) - 1)
    share = (x - at[right - 1]) / (at[right] - at[right - 1])
    low = F.one_hot(right - 1, len(knots)) * (1 - share)[..., None]
    return low + F.one_hot(right, len(knots)) * share[..., None]


def _edge_term(
    predicted: Float[Tensor, "b t v h w"],
    truth: Float[Tensor, "b t v h w"],
    weight: Float[Tensor, "b t v h w"],
) -> Float[Tensor, ""]:
    """L1 of log-depth differences between neighbours (cf. MiDaS' gradient matching)."""
    difference, total = predicted - truth, predicted.new_zeros(())
    for axis in (-1, -2):
        n = difference.shape[axis]
        step = difference.narrow(axis, 1, n - 1) - difference.narrow(axis, 0, n - 1)
        both = weight.narrow(axis, 1, n - 1) * weight.narrow(axis, 0, n - 1)
        total = total + (step.abs() * both).sum() / both.sum().clamp(min=1)
    return total
