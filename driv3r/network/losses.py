"""What training minimises."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.network.heads import RATE_UNITS
from driv3r.network.inputs import Outputs

SKY_DEPTH_M = 200.0
NEAREST_M = 0.5


@dataclass(frozen=True, eq=False)
class Targets:
    """Truth of a batch of clips; depth 0 is sky. `ego_rate` as in Outputs, 0 on first frames."""

    depth_m: Float[Tensor, "b t v h w"]
    moving: Bool[Tensor, "b t v h w"]
    ego_rate: Float[Tensor, "b t 6"]
    has_last: Bool[Tensor, "b t"]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms: `depth` of the Laplace likelihood, `relative` of |p - g| / g."""

    depth: float = 1.0
    relative: float = 1.0
    edge: float = 0.5
    motion: float = 0.5
    ego: float = 1.0
    sky: float = 0.2


def compute_losses(
    outputs: Outputs, targets: Targets, present: Bool[Tensor, "b t v"], weights: LossWeights
) -> dict[str, Float[Tensor, ""]]:
    """Each term by name, weighted, and their sum as `total`."""
    sky = targets.depth_m <= 0
    truth = torch.where(sky, SKY_DEPTH_M, targets.depth_m.clamp(NEAREST_M, SKY_DEPTH_M)).log()
    weight = torch.where(sky, weights.sky, 1.0) * present[..., None, None]
    off = outputs.log_depth - truth
    error = off.abs()
    relative = off.clamp(-3.0, 1.5).expm1().abs()
    log_b = outputs.log_sigma.clamp(-4.5, 1.0)
    laplace = (error * (-log_b).exp() + log_b) * weight
    motion = F.binary_cross_entropy_with_logits(
        outputs.motion_logit, targets.moving.float(), weight=weight, pos_weight=torch.tensor(2.0)
    )
    unit = outputs.ego_rate.new_tensor(RATE_UNITS)
    ego = ((outputs.ego_rate - targets.ego_rate).abs() / unit).mean(-1) * targets.has_last
    terms = {
        "depth": weights.depth * laplace.sum() / weight.sum(),
        "relative": weights.relative * (relative * weight).sum() / weight.sum(),
        "edge": weights.edge * _edge_term(outputs.log_depth, truth, weight * ~sky),
        "motion": weights.motion * motion,
        "ego": weights.ego * ego.sum() / targets.has_last.sum().clamp(min=1),
    }
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


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
