"""Cost volume: the correlation of every cell with source images at every depth hypothesis.

A depth hypothesis places a cell in the camera's previous image and in its neighbours' previous and
present ones; at the true depth their features correlate (plane sweep, Collins 1996). Source
features are sampled at those places (as MVSNet, Yao et al. 2018, warps them), so the all-pairs
correlation is never held in memory.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.driv3r.matcher import centre, correlate
from driv3r.models.driv3r.reprojection import (
    STRIDE,
    CellRays,
    find_neighbours,
    lies_inside,
    no_autocast,
    reproject,
    take_views,
)
from driv3r.models.driv3r.sampled_correlation import as_vectors, channels_last, correlate_at
from driv3r.models.layers.xfeat import pool

NUM_DEPTHS = 48
NEAREST_M, FARTHEST_M = 0.7, 90.0
DEPTH_RANGE_LOG_M = (math.log(NEAREST_M), math.log(FARTHEST_M))
NEIGHBOURS = 2


def depth_hypotheses(like: Tensor) -> Float[Tensor, "r"]:
    """Log depths (log m) of the hypotheses, evenly spaced, on the device of `like`."""
    return torch.linspace(*DEPTH_RANGE_LOG_M, NUM_DEPTHS, device=like.device)


@dataclass(frozen=True, eq=False)
class MatchingInputs:
    """Cells' rays and features, and those of the source images.

    The matcher's features of the present frame, sharpened, and of the previous one (stride 8);
    pretrained (`now`, `last`) and sweep features of both (stride 4). `calibrated` are cameras of
    known calibration, `known` those of their images that are present.
    """

    cell_rays: CellRays
    features: Float[Tensor, "b t v d y x"]
    last_features: Float[Tensor, "b t v d y x"]
    now: Float[Tensor, "b t v c yy xx"]
    last: Float[Tensor, "b t v c yy xx"]
    sweep_now: Float[Tensor, "b t v e yy xx"]
    sweep_last: Float[Tensor, "b t v e yy xx"]
    calibrated: Bool[Tensor, "b v"]
    known: Bool[Tensor, "b t v"]
    last_known: Bool[Tensor, "b t v"]


@dataclass(frozen=True, eq=False)
class MatchingCosts:
    """Matching costs of each cell at each depth hypothesis; 0 where no source sees it.

    `correlation` is the mean over the source images of the pretrained features' correlation, and
    `seen` the share of the sources in which the hypothesis lies. `prev_correlation` is that of our
    matcher with the camera's previous image; `parallax` is how far apart hypotheses lie there, in
    cells. `sweep_mean`, `sweep_best` and `sweep_prev` are the trained sweep features' correlation:
    mean and maximum over the sources, and with the camera's own previous image.
    `best_match_offset` describes each cell's unconstrained best match in the previous image, a cue
    of independent motion: its correlation, its margin over the best hypothesis, and its offset in
    cells right and down of the position at the expected depth (signed log1p).
    """

    correlation: Float[Tensor, "b t v n r"]
    seen: Float[Tensor, "b t v n r"]
    prev_correlation: Float[Tensor, "b t v n r"]
    parallax: Float[Tensor, "b t v n r"]
    best_match_offset: Float[Tensor, "b t v n 4"]
    sweep_mean: Float[Tensor, "b t v n r"]
    sweep_best: Float[Tensor, "b t v n r"]
    sweep_prev: Float[Tensor, "b t v n r"]


@dataclass(frozen=True, eq=False)
class Source:
    """Source images of each camera, and the ego frame's motion to them.

    Features are centred.
    """

    cell_rays: CellRays
    pretrained: Float[Tensor, "b t v y x c"]
    sweep: Float[Tensor, "b t v y x e"]
    known: Bool[Tensor, "b t v"]
    source_T_ego: Float[Tensor, "b t 1 4 4"]


@dataclass(frozen=True, eq=False)
class SourceCosts:
    """One source's correlations with all cells at all hypotheses, and their pixels in it."""

    pretrained: Float[Tensor, "b t v n r"]
    sweep: Float[Tensor, "b t v n r"]
    seen: Bool[Tensor, "b t v n r"]
    pixels: Float[Tensor, "b t v n r 2"]


class CostVolume(nn.Module):
    """Matching costs of all cells, differentiable in the trained features; no parameters."""

    def __init__(self, neighbours: int = NEIGHBOURS):
        super().__init__()
        self.neighbours = neighbours

    def forward(
        self,
        views: MatchingInputs,
        depth_m: Float[Tensor, "b t v n"],
        prev_T_curr: Float[Tensor, "b t 4 4"],
    ) -> MatchingCosts:
        """Costs of cells with expected depth `depth_m`."""
        with no_autocast(depth_m):
            return build_cost_volume(views, depth_m, prev_T_curr, self.neighbours)


