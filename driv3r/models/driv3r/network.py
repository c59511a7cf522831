"""The Driv3r network."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.models.driv3r.cost_volume import NEIGHBOURS, CostVolume, MatchingInputs
from driv3r.models.driv3r.depth_sweep import PlaneSweepDepth
from driv3r.models.driv3r.ego_motion_sweep import EgoMotionSweep
from driv3r.models.driv3r.heads import DenseHead, EgoHead
from driv3r.models.driv3r.inputs import Inputs, Outputs
from driv3r.models.driv3r.matcher import Matcher
from driv3r.models.driv3r.reprojection import make_cell_rays, planar_motion
from driv3r.models.driv3r.sweep_features import SweepFeatures
from driv3r.models.driv3r.xfeat import CHANNELS, FINE_STRIDE, FineFeatures
from driv3r.models.layers.aggregators import Alternating, Memory
from driv3r.models.layers.blocks import fourier
from driv3r.models.layers.encoders import PATCH, ConvStem


@dataclass(frozen=True)
class Driv3rConfig:
    """Sizes of our network. `size_hw` is the working resolution of training.

    For ablations, `rays` switches off the calibration input of the tokens, `rig` the attention
    across cameras and neighbours' images in the cost volume, `matching` all correlations, and
    `pretrained` XFeat's features; the number of parameters does not change.
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
    """Recurrent state: a bounded token memory and the last images, features and motion."""

    memory: Memory
    last_images: Float[Tensor, "b v 3 h w"]
    last_features: Float[Tensor, "b v d y x"]
    last_fine: Float[Tensor, "b v e yy xx"]
    last_sweep: Float[Tensor, "b v f yy xx"]
    last_rate: Float[Tensor, "b 3"]


