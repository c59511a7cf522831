"""Exchange between tokens: within a view, across the rig, over time with a bounded memory."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.network.blocks import Block

# Per time block: the tokens that it saw of up to `memory` past frames.
Memory = list[Float[Tensor, "b _ v n c"]]


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
        bias = self._bias(t, seen.shape[1]).repeat_interleave(n, 1).repeat_interleave(n, 2)
        out = self.block(queries, keys, bias)
        out = out.reshape(b, v, t, n, c).transpose(1, 2)
        return out, seen[:, -self.memory :]

    def _bias(self, t: int, s: int) -> Float[Tensor, "h t s"]:
        """A learned bias for each age in frames; the future and what is too old are hidden."""
        device = self.age_bias.device
        now = torch.arange(s - t, s, device=device)[:, None]
        age = now - torch.arange(s, device=device)[None]
        bias = self.age_bias[:, age.clamp(0, self.memory)]
        return bias.masked_fill((age < 0) | (age > self.memory), float("-inf"))


class Alternating(nn.Module):
    """Stages of view, rig and time attention (cf. VGGT's alternation; causal over time)."""

    def __init__(self, width: int, heads: int, stages: int, memory: int):
        super().__init__()
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
            x = rig(x.flatten(2, 3).flatten(0, 1)).reshape(b, t, v, n, -1)
            x, past = time(x, None if memory is None else memory[i])
            kept.append(past)
        return x, kept
