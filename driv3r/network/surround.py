"""Our own network."""

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
from driv3r.network.sweep import DepthSweep, EgoSweep, Matcher, drive, make_lenses


@dataclass(frozen=True)
class Driv3rConfig:
    """Sizes of our network. `size_hw` is the working resolution that it was trained at.

    `rays`, `rig` and `matching` switch off, for ablations, what tells the tokens the calibration,
    attention across cameras, and the evidence of correlations; no parameter goes with them.
    """

    size_hw: tuple[int, int] = (128, 224)
    width: int = 192
    heads: int = 3
    stages: int = 3
    memory: int = 4
    channels: tuple[int, int, int] = (32, 64, 96)
    rays: bool = True
    rig: bool = True
    matching: bool = True


@dataclass(frozen=True, eq=False)
class StreamState:
    """What goes from frame to frame: a bounded memory, the last images, features and motion."""

    memory: Memory
    last_images: Float[Tensor, "b v 3 h w"]
    last_features: Float[Tensor, "b v d y x"]
    last_rate: Float[Tensor, "b 3"]


class Driv3r(nn.Module):
    """Our network: metric depth, sigma, motion and ego motion of a rig over time.

    Tokens of all cameras and of past frames inform each other; from them comes a first depth, with
    it the ego motion by matching, with that the evidence for depth by matching, then the answer.

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
        self.aggregator = Alternating(
            config.width, config.heads, config.stages, config.memory, config.rig
        )
        self.norm = nn.LayerNorm(config.width)
        self.dense = DenseHead(config.width, config.channels)
        self.ego = EgoHead(config.width)
        self.matcher = Matcher()
        self.ego_sweep = EgoSweep(config.width)
        self.depth_sweep = DepthSweep(config.channels[2])

    def forward(
        self, inputs: Inputs, state: StreamState | None = None
    ) -> tuple[Outputs, StreamState]:
        """Answers for t frames that follow those in `state`."""
        shape = inputs.present.shape
        here = inputs.present[..., None, None, None]
        images = normalise(inputs.images) * here
        features = self.matcher(images) * here
        last_images = _shift(images, None if state is None else state.last_images)
        last_features = _shift(features, None if state is None else state.last_features)
        told = inputs.calibrated & self.config.rays
        rays = (inputs.rays * told[..., None, None, None])[:, None]
        rays = rays.expand(*shape, *inputs.rays.shape[2:])
        grid, finer = self.stem(*(x.flatten(0, 2) for x in (images, last_images, rays)))
        tokens, memory = self._exchange(grid, inputs, None if state is None else state.memory)
        grid = tokens.flatten(0, 2).transpose(1, 2).unflatten(2, grid.shape[-2:])
        x, coarse = (y.unflatten(0, shape) for y in self.dense.begin(grid, finer[0]))
        proves = (inputs.gap_s > 0)[:, :, None] & inputs.calibrated[:, None] & self.config.matching
        volume = self.matcher.correlate(features, last_features)
        volume = volume * proves[..., None, None, None]
        depth_m, lenses = coarse.detach().clamp(-1, 6).exp().flatten(3), make_lenses(inputs)
        before = depth_m.new_zeros(shape[0], 3) if state is None else state.last_rate
        swept, chances, before = self.ego_sweep(
            tokens, volume, depth_m, lenses, inputs.gap_s, before
        )
        last_T_ego = drive(swept[..., 0].detach(), swept[..., 1].detach(), inputs.gap_s)
        x = self.depth_sweep(x, volume, depth_m, lenses, last_T_ego, proves)
        depth, sigma, motion = self.dense.finish(x.flatten(0, 2), finer[1:]).unbind(1)
        depth, sigma, motion = (y.unflatten(0, shape) for y in (depth, sigma, motion))
        ego_rate = self.ego(tokens.flatten(2, 3), swept)
        outputs = Outputs(depth, sigma, motion, ego_rate, coarse, chances)
        return outputs, StreamState(memory, images[:, -1], features[:, -1], before)

    def _exchange(
        self, grid: Float[Tensor, "_ c y x"], inputs: Inputs, memory: Memory | None
    ) -> tuple[Float[Tensor, "b t v n c"], Memory]:
        """Tokens after attention within views, across the rig and over time."""
        tokens = grid.flatten(2).transpose(1, 2).unflatten(0, inputs.present.shape)
        gap = self.gap(fourier(inputs.gap_s[..., None], 4))[:, :, None, None]
        tokens = tokens + gap + ~inputs.present[..., None, None] * self.missing
        tokens, kept = self.aggregator(tokens, memory)
        return self.norm(tokens), kept


def normalise(images: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Images in 0..1 as our network takes them."""
    return (images - 0.45) * 4.0


def _shift(x: Float[Tensor, "b t *s"], last: Float[Tensor, "b *s"] | None) -> Tensor:
    """Each frame's predecessor; a log's first frame is its own."""
    first = x[:, :1] if last is None else last[:, None]
    return torch.cat([first, x[:, :-1]], dim=1)
