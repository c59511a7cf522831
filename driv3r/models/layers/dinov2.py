"""The ViT of DINOv2 (Oquab et al. 2024) with registers (Darcet et al. 2024)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.layers.blocks import Block, BlockStyle

DINO_STYLE = BlockStyle(eps=1e-6, gain=True)


class DinoV2(nn.Module):
    """Patches with a class token, registers and learned position embeddings of a square grid.

    `grid` is the side of the grid of the learned embeddings; they are resized to any other.
    """

    def __init__(self, width: int, depth: int, heads: int, patch: int, grid: int, registers: int):
        super().__init__()
        self.grid, self.specials = grid, 1 + registers
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.registers = nn.Parameter(torch.zeros(1, registers, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, width))
        self.blocks = nn.ModuleList(Block(width, heads, 4, DINO_STYLE) for _ in range(depth))
        self.norm = nn.LayerNorm(width, DINO_STYLE.eps)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n c"]:
        """Normed tokens of normalised images: the class token, the registers, the patches."""
        patches = self.patch(images)
        pos_embed = self.interpolate_pos_embed((patches.shape[-2], patches.shape[-1]))
        patches = patches.flatten(2).transpose(1, 2) + pos_embed[:, 1:]
        # Registers have no position embedding.
        specials = torch.cat([self.cls_token + pos_embed[:, :1], self.registers], dim=1)
        x = torch.cat([specials.expand(len(images), -1, -1), patches], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def interpolate_pos_embed(self, grid: tuple[int, int]) -> Float[Tensor, "1 n c"]:
        """Position embeddings of the class token and of a grid's patches, row by row."""
        if grid == (self.grid, self.grid):
            return self.pos_embed
        square = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        resized = F.interpolate(square, size=grid, mode="bicubic", antialias=True)
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)
