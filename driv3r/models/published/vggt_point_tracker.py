"""Point tracking through views (VGGT's track head, after CoTracker2, Karaev et al. 2024)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.layers.blocks import Block, BlockStyle, make_mlp
from driv3r.models.layers.dpt import Dpt, DptConfig

SPAN_PX = 518.0  # the longest side of training images, in which displacements are measured
POINT_STYLE = BlockStyle(normed_skip=True)
EXCHANGE_STYLE = BlockStyle(normed_skip=True, norm_context=True)


@dataclass(frozen=True)
class TrackerConfig:
    """Sizes; the defaults are VGGT-1B's.

    Features are `stride` times coarser than images. They are compared in a window of `radius` at
    `levels` scales, in `steps` rounds, by `depth` blocks over time and over points each.
    """

    levels: int = 7
    radius: int = 4
    steps: int = 4
    width: int = 384
    depth: int = 6
    heads: int = 8
    virtual_tracks: int = 64
    stride: int = 2


@dataclass(frozen=True, eq=False)
class TrackAnswer:
    """Tracks of the first view's queries in every view after each step, and their confidence.

    Pixel (0, 0) is the centre of the first pixel. `visibility` and `confidence` lie in 0..1.
    """

    steps_px: Float[Tensor, "s b v n 2"]
    visibility: Float[Tensor, "b v n"]
    confidence: Float[Tensor, "b v n"]

    @property
    def points_px(self) -> Float[Tensor, "b v n 2"]:
        """After the last step."""
        return self.steps_px[-1]


class TrackHead(nn.Module):
    """Features by DPT, and the tracker on them."""

    def __init__(
        self, dpt: DptConfig, token_widths: Sequence[int], patch: int, config: TrackerConfig
    ):
        super().__init__()
        self.features = Dpt(dpt, token_widths, None, patch)
        self.tracker = Tracker(dpt.features, config)


class Tracker(nn.Module):
    """Refines point positions and features iteratively towards high feature correlation."""

    def __init__(self, features: int, config: TrackerConfig):
        super().__init__()
        self.config = config
        width = 3 * features + 4
        samples = config.levels * (2 * config.radius + 1) ** 2
        self.compare = make_mlp(samples, config.width, features)
        self.role = nn.Parameter(torch.zeros(1, 2, width))
        self.former = SpaceTimeTransformer(width, features + 2, config)
        self.norm_map = nn.LayerNorm(features)
        self.norm_change = nn.LayerNorm(features)
        self.change = nn.Linear(features, features)
        self.visibility_head = nn.Linear(features, 1)
        self.confidence_head = nn.Linear(features, 1)

    def forward(
        self, maps: Float[Tensor, "b v c y x"], queries_px: Float[Tensor, "b n 2"]
    ) -> TrackAnswer:
        """Track (column, row) positions of the first view."""
        b, v, _, rows, columns = maps.shape
        maps = self.norm_map(maps.movedim(2, -1)).movedim(-1, 2)
        levels = [maps.flatten(0, 1)]
        for _ in range(self.config.levels - 1):
            levels.append(F.avg_pool2d(levels[-1], 2, 2))
        start = queries_px / self.config.stride
        point_features = sample(maps[:, 0], start, "border")[:, None].expand(-1, v, -1, -1)
        grid = embed_grid(self.role.shape[-1], (rows, columns)).to(maps)
        roles = torch.cat([self.role[:, :1], self.role[:, 1:].expand(-1, v - 1, -1)], dim=1)
        places = sample(grid.expand(b, -1, -1, -1), start, "border")[:, None] + roles[:, :, None]
        points = start[:, None].expand(-1, v, -1, -1)
        steps = []
        for _ in range(self.config.steps):
            # As in RAFT, each step's starting position is detached.
            points = points.detach()
            change = self.former(self._describe(levels, point_features, points) + places)
            point_features = F.gelu(self.change(self.norm_change(change[..., 2:]))) + point_features
            moved = points[:, 1:] + change[:, 1:, :, :2]
            points = torch.cat([start[:, None], moved], dim=1)
            steps.append(points * self.config.stride)
        scores = [
            torch.sigmoid(layer(point_features)).squeeze(-1)
            for layer in (self.visibility_head, self.confidence_head)
        ]
        return TrackAnswer(torch.stack(steps), *scores)

    def _describe(
        self,
        levels: Sequence[Float[Tensor, "m c _ _"]],
        point_features: Float[Tensor, "b v n c"],
        points: Float[Tensor, "b v n 2"],
    ) -> Float[Tensor, "b v n d"]:
        """Displacement, local correlation and feature of each point in each view."""
        agreement = correlate(
            levels, point_features.flatten(0, 1), points.flatten(0, 1), self.config.radius
        ).unflatten(0, points.shape[:2])
        moved = points - points[:, :1]
        far = moved / SPAN_PX
        waves = embed_moves(moved, point_features.shape[-1] // 2)
        return torch.cat([waves, far, far, self.compare(agreement), point_features], dim=-1)


class SpaceTimeTransformer(nn.Module):
    """Attention over time, and over points by way of learned virtual tracks.

    The virtual tracks keep the cost linear in the points.
    """

    def __init__(self, inputs: int, outputs: int, config: TrackerConfig):
        super().__init__()

        def build(style: BlockStyle) -> nn.ModuleList:
            blocks = (Block(config.width, config.heads, 4, style) for _ in range(config.depth))
            return nn.ModuleList(blocks)

        self.norm_in = nn.LayerNorm(inputs)
        self.project = nn.Linear(inputs, config.width)
        self.virtual_tracks = nn.Parameter(torch.zeros(1, config.virtual_tracks, 1, config.width))
        self.time = build(POINT_STYLE)
        self.virtual_from_point = build(EXCHANGE_STYLE)
        self.virtual_self = build(POINT_STYLE)
        self.point_from_virtual = build(EXCHANGE_STYLE)
        self.norm = nn.LayerNorm(config.width)
        self.out = nn.Linear(config.width, outputs)

    def forward(self, x: Float[Tensor, "b v n c"]) -> Float[Tensor, "b v n d"]:
        """The update of each point in each view."""
        b, v, n, _ = x.shape
        first = self.project(self.norm_in(x))
        x = torch.cat([first, self.virtual_tracks.transpose(1, 2).expand(b, v, -1, -1)], dim=2)
        stages = zip(
            self.time,
            self.virtual_from_point,
            self.virtual_self,
            self.point_from_virtual,
            strict=True,
        )
        for time, virtual_from_point, virtual_self, point_from_virtual in stages:
            x = time(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (b, -1)).transpose(1, 2)
            points, virtual_tracks = x.flatten(0, 1).tensor_split([n], dim=1)
            virtual_tracks = virtual_self(virtual_from_point(virtual_tracks, points))
            points = point_from_virtual(points, virtual_tracks)
            x = torch.cat([points, virtual_tracks], dim=1).unflatten(0, (b, v))
        return self.out(self.norm(first + x[:, :, :n]))


def sample(
    maps: Float[Tensor, "b c y x"], places: Float[Tensor, "b n 2"], padding: str
) -> Float[Tensor, "b n c"]:
    """Bilinear values at (column, row) places, whole numbers being the centres of cells."""
    last = torch.tensor(maps.shape[:-3:-1], device=maps.device) - 1
    grid = places * (2 / last.clamp(min=1)) - 1
    values = F.grid_sample(maps, grid[:, None], padding_mode=padding, align_corners=True)
    return values.squeeze(2).transpose(1, 2)


def correlate(
    levels: Sequence[Float[Tensor, "m c _ _"]],
    point_features: Float[Tensor, "m n c"],
    points: Float[Tensor, "m n 2"],
    radius: int,
) -> Float[Tensor, "m n s"]:
    """Correlation of point features with a window around each point, per level (RAFT, Teed 2020).

    A window is listed column by column; features beyond the image are zero.
    """
    side = torch.arange(-radius, radius + 1, device=points.device).to(points)
    window = torch.cartesian_prod(side, side)
    out = []
    for i, maps in enumerate(levels):
        places = (points / 2**i)[:, :, None] + window
        seen = sample(maps, places.flatten(1, 2), "zeros").unflatten(1, places.shape[1:3])
        out.append(
            torch.einsum("mnsc,mnc->mns", seen, point_features) / point_features.shape[-1] ** 0.5
        )
    return torch.cat(out, dim=-1)


def embed_moves(moved: Float[Tensor, "*b 2"], channels: int) -> Float[Tensor, "*b d"]:
    """Sines and cosines in turn of a displacement, `channels` for each of its two parts."""
    frequency = torch.arange(0, channels, 2, device=moved.device) * (1000.0 / channels)
    angles = moved[..., None] * frequency
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-3)


def embed_grid(channels: int, size: tuple[int, int]) -> Float[Tensor, "1 c y x"]:
    """Sines and cosines of each cell's column (first half) and row."""
    quarter = channels // 4
    frequency = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, columns = (torch.arange(n, dtype=torch.float64) for n in size)
    halves = []
    for place in (columns[None].expand(size), rows[:, None].expand(size)):
        angles = place * frequency[:, None, None]
        halves += [angles.sin(), angles.cos()]
    return torch.cat(halves)[None].float()
