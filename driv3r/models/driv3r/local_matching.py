"""Local matching: what the images around say of the depth and motion found so far, at stride 4.

Near the depth of the plane sweep a few more hypotheses are correlated with the source images (as
the finer stages of CasMVSNet, Gu et al. 2020). Around the place where a static pixel would lie in
the previous image, features are correlated over a window (as RAFT's lookup, Teed & Deng 2020,
section 3.2): of a static pixel they match best at its middle, or along the epipolar line where its
depth is wrong; of a moving one elsewhere.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.driv3r.cost_volume import MatchingInputs, Source, list_sources
from driv3r.models.driv3r.reprojection import (
    CellRays,
    cell_center_log_depth,
    lies_inside,
    no_autocast,
    reproject,
)
from driv3r.models.driv3r.sampled_correlation import as_vectors, channels_last, correlate_at
from driv3r.models.layers.blocks import ConvBlock, zero_init
from driv3r.models.layers.xfeat import FINE_STRIDE, pool

LOG_OFFSETS = (-0.2, -0.1, -0.05, 0.0, 0.05, 0.1, 0.2)  # two bins of the plane sweep to each side
MIDDLE = len(LOG_OFFSETS) // 2
WINDOW = 2  # radius of the window in pixels of stride 4, and of stride 8
CUES = 2 * len(LOG_OFFSETS) + 1 + 2 * (2 * WINDOW + 1) ** 2 + 5
HIDDEN = 48
MOST_CORRECTION = 0.25  # of log depth


@dataclass(frozen=True, eq=False)
class LocalMatch:
    """Features to add at stride 4, and log depth to add to the sweep's."""

    features: Float[Tensor, "b c yy xx"]
    log_correction: Float[Tensor, "b yy xx"]


class LocalMatching(nn.Module):
    """Correlations around the depth and motion found so far, and convolutions over them.

    Untrained it adds nothing.
    """

    def __init__(self, channels: int, neighbours: int):
        super().__init__()
        self.neighbours = neighbours
        self.fuse = ConvBlock(CUES, HIDDEN)
        self.out = nn.Conv2d(HIDDEN, channels + 1, 3, padding=1)
        zero_init(self.out)

    def forward(
        self,
        views: MatchingInputs,
        fine_rays: CellRays,
        log_depth: Float[Tensor, "m h w"],
        prev_T_curr: Float[Tensor, "b 1 4 4"],
    ) -> LocalMatch:
        """`log_depth` of the plane sweep, whose positions are not differentiated."""
        shape = views.known.shape
        with no_autocast(log_depth):
            found = cell_center_log_depth(log_depth.detach(), stride=FINE_STRIDE)
            found = found.flatten(1).unflatten(0, shape)
            cues = self._cues(views, fine_rays, found, prev_T_curr)
        h, w = fine_rays.size_hw
        size = (h // FINE_STRIDE, w // FINE_STRIDE)
        maps = cues.flatten(0, 2).transpose(1, 2).unflatten(2, size)
        out = self.out(self.fuse(maps))
        return LocalMatch(out[:, 1:], MOST_CORRECTION * out[:, 0].float().tanh())

    def _cues(
        self,
        views: MatchingInputs,
        fine_rays: CellRays,
        log_depth: Float[Tensor, "b 1 v n"],
        prev_T_curr: Tensor,
    ) -> Float[Tensor, "b 1 v n k"]:
        """All cues of each pixel of stride 4."""
        offsets = log_depth.new_tensor(LOG_OFFSETS)
        depth_m = (log_depth[..., None] + offsets).exp()
        # The camera's own previous image, and the neighbours' present ones.
        sources = list_sources(views, prev_T_curr[:, :, None], self.neighbours)[::2]
        own = as_vectors(views.sweep_now)
        found = [_correlate(own, source, views, fine_rays, depth_m) for source in sources]
        pixels, known = found[0][1], (views.known & views.last_known)[..., None, None]
        total = torch.stack([seen for _, _, seen in found]).sum(0)
        scores = torch.stack([score for score, _, _ in found])
        hidden = torch.stack([~seen for _, _, seen in found])
        best = scores.masked_fill(hidden, -1.0).amax(0) * (total > 0)
        middle = pixels[..., MIDDLE, :]
        window = _correlate_window(own, views.sweep_last, middle, fine_rays.size_hw) * known
        path = _describe_path(pixels, fine_rays) * known
        seen = total[..., MIDDLE, None] / len(found)
        return torch.cat([scores.sum(0) / total.clamp(min=1), best, seen, window, path], -1)


def _correlate(
    own: Tensor, source: Source, views: MatchingInputs, fine_rays: CellRays, depth_m: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Correlations with a source at depths, 0 where it does not see them; pixels; what it sees."""
    pixels = reproject(source.cell_rays, fine_rays, source.source_T_ego, depth_m)
    seen = lies_inside(pixels, fine_rays.size_hw) & (views.known & source.known)[..., None, None]
    score = correlate_at(own, source.sweep, pixels, fine_rays.size_hw)
    return score * seen, pixels, seen


def _correlate_window(
    own: Float[Tensor, "b 1 v n c"],
    last: Float[Tensor, "b 1 v c yy xx"],
    middle: Float[Tensor, "b 1 v n 2"],
    size_hw: tuple[int, int],
) -> Float[Tensor, "b 1 v n k"]:
    """Correlations with the previous image around pixels, at strides 4 and 8."""
    reach = torch.arange(-WINDOW, WINDOW + 1, device=middle.device, dtype=middle.dtype)
    grid = torch.cartesian_prod(reach, reach) * FINE_STRIDE
    levels = (channels_last(last), 1), (channels_last(pool(last)), 2)
    read = [
        correlate_at(own, maps, middle[..., None, :] + scale * grid, size_hw)
        for maps, scale in levels
    ]
    return torch.cat(read, -1)


def _describe_path(
    pixels: Float[Tensor, "b 1 v n r 2"], fine_rays: CellRays
) -> Float[Tensor, "b 1 v n 5"]:
    """Flow of a static pixel in cells (signed log1p), direction and length of the epipolar step."""
    flow = (pixels[..., MIDDLE, :] - _own_pixels(fine_rays)) / (2 * FINE_STRIDE)
    flow = flow.clamp(-200, 200)
    step = pixels[..., MIDDLE + 1, :] - pixels[..., MIDDLE - 1, :]
    step = step.clamp(-1e3, 1e3) / (2 * FINE_STRIDE)
    length = step.norm(dim=-1, keepdim=True)
    return torch.cat(
        [flow.sign() * flow.abs().log1p(), step / length.clamp(min=1e-3), length.log1p()], -1
    )


def _own_pixels(fine_rays: CellRays) -> Float[Tensor, "b 1 v n 2"]:
    """Where the rays lie in their own images."""
    ahead = torch.einsum("bvij,bvnj->bvni", fine_rays.K, fine_rays.rays_cam)
    return (ahead[..., :2] / ahead[..., 2:])[:, None]
