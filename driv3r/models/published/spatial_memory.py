"""A bounded memory of tokens that attention reads (Spann3R, Wang and Agapito 2024)."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.errors import ConfigError

GRACE_FRAMES = 5  # beyond the working memory, in which a token can not be pruned yet


@dataclass(frozen=True)
class MemoryConfig:
    """Capacity of the memory and thresholds for writing and reading.

    The newest `work_frames` frames are the working memory. Tokens that leave it are long-term; once
    these exceed `long_tokens`, the memory is pruned to `long_tokens` in all. With 0 there is no
    long-term memory and old frames are dropped. Attention below `min_attention` counts as zero.
    A frame is not stored where its keys' cosine to a frame of the working memory exceeds
    `max_similarity`; 1 stores all. `frame_tokens` is the required size of every frame (Driv3R);
    None takes that of the first.
    """

    long_tokens: int = 4000
    work_frames: int = 5
    min_attention: float = 5e-4
    max_similarity: float = 0.95
    frame_tokens: int | None = None

    def __post_init__(self):
        if self.long_tokens < 0 or self.work_frames < 1:
            raise ConfigError(
                f"memory of {self.long_tokens} long-term tokens and {self.work_frames} frames; "
                "expected none or more tokens, and one frame or more"
            )
        if not 0 <= self.min_attention < 1 or not -1 <= self.max_similarity <= 1:
            raise ConfigError(
                f"memory: min_attention {self.min_attention}, max_similarity "
                f"{self.max_similarity}; expected 0 to below 1, and a cosine"
            )


@dataclass(frozen=True, eq=False)
class TokenMemory:
    """Stored tokens, oldest first. The last `frames` frames of `frame_tokens` are working memory.

    `attention` is the total attention each token has received, `age` its age in frames.
    """

    keys: Float[Tensor, "b m c"]
    values: Float[Tensor, "b m c"]
    attention: Float[Tensor, "b m"]
    age: Float[Tensor, "b m"]
    frames: int
    frame_tokens: int

    @property
    def long_tokens(self) -> int:
        """Tokens that are not in working memory."""
        return self.keys.shape[1] - self.frames * self.frame_tokens


@dataclass(frozen=True, eq=False)
class WriteResult:
    """The memory after a write, whether the frame was stored, its similarity to working frames."""

    memory: TokenMemory
    stored: bool
    similarity: Float[Tensor, "b f"] | None


class SpatialMemory(nn.Module):
    """Reads and writes a TokenMemory; holds weights, no state."""

    def __init__(self, width: int, config: MemoryConfig):
        super().__init__()
        self.config = config
        self.norm_query, self.norm_key, self.norm_value = (nn.LayerNorm(width) for _ in range(3))

    def read(
        self, memory: TokenMemory, query: Float[Tensor, "b n c"]
    ) -> tuple[Float[Tensor, "b n c"], TokenMemory]:
        """The query plus the values read, and the memory with updated attention counts."""
        keys = self.norm_key(memory.keys)
        logits = self.norm_query(query) @ keys.mT / query.shape[-1] ** 0.5
        weights = logits.softmax(dim=-1)
        attended = torch.where(weights < self.config.min_attention, 0.0, weights)
        total = attended.sum(-1, keepdim=True)
        # In the original a query whose weights are all below the threshold divides zero by zero,
        # possible from 1 / min_attention tokens on. It keeps its whole row here.
        least = torch.finfo(total.dtype).tiny
        weights = torch.where(total > 0, attended / total.clamp(min=least), weights)
        read_out = weights @ self.norm_value(memory.values)
        read = replace(memory, attention=memory.attention + weights.sum(dim=1))
        return query + read_out, read

    def add(
        self,
        memory: TokenMemory | None,
        keys: Float[Tensor, "b n c"],
        values: Float[Tensor, "b n c"],
    ) -> WriteResult:
        """Store a frame unless it is too similar to one of the working memory.

        One decision holds for the whole batch: a frame too similar in one sample is stored in
        none. Independent sequences must be separate batches. ConfigError where the frame's size
        does not fit the memory.
        """
        self._check(memory, keys)
        blank = torch.zeros_like(keys[..., 0])
        if memory is None:
            first = TokenMemory(keys, values, blank, blank, 1, keys.shape[1])
            return WriteResult(first, True, None)
        similarity = compare_keys(memory, keys)
        if self.config.max_similarity < 1 and similarity.max() > self.config.max_similarity:
            return WriteResult(memory, False, similarity)
        longer = replace(
            memory,
            keys=torch.cat([memory.keys, keys], dim=1),
            values=torch.cat([memory.values, values], dim=1),
            attention=torch.cat([memory.attention, blank], dim=1),
            age=torch.cat([memory.age + 1, blank], dim=1),
            frames=min(memory.frames + 1, self.config.work_frames),
        )
        return WriteResult(self._bound(longer), True, similarity)

    def _bound(self, memory: TokenMemory) -> TokenMemory:
        kept = self.config.long_tokens
        if kept == 0:
            tokens, device = memory.keys.shape[1], memory.keys.device
            newest = torch.arange(memory.long_tokens, tokens, device=device)
            return choose_tokens(memory, newest.expand(len(memory.keys), -1))
        if memory.long_tokens <= kept:
            return memory
        usefulness = memory.attention / memory.age.clamp(min=1)
        young = memory.age < self.config.work_frames + GRACE_FRAMES
        best = usefulness.masked_fill(young, torch.inf).topk(kept, dim=1)
        # The original leaves them in the order of their usefulness, so that until the working
        # memory is renewed its rows are no frames. Reads do not depend on the order.
        return choose_tokens(memory, best.indices.sort(dim=1).values)

    def _check(self, memory: TokenMemory | None, keys: Float[Tensor, "b n c"]) -> None:
        config, given = self.config, keys.shape[1]
        expected = config.frame_tokens if memory is None else memory.frame_tokens
        if expected is not None and given != expected:
            raise ConfigError(
                f"a frame of {given} tokens in a memory of frames of {expected}: give all frames "
                "one size, that of the configuration where it names one"
            )
        if 0 < config.long_tokens < config.work_frames * given:
            raise ConfigError(
                f"{config.long_tokens} long-term tokens are fewer than {config.work_frames} frames "
                f"of {given}: raise long_tokens or make the images smaller"
            )


def compare_keys(memory: TokenMemory, keys: Float[Tensor, "b n c"]) -> Float[Tensor, "b f"]:
    """Mean cosine of each token's key to that in its place, for every frame of working memory."""
    work = memory.keys[:, memory.long_tokens :].unflatten(1, (memory.frames, -1))
    cosine = (F.normalize(work, dim=-1) * F.normalize(keys, dim=-1)[:, None]).sum(-1)
    return cosine.mean(-1)


def choose_tokens(memory: TokenMemory, chosen: Int[Tensor, "b k"]) -> TokenMemory:
    """The memory of only these tokens, in this order."""
    keys, values = (
        part.gather(1, chosen[..., None].expand(-1, -1, part.shape[-1]))
        for part in (memory.keys, memory.values)
    )
    attention, age = (part.gather(1, chosen) for part in (memory.attention, memory.age))
    return replace(memory, keys=keys, values=values, attention=attention, age=age)
