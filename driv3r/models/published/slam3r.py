"""SLAM3R: pointmaps of video windows, registered into one world (Liu et al. 2025)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.models.layers.blocks import make_mlp
from driv3r.models.layers.encoders import CroCo
from driv3r.models.layers.multi_view_decoder import ReferenceSourceDecoder, answer_views
from driv3r.models.layers.point_heads import LinearPoints, PointAnswer
from driv3r.models.layers.rope import RopeCosSin, grid_positions, make_rope

USED_BEFORE_WEIGHT = 0.05


@dataclass(frozen=True)
class Slam3rConfig:
    """Sizes of both networks; the defaults are ViT-L with the base decoder.

    `score_depth` is the number of decoder blocks before the correlation score.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    cross_width: int = 768
    cross_depth: int = 12
    cross_heads: int = 12
    patch: int = 16
    score_depth: int = 2


class ReferenceSourceNet(nn.Module):
    """Shared base of both networks: one encoder's tokens, normed separately, to points."""

    def __init__(self, config: Slam3rConfig):
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.width, 1e-6)
        self.aggregator = ReferenceSourceDecoder(
            config.width, config.cross_width, config.cross_depth, config.cross_heads, "max"
        )
        self.heads = nn.ModuleList(LinearPoints(config.cross_width, config.patch) for _ in range(2))

    def relate(
        self,
        tokens: Float[Tensor, "b v n e"],
        references: Sequence[int],
        size_hw: tuple[int, int],
        extra: Float[Tensor, "b v n c"] | None = None,
    ) -> PointAnswer:
        """Points of all views, from un-normed tokens of the encoder."""
        rope = self.rope(tokens, size_hw)
        seen = self.aggregator(self.norm(tokens), [references], rope, extra)[:, 0]
        return answer_views(self.heads, seen, references, size_hw)

    def rope(self, tokens: Float[Tensor, "b v n e"], size_hw: tuple[int, int]) -> RopeCosSin:
        """Rotary position embedding of each view's tokens."""
        patch = self.config.patch
        grid = (size_hw[0] // patch, size_hw[1] // patch)
        places = grid_positions(grid, len(tokens), tokens.device)
        return make_rope(places, self.aggregator.head_dim)


class ScoreHead(nn.Module):
    """How much of a source's patch another view sees, one raw value a patch."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = make_mlp(width, width, 1)

    def forward(self, x: Float[Tensor, "*b n c"]) -> Float[Tensor, "*b n"]:
        """Raw values; 1 + exp of them are scores."""
        return self.mlp(self.norm(x)).squeeze(-1)


class ImagesToPoints(ReferenceSourceNet):
    """A window's points in the frame of one of its views (I2P, inner-window reconstruction)."""

    def __init__(self, config: Slam3rConfig):
        super().__init__(config)
        self.encoder = CroCo(config.width, config.depth, config.heads, config.patch)
        # Tokens are encoded once for both networks, each of which norms them with its own weights.
        self.encoder.add_module("norm", nn.Identity())
        self.score = ScoreHead(config.cross_width)

    def forward(self, images: Float[Tensor, "b v 3 h w"], reference: int) -> PointAnswer:
        """Points of all views of images in -1..1, in the reference's camera."""
        size_hw = (images.shape[-2], images.shape[-1])
        return self.relate(self.encode(images), [reference], size_hw)

    def encode(self, images: Float[Tensor, "b v 3 h w"]) -> Float[Tensor, "b v n e"]:
        """Un-normed tokens of each image, which both networks read."""
        return self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])

    def compare(
        self,
        tokens: Float[Tensor, "b v n e"],
        reference: int,
        size_hw: tuple[int, int],
        depth: int | None = None,
    ) -> Float[Tensor, "b s n"]:
        """Scores (above 1) of the other views' patches against the reference (retrieval).

        `depth` is the number of decoder blocks (default: the configuration's). ConfigError where
        the network has fewer, or the reference is not one of several views.
        """
        depth = self.config.score_depth if depth is None else depth
        if not 1 <= depth <= self.config.cross_depth:
            raise ConfigError(
                f"correlation after {depth} blocks; there are 1 to {self.config.cross_depth}"
            )
        self.aggregator.check([[reference]], tokens.shape[1])
        rope = self.rope(tokens, size_hw)
        x = self.aggregator.project(self.norm(tokens))
        for layer in range(depth - 1):
            x = self.aggregator.step(layer, x, [reference], rope)
        sources = self.aggregator.step_sources(depth - 1, x, [reference], rope)
        return 1 + self.score(sources).exp()


