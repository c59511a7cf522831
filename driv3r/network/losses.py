"""What training minimises."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.network.heads import RATE_UNITS, START
from driv3r.network.inputs import Outputs
from driv3r.network.ladder import share_rungs
from driv3r.network.lenses import pick_middles
from driv3r.network.sweep import SPEEDS_MPS, YAW_RATES

SKY_DEPTH_M = 200.0
NEAREST_M = 0.5
CONFIDENCE_ALPHA = 0.2  # what DUSt3R pays for doubt


@dataclass(frozen=True, eq=False)
class Targets:
    """Truth of a batch of clips; depth 0 is sky. `ego_rate` as in Outputs, 0 on first frames."""

    depth_m: Float[Tensor, "b t v h w"]
    moving: Bool[Tensor, "b t v h w"]
    ego_rate: Float[Tensor, "b t 6"]
    has_last: Bool[Tensor, "b t"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms: `depth` of the Laplace likelihood, `relative` of |p - g| / g.

    Without `sigma` the likelihood's scale is fixed where the head starts, and none is learned.
    """

    depth: float = 1.0
    relative: float = 1.0
    edge: float = 0.5
    motion: float = 0.5
    ego: float = 10.0
    sweep: float = 0.3
    coarse: float = 0.5
    ladder: float = 0.2
    sky: float = 0.2
    sigma: bool = True


def compute_losses(
    outputs: Outputs, targets: Targets, present: Bool[Tensor, "b t v"], weights: LossWeights
) -> dict[str, Float[Tensor, ""]]:
    """Each term by name, weighted, and their sum as `total`."""
    sky = targets.depth_m <= 0
    truth = torch.where(sky, SKY_DEPTH_M, targets.depth_m.clamp(NEAREST_M, SKY_DEPTH_M)).log()
    weight = torch.where(sky, weights.sky, 1.0) * present[..., None, None]
    has_last, moves = targets.has_last, targets.has_last.sum().clamp(min=1)
    off = outputs.log_depth - truth
    error = off.abs()
    relative = off.clamp(-3.0, 1.5).expm1().abs()
    log_b = outputs.log_sigma.clamp(-4.5, 1.0)
    log_b = log_b if weights.sigma else torch.full_like(log_b, START[1])
    laplace = (error * (-log_b).exp() + log_b) * weight
    motion = F.binary_cross_entropy_with_logits(
        outputs.motion_logit, targets.moving.float(), weight=weight, pos_weight=torch.tensor(2.0)
    )
    unit = outputs.ego_rate.new_tensor(RATE_UNITS)
    ego = ((outputs.ego_rate - targets.ego_rate).abs() / unit).mean(-1) * has_last
    near, truth_near = pick_middles(weight), pick_middles(truth)
    coarse = (outputs.coarse_log_depth - truth_near).abs()
    log_b = outputs.coarse_log_sigma.clamp(-4.5, 1.0)
    coarse = coarse + 0.2 * (coarse.detach() * (-log_b).exp() + log_b)
    below, share = share_rungs(truth_near)
    chances = outputs.rung_log_chance
    low, high = (chances.gather(3, (below + i)[:, :, :, None])[:, :, :, 0] for i in (0, 1))
    ladder = -(low * (1 - share) + high * share)
    sweep = -(outputs.sweep_log_chance * share_out(targets.ego_rate)).sum(-1) * has_last
    terms = {
        "depth": weights.depth * laplace.sum() / weight.sum(),
        "relative": weights.relative * (relative * weight).sum() / weight.sum(),
        "edge": weights.edge * _edge_term(outputs.log_depth, truth, weight * ~sky),
        "motion": weights.motion * motion,
        "ego": weights.ego * ego.sum() / moves,
        "sweep": weights.sweep * sweep.sum() / moves,
        "coarse": weights.coarse * (coarse * near).sum() / near.sum(),
        "ladder": weights.ladder * (ladder * near).sum() / near.sum(),
    }
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


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


def share_out(ego_rate: Float[Tensor, "b t 6"]) -> Float[Tensor, "b t k"]:
    """Chances over the ego hypotheses whose mean is the truth: the nearest two of each axis."""
    speed = _tent(ego_rate[..., 0], SPEEDS_MPS)
    yaw_rate = _tent(ego_rate[..., 5], YAW_RATES)
    return (speed[..., :, None] * yaw_rate[..., None, :]).flatten(-2)


def _tent(x: Float[Tensor, "*s"], knots: tuple[float, ...]) -> Float[Tensor, "*s k"]:
    """Linear interpolation weights; ends hold what lies outside."""
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
