"""Plane-sweep depth: a distribution over depth hypotheses per cell.

Matching costs (cost_volume.py) and a prior from the tokens give a distribution over the hypotheses,
and its mean at full resolution.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.driv3r.cost_volume import (
    DEPTH_RANGE_LOG_M,
    NUM_DEPTHS,
    MatchingCosts,
    depth_hypotheses,
)
from driv3r.models.driv3r.reprojection import STRIDE
from driv3r.models.layers.blocks import ConvBlock, Residual, zero_init

DILATIONS = (2, 4)


@dataclass(frozen=True, eq=False)
class SweptDepth:
    """Updated `features`, log probabilities of the depth hypotheses, and their mean log depth at
    full resolution: a convex combination of the cells around (RAFT, Teed & Deng 2020, section 3.3).
    `matching_log_prob` is that of the sweep features' correlation alone, which training supervises,
    `seen` the share of the sources in which a hypothesis lies.
    """

    features: Float[Tensor, "b c y x"]
    log_prob: Float[Tensor, "b r y x"]
    log_depth: Float[Tensor, "b h w"]
    matching_log_prob: Float[Tensor, "b r y x"]
    seen: Float[Tensor, "b r y x"]


class PlaneSweepDepth(nn.Module):
    """Log probabilities of depth hypotheses from costs, context and a prior."""

    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Sequential(
            ConvBlock(channels + 3 * NUM_DEPTHS + 5, channels), ConvBlock(channels, channels)
        )
        added = nn.Conv2d(channels, channels, 3, padding=1)
        self.sweep = nn.Sequential(ConvBlock(channels + 3 * NUM_DEPTHS, channels), added)
        self.context = nn.Sequential(*(Residual(channels, dilation) for dilation in DILATIONS))
        self.out = nn.Conv2d(channels, channels, 3, padding=1)
        self.logits = nn.Conv2d(channels, NUM_DEPTHS, 3, padding=1)
        self.upsample_mask = nn.Conv2d(channels, 9 * STRIDE**2, 1)
        self.log_evidence_weight = nn.Parameter(torch.tensor([2.0, -1.0]))
        self.sharpness = nn.Parameter(torch.tensor([2.3, 1.0]))
        zero_init(added, self.out, self.logits, self.upsample_mask)

    def forward(
        self,
        x: Float[Tensor, "b c y x"],
        costs: MatchingCosts,
        log_depth: Float[Tensor, "b y x"],
        log_scale: Float[Tensor, "b y x"],
    ) -> SweptDepth:
        """`log_depth` and its log Laplace scale are the prior, from the tokens alone."""
        maps = {f.name: to_maps(getattr(costs, f.name), x) for f in fields(costs)}
        depths = depth_hypotheses(x)[:, None, None]
        prior = -(depths - log_depth[:, None]).abs() / log_scale.exp()[:, None]
        parallax = (prior.softmax(1) * maps["parallax"]).sum(1, keepdim=True).log1p()
        names = ("correlation", "seen", "prev_correlation")
        matched = [*(maps[name] for name in names), parallax, maps["best_match_offset"]]
        swept = [maps["sweep_mean"], maps["sweep_best"], maps["sweep_prev"]]
        matched, swept = (
            torch.cat([x, *(m.to(x.dtype) for m in cues)], 1) for cues in (matched, swept)
        )
        mixed = self.context(self.mix(matched) + self.sweep(swept))
        weight, sharpness = self.log_evidence_weight.exp(), self.sharpness.exp()
        evidence = weight[0] * maps["correlation"] + weight[1] * maps["prev_correlation"]
        evidence = evidence + sharpness[1] * maps["sweep_mean"]
        log_prob = (self.logits(mixed).float() + evidence + prior).log_softmax(1)
        mean = (log_prob.exp() * depths).sum(1)
        return SweptDepth(
            x + self.out(mixed),
            log_prob,
            convex_upsample(mean, self.upsample_mask(mixed).float()),
            (sharpness[0] * maps["sweep_mean"]).log_softmax(1),
            maps["seen"],
        )


def to_maps(cost: Float[Tensor, "b t v n k"], like: Tensor) -> Float[Tensor, "_ k y x"]:
    """Cells as maps of the size of `like`."""
    return cost.flatten(0, 2).transpose(-1, -2).unflatten(-1, like.shape[-2:])


def convex_upsample(
    coarse: Float[Tensor, "b y x"], logits: Float[Tensor, "b k y x"]
) -> Float[Tensor, "b h w"]:
    """Convex upsampling to full resolution from the 3 x 3 cells around each pixel."""
    padded = F.pad(coarse[:, None], (1, 1, 1, 1), mode="replicate")
    around = F.unfold(padded, 3).unflatten(-1, coarse.shape[-2:])[:, :, None]
    shares = logits.unflatten(1, (9, STRIDE**2)).softmax(1)
    return F.pixel_shuffle((shares * around).sum(1), STRIDE)[:, 0]


def soft_bin_targets(
    log_depth: Float[Tensor, "*s"],
) -> tuple[Int[Tensor, "*s"], Float[Tensor, "*s"]]:
    """The hypothesis below a log depth and the share of the one above, clamped at the ends."""
    low, high = DEPTH_RANGE_LOG_M
    at = ((log_depth - low) / (high - low) * (NUM_DEPTHS - 1)).clamp(0, NUM_DEPTHS - 1 - 1e-4)
    below = at.floor()
    return below.long(), at - below
