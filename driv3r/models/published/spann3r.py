"""Spann3R and Driv3R: a pair network with a spatial memory (Wang and Agapito 2024)."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.models.layers.blocks import Block, make_mlp
from driv3r.models.layers.encoders import CROCO_STYLE
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.published.pair_networks import PairConfig, PairNet, PairTokens
from driv3r.models.published.spatial_memory import MemoryConfig, SpatialMemory, TokenMemory

Answers = tuple[PointAnswer, PointAnswer]


@dataclass(frozen=True)
class MemoryNetConfig:
    """The pair network, the value encoder and the memory."""

    pair: PairConfig = PairConfig(transpose_portrait=True)
    value_depth: int = 6
    value_heads: int = 16
    memory: MemoryConfig = MemoryConfig()


@dataclass(frozen=True, eq=False)
class MemoryState:
    """What the next frame needs: the newest frame's tokens, its query, and the memory.

    After the first frame there is neither query nor memory. It holds tensors and numbers only, of
    bounded size, and is never written to.
    """

    encoded: Float[Tensor, "b n c"]
    size_hw: tuple[int, int]
    query: Float[Tensor, "b n c"] | None = None
    memory: TokenMemory | None = None


@dataclass(frozen=True, eq=False)
class MemoryStep:
    """Predictions of one step, all in the first frame's camera.

    `last` is the final prediction of the frame before, `now` a first one of the frame itself.
    `stored` tells whether the frame before was written to the memory, `similarity` its similarity
    to the memory's frames.
    """

    last: PointAnswer
    now: PointAnswer
    stored: bool
    similarity: Float[Tensor, "b f"] | None


@dataclass(frozen=True, eq=False)
class SetAnswer:
    """Points of a set of images in their own order, in the camera of image `order[0]`.

    `order` is the order of processing.
    """

    answer: PointAnswer
    order: tuple[int, ...]


class ValueEncoder(nn.Module):
    """Encodes pointmaps as memory values; blocks without positions."""

    def __init__(self, width: int, depth: int, heads: int, patch: int):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList(Block(width, heads, 4, CROCO_STYLE) for _ in range(depth))
        self.norm = nn.LayerNorm(width, CROCO_STYLE.eps)
        self.out = nn.Linear(width, width)

    def forward(self, points: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b n c"]:
        """Tokens of the pointmaps' patches."""
        tokens = self.patch(points.movedim(-1, 1)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.out(self.norm(tokens))


class MemoryNet(nn.Module):
    """Each frame's points in the first frame's camera, from the frame before it and a memory.

    A camera is a sequence of its own, with a state of its own; so is each of Driv3R's two crops of
    an image. Samples of a batch share the decision whether a frame is stored (SpatialMemory.add).
    """

    def __init__(self, config: MemoryNetConfig):
        super().__init__()
        self.config = config
        pair = config.pair
        self.pair = PairNet(pair)
        both = pair.width + pair.cross_width
        self.key_first, self.key_second = (make_mlp(both, both, pair.width) for _ in range(2))
        self.value = ValueEncoder(pair.width, config.value_depth, config.value_heads, pair.patch)
        self.memory = SpatialMemory(pair.width, config.memory)

    def forward(self, images: Float[Tensor, "b f 3 h w"]) -> PointAnswer:
        """Points "b f h w 3" of sequences of images in -1..1; ConfigError for fewer than two."""
        steps = list(self.stream(images))
        return stack_answers([*(step.last for step in steps), steps[-1].now])

    def stream(self, images: Float[Tensor, "b f 3 h w"]) -> Iterator[MemoryStep]:
        """Yield a step for each frame after the first."""
        check_count(images.shape[1])
        state = self.start(images[:, 0])
        for index in range(1, images.shape[1]):
            step, state = self.step(images[:, index], state)
            yield step

    def start(self, image: Float[Tensor, "b 3 h w"]) -> MemoryState:
        """The state after the first frame, whose points the second step predicts."""
        return MemoryState(self.pair.encoder(image), (image.shape[-2], image.shape[-1]))

    def step(
        self, image: Float[Tensor, "b 3 h w"], state: MemoryState
    ) -> tuple[MemoryStep, MemoryState]:
        """Process the next frame; ConfigError where its size differs from the first one's."""
        if (image.shape[-2], image.shape[-1]) != state.size_hw:
            raise ConfigError(
                f"an image of {tuple(image.shape[-2:])} in a sequence of {state.size_hw}: give all "
                "one size, or start a new sequence"
            )
        memory_out, state = self.read_memory(state)
        tokens, answers = self.decode_pair(memory_out, self.pair.encoder(image), image)
        return self.write_memory(state, tokens, answers)

    def read_memory(self, state: MemoryState) -> tuple[Float[Tensor, "b n c"], MemoryState]:
        """Tokens of the newest frame: its own at first, then the memory's output."""
        if state.query is None or state.memory is None:
            return state.encoded, state
        memory_out, memory = self.memory.read(state.memory, state.query)
        return memory_out, replace(state, memory=memory)

    def decode_pair(
        self,
        memory_out: Float[Tensor, "b n c"],
        encoded: Float[Tensor, "b n c"],
        image: Float[Tensor, "b 3 h w"],
    ) -> tuple[PairTokens, Answers]:
        """Decode two frames' tokens with the pair network; the image only gives their size."""
        tokens = self.pair.relate((memory_out, encoded), image, image)
        return tokens, self.pair.answer(tokens, (image.shape[-2], image.shape[-1]))

    def write_memory(
        self, state: MemoryState, tokens: PairTokens, answers: Answers
    ) -> tuple[MemoryStep, MemoryState]:
        """Write the older of two frames to the memory and move on to the newer one."""
        older, newer = tokens.layers
        # The older frame's key is computed from its image, not from the memory's output.
        key = self.key_first(torch.cat([state.encoded, older[-1]], dim=-1))
        query = self.key_second(torch.cat([tokens.encoded[1], newer[-1]], dim=-1))
        # Of a transposed portrait image, value and key of a token are of different patches, as in
        # the original (whose weights were trained on square images).
        value = self.value(answers[0].points) + key
        written = self.memory.add(state.memory, key, value)
        step = MemoryStep(*answers, written.stored, written.similarity)
        return step, MemoryState(tokens.encoded[1], state.size_hw, query, written.memory)


def run_set(
    network: MemoryNet,
    images: Float[Tensor, "f 3 h w"],
    start: tuple[int, int] | None = None,
) -> SetAnswer:
    """Points of unordered images (Spann3R's offline mode), which chooses an order.

    The `start` pair comes first (default: `choose_pair`), then always the image of highest
    confidence given the memory. For f images the decoder runs about f^2 times for the first pair
    and f^2 / 2 times after it. ConfigError for fewer than two images and for a start that is no
    pair of them.
    """
    check_count(len(images))
    size = images[:1]
    encoded = [network.pair.encoder(image[None]) for image in images]
    first, second = choose_pair(network, encoded, size) if start is None else start
    if first == second or not {first, second} <= set(range(len(images))):
        raise ConfigError(f"start {start}; expected two different ones of {len(images)} images")
    order, left = [first], [i for i in range(len(images)) if i != first]
    state, candidates = network.start(images[first][None]), [second]
    answers: list[PointAnswer] = []
    while left:
        memory_out, state = network.read_memory(state)
        best, tokens, best_answers = _most_confident(network, memory_out, encoded, candidates, size)
        _, state = network.write_memory(state, tokens, best_answers)
        answers[len(order) - 1 :] = best_answers
        order.append(best)
        left.remove(best)
        candidates = left
    stacked = stack_answers([answers[order.index(i)] for i in range(len(images))])
    return SetAnswer(PointAnswer(stacked.points[0], stacked.confidence[0]), tuple(order))


def choose_pair(
    network: MemoryNet, encoded: list[Tensor], image: Float[Tensor, "1 3 h w"]
) -> tuple[int, int]:
    """The ordered pair of encoded frames with the highest confidence of the pair network."""
    confidences = {
        pair: pair_confidence(*network.decode_pair(encoded[pair[0]], encoded[pair[1]], image)[1])
        for pair in itertools.permutations(range(len(encoded)), 2)
    }
    return max(confidences, key=lambda pair: confidences[pair])


def _most_confident(
    network: MemoryNet,
    memory_out: Tensor,
    encoded: list[Tensor],
    candidates: list[int],
    image: Tensor,
) -> tuple[int, PairTokens, Answers]:
    best, best_answers = (
        candidates[0],
        network.decode_pair(memory_out, encoded[candidates[0]], image),
    )
    for index in candidates[1:]:
        other = network.decode_pair(memory_out, encoded[index], image)
        if pair_confidence(*other[1]) > pair_confidence(*best_answers[1]):
            best, best_answers = index, other
    return best, *best_answers


def pair_confidence(first: PointAnswer, second: PointAnswer) -> float:
    """Confidence of a pair, 0 to 2: the sum of both views' means of (c - 1) / c."""
    return sum(float((1 - 1 / answer.confidence).mean()) for answer in (first, second))


def stack_answers(answers: list[PointAnswer]) -> PointAnswer:
    """Answers of frames "b h w" as one of "b f h w"."""
    points = torch.stack([answer.points for answer in answers], dim=1)
    return PointAnswer(points, torch.stack([answer.confidence for answer in answers], dim=1))


def check_count(frames: int) -> None:
    """ConfigError for fewer than two frames, the minimum of the pair network."""
    if frames < 2:
        raise ConfigError(f"{frames} frames; expected two or more: give more, or one image twice")
