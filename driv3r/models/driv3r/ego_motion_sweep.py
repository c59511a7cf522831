"""Ego motion by matching: hypotheses are swept and voted for by what the last image shows.

A hypothesis of ego motion and depth says where in the last image a cell of this one was; the
correlation there is its evidence (plane sweep, Collins 1996; all places with all places as RAFT,
Teed & Deng 2020, section 3.2). What a cell's depth may be is summed over, so that cells of well
known depth, the road's first of all, decide the speed.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.driv3r.cost_volume import Views
from driv3r.models.driv3r.matcher import correlate
from driv3r.models.driv3r.reprojection import CellRays, drive, exact, read_volume, reproject, thin

SPEEDS_MPS = (-1.0, *(0.8 * i for i in range(20)), *(16 + 1.5 * i for i in range(12)))
YAW_RATES = (-0.5, -0.25, -0.12, -0.05, 0.0, 0.05, 0.12, 0.25, 0.5)
FINE_SPEEDS_MPS = (-0.9, -0.45, -0.2, 0.0, 0.2, 0.45, 0.9)
FINE_YAW_RATES = (-0.05, -0.02, 0.0, 0.02, 0.05)
DOUBTS = (-1.099, 0.0, 1.099)  # Laplace quantiles of 1/6, 1/2 and 5/6
PLAUSIBLE = (4.0, 0.4)  # m/s^2 and rad/s^2: scale of how a car's speed and yaw rate change


class EgoMotionSweep(nn.Module):
    """Speed and yaw rate that the cells of all cameras agree on, coarse then fine.

    Each cell's evidence is a distribution over the hypotheses; they are multiplied, with weights
    from the tokens, so that sky, moving things and bare walls abstain. What was found a frame ago
    makes hypotheses that no car could have come to less likely (Laplace, scales PLAUSIBLE).
    """

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Linear(width, 2)
        nn.init.constant_(self.weight.bias, -3.0)
        self.votes = HypothesisVotes()

    def forward(
        self,
        tokens: Float[Tensor, "b t v m c"],
        views: Views,
        depth_m: Float[Tensor, "b t v n"],
        doubt: Float[Tensor, "b t v n"],
        dt_s: Float[Tensor, "b t"],
        before: Float[Tensor, "b 3"],
    ) -> tuple[Float[Tensor, "b t 2"], Float[Tensor, "b t k"], Float[Tensor, "b 3"]]:
        """(speed, yaw rate), the coarse hypotheses' log probabilities, and the next `before`.

        `views` have each frame as a sample of its own. `doubt` is the Laplace scale of the cells'
        log depth. `before` is the rate of a frame ago and 1, or zeros where there is none.
        """
        weights = self.weight(tokens).float().sigmoid()
        with exact(depth_m):
            return self._sweep(weights, views, depth_m, doubt, dt_s, before)

    def _sweep(self, weights, views: Views, depth_m, doubt, dt_s, before):
        shape, size_hw = dt_s.shape, views.lenses.size_hw
        step = round((depth_m.shape[-1] / weights.shape[-2]) ** 0.5)
        volume = correlate(views.features[..., ::step, ::step], views.last_features)
        volume = volume * (views.known & views.last_known)[..., None, None, None]
        depth_m, doubt = (thin(x, size_hw, step, -1).flatten(0, 1) for x in (depth_m, doubt))
        depths_m = depth_m[..., None] * (doubt[..., None] * doubt.new_tensor(DOUBTS)).exp()
        scene = (volume, depths_m[:, None], views.lenses.thin(step), dt_s.flatten()[:, None])
        weights = weights.flatten(0, 1)[:, None]
        rates = hypotheses(SPEEDS_MPS, YAW_RATES, depth_m).expand(dt_s.numel(), 1, -1, -1)
        votes = self.votes(rates, weights[..., 0], *scene).unflatten(0, shape)[:, :, 0]
        rates = rates[:, 0].unflatten(0, shape)
        best, chances, before = follow(votes, rates, dt_s, before)
        fine = best.detach()[..., None, :] + hypotheses(FINE_SPEEDS_MPS, FINE_YAW_RATES, depth_m)
        votes = self.votes(fine.flatten(0, 1)[:, None], weights[..., 1], *scene)
        votes = votes.unflatten(0, shape)[:, :, 0]
        best = torch.einsum("btk,btki->bti", votes.softmax(-1), fine)
        return best, chances, before


class HypothesisVotes(nn.Module):
    """Weighted sum of all cells' log evidence for each hypothesis, whatever the depth."""

    def forward(
        self,
        rates: Float[Tensor, "b t k 2"],
        weights: Float[Tensor, "b t v n"],
        volume: Float[Tensor, "b t v n y x"],
        depths_m: Float[Tensor, "b t v n d"],
        lenses: CellRays,
        dt_s: Float[Tensor, "b t"],
    ) -> Float[Tensor, "b t k"]:
        """Votes, where each cell may be at any of `depths_m`."""
        prev_T_curr = drive(rates[..., 0], rates[..., 1], dt_s[..., None].expand(rates.shape[:-1]))
        seen = []
        for depth_m in depths_m.split(1, -1):
            pixels = reproject(lenses, lenses, prev_T_curr, depth_m)
            seen.append(read_volume(volume, pixels, lenses.size_hw))
        evidence = torch.stack(seen).logsumexp(0).log_softmax(-1)
        return torch.einsum("btvn,btvnk->btk", weights, evidence)


def follow(
    votes: Float[Tensor, "b t k"],
    rates: Float[Tensor, "b t k 2"],
    dt_s: Float[Tensor, "b t"],
    before: Float[Tensor, "b 3"],
) -> tuple[Float[Tensor, "b t 2"], Float[Tensor, "b t k"], Float[Tensor, "b 3"]]:
    """Mean rate and log chances of each frame given the one before, and the next `before`."""
    best, chances = [], []
    for t in range(votes.shape[1]):
        most = (dt_s[:, t, None, None] * votes.new_tensor(PLAUSIBLE)).clamp(min=1e-3)
        strange = ((rates[:, t] - before[:, None, :2]).abs() / most).sum(-1)
        chances.append((votes[:, t] - before[:, 2:] * strange).log_softmax(-1))
        best.append(torch.einsum("bk,bki->bi", chances[-1].exp(), rates[:, t]))
        before = torch.cat([best[-1].detach(), (dt_s[:, t, None] > 0).to(votes)], dim=-1)
    return torch.stack(best, 1), torch.stack(chances, 1), before


def hypotheses(
    speeds_mps: tuple[float, ...], yaw_rates: tuple[float, ...], like: Tensor
) -> Float[Tensor, "h 2"]:
    """All pairs, speeds outermost."""
    return torch.cartesian_prod(like.new_tensor(speeds_mps), like.new_tensor(yaw_rates))