class Driv3r(nn.Module):
    """Our network: metric depth, sigma, motion and ego motion of a rig over time.

    Tokens of all cameras and of past frames attend to each other and give a coarse depth; an ego
    motion sweep matches with that depth, a plane sweep refines depth with that motion, and a dense
    head decodes the result.

    Frames are processed causally, so that a clip at once (training) and a frame at a time (stream)
    give equal outputs.
    """

    def __init__(self, config: Driv3rConfig):
        super().__init__()
        if config.size_hw[0] % PATCH or config.size_hw[1] % PATCH:
            raise ConfigError(f"size_hw {config.size_hw} must be multiples of the patch, {PATCH}")
        self.config = config
        self.stem = ConvStem(config.width, config.channels, CHANNELS)
        self.dt_embed = nn.Linear(1 + 2 * 4, config.width)
        self.missing_token = nn.Parameter(torch.zeros(config.width))
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
        self.depth_sweep = PlaneSweepDepth(config.channels[2])

    def forward(
        self, inputs: Inputs, state: StreamState | None = None
    ) -> tuple[Outputs, StreamState]:
        """Outputs of t frames that follow those in `state`."""
        shape = inputs.present.shape
        here = inputs.present[..., None, None, None]
        images = normalise(inputs.images) * here
        last_images = _previous(images, None if state is None else state.last_images)
        calibrated = inputs.calibrated & self.config.rays
        rays = (inputs.rays * calibrated[..., None, None, None])[:, None]
        rays = rays.expand(*shape, *inputs.rays.shape[2:])
        fine = self._pretrained_features(images, inputs.present)
        grid, finer = self.stem(*(x.flatten(0, 2) for x in (images, last_images, rays, fine)))
        tokens, memory = self._aggregate(grid, inputs, None if state is None else state.memory)
        grid = tokens.flatten(0, 2).transpose(1, 2).unflatten(2, grid.shape[-2:])
        x, coarse = self.dense.coarse_depth(grid, finer[0])
        features = self.matcher(images) * here
        sweep = self.sweep_features(images, fine) * here
        views = self._matching_inputs(inputs, (features, fine, sweep), state)
        log_depth, log_sigma = coarse.detach().clamp(-5, 6).unbind(1)
        depth_m, coarse_sigma = (
            y.exp().flatten(1).unflatten(0, shape) for y in (log_depth, log_sigma)
        )
        prev_rate = inputs.dt_s.new_zeros(shape[0], 3) if state is None else state.last_rate
        swept, ego_log_prob, prev_rate = self.ego_sweep(
            tokens, views, depth_m, coarse_sigma, inputs.dt_s, prev_rate
        )
        prev_T_curr = planar_motion(swept[..., 0].detach(), swept[..., 1].detach(), inputs.dt_s)
        costs = self.costs(views, _as_samples(depth_m), _as_samples(prev_T_curr))
        matched = self.depth_sweep(x, costs, log_depth, log_sigma)
        answers = self.dense.refine_depth(matched.features, finer[1:], matched.log_depth)
        depth, sigma, motion = (y.unflatten(0, shape) for y in answers.unbind(1))
        ego_rate = self.ego(tokens.flatten(2, 3), swept)
        steps = (matched.log_prob, matched.matching_log_prob, matched.seen)
        first, scale, log_prob, matching, seen = (
            y.unflatten(0, shape) for y in (*coarse.unbind(1), *steps)
        )
        outputs = Outputs(
            depth, sigma, motion, ego_rate, first, scale, log_prob, matching, seen, ego_log_prob
        )
        images, features, fine, sweep = (y[:, -1] for y in (images, features, fine, sweep))
        return outputs, StreamState(memory, images, features, fine, sweep, prev_rate)

    def _pretrained_features(
        self, images: Tensor, present: Tensor
    ) -> Float[Tensor, "b t v e yy xx"]:
        """Pretrained features, 0 of missing images."""
        if self.config.pretrained:
            return self.fine(images) * present[..., None, None, None]
        h, w = images.shape[-2:]
        return images.new_zeros(*present.shape, CHANNELS, h // FINE_STRIDE, w // FINE_STRIDE)

    def _matching_inputs(
        self, inputs: Inputs, maps: tuple[Tensor, Tensor, Tensor], state: StreamState | None
    ) -> MatchingInputs:
        """Inputs of matching, each frame as a sample of its own.

        `maps` are the matcher's, pretrained and sweep features; those of missing images are 0.
        """
        features, fine, sweep = maps
        last_features = _previous(features, None if state is None else state.last_features)
        last_fine = _previous(fine, None if state is None else state.last_fine)
        last_sweep = _previous(sweep, None if state is None else state.last_sweep)
        calibrated = inputs.calibrated & self.config.matching
        known = inputs.present & calibrated[:, None]
        there = last_features.flatten(3).any(-1) & (inputs.dt_s > 0)[..., None]
        frames = inputs.present.shape[1]
        return MatchingInputs(
            cell_rays=make_cell_rays(inputs).repeat(frames),
            features=_as_samples(self.matcher.sharpen(features)),
            last_features=_as_samples(last_features),
            now=_as_samples(fine),
            last=_as_samples(last_fine),
            sweep_now=_as_samples(sweep),
            sweep_last=_as_samples(last_sweep),
            calibrated=calibrated.repeat_interleave(frames, 0),
            known=_as_samples(known),
            last_known=_as_samples(there & calibrated[:, None]),
        )

    def _aggregate(
        self, grid: Float[Tensor, "_ c y x"], inputs: Inputs, memory: Memory | None
    ) -> tuple[Float[Tensor, "b t v n c"], Memory]:
        """Tokens after attention within views, across the rig and over time."""
        tokens = grid.flatten(2).transpose(1, 2).unflatten(0, inputs.present.shape)
        dt_token = self.dt_embed(fourier(inputs.dt_s[..., None], 4))[:, :, None, None]
        tokens = tokens + dt_token + ~inputs.present[..., None, None] * self.missing_token
        tokens, kept = self.aggregator(tokens, memory)
        return self.norm(tokens), kept


def normalise(images: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Images in 0..1, normalised for the network."""
    return (images - 0.45) * 4.0


def _previous(x: Float[Tensor, "b t *s"], last: Float[Tensor, "b *s"] | None) -> Tensor:
    """Each frame's predecessor; a log's first frame is its own."""
    first = x[:, :1] if last is None else last[:, None]
    return torch.cat([first, x[:, :-1]], dim=1)


def _as_samples(x: Float[Tensor, "b t *s"] | Bool[Tensor, "b t *s"]) -> Tensor:
    """Each frame as a sample of its own."""
    return x.flatten(0, 1)[:, None]
