"""Our own network."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.models.driv3r.cost_volume import NEIGHBOURS, CostVolume, Views
from driv3r.models.driv3r.depth_sweep import PlaneSweepDepth
from driv3r.models.driv3r.ego_motion_sweep import EgoMotionSweep
from driv3r.models.driv3r.heads import DenseHead, EgoHead
from driv3r.models.driv3r.inputs import Inputs, Outputs
from driv3r.models.driv3r.matcher import Matcher
from driv3r.models.driv3r.reprojection import drive, make_lenses
from driv3r.models.driv3r.sweep_features import SweepFeatures
from driv3r.models.driv3r.xfeat import CHANNELS, FINE_STRIDE, FineFeatures
from driv3r.models.layers.aggregators import Alternating, Memory
from driv3r.models.layers.blocks import fourier
from driv3r.models.layers.encoders import PATCH, ConvStem


@dataclass(frozen=True)
class Driv3rConfig:
    """Sizes of our network. `size_hw` is the working resolution that it was trained at.

    For ablations `rays`, `rig`, `matching` and `pretrained` switch off what tells the tokens the
    calibration, attention across cameras and neighbours' images in the cost volume, all evidence of
    correlations, and that of XFeat's features; no parameter goes with them.
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
    pretrained: bool = True


@dataclass(frozen=True, eq=False)
class StreamState:
    """What goes from frame to frame: a bounded memory, the last images, features and motion."""

    memory: Memory
    last_images: Float[Tensor, "b v 3 h w"]
    last_features: Float[Tensor, "b v d y x"]
    last_fine: Float[Tensor, "b v e yy xx"]
    last_sweep: Float[Tensor, "b v f yy xx"]
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
        self.stem = ConvStem(config.width, config.channels, CHANNELS)
        self.gap = nn.Linear(1 + 2 * 4, config.width)
        self.missing = nn.Parameter(torch.zeros(config.width))
        self.aggregator = Alternating(
            config.width, config.heads, config.stages, config.memory, config.rig
        )
        self.norm = nn.LayerNorm(config.width)
        self.dense = DenseHead(config.width, config.channels)
        self.ego = EgoHead(config.width)
        self.matcher = Matcher()
        self.fine = FineFeatures()
        self.ego_sweep = EgoMotionSweep(config.width)
        self.sweep_features = SweepFeatures(CHANNELS)
        self.costs = CostVolume(NEIGHBOURS * config.rig)
        self.ladder = PlaneSweepDepth(config.channels[2])

    def forward(
        self, inputs: Inputs, state: StreamState | None = None
    ) -> tuple[Outputs, StreamState]:
        """Answers for t frames that follow those in `state`."""
        shape = inputs.present.shape
        here = inputs.present[..., None, None, None]
        images = normalise(inputs.images) * here
        last_images = _shift(images, None if state is None else state.last_images)
        told = inputs.calibrated & self.config.rays
        rays = (inputs.rays * told[..., None, None, None])[:, None]
        rays = rays.expand(*shape, *inputs.rays.shape[2:])
        fine = self._notice(images, inputs.present)
        grid, finer = self.stem(*(x.flatten(0, 2) for x in (images, last_images, rays, fine)))
        tokens, memory = self._exchange(grid, inputs, None if state is None else state.memory)
        grid = tokens.flatten(0, 2).transpose(1, 2).unflatten(2, grid.shape[-2:])
        x, coarse = self.dense.begin(grid, finer[0])
        features = self.matcher(images) * here
        sweep = self.sweep_features(images, fine) * here
        views = self._view(inputs, (features, fine, sweep), state)
        log_depth, log_sigma = coarse.detach().clamp(-5, 6).unbind(1)
        depth_m, doubt = (y.exp().flatten(1).unflatten(0, shape) for y in (log_depth, log_sigma))
        before = inputs.dt_s.new_zeros(shape[0], 3) if state is None else state.last_rate
        swept, chances, before = self.ego_sweep(tokens, views, depth_m, doubt, inputs.dt_s, before)
        prev_T_curr = drive(swept[..., 0].detach(), swept[..., 1].detach(), inputs.dt_s)
        costs = self.costs(views, _alone(depth_m), _alone(prev_T_curr))
        matched = self.ladder(x, costs, log_depth, log_sigma)
        answers = self.dense.finish(matched.features, finer[1:], matched.log_depth)
        depth, sigma, motion = (y.unflatten(0, shape) for y in answers.unbind(1))
        ego_rate = self.ego(tokens.flatten(2, 3), swept)
        steps = (matched.log_prob, matched.matching_log_prob, matched.seen)
        first, first_scale, log_prob, matching, seen = (
            y.unflatten(0, shape) for y in (*coarse.unbind(1), *steps)
        )
        outputs = Outputs(
            depth, sigma, motion, ego_rate, first, first_scale, log_prob, matching, seen, chances
        )
        images, features, fine, sweep = (y[:, -1] for y in (images, features, fine, sweep))
        return outputs, StreamState(memory, images, features, fine, sweep, before)

    def _notice(self, images: Tensor, present: Tensor) -> Float[Tensor, "b t v e yy xx"]:
        """Pretrained features, 0 of missing images."""
        if self.config.pretrained:
            return self.fine(images) * present[..., None, None, None]
        h, w = images.shape[-2:]
        return images.new_zeros(*present.shape, CHANNELS, h // FINE_STRIDE, w // FINE_STRIDE)

    def _view(
        self, inputs: Inputs, maps: tuple[Tensor, Tensor, Tensor], state: StreamState | None
    ) -> Views:
        """What cells may be compared with, each frame as a sample of its own.

        `maps` are the matcher's, pretrained and sweep features; those of missing images are 0.
        """
        features, fine, sweep = maps
        last_features = _shift(features, None if state is None else state.last_features)
        last_fine = _shift(fine, None if state is None else state.last_fine)
        last_sweep = _shift(sweep, None if state is None else state.last_sweep)
        told = inputs.calibrated & self.config.matching
        known = inputs.present & told[:, None]
        there = last_features.flatten(3).any(-1) & (inputs.dt_s > 0)[..., None]
        frames = inputs.present.shape[1]
        return Views(
            lenses=make_lenses(inputs).repeat(frames),
            features=_alone(self.matcher.sharpen(features)),
            last_features=_alone(last_features),
            now=_alone(fine),
            last=_alone(last_fine),
            sweep_now=_alone(sweep),
            sweep_last=_alone(last_sweep),
            told=told.repeat_interleave(frames, 0),
            known=_alone(known),
            last_known=_alone(there & told[:, None]),
        )

    def _exchange(
        self, grid: Float[Tensor, "_ c y x"], inputs: Inputs, memory: Memory | None
    ) -> tuple[Float[Tensor, "b t v n c"], Memory]:
        """Tokens after attention within views, across the rig and over time."""
        tokens = grid.flatten(2).transpose(1, 2).unflatten(0, inputs.present.shape)
        gap = self.gap(fourier(inputs.dt_s[..., None], 4))[:, :, None, None]
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


def _alone(x: Float[Tensor, "b t *s"] | Bool[Tensor, "b t *s"]) -> Tensor:
    """Each frame as a sample of its own."""
    return x.flatten(0, 1)[:, None]
