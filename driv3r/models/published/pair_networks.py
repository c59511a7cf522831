"""Two-image networks: DUSt3R and its descendants, by configuration."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.layers.aggregators import PairCross
from driv3r.models.layers.dpt import DptConfig
from driv3r.models.layers.encoders import CroCo
from driv3r.models.layers.point_heads import DescriptorPoints, DptPoints, LinearPoints, PointAnswer
from driv3r.models.published.geometric_priors import (
    GeometricPrior,
    GeometricPriorEmbedding,
    PointPrior,
    chain,
)

NO_PRIOR = GeometricPrior()


@dataclass(frozen=True)
class PairConfig:
    """Sizes of a two-image network; the defaults are ViT-L with the base decoder.

    `dpt` None means the linear head; `descriptors` are MASt3R's channels; `point_blocks` the
    blocks of Align3R's point branch; `use_priors` adds Pow3R's prior inputs. With
    `transpose_portrait` predictions for portrait images are transposed (Spann3R).
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    cross_width: int = 768
    cross_depth: int = 12
    cross_heads: int = 12
    patch: int = 16
    dpt: DptConfig | None = DptConfig()
    descriptors: int = 0
    descriptor_mlp_ratio: float = 4.0
    point_blocks: int | None = None
    use_priors: bool = False
    transpose_portrait: bool = False


@dataclass(frozen=True, eq=False)
class PairTokens:
    """Encoder tokens and every decoder layer of both images."""

    encoded: tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]]
    layers: tuple[list[Tensor], list[Tensor]]


class PairNet(nn.Module):
    """Both images' points in the first camera's frame (DUSt3R, Wang et al. 2024)."""

    def __init__(self, config: PairConfig):
        super().__init__()
        self.config = config
        self.encoder = CroCo(config.width, config.depth, config.heads, config.patch)
        self.aggregator = PairCross(
            config.width, config.cross_width, config.cross_depth, config.cross_heads
        )
        self.heads = nn.ModuleList(make_point_head(config) for _ in range(2))
        self.prior = None
        if config.point_blocks is not None:
            self.prior = PointPrior(
                config.cross_width, config.cross_heads, config.point_blocks, config.patch
            )
        self.prior_embedding = None
        if config.use_priors:
            self.prior_embedding = GeometricPriorEmbedding(
                config.width, config.cross_width, config.patch
            )

    def forward(
        self,
        first: Float[Tensor, "b 3 h w"],
        second: Float[Tensor, "b 3 h w"],
        priors: GeometricPrior = NO_PRIOR,
    ) -> tuple[PointAnswer, PointAnswer]:
        """Answers for images in -1..1, both in the first camera's frame."""
        return self.answer(self.see(first, second, priors), (first.shape[-2], first.shape[-1]))

    def see(self, first, second, priors: GeometricPrior = NO_PRIOR) -> PairTokens:
        """Tokens of all layers."""
        extra = None if self.prior_embedding is None else self.prior_embedding.embed(priors)
        encoded = self.encoder(torch.cat([first, second]), extra).chunk(2)
        return self.relate(encoded, first, second, priors)

    def relate(self, encoded, first, second, priors: GeometricPrior = NO_PRIOR) -> PairTokens:
        """Tokens of all layers from those of the encoder."""
        head_dim = self.config.cross_width // self.config.cross_heads
        ropes = (self.encoder.rope(first, head_dim), self.encoder.rope(second, head_dim))
        points = None if self.prior is None else self.prior.layer_prior(priors, ropes)
        pose = None if self.prior_embedding is None else self.prior_embedding.pose_prior(priors)
        layers = self.aggregator(*encoded, ropes, chain(points, pose))
        return PairTokens((encoded[0], encoded[1]), layers)

    def answer(
        self, tokens: PairTokens, size_hw: tuple[int, int]
    ) -> tuple[PointAnswer, PointAnswer]:
        """Points of both images."""
        first, second = (
            head(layers, size_hw) for head, layers in zip(self.heads, tokens.layers, strict=True)
        )
        if self.config.transpose_portrait and size_hw[0] > size_hw[1]:
            return transpose_answer(first), transpose_answer(second)
        return first, second


def transpose_answer(answer: PointAnswer) -> PointAnswer:
    """The prediction with rows and columns swapped."""
    descriptors, descriptor_confidence = answer.descriptors, answer.descriptor_confidence
    return PointAnswer(
        answer.points.transpose(-3, -2),
        answer.confidence.mT,
        None if descriptors is None else descriptors.transpose(-3, -2),
        None if descriptor_confidence is None else descriptor_confidence.mT,
    )


def make_point_head(config: PairConfig) -> nn.Module:
    """The point head of the configuration."""
    if config.dpt is None:
        return LinearPoints(config.cross_width, config.patch)
    widths = [config.cross_width if hook else config.width for hook in config.dpt.hooks]
    if config.descriptors:
        return DescriptorPoints(
            config.dpt, widths, config.patch, config.descriptors, config.descriptor_mlp_ratio
        )
    return DptPoints(config.dpt, widths, config.patch)
