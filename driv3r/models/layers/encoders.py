"""Images to tokens."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.driv3r.inputs import RAY_CHANNELS
from driv3r.models.layers.blocks import Block, BlockStyle, ConvBlock, zero_init
from driv3r.models.layers.efficientnet import EIGHTH_CHANNELS, SIXTEENTH_CHANNELS
from driv3r.models.layers.rope import RopeCosSin, grid_positions, make_rope

PATCH = 16
CROCO_STYLE = BlockStyle(eps=1e-6)


class ConvStem(nn.Module):
    """Patch-16 tokens by strided convolutions (Xiao et al. 2021, "Early convolutions help
    transformers see better"), with the finer features kept for the heads.

    Inputs are the image, the camera's previous image, and the rays: the two images give a
    short-baseline motion cue, the rays make the network independent of any one rig. Pretrained unit
    features are added at stride 4, semantic ones at strides 8 and 16.
    """

    def __init__(self, width: int, channels: tuple[int, int, int], fine_channels: int):
        super().__init__()
        half, quarter, eighth = channels
        self.stage2 = ConvBlock(6 + RAY_CHANNELS, half, 2)
        self.stage4 = nn.Sequential(ConvBlock(half, quarter, 2), ConvBlock(quarter, quarter))
        self.fine = nn.Conv2d(fine_channels, quarter, 1)
        zero_init(self.fine)
        self.stage8 = nn.Sequential(ConvBlock(quarter, eighth, 2), ConvBlock(eighth, eighth))
        self.tokens = nn.Conv2d(eighth, width, 3, 2, 1)
        self.semantic8 = nn.Conv2d(EIGHTH_CHANNELS, eighth, 1)
        self.semantic16 = nn.Conv2d(SIXTEENTH_CHANNELS, width, 1)
        zero_init(self.semantic8, self.semantic16)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        last_image: Float[Tensor, "b 3 h w"],
        rays: Float[Tensor, "b 5 h w"],
        fine: Float[Tensor, "b e yy xx"],
        semantic8: Float[Tensor, "b f yyy xxx"],
        semantic16: Float[Tensor, "b g y x"],
    ) -> tuple[Float[Tensor, "b c y x"], list[Tensor]]:
        """Token map at stride 16, and features at strides 8, 4 and 2."""
        x = torch.cat([image, last_image, rays], dim=1).contiguous(
            memory_format=torch.channels_last
        )
        half = self.stage2(x)
        quarter = self.stage4(half) + self.fine(fine * fine.shape[1] ** 0.5)
        eighth = self.stage8(quarter) + self.semantic8(semantic8)
        return self.tokens(eighth) + self.semantic16(semantic16), [eighth, quarter, half]


class CroCo(nn.Module):
    """The ViT of CroCo v2 (Weinzaepfel et al. 2023): patches, rotary positions, no class token."""

    def __init__(self, width: int, depth: int, heads: int, patch: int):
        super().__init__()
        self.head_dim = width // heads
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList(Block(width, heads, 4, CROCO_STYLE) for _ in range(depth))
        self.norm = nn.LayerNorm(width, CROCO_STYLE.eps)

    def forward(
        self, images: Float[Tensor, "b 3 h w"], extra: Float[Tensor, "b n c"] | None = None
    ) -> Float[Tensor, "b n c"]:
        """Tokens of images in -1..1, normed; `extra` is added to the patches."""
        rope = self.rope(images, self.head_dim)
        tokens = self.patch(images).flatten(2).transpose(1, 2)
        tokens = tokens if extra is None else tokens + extra
        for block in self.blocks:
            tokens = block(tokens, rope=rope)
        return self.norm(tokens)

    def rope(self, images: Float[Tensor, "b 3 h w"], head_dim: int) -> RopeCosSin:
        """Rotary position embedding of the images' tokens for heads of a size."""
        size = self.patch.kernel_size
        grid = (images.shape[-2] // size[0], images.shape[-1] // size[1])
        return make_rope(grid_positions(grid, len(images), images.device), head_dim)
