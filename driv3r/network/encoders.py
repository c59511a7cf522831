"""Images to tokens."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.network.blocks import ConvBlock
from driv3r.network.inputs import RAY_CHANNELS

PATCH = 16


class ConvStem(nn.Module):
    """Patch-16 tokens by strided convolutions (Xiao et al. 2021, "Early convolutions help
    transformers see better"), with the finer features kept for the heads.

    It sees the image, the camera's previous image, and the rays: the two images let a token hold a
    short-baseline motion cue, the rays make it independent of any one rig.
    """

    def __init__(self, width: int, channels: tuple[int, int, int]):
        super().__init__()
        half, quarter, eighth = channels
        self.stage2 = ConvBlock(6 + RAY_CHANNELS, half, 2)
        self.stage4 = nn.Sequential(ConvBlock(half, quarter, 2), ConvBlock(quarter, quarter))
        self.stage8 = nn.Sequential(ConvBlock(quarter, eighth, 2), ConvBlock(eighth, eighth))
        self.tokens = nn.Conv2d(eighth, width, 3, 2, 1)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        last_image: Float[Tensor, "b 3 h w"],
        rays: Float[Tensor, "b 5 h w"],
    ) -> tuple[Float[Tensor, "b c y x"], list[Tensor]]:
        """Token map at stride 16, and features at strides 8, 4 and 2."""
        x = torch.cat([image, last_image, rays], dim=1).contiguous(
            memory_format=torch.channels_last
        )
        half = self.stage2(x)
        quarter = self.stage4(half)
        eighth = self.stage8(quarter)
        return self.tokens(eighth), [eighth, quarter, half]