class PointTokens(nn.Module):
    """Pointmaps as tokens, and one learned token where there are no points."""

    def __init__(self, width: int, patch: int):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.void = nn.Parameter(torch.zeros(1, 1, width))

    def forward(
        self,
        points: Float[Tensor, "b v h w 3"],
        is_void: Bool[Tensor, "b v y x"] | None = None,
    ) -> Float[Tensor, "b v n c"]:
        """Tokens of each view."""
        maps = points.flatten(0, 1).movedim(-1, 1)
        tokens = self.patch(maps).flatten(2).transpose(1, 2).unflatten(0, points.shape[:2])
        if is_void is None:
            return tokens
        return torch.where(is_void.flatten(2)[..., None], self.void, tokens)


class LocalToWorld(ReferenceSourceNet):
    """Windows' points into the world of scene frames (L2W, inter-window registration).

    It has no encoder: it reads the tokens of ImagesToPoints.encode.
    """

    def __init__(self, config: Slam3rConfig):
        super().__init__(config)
        self.points = PointTokens(config.cross_width, config.patch)

    def forward(
        self,
        tokens: Float[Tensor, "b v n e"],
        points: Float[Tensor, "b v h w 3"],
        references: Sequence[int],
        is_void: Bool[Tensor, "b v y x"] | None = None,
    ) -> PointAnswer:
        """Points of all views in the world of the references.

        References give `points` in that world, the others in their window's frame, all of a
        length near one (`register` normalises them). Patches that are void have no points.
        """
        size_hw = (points.shape[2], points.shape[3])
        return self.relate(tokens, references, size_hw, self.points(points, is_void))

    def register(
        self,
        tokens: Float[Tensor, "b v n e"],
        points: Float[Tensor, "b v h w 3"],
        references: Sequence[int],
        valid: Bool[Tensor, "b v h w"] | None = None,
    ) -> PointAnswer:
        """As `forward`, for points of any length: answers are in the references' unit."""
        scaled, lengths = normalise_views(points, references, valid)
        answer = self(tokens, scaled, references)
        unit = lengths[:, references[0], None, None, None, None]
        return PointAnswer(answer.points * unit, answer.confidence)


def measure_points(
    points: Float[Tensor, "b v h w 3"], valid: Bool[Tensor, "b v h w"] | None = None
) -> Float[Tensor, "b"]:
    """Mean distance of the valid points of all views to the origin."""
    distance = points.norm(dim=-1)
    weight = torch.ones_like(distance) if valid is None else valid.to(distance)
    return (distance * weight).flatten(1).sum(1) / (weight.flatten(1).sum(1) + 1e-8)


def normalise_views(
    points: Float[Tensor, "b v h w 3"],
    references: Sequence[int],
    valid: Bool[Tensor, "b v h w"] | None = None,
) -> tuple[Float[Tensor, "b v h w 3"], Float[Tensor, "b v"]]:
    """Points over a length of their own, references by a common one, and these lengths.

    The length is `measure_points`. Points that are not valid become zero.
    """

    def measure(views: list[int]) -> Float[Tensor, "b"]:
        return measure_points(points[:, views], None if valid is None else valid[:, views])

    reference_length = measure(list(references))
    views = range(points.shape[1])
    lengths = torch.stack([reference_length if v in references else measure([v]) for v in views], 1)
    scaled = points / lengths[:, :, None, None, None]
    return scaled if valid is None else scaled * valid[..., None], lengths


def select_scene_frames(
    scores: Float[Tensor, "q s n"],
    count: int,
    confidence: Float[Tensor, "s h w"] | None = None,
    used: Int[Tensor, "s"] | None = None,
) -> Int[Tensor, "k"]:
    """The `count` best of the frames that were compared with `q` queries, best first.

    Score and `confidence` (above 1) enter as (x - 1) / x of their means; frames lose up to 5 % by
    how often they were `used` before.
    """
    rank = _damp(scores.mean((0, 2)))
    if confidence is not None:
        rank = rank * _damp(confidence.mean((1, 2)))
    if used is not None:
        rank = rank * (1 - USED_BEFORE_WEIGHT * used / used.max().clamp(min=1))
    return rank.argsort(descending=True)[:count]


def _damp(x: Float[Tensor, "s"]) -> Float[Tensor, "s"]:
    return (x - 1) / x
