"""Tokens to answers."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.network.blocks import ConvBlock

TYPICAL_LOG_DEPTH = 2.7  # 15 m: where an untrained network starts
RATE_UNITS = (10.0, 10.0, 10.0, 0.3, 0.3, 0.3)  # m/s and rad/s that make an output of 1


class DenseHead(nn.Module):
    """Depth along the known rays, its sigma, and motion, decoded up to full resolution."""

    def __init__(self, width: int, channels: tuple[int, int, int]):
        super().__init__()
        half, quarter, eighth = channels
        self.stage8 = ConvBlock(width + eighth, eighth)
        self.stage4 = ConvBlock(eighth + quarter, quarter)
        self.stage2 = ConvBlock(quarter + half, half)
        self.out = nn.Conv2d(half, 3 * 4, 3, padding=1)

    def forward(
        self, tokens: Float[Tensor, "b c y x"], finer: list[Tensor]
    ) -> Float[Tensor, "b 3 h w"]:
        """Log depth, log sigma, motion logit."""
        x = tokens
        for skip, stage in zip(finer, (self.stage8, self.stage4, self.stage2), strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, skip], dim=1))
        out = F.pixel_shuffle(self.out(x).float(), 2)
        start = out.new_tensor([TYPICAL_LOG_DEPTH, -1.5, -3.0])
        return out + start[:, None, None]


class EgoHead(nn.Module):
    """Ego motion since the previous frame from all tokens of a frame, by attention pooling."""

    def __init__(self, width: int):
        super().__init__()
        self.score = nn.Linear(width, 8)
        self.out = nn.Sequential(nn.Linear(8 * width, width), nn.GELU(), nn.Linear(width, 6))

    def forward(self, x: Float[Tensor, "b t m c"]) -> Float[Tensor, "b t 6"]:
        """Velocity (m/s) and rotation rate (rad/s) of the ego frame."""
        weights = self.score(x).float().softmax(dim=-2)
        pooled = torch.einsum("btmk,btmc->btkc", weights, x.float()).flatten(2)
        rate = self.out(pooled).float()
        return rate * rate.new_tensor(RATE_UNITS)
