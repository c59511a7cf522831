"""Attention within a view, across the rig, and over time with a bounded memory."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.layers.blocks import Block, CrossBlock
from driv3r.models.layers.encoders import CROCO_STYLE
from driv3r.models.layers.rope import RopeCosSin

# Per time block: the tokens of up to `memory` past frames.
Memory = list[Float[Tensor, "b _ v n c"]]

# Adds to both views' tokens at a layer: (layer, first, second) -> (first, second).
LayerPrior = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]


class TimeBlock(nn.Module):
    """Each view's tokens attend to that camera's tokens now and in the last `memory` frames."""

    def __init__(self, width: int, heads: int, memory: int):
        super().__init__()
        self.memory = memory
        self.block = Block(width, heads)
        self.age_bias = nn.Parameter(torch.zeros(heads, memory + 1))

    def forward(
        self, x: Float[Tensor, "b t v n c"], past: Float[Tensor, "b p v n c"] | None
    ) -> tuple[Float[Tensor, "b t v n c"], Float[Tensor, "b q v n c"]]:
        """New tokens, and the past that the next frame will need."""
        b, t, v, n, c = x.shape
        seen = x if past is None else torch.cat([past, x], dim=1)
        queries = x.transpose(1, 2).reshape(b * v, t * n, c)
        keys = seen.transpose(1, 2).reshape(b * v, -1, c)
        kv = self.block.project_kv(keys)
        first = seen.shape[1] - t
        # A frame at a time: a mask of all by all would hold most of what a long clip takes.
        reach = [(max(first + i - self.memory, 0), first + i + 1) for i in range(t)]
        parts = []
        for low, high in reach:
            keys, values = (part[:, :, low * n : high * n] for part in kv)
            bias = self._bias(high - low).repeat_interleave(n, 1)[:, None]
            parts.append(((keys, values), bias))
        out = self.block.forward_cached(queries, parts)
        out = out.reshape(b, v, t, n, c).transpose(1, 2)
        return out, seen[:, max(seen.shape[1] - self.memory, 0) :]

    def _bias(self, frames: int) -> Float[Tensor, "h {frames}"]:
        """A learned bias for each age in frames, the oldest first and age 0 last."""
        return self.age_bias[:, :frames].flip(1)


class Alternating(nn.Module):
    """Stages of view, rig and time attention (cf. VGGT's alternation; causal over time).

    Without `rig` its blocks look at single views too.
    """

    def __init__(self, width: int, heads: int, stages: int, memory: int, rig: bool = True):
        super().__init__()
        self.across = rig
        self.view = nn.ModuleList(Block(width, heads) for _ in range(stages))
        self.rig = nn.ModuleList(Block(width, heads) for _ in range(stages))
        self.time = nn.ModuleList(TimeBlock(width, heads, memory) for _ in range(stages))

    def forward(
        self, x: Float[Tensor, "b t v n c"], memory: Memory | None
    ) -> tuple[Float[Tensor, "b t v n c"], Memory]:
        """All stages; returns the memory for the next frame."""
        b, t, v, n, _ = x.shape
        kept: Memory = []
        for i, (view, rig, time) in enumerate(zip(self.view, self.rig, self.time, strict=True)):
            x = view(x.flatten(0, 2)).unflatten(0, (b, t, v))
            seen = x.flatten(2, 3).flatten(0, 1) if self.across else x.flatten(0, 2)
            x = rig(seen).reshape(b, t, v, n, -1)
            x, past = time(x, None if memory is None else memory[i])
            kept.append(past)
        return x, kept


class PairCross(nn.Module):
    """Two decoders that read each other's last layer (DUSt3R, Wang et al. 2024, section 3.1)."""

    def __init__(self, encoder_width: int, width: int, depth: int, heads: int):
        super().__init__()
        self.project = nn.Linear(encoder_width, width)
        self.first = nn.ModuleList(CrossBlock(width, heads, CROCO_STYLE) for _ in range(depth))
        self.second = nn.ModuleList(CrossBlock(width, heads, CROCO_STYLE) for _ in range(depth))
        self.norm = nn.LayerNorm(width, CROCO_STYLE.eps)

    def forward(
        self,
        first: Float[Tensor, "b n c"],
        second: Float[Tensor, "b m c"],
        ropes: tuple[RopeCosSin, RopeCosSin],
        add: LayerPrior | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Every layer of both: the encoder's tokens, each block's, the last one normed.

        `add` may add to both views' tokens after the projection (layer 0) and each block.
        """
        a, b = self.project(first), self.project(second)
        layers: tuple[list[Tensor], list[Tensor]] = ([first], [second])
        keys = (ropes[0][:, :, None], ropes[1][:, :, None])
        if add is not None:
            a, b = add(0, a, b)
        for i, (one, two) in enumerate(zip(self.first, self.second, strict=True)):
            a, b = one(a, b[:, None], ropes[0], keys[1]), two(b, a[:, None], ropes[1], keys[0])
            if add is not None:
                a, b = add(i + 1, a, b)
            layers[0].append(a)
            layers[1].append(b)
        layers[0][-1], layers[1][-1] = self.norm(a), self.norm(b)
        return layers
