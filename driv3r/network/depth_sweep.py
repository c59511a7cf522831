"""Depth by matching: a ladder of depths, and what other images say of each of its rungs.

A cell of known depth was, or is, at a known place of the camera's last image and of its neighbours'
last and present ones; where the depth is right they look alike (plane sweep, Collins 1996). From
these curves and what the tokens expect comes a distribution over the rungs, cell by cell.
"""

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.network.blocks import ConvBlock, Residual, silence
from driv3r.network.lenses import (
    STRIDE,
    Lenses,
    exact,
    find_neighbours,
    lies_inside,
    look_into,
    read_volume,
    take_views,
)
from driv3r.network.matcher import correlate
from driv3r.network.xfeat import pool

RUNGS = 48
NEAREST_M, FARTHEST_M = 0.7, 90.0
RUNG_LOG_M = (math.log(NEAREST_M), math.log(FARTHEST_M))
NEIGHBOURS = 2
DILATIONS = (2, 4)


def rungs_like(x: Tensor) -> Float[Tensor, "r"]:
    """Log depths of the rungs."""
    return torch.linspace(*RUNG_LOG_M, RUNGS, device=x.device)


@dataclass(frozen=True, eq=False)
class Views:
    """What cells may be looked for in.

    Our matcher's features and their correlation with each camera's last image (stride 8); fine
    features of now and of the frame before (stride 4). `told` are cameras whose calibration is
    told, `known` those of their images that are there.
    """

    lenses: Lenses
    features: Float[Tensor, "b t v d y x"]
    volume: Float[Tensor, "b t v n y x"]
    now: Float[Tensor, "b t v c yy xx"]
    last: Float[Tensor, "b t v c yy xx"]
    told: Bool[Tensor, "b v"]
    known: Bool[Tensor, "b t v"]
    last_known: Bool[Tensor, "b t v"]


@dataclass(frozen=True, eq=False)
class Curves:
    """What the images say of each cell at each rung.

    Its mean correlation where it would be seen, and in which share of the images that is; that of
    our own matcher with the camera's last image, and how far apart there rungs lie, in cells.
    `stray` is of each cell's best match anywhere in that image, which is not of a still thing where
    it is better than all rungs or far away: its correlation, by how much that exceeds the rungs',
    and how many cells right and down it is from where the expected depth has it (signed log1p).
    """

    alike: Float[Tensor, "b t v n r"]
    seen: Float[Tensor, "b t v n r"]
    own: Float[Tensor, "b t v n r"]
    parallax: Float[Tensor, "b t v n r"]
    stray: Float[Tensor, "b t v n 4"]


@dataclass(frozen=True, eq=False)
class Source:
    """Images that each camera's cells are looked for in, and the ego frame's motion to them."""

    lenses: Lenses
    features: Float[Tensor, "b t v c y x"]
    known: Bool[Tensor, "b t v"]
    source_T_ego: Float[Tensor, "b t 1 4 4"]


def look_up(
    views: Views,
    depth_m: Float[Tensor, "b t v n"],
    last_T_ego: Float[Tensor, "b t 4 4"],
    neighbours: int = NEIGHBOURS,
) -> Curves:
    """Curves of all cells, which are expected at `depth_m`; only our matcher learns from them."""
    with exact(views.volume):
        alike, seen, pixels, parallax, stray = _look_around(views, depth_m, last_T_ego, neighbours)
        own = read_volume(views.volume, pixels, views.lenses.size_hw)
    return Curves(alike, seen, own, parallax, stray)


@torch.no_grad()
def _look_around(
    views: Views, expected_m: Tensor, last_T_ego: Float[Tensor, "b t 4 4"], neighbours: int
):
    """Mean curve and share of sources by the fine features; where each cell's rungs lie in the
    camera's last image, and how far apart; the best match there.
    """
    cells, size_hw = pool(views.now), views.lenses.size_hw
    depth_m = rungs_like(cells).exp().expand(*expected_m.shape, -1)
    own, *others = list_sources(views, last_T_ego[:, :, None], neighbours)
    curve, there, pixels, volume = _compare(cells, own, views, depth_m)
    step = pixels[..., 1:, :] - pixels[..., :-1, :]
    parallax = step[..., 0].hypot(step[..., 1]) / STRIDE
    parallax = F.pad(parallax.clamp(max=20), (0, 1)) * there.any(-1, keepdim=True)
    alike, seen = curve, there.float()
    for source in others:
        another, there, _, _ = _compare(cells, source, views, depth_m)
        alike, seen = alike + another, seen + there.float()
    expected = look_into(own.lenses, views.lenses, own.source_T_ego, expected_m[..., None])[
        ..., 0, :
    ]
    there = lies_inside(expected, size_hw) & (views.known & own.known)[..., None]
    stray = find_stray(volume, curve.amax(-1), expected) * there[..., None]
    return alike / seen.clamp(min=1), seen / (1 + len(others)), pixels, parallax, stray


