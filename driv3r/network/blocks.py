"""Pre-norm transformer blocks on tokens (Vaswani et al. 2017; Dosovitskiy et al. 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention of `x` over `context` (itself when None)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        context: Float[Tensor, "b m c"] | None = None,
        bias: Float[Tensor, "#h n m"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """`bias` is added to the logits; -inf hides a key."""
        context = x if context is None else context
        q = self._split(self.query(x))
        k, v = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        if bias is not None:
            bias = bias.to(q.dtype)[None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b h n d"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention and MLP with residuals; with a context, keys and values come from there."""

    def __init__(self, width: int, heads: int, mlp_ratio: int = 4):
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width)
        )

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        context: Float[Tensor, "b m c"] | None = None,
        bias: Float[Tensor, "#h n m"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """One block."""
        if context is not None:
            context = self.norm_attention(context)
        x = x + self.attention(self.norm_attention(x), context, bias)
        return x + self.mlp(self.norm_mlp(x))


class ConvBlock(nn.Module):
    """Convolution, group norm, GELU; `stride` 2 halves the image."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """One block."""
        return F.gelu(self.norm(self.conv(x)))


def fourier(x: Float[Tensor, "*b c"], octaves: int) -> Float[Tensor, "*b d"]:
    """x with sines and cosines of x * 2^k, so that a linear layer can resolve small differences."""
    angles = x[..., None] * (2.0 ** torch.arange(octaves, device=x.device))
    return torch.cat([x, angles.sin().flatten(-2), angles.cos().flatten(-2)], dim=-1)