def build_cost_volume(
    views: MatchingInputs,
    depth_m: Float[Tensor, "b t v n"],
    prev_T_curr: Float[Tensor, "b t 4 4"],
    neighbours: int = NEIGHBOURS,
) -> MatchingCosts:
    """See CostVolume."""
    cells = pool(views.now), pool(views.sweep_now)
    sources = list_sources(views, prev_T_curr[:, :, None], neighbours)
    vectors = as_vectors(cells[0]), as_vectors(cells[1])
    costs = [correlate_source(vectors, source, views) for source in sources]
    previous, total = costs[0], torch.stack([cost.seen for cost in costs]).sum(0).float()
    seen = total.clamp(min=1)
    hidden = [cost.sweep.masked_fill(~cost.seen, -1.0) for cost in costs]
    best = torch.stack(hidden).amax(0) * (total > 0)
    own, before = as_vectors(views.features), channels_last(centre(views.last_features))
    prev = correlate_at(own, before, previous.pixels, views.cell_rays.size_hw)
    return MatchingCosts(
        correlation=torch.stack([cost.pretrained for cost in costs]).sum(0) / seen,
        seen=total / len(costs),
        prev_correlation=prev * (views.known & views.last_known)[..., None, None],
        parallax=_parallax_px(previous),
        best_match_offset=_match_anywhere(cells[0], previous, views, prev_T_curr, depth_m),
        sweep_mean=torch.stack([cost.sweep for cost in costs]).sum(0) / seen,
        sweep_best=best,
        sweep_prev=previous.sweep,
    )


def correlate_source(
    cells: tuple[Tensor, Tensor], source: Source, views: MatchingInputs
) -> SourceCosts:
    """Each cell's correlations with one source at each depth hypothesis."""
    size_hw = views.cell_rays.size_hw
    hypotheses_m = depth_hypotheses(cells[0]).exp()
    depth_m = hypotheses_m.expand(*cells[0].shape[:4], -1)
    pixels = reproject(source.cell_rays, views.cell_rays, source.source_T_ego, depth_m)
    seen = lies_inside(pixels, size_hw) & (views.known & source.known)[..., None, None]
    with torch.no_grad():
        pretrained = correlate_at(cells[0], source.pretrained, pixels, size_hw) * seen
    sweep = correlate_at(cells[1], source.sweep, pixels, size_hw) * seen
    return SourceCosts(pretrained, sweep, seen, pixels)


def _parallax_px(previous: SourceCosts) -> Float[Tensor, "b t v n r"]:
    step = previous.pixels[..., 1:, :] - previous.pixels[..., :-1, :]
    cells = step[..., 0].hypot(step[..., 1]) / STRIDE
    return F.pad(cells.clamp(max=20), (0, 1)) * previous.seen.any(-1, keepdim=True)


@torch.no_grad()
def _match_anywhere(
    cells: Tensor,
    previous: SourceCosts,
    views: MatchingInputs,
    prev_T_curr: Tensor,
    expected_m: Tensor,
) -> Float[Tensor, "b t v n 4"]:
    cell_rays = views.cell_rays
    expected = reproject(cell_rays, cell_rays, prev_T_curr[:, :, None], expected_m[..., None])[
        ..., 0, :
    ]
    there = lies_inside(expected, cell_rays.size_hw) & (views.known & views.last_known)[..., None]
    volume = correlate(cells, pool(views.last))
    return find_best_match(volume, previous.pretrained.amax(-1), expected) * there[..., None]


def find_best_match(
    volume: Float[Tensor, "b t v n y x"],
    along: Float[Tensor, "b t v n"],
    expected: Float[Tensor, "b t v n 2"],
) -> Float[Tensor, "b t v n 4"]:
    """`best_match_offset` of MatchingCosts, of volumes at stride 8.

    `along` is the best correlation of the depth hypotheses, `expected` a pixel.
    """
    best, place = volume.flatten(-2).max(-1)
    columns = volume.shape[-1]
    found = torch.stack([place % columns, place // columns], -1) + 0.5
    offset = found - expected / STRIDE
    return torch.cat(
        [best[..., None], (best - along)[..., None], offset.sign() * offset.abs().log1p()], -1
    )


def list_sources(
    views: MatchingInputs, prev_T_curr: Float[Tensor, "b t 1 4 4"], neighbours: int
) -> list[Source]:
    """The camera's own previous image, then each neighbour's previous and present ones."""
    still = torch.eye(4, device=prev_T_curr.device).expand_as(prev_T_curr)
    maps = (views.last, views.sweep_last, views.now, views.sweep_now)
    last, sweep_last, now, sweep_now = (channels_last(centre(x)) for x in maps)
    sources = [Source(views.cell_rays, last, sweep_last, views.last_known, prev_T_curr)]
    for index in find_neighbours(views.cell_rays.ego_T_cam, views.calibrated, neighbours):
        cell_rays = views.cell_rays.take(index)
        for pretrained, sweep, known, motion in (
            (last, sweep_last, views.last_known, prev_T_curr),
            (now, sweep_now, views.known, still),
        ):
            pretrained, sweep, known = (take_views(x, index, 2) for x in (pretrained, sweep, known))
            sources.append(Source(cell_rays, pretrained, sweep, known, motion))
    return sources