def _compare(cells: Tensor, source: Source, views: Views, depth_m: Tensor):
    """Each rung's correlation, whether it is there to be seen, its pixel; the whole volume."""
    pixels = look_into(source.lenses, views.lenses, source.source_T_ego, depth_m)
    there = lies_inside(pixels, views.lenses.size_hw)
    there = there & (views.known & source.known)[..., None, None]
    volume = correlate(cells, source.features)
    return read_volume(volume, pixels, views.lenses.size_hw) * there, there, pixels, volume


def find_stray(
    volume: Float[Tensor, "b t v n y x"],
    along: Float[Tensor, "b t v n"],
    expected: Float[Tensor, "b t v n 2"],
) -> Float[Tensor, "b t v n 4"]:
    """`stray` of Curves, of volumes at stride 4: `along` is the best of the rungs."""
    best, place = volume.flatten(-2).max(-1)
    columns = volume.shape[-1]
    found = torch.stack([place % columns, place // columns], -1) + 0.5
    off = found / 2 - expected / STRIDE
    return torch.cat(
        [best[..., None], (best - along)[..., None], off.sign() * off.abs().log1p()], -1
    )


def list_sources(
    views: Views, last_T_ego: Float[Tensor, "b t 1 4 4"], neighbours: int
) -> list[Source]:
    """The camera's own last image, then each neighbour's last and present ones."""
    still = torch.eye(4, device=last_T_ego.device).expand_as(last_T_ego)
    sources = [Source(views.lenses, views.last, views.last_known, last_T_ego)]
    for index in find_neighbours(views.lenses.ego_T_cam, views.told, neighbours):
        lenses = views.lenses.take(index)
        for features, known, motion in (
            (views.last, views.last_known, last_T_ego),
            (views.now, views.known, still),
        ):
            features, known = take_views(features, index, 2), take_views(known, index, 2)
            sources.append(Source(lenses, features, known, motion))
    return sources


class DepthLadder(nn.Module):
    """Chances of the rungs: what curves and surroundings say times what was expected."""

    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Sequential(
            ConvBlock(channels + 3 * RUNGS + 5, channels), ConvBlock(channels, channels)
        )
        self.settle = nn.Sequential(*(Residual(channels, dilation) for dilation in DILATIONS))
        self.out = nn.Conv2d(channels, channels, 3, padding=1)
        self.judge = nn.Conv2d(channels, RUNGS, 3, padding=1)
        self.spread = nn.Conv2d(channels, 9 * STRIDE**2, 1)
        self.trust = nn.Parameter(torch.tensor([2.0, -1.0]))
        silence(self.out, self.judge, self.spread)

    def forward(
        self,
        x: Float[Tensor, "b c y x"],
        curves: Curves,
        log_depth: Float[Tensor, "b y x"],
        doubt: Float[Tensor, "b y x"],
    ) -> tuple[Float[Tensor, "b c y x"], Float[Tensor, "b r y x"], Float[Tensor, "b h w"]]:
        """`x` with the evidence worked in, log chances of the rungs, and their mean log depth.

        `log_depth` and its Laplace scale `doubt` are what was expected; the mean is brought to full
        resolution as a convex mix of the cells around (RAFT, Teed & Deng 2020, section 3.3).
        """
        rungs = rungs_like(x)[:, None, None]
        alike, seen, own, parallax, stray = (
            getattr(curves, field.name).flatten(0, 2).transpose(-1, -2).unflatten(-1, x.shape[-2:])
            for field in fields(curves)
        )
        expected = -(rungs - log_depth[:, None]).abs() / doubt[:, None]
        apart = (expected.softmax(1) * parallax).sum(1, keepdim=True).log1p()
        mixed = self.mix(
            torch.cat([x, *(cue.to(x.dtype) for cue in (alike, seen, own, apart, stray))], 1)
        )
        mixed = self.settle(mixed)
        trust = self.trust.exp()
        logits = self.judge(mixed).float() + trust[0] * alike + trust[1] * own + expected
        chances = logits.log_softmax(1)
        mean = (chances.exp() * rungs).sum(1)
        return x + self.out(mixed), chances, enlarge(mean, self.spread(mixed).float())


def enlarge(
    coarse: Float[Tensor, "b y x"], logits: Float[Tensor, "b k y x"]
) -> Float[Tensor, "b h w"]:
    """Full resolution: every pixel its own convex mix of the 3 x 3 cells around."""
    padded = F.pad(coarse[:, None], (1, 1, 1, 1), mode="replicate")
    around = F.unfold(padded, 3).unflatten(-1, coarse.shape[-2:])[:, :, None]
    shares = logits.unflatten(1, (9, STRIDE**2)).softmax(1)
    return F.pixel_shuffle((shares * around).sum(1), STRIDE)[:, 0]


def share_rungs(log_depth: Float[Tensor, "*s"]) -> tuple[Int[Tensor, "*s"], Float[Tensor, "*s"]]:
    """The rung below a log depth, and the share of the one above; ends hold what lies outside."""
    low, high = RUNG_LOG_M
    at = ((log_depth - low) / (high - low) * (RUNGS - 1)).clamp(0, RUNGS - 1 - 1e-4)
    below = at.floor()
    return below.long(), at - below
