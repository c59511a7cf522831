"""What is known beforehand, and where it enters a network."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.network.aggregators import LayerPrior
from driv3r.network.blocks import Block
from driv3r.network.encoders import CROCO_STYLE


class PointPrior(nn.Module):
    """Pointmaps from monocular depth, added at the decoder's first layers (Align3R).

    The additions pass through layers that start at zero, as ControlNet's.
    """

    def __init__(self, width: int, heads: int, depth: int, patch: int):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList(Block(width, heads, 4, CROCO_STYLE) for _ in range(depth))
        self.zero = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(depth + 1))
        for layer in self.zero:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def embed(self, points: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b n c"]:
        """Tokens of a pointmap."""
        return self.patch(points.movedim(-1, 1)).flatten(2).transpose(1, 2)

    def enter(
        self, first: Float[Tensor, "b h w 3"], second: Float[Tensor, "b h w 3"], spins
    ) -> LayerPrior:
        """How both images' pointmaps enter the aggregator."""
        tokens = [self.embed(torch.cat([first, second]))]
        spin = torch.cat(spins, dim=1)
        for block in self.blocks:
            tokens.append(block(tokens[-1], spin=spin))
        extra = [
            zero(x.transpose(1, 2)).transpose(1, 2).chunk(2)
            for zero, x in zip(self.zero, tokens, strict=True)
        ]

        def add(layer: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            if layer >= len(extra):
                return a, b
            return a + extra[layer][0], b + extra[layer][1]

        return add
