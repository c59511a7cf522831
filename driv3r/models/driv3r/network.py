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
from driv3r.models.driv3r.local_matching import LocalMatching
from driv3r.models.driv3r.matcher import Matcher
from driv3r.models.driv3r.reprojection import STRIDE, CellRays, make_cell_rays, planar_motion
from driv3r.models.driv3r.sweep_features import SweepFeatures
from driv3r.models.layers.aggregators import Alternating, Memory
from driv3r.models.layers.blocks import fourier
from driv3r.models.layers.efficientnet import EIGHTH_CHANNELS, SIXTEENTH_CHANNELS, SemanticFeatures
from driv3r.models.layers.encoders import PATCH, ConvStem
from driv3r.models.layers.xfeat import CHANNELS, FINE_STRIDE, FineFeatures


@dataclass(frozen=True)
class Driv3rConfig:
    """Sizes of our network. `size_hw` is the working resolution of training.

    For ablations, `rays` switches off the calibration input of the tokens, `rig` the attention
    across cameras and neighbours' images in the cost volume, `matching` all correlations, and
    `pretrained` XFeat's and EfficientNet's features; the number of parameters does not change.
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
        self.semantic = SemanticFeatures()
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
        self.local = LocalMatching(config.channels[1], NEIGHBOURS * config.rig)

    def forward(
        self, inputs: Inputs, state: StreamState | None = None
    ) -> tuple[Outputs, StreamState]:
        """Outputs of t frames that follow those in `state`."""
        shape, corruption = inputs.present.shape, inputs.corruption
        images = normalise(inputs.images) * inputs.present[..., None, None, None]
        fine = self._pretrained_features(images, inputs.present)
        stem_images = images if corruption is None else normalise(corruption.stem_images)
        stem_images = stem_images * inputs.present[..., None, None, None]
        grid, finer = self._encode(inputs, stem_images, fine, state)
        tokens, memory = self._aggregate(grid, inputs, None if state is None else state.memory)
        grid = tokens.flatten(0, 2).transpose(1, 2).unflatten(2, grid.shape[-2:])
        x, coarse = self.dense.coarse_depth(grid, finer[0])
        log_depth, log_sigma = coarse.detach().clamp(-5, 6).unbind(1)
        if corruption is not None:
            log_depth = log_depth + corruption.log_depth_offset.flatten(0, 2)
            x = x * corruption.context[:, None].expand(shape).flatten()[:, None, None, None]
        maps = self._matching_features(images, fine, inputs.present)
        views = self._matching_inputs(inputs, maps, state)
        prior = (log_depth, log_sigma)
        depth_m, sigma = (y.exp().flatten(1).unflatten(0, shape) for y in prior)
        prev_rate = inputs.dt_s.new_zeros(shape[0], 3) if state is None else state.last_rate
        swept, ego_log_prob, prev_rate = self.ego_sweep(
            tokens, views, depth_m, sigma, inputs.dt_s, prev_rate
        )
        ego_rate = self.ego(tokens.flatten(2, 3), swept)
        motion = planar_motion(swept[..., 0].detach(), swept[..., 1].detach(), inputs.dt_s)
        motion = _as_samples(motion)
        matched = self.depth_sweep(x, self.costs(views, _as_samples(depth_m), motion), *prior)
        local_rays = _cell_rays(inputs, FINE_STRIDE)
        local = self.local(views, local_rays, matched.log_depth, motion)
        answers = self.dense.refine_depth(matched, finer[1:], local)
        steps = (matched.log_prob, matched.matching_log_prob, matched.seen)
        parts = (y.unflatten(0, shape) for y in (*answers.unbind(1), *coarse.unbind(1), *steps))
        depth, scale, moving, first, first_scale, log_prob, matching, seen = parts
        outputs = Outputs(
            depth, scale, moving, ego_rate, first, first_scale, log_prob, matching, seen,
            ego_log_prob,
        )  # fmt: skip
        last_image, last_features, last_fine, last_sweep = (y[:, -1] for y in (stem_images, *maps))
        return outputs, StreamState(
            memory, last_image, last_features, last_fine, last_sweep, prev_rate
        )

    def _encode(
        self, inputs: Inputs, images: Tensor, fine: Tensor, state: StreamState | None
    ) -> tuple[Float[Tensor, "_ c y x"], list[Tensor]]:
        """Token map at stride 16, and features at strides 8, 4 and 2, of each image."""
        shape = inputs.present.shape
        last_images = _previous(images, None if state is None else state.last_images)
        calibrated = inputs.calibrated & self.config.rays
        rays = (inputs.rays * calibrated[..., None, None, None])[:, None]
        rays = rays.expand(*shape, *inputs.rays.shape[2:])
        semantic = self._semantic_features(inputs.images, inputs.present)
        maps = (x.flatten(0, 2) for x in (images, last_images, rays, fine))
        return self.stem(*maps, *semantic)

    def _semantic_features(self, images: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Features of each image at strides 8 and 16, 0 of missing images."""
        if self.config.pretrained:
            here = present.flatten()[:, None, None, None]
            eighth, sixteenth = self.semantic(images.flatten(0, 2))
            return eighth * here, sixteenth * here
        h, w = images.shape[-2:]
        size = present.numel()
        return (
            images.new_zeros(size, EIGHTH_CHANNELS, h // 8, w // 8),
            images.new_zeros(size, SIXTEENTH_CHANNELS, h // 16, w // 16),
        )

    def _matching_features(
        self, images: Tensor, fine: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The matcher's, pretrained and sweep features; 0 of missing images."""
        here = present[..., None, None, None]
        return self.matcher(images) * here, fine, self.sweep_features(images, fine) * here

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
        """Inputs of matching, each frame as a sample of its own."""
        features, fine, sweep = maps
        last_features = _previous(features, None if state is None else state.last_features)
        last_fine = _previous(fine, None if state is None else state.last_fine)
        last_sweep = _previous(sweep, None if state is None else state.last_sweep)
        calibrated = inputs.calibrated & self.config.matching
        known = inputs.present & calibrated[:, None]
        there = last_features.flatten(3).any(-1) & (inputs.dt_s > 0)[..., None]
        frames = inputs.present.shape[1]
        return MatchingInputs(
            cell_rays=_cell_rays(inputs, STRIDE),
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


def _cell_rays(inputs: Inputs, stride: int) -> CellRays:
    """Rays of cells of all cameras, each frame as a sample of its own."""
    size_hw = (inputs.images.shape[-2], inputs.images.shape[-1])
    rays = make_cell_rays(inputs.K, inputs.ego_T_cam, size_hw, stride)
    return rays.repeat(inputs.present.shape[1])


def _previous(x: Float[Tensor, "b t *s"], last: Float[Tensor, "b *s"] | None) -> Tensor:
    """Each frame's predecessor; a log's first frame is its own."""
    first = x[:, :1] if last is None else last[:, None]
    return torch.cat([first, x[:, :-1]], dim=1)


def _as_samples(x: Float[Tensor, "b t *s"] | Bool[Tensor, "b t *s"]) -> Tensor:
    """Each frame as a sample of its own."""
    return x.flatten(0, 1)[:, None]
