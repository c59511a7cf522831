"""Tokens to answers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.layers.blocks import ConvBlock, Residual, zero_init

TYPICAL_LOG_DEPTH = 2.7  # 15 m: where an untrained network starts
START = (TYPICAL_LOG_DEPTH, -1.5, -3.0, -2.0)  # log depth, log sigma, logits of motion and trust
RATE_UNITS = (10.0, 10.0, 10.0, 0.3, 0.3, 0.3)  # m/s and rad/s that make an output of 1


class DenseHead(nn.Module):
    """Depth along the known rays, its sigma, and motion, decoded up to full resolution."""

    def __init__(self, width: int, channels: tuple[int, int, int]):
        super().__init__()
        half, quarter, eighth = channels
        self.stage8 = ConvBlock(width + eighth, eighth)
        self.coarse = nn.Conv2d(eighth, 1, 1)
        self.doubt = nn.Conv2d(eighth, 1, 1)
        self.stage4 = ConvBlock(eighth + quarter, quarter)
        self.stage2 = ConvBlock(quarter + half, half)
        self.sharpen4 = Residual(quarter)
        self.sharpen2 = Residual(half)
        self.out = nn.Conv2d(half, 3 * 4, 3, padding=1)
        self.trust = nn.Conv2d(half, 4, 3, padding=1)
        zero_init(self.doubt, self.trust)

    def begin(
        self, tokens: Float[Tensor, "b c y x"], eighth: Float[Tensor, "b d yy xx"]
    ) -> tuple[Float[Tensor, "b d yy xx"], Float[Tensor, "b 2 yy xx"]]:
        """Features at stride 8; their log depth and log sigma before any matching."""
        x = self._grow(self.stage8, tokens, eighth)
        coarse = torch.cat([self.coarse(x), self.doubt(x)], 1).float()
        return x, coarse + coarse.new_tensor(START[:2])[:, None, None]

    def finish(
        self, x: Float[Tensor, "b d yy xx"], finer: list[Tensor], matched: Float[Tensor, "b h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        """Log depth, log sigma, motion logit.

        Each pixel takes `matched` for its log depth as far as it trusts it.
        """
        x = self.sharpen4(self._grow(self.stage4, x, finer[0]))
        x = self.sharpen2(self._grow(self.stage2, x, finer[1]))
        out = F.pixel_shuffle(torch.cat([self.out(x), self.trust(x)], 1).float(), 2)
        depth, *rest, trust = (out + out.new_tensor(START)[:, None, None]).unbind(1)
        depth = depth + trust.sigmoid() * (matched - depth)
        return torch.stack([depth, *rest], 1)

    def _grow(self, stage: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return stage(torch.cat([x, skip], dim=1))


class EgoHead(nn.Module):
    """What the sweep leaves of the ego motion, from all tokens of a frame by attention pooling."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(width, 8)
        self.hidden = nn.Linear(8 * width + 2, width)
        self.out = nn.Linear(width, 6)
        zero_init(self.out)

    def forward(
        self, tokens: Float[Tensor, "b t m c"], swept: Float[Tensor, "b t 2"]
    ) -> Float[Tensor, "b t 6"]:
        """Velocity (m/s) and rotation rate (rad/s) of the ego frame, from speed and yaw rate."""
        weights = self.score(tokens).float().softmax(dim=-2)
        pooled = torch.einsum("btmk,btmc->btkc", weights, tokens.float()).flatten(2)
        unit = swept.new_tensor(RATE_UNITS)
        seen = torch.cat([pooled, swept / unit[[0, 5]]], dim=-1)
        rest = self.out(F.gelu(self.hidden(seen))).float() * unit
        return rest + F.pad(swept[..., :1], (0, 5)) + F.pad(swept[..., 1:], (5, 0))
