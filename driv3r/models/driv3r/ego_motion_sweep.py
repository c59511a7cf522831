"""Ego motion sweep: hypotheses of speed and yaw rate, scored by correlation with the last image.

A hypothesis of ego motion and depth places each cell in the last image; the correlation there is
its evidence (plane sweep, Collins 1996; all-pairs correlation as RAFT, Teed & Deng 2020, section
3.2). Depth is marginalised per cell, so that cells of certain depth, above all the road's, decide
the speed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.driv3r.cost_volume import MatchingInputs
from driv3r.models.driv3r.matcher import correlate
from driv3r.models.driv3r.reprojection import (
    CellRays,
    no_autocast,
    planar_motion,
    read_volume,
    reproject,
    subsample,
)

SPEEDS_MPS = (-1.0, *(0.8 * i for i in range(20)), *(16 + 1.5 * i for i in range(12)))
YAW_RATES = (-0.5, -0.25, -0.12, -0.05, 0.0, 0.05, 0.12, 0.25, 0.5)
FINE_SPEEDS_MPS = (-0.9, -0.45, -0.2, 0.0, 0.2, 0.45, 0.9)
FINE_YAW_RATES = (-0.05, -0.02, 0.0, 0.02, 0.05)
LAPLACE_QUANTILES = (-1.099, 0.0, 1.099)  # Laplace quantiles of 1/6, 1/2 and 5/6
MOTION_PRIOR_SCALE = (4.0, 0.4)  # m/s^2 and rad/s^2: scale of how a car's speed and yaw rate change


class EgoMotionSweep(nn.Module):
    """Speed and yaw rate from the cells of all cameras, coarse to fine.

    Each cell's evidence is a distribution over the hypotheses; they are multiplied with weights
    from the tokens, so that sky, moving things and bare walls abstain. The last frame's motion is
    a prior against implausible accelerations (Laplace, scales MOTION_PRIOR_SCALE).
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Linear(width, 2)
        nn.init.constant_(self.weight.bias, -3.0)
        self.score_hypotheses = HypothesisScores()

    def forward(
        self,
        tokens: Float[Tensor, "b t v m c"],
        views: MatchingInputs,
        depth_m: Float[Tensor, "b t v n"],
        sigma: Float[Tensor, "b t v n"],
        dt_s: Float[Tensor, "b t"],
        prev_rate: Float[Tensor, "b 3"],
    ) -> tuple[Float[Tensor, "b t 2"], Float[Tensor, "b t k"], Float[Tensor, "b 3"]]:
        """(speed, yaw rate), the coarse hypotheses' log probabilities, and the next `prev_rate`.

        `views` have each frame as a sample of its own. `sigma` is the Laplace scale of the cells'
        log depth. `prev_rate` is the last frame's rate and 1, or zeros where there is none.
        """
        weights = self.weight(tokens).float().sigmoid()
        with no_autocast(depth_m):
            return self._sweep(weights, views, depth_m, sigma, dt_s, prev_rate)

    def _sweep(self, weights, views: MatchingInputs, depth_m, sigma, dt_s, prev_rate):
        shape, size_hw = dt_s.shape, views.cell_rays.size_hw
        step = round((depth_m.shape[-1] / weights.shape[-2]) ** 0.5)
        volume = correlate(views.features[..., ::step, ::step], views.last_features)
        volume = volume * (views.known & views.last_known)[..., None, None, None]
        depth_m, sigma = (subsample(x, size_hw, step, -1).flatten(0, 1) for x in (depth_m, sigma))
        depths_m = (
            depth_m[..., None] * (sigma[..., None] * sigma.new_tensor(LAPLACE_QUANTILES)).exp()
        )
        scene = (
            volume,
            depths_m[:, None],
            views.cell_rays.subsample(step),
            dt_s.flatten()[:, None],
        )
        weights = weights.flatten(0, 1)[:, None]
        rates = hypotheses(SPEEDS_MPS, YAW_RATES, depth_m).expand(dt_s.numel(), 1, -1, -1)
        scores = self.score_hypotheses(rates, weights[..., 0], *scene).unflatten(0, shape)[:, :, 0]
        rates = rates[:, 0].unflatten(0, shape)
        best, log_prob, prev_rate = temporal_filter(scores, rates, dt_s, prev_rate)
        fine = best.detach()[..., None, :] + hypotheses(FINE_SPEEDS_MPS, FINE_YAW_RATES, depth_m)
        scores = self.score_hypotheses(fine.flatten(0, 1)[:, None], weights[..., 1], *scene)
        scores = scores.unflatten(0, shape)[:, :, 0]
        best = torch.einsum("btk,btki->bti", scores.softmax(-1), fine)
        return best, log_prob, prev_rate


class HypothesisScores(nn.Module):
    """Score of each hypothesis: weighted sum of all cells' log evidence, depth marginalised."""

    def forward(
        self,
        rates: Float[Tensor, "b t k 2"],
        weights: Float[Tensor, "b t v n"],
        volume: Float[Tensor, "b t v n y x"],
        depths_m: Float[Tensor, "b t v n d"],
        cell_rays: CellRays,
        dt_s: Float[Tensor, "b t"],
    ) -> Float[Tensor, "b t k"]:
        """Scores; each cell may be at any of `depths_m`."""
        prev_T_curr = planar_motion(
            rates[..., 0], rates[..., 1], dt_s[..., None].expand(rates.shape[:-1])
        )
        seen = []
        for depth_m in depths_m.split(1, -1):
            pixels = reproject(cell_rays, cell_rays, prev_T_curr, depth_m)
            seen.append(read_volume(volume, pixels, cell_rays.size_hw))
        evidence = torch.stack(seen).logsumexp(0).log_softmax(-1)
        return torch.einsum("btvn,btvnk->btk", weights, evidence)


def temporal_filter(
    scores: Float[Tensor, "b t k"],
    rates: Float[Tensor, "b t k 2"],
    dt_s: Float[Tensor, "b t"],
    prev_rate: Float[Tensor, "b 3"],
) -> tuple[Float[Tensor, "b t 2"], Float[Tensor, "b t k"], Float[Tensor, "b 3"]]:
    """Mean rate and log probabilities of each frame given the last, and the next `prev_rate`."""
    best, log_prob = [], []
    for t in range(scores.shape[1]):
        scale = (dt_s[:, t, None, None] * scores.new_tensor(MOTION_PRIOR_SCALE)).clamp(min=1e-3)
        deviation = ((rates[:, t] - prev_rate[:, None, :2]).abs() / scale).sum(-1)
        log_prob.append((scores[:, t] - prev_rate[:, 2:] * deviation).log_softmax(-1))
        best.append(torch.einsum("bk,bki->bi", log_prob[-1].exp(), rates[:, t]))
        prev_rate = torch.cat([best[-1].detach(), (dt_s[:, t, None] > 0).to(scores)], dim=-1)
    return torch.stack(best, 1), torch.stack(log_prob, 1), prev_rate


def hypotheses(
    speeds_mps: tuple[float, ...], yaw_rates: tuple[float, ...], like: Tensor
) -> Float[Tensor, "h 2"]:
    """All pairs, speeds outermost."""
    return torch.cartesian_prod(like.new_tensor(speeds_mps), like.new_tensor(yaw_rates))
