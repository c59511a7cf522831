"""Pre-norm transformer blocks on tokens (Vaswani et al. 2017; Dosovitskiy et al. 2021)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.compiler import is_compiling
from torch.nn import functional as F

from driv3r.models.layers.rope import RopeCosSin, apply_rope

try:
    from driv3r.kernels.group_norm_gelu_triton import group_norm_gelu
except ImportError:  # torch for CPUs comes without Triton
    group_norm_gelu = None


@dataclass(frozen=True)
class BlockStyle:
    """How published blocks differ: norm epsilon, normed heads, gain on each residual.

    `norm_context` gives a context its own norm; `normed_skip` lets the normed tokens, not the
    tokens, go around the attention (VGGT's tracker).
    """

    eps: float = 1e-5
    norm_heads: bool = False
    gain: bool = False
    norm_context: bool = False
    normed_skip: bool = False


PLAIN = BlockStyle()

# Projected keys and values, rotated: "b h m d" of one context, "b s h m d" of several.
KeyValue = tuple[Float[Tensor, "... h m d"], Float[Tensor, "... h m d"]]


class Attention(nn.Module):
    """Multi-head attention of `x` over `context` (itself when None)."""

    def __init__(self, width: int, heads: int, norm_heads: bool = False):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.norm_query = nn.LayerNorm(width // heads) if norm_heads else nn.Identity()
        self.norm_key = nn.LayerNorm(width // heads) if norm_heads else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        context: Float[Tensor, "b m c"] | None = None,
        bias: Float[Tensor, "#h #n m"] | None = None,
        rope: RopeCosSin | None = None,
        context_rope: RopeCosSin | None = None,
    ) -> Float[Tensor, "b n c"]:
        """`bias` is added to the logits (-inf masks a key); `rope` rotates queries and keys."""
        context, context_rope = (x, rope) if context is None else (context, context_rope)
        if rope is None or context_rope is None:
            rope = context_rope = None
        return self.attend(x, self.project_kv(context, context_rope), bias, rope)

    def project_kv(self, context: Float[Tensor, "b m c"], rope: RopeCosSin | None) -> KeyValue:
        """Keys and values of a context, computed once for all queries."""
        k, v = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        k = self.norm_key(k)
        return k if rope is None else apply_rope(k, rope), v

    def attend(
        self,
        x: Float[Tensor, "b n c"],
        kv: KeyValue,
        bias: Float[Tensor, "#h #n m"] | None,
        rope: RopeCosSin | None,
    ) -> Float[Tensor, "b n c"]:
        """Attention of `x` over projected keys and values; `rope` rotates the queries."""
        q = self.norm_query(self._split(self.query(x)))
        q = q if rope is None else apply_rope(q, rope)
        bias = None if bias is None else bias.to(q.dtype)[None]
        mixed = F.scaled_dot_product_attention(q, *kv, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b h n d"]:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def make_mlp(width: int, hidden: int, outputs: int | None = None) -> nn.Sequential:
    """Two layers with GELU; `outputs` defaults to `width`."""
    last = nn.Linear(hidden, width if outputs is None else outputs)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), last)


def zero_init(*layers: nn.Linear | nn.Conv1d | nn.Conv2d) -> None:
    """Initialise layers at zero, so that a residual branch starts as the identity."""
    for layer in layers:
        nn.init.zeros_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class LayerScale(nn.Module):
    """A learned gain per channel (LayerScale, Touvron et al. 2021)."""

    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
        """Scaled."""
        return x * self.gain


class Block(nn.Module):
    """Attention and MLP with residuals; with a context, keys and values come from there."""

    def __init__(self, width: int, heads: int, mlp_ratio: int = 4, style: BlockStyle = PLAIN):
        super().__init__()
        self.normed_skip = style.normed_skip
        self.norm_attention = nn.LayerNorm(width, style.eps)
        self.norm_context = nn.LayerNorm(width, style.eps) if style.norm_context else None
        self.attention = Attention(width, heads, style.norm_heads)
        self.gain_attention = LayerScale(width) if style.gain else nn.Identity()
        self.norm_mlp = nn.LayerNorm(width, style.eps)
        self.mlp = make_mlp(width, mlp_ratio * width)
        self.gain_mlp = LayerScale(width) if style.gain else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        context: Float[Tensor, "b m c"] | None = None,
        bias: Float[Tensor, "#h #n m"] | None = None,
        rope: RopeCosSin | None = None,
    ) -> Float[Tensor, "b n c"]:
        """One block."""
        if context is not None:
            context = (self.norm_context or self.norm_attention)(context)
        normed = self.norm_attention(x)
        return self._finish(x, normed, self.attention(normed, context, bias, rope))

    def project_kv(self, context: Float[Tensor, "b m c"]) -> KeyValue:
        """A context's keys and values, computed once for all parts of it."""
        return self.attention.project_kv((self.norm_context or self.norm_attention)(context), None)

    def forward_cached(
        self, x: Float[Tensor, "b n c"], parts: Sequence[tuple[tuple[Tensor, Tensor], Tensor]]
    ) -> Float[Tensor, "b n c"]:
        """One block with cached keys and values; tokens are cut evenly into `parts`.

        Each part has its own keys and values (a slice of `project_kv`) and a bias "h 1 m".
        """
        normed = self.norm_attention(x)
        queries = normed.chunk(len(parts), 1)
        context_out = [
            self.attention.attend(part, kv, bias, None)
            for part, (kv, bias) in zip(queries, parts, strict=True)
        ]
        return self._finish(x, normed, torch.cat(context_out, 1))

    def _finish(self, x: Tensor, normed: Tensor, seen: Tensor) -> Float[Tensor, "b n c"]:
        x = (normed if self.normed_skip else x) + self.gain_attention(seen)
        return x + self.gain_mlp(self.mlp(self.norm_mlp(x)))


class CrossBlock(nn.Module):
    """Self-attention, attention over other views, MLP, all with residuals (CroCo's decoder block).

    `merge` combines several sources: "join" is one softmax over all of their tokens (MV-DUSt3R),
    "max" the channel-wise maximum of one attention per source (SLAM3R).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        style: BlockStyle = PLAIN,
        merge: Literal["join", "max"] = "join",
    ):
        super().__init__()
        self.merge = merge
        self.norm_attention = nn.LayerNorm(width, style.eps)
        self.attention = Attention(width, heads)
        self.norm_cross = nn.LayerNorm(width, style.eps)
        self.norm_context = nn.LayerNorm(width, style.eps)
        self.cross = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width, style.eps)
        self.mlp = make_mlp(width, 4 * width)

    def forward(
        self,
        x: Float[Tensor, "b n c"],
        sources: Float[Tensor, "b s m c"],
        rope: RopeCosSin,
        source_rope: Float[Tensor, "2 b s 1 m d"],
    ) -> Float[Tensor, "b n c"]:
        """One block; every source is another view's tokens, all of one size."""
        return self.forward_cached(x, self.project_kv(sources, source_rope), rope)

    def project_kv(
        self, sources: Float[Tensor, "b s m c"], rope: Float[Tensor, "2 b s 1 m d"]
    ) -> KeyValue:
        """Each source's keys and values, computed once for all views that attend to it."""
        kv = self.cross.project_kv(self.norm_context(sources).flatten(0, 1), rope.flatten(1, 2))
        keys, values = (part.unflatten(0, sources.shape[:2]) for part in kv)
        return keys, values

    def forward_cached(
        self, x: Float[Tensor, "b n c"], kv: KeyValue, rope: RopeCosSin
    ) -> Float[Tensor, "b n c"]:
        """One block with cached keys and values of its sources."""
        x = x + self.attention(self.norm_attention(x), rope=rope)
        query, count = self.norm_cross(x), kv[0].shape[1]
        if self.merge == "join":
            keys, values = (part.transpose(1, 2).flatten(2, 3) for part in kv)
            x = x + self.cross.attend(query, (keys, values), None, rope)
        else:
            keys, values = (part.flatten(0, 1) for part in kv)
            ropes = rope.repeat_interleave(count, 1)
            context_out = self.cross.attend(
                query.repeat_interleave(count, 0), (keys, values), None, ropes
            )
            x = x + context_out.unflatten(0, (-1, count)).amax(1)
        return x + self.mlp(self.norm_mlp(x))


class ConvBlock(nn.Module):
    """Convolution, group norm, GELU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.norm = nn.GroupNorm(8, outputs)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """One block."""
        x = self.conv(x)
        norm, half = self.norm, x.dtype in (torch.bfloat16, torch.float16)
        if half and x.device.type == "cuda" and group_norm_gelu and not is_compiling():
            return group_norm_gelu(x, norm.weight, norm.bias, norm.num_groups, norm.eps)
        return F.gelu(norm(x))


class Residual(nn.Module):
    """A residual branch of two convolutions, zero-initialised."""

    def __init__(self, channels: int, dilation: int = 1):
        super().__init__()
        self.first = ConvBlock(channels, channels, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        zero_init(self.second)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """One block."""
        return x + self.second(self.first(x))


def fourier(x: Float[Tensor, "*b c"], octaves: int) -> Float[Tensor, "*b d"]:
    """x with sines and cosines of x * 2^k, so that a linear layer can resolve small differences."""
    angles = x[..., None] * (2.0 ** torch.arange(octaves, device=x.device))
    return torch.cat([x, angles.sin().flatten(-2), angles.cos().flatten(-2)], dim=-1)
