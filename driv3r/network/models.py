"""Models as configurations of shared parts."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.network.aggregators import Alternating, Memory
from driv3r.network.blocks import fourier
from driv3r.network.encoders import PATCH, ConvStem
from driv3r.network.heads import DenseHead, EgoHead
from driv3r.network.inputs import Inputs, Outputs


@dataclass(frozen=True)
class Driv3rConfig:
    """Sizes of our network. `size_hw` is the working resolution that it was trained at."""

    size_hw: tuple[int, int] = (128, 224)
    width: int = 192
    heads: int = 3
    stages: int = 3
    memory: int = 4
    channels: tuple[int, int, int] = (32, 64, 96)


@dataclass(frozen=True, eq=False)
class StreamState:
    """What the network carries from frame to frame: bounded memory and the last images."""

    memory: Memory
    last_images: Float[Tensor, "b v 3 h w"]


class Driv3r(nn.Module):
    """Our network in its first form: metric depth, sigma, motion and ego motion of a rig over time.

    Frames are answered causally, so that a clip at once (training) and a frame at a time (stream)
    give the same.
    """

    def __init__(self, config: Driv3rConfig):
        super().__init__()
        if config.size_hw[0] % PATCH or config.size_hw[1] % PATCH:
            raise ConfigError(f"size_hw {config.size_hw} must be multiples of the patch, {PATCH}")
        self.config = config
        self.stem = ConvStem(config.width, config.channels)
        self.gap = nn.Linear(1 + 2 * 4, config.width)
        self.missing = nn.Parameter(torch.zeros(config.width))
        self.aggregator = Alternating(config.width, config.heads, config.stages, config.memory)
        self.norm = nn.LayerNorm(config.width)
        self.dense = DenseHead(config.width, config.channels)
        self.ego = EgoHead(config.width)

    def forward(
        self, inputs: Inputs, state: StreamState | None = None
    ) -> tuple[Outputs, StreamState]:
        """Answers for t frames that follow those in `state`."""
        b, t, v = inputs.present.shape
        images = (inputs.images - 0.45) * 4.0 * inputs.present[..., None, None, None]
        first = images[:, :1] if state is None else state.last_images[:, None]
        last_images = torch.cat([first, images[:, :-1]], dim=1)
        rays = inputs.rays[:, None].expand(b, t, *inputs.rays.shape[1:])
        tokens, finer = self.stem(*(x.flatten(0, 2) for x in (images, last_images, rays)))
        y, x = tokens.shape[-2:]
        tokens = tokens.flatten(2).transpose(1, 2).unflatten(0, (b, t, v))
        gap = self.gap(fourier(inputs.gap_s[..., None], 4))[:, :, None, None]
        tokens = tokens + gap + ~inputs.present[..., None, None] * self.missing
        tokens, memory = self.aggregator(tokens, None if state is None else state.memory)
        tokens = self.norm(tokens)
        grid = tokens.flatten(0, 2).transpose(1, 2).unflatten(2, (y, x))
        depth, sigma, motion = self.dense(grid, finer).unflatten(0, (b, t, v)).unbind(3)
        outputs = Outputs(depth, sigma, motion, self.ego(tokens.flatten(2, 3)))
        return outputs, StreamState(memory, images[:, -1])


MODELS: dict[str, Driv3rConfig] = {"driv3r-s": Driv3rConfig()}
