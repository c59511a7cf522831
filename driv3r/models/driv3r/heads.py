"""Output heads: dense depth, sigma and motion; ego motion."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.driv3r.depth_sweep import SweptDepth
from driv3r.models.driv3r.local_matching import LocalMatch
from driv3r.models.layers.blocks import ConvBlock, Residual, zero_init

TYPICAL_LOG_DEPTH = 2.7  # 15 m: the initial depth of an untrained network
# Initial outputs: log depth, log sigma, logits of motion and of the blend weight.
OUTPUT_BIAS_INIT = (TYPICAL_LOG_DEPTH, -1.5, -3.0, -2.0)
RATE_SCALE = (10.0, 10.0, 10.0, 0.3, 0.3, 0.3)  # m/s and rad/s of a unit output


class DenseHead(nn.Module):
    """Depth along the known rays, its sigma, and motion, decoded up to full resolution."""

    def __init__(self, width: int, channels: tuple[int, int, int]):
        super().__init__()
        half, quarter, eighth = channels
        self.stage8 = ConvBlock(width + eighth, eighth)
        self.coarse = nn.Conv2d(eighth, 1, 1)
        self.log_scale = nn.Conv2d(eighth, 1, 1)
        self.stage4 = ConvBlock(eighth + quarter, quarter)
        self.stage2 = ConvBlock(quarter + half, half)
        self.sharpen4 = Residual(quarter)
        self.sharpen2 = Residual(half)
        self.out = nn.Conv2d(half, 3 * 4, 3, padding=1)
        self.blend_weight = nn.Conv2d(half, 4, 3, padding=1)
        zero_init(self.log_scale, self.blend_weight)

    def coarse_depth(
        self, tokens: Float[Tensor, "b c y x"], eighth: Float[Tensor, "b d yy xx"]
    ) -> tuple[Float[Tensor, "b d yy xx"], Float[Tensor, "b 2 yy xx"]]:
        """Features at stride 8, and their log depth and log sigma before matching."""
        x = self._upsample_concat(self.stage8, tokens, eighth)
        coarse = torch.cat([self.coarse(x), self.log_scale(x)], 1).float()
        return x, coarse + coarse.new_tensor(OUTPUT_BIAS_INIT[:2])[:, None, None]

    def refine_depth(
        self,
        swept: SweptDepth,
        finer: list[Tensor],
        local: LocalMatch,
    ) -> Float[Tensor, "b 3 h w"]:
        """Log depth, log sigma, motion logit.

        Each pixel's log depth is blended with the swept and corrected one by a predicted weight.
        """
        x = self._upsample_concat(self.stage4, swept.features, finer[0])
        x = self.sharpen4(x + local.features)
        x = self.sharpen2(self._upsample_concat(self.stage2, x, finer[1]))
        out = F.pixel_shuffle(torch.cat([self.out(x), self.blend_weight(x)], 1).float(), 2)
        out = out + out.new_tensor(OUTPUT_BIAS_INIT)[:, None, None]
        depth, *rest, blend_weight = out.unbind(1)
        correction = local.log_correction[:, None]
        correction = F.interpolate(correction, depth.shape[-2:], mode="bilinear")[:, 0]
        depth = depth + blend_weight.sigmoid() * (swept.log_depth + correction - depth)
        return torch.stack([depth, *rest], 1)

    def _upsample_concat(self, stage: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        return stage(torch.cat([x, skip], dim=1))


class EgoHead(nn.Module):
    """Residual ego motion after the sweep, from all tokens of a frame by attention pooling."""

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
        unit = swept.new_tensor(RATE_SCALE)
        seen = torch.cat([pooled, swept / unit[[0, 5]]], dim=-1)
        rest = self.out(F.gelu(self.hidden(seen))).float() * unit
        return rest + F.pad(swept[..., :1], (0, 5)) + F.pad(swept[..., 1:], (5, 0))
