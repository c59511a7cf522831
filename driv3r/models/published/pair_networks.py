"""Networks of two images: DUSt3R and what was made of it, by configuration."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.layers.aggregators import PairCross
from driv3r.models.layers.dpt import DptConfig
from driv3r.models.layers.encoders import CroCo
from driv3r.models.layers.point_heads import DescriptorPoints, DptPoints, LinearPoints, PointAnswer
from driv3r.models.published.geometric_priors import Known, KnownPrior, PointPrior, chain

NOTHING = Known()


@dataclass(frozen=True)
class PairConfig:
    """Sizes of a two-image network; the defaults are ViT-L with the base decoder.

    `dpt` None means the linear head; `descriptors` are MASt3R's channels; `point_blocks` the
    blocks of Align3R's point branch; `knows` gives Pow3R's inputs. With `landscape_only` answers
    for portrait images are transposed (Spann3R).
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
    knows: bool = False
    landscape_only: bool = False


@dataclass(frozen=True, eq=False)
class PairTokens:
    """What passes through the network: encoder tokens and every layer, of both images."""

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
        self.known = None
        if config.knows:
            self.known = KnownPrior(config.width, config.cross_width, config.patch)

    def forward(
        self,
        first: Float[Tensor, "b 3 h w"],
        second: Float[Tensor, "b 3 h w"],
        known: Known = NOTHING,
    ) -> tuple[PointAnswer, PointAnswer]:
        """Answers for images in -1..1, both in the first camera's frame."""
        return self.answer(self.see(first, second, known), (first.shape[-2], first.shape[-1]))

    def see(self, first, second, known: Known = NOTHING) -> PairTokens:
        """Tokens of all layers."""
        extra = None if self.known is None else self.known.embed(known)
        encoded = self.encoder(torch.cat([first, second]), extra).chunk(2)
        return self.relate(encoded, first, second, known)

    def relate(self, encoded, first, second, known: Known = NOTHING) -> PairTokens:
        """Tokens of all layers from those of the encoder."""
        head_dim = self.config.cross_width // self.config.cross_heads
        spins = (self.encoder.spin(first, head_dim), self.encoder.spin(second, head_dim))
        points = None if self.prior is None else self.prior.enter(known, spins)
        placed = None if self.known is None else self.known.place(known)
        layers = self.aggregator(*encoded, spins, chain(points, placed))
        return PairTokens((encoded[0], encoded[1]), layers)

    def answer(
        self, tokens: PairTokens, size_hw: tuple[int, int]
    ) -> tuple[PointAnswer, PointAnswer]:
        """Points of both images."""
        first, second = (
            head(layers, size_hw) for head, layers in zip(self.heads, tokens.layers, strict=True)
        )
        if self.config.landscape_only and size_hw[0] > size_hw[1]:
            return lay_down(first), lay_down(second)
        return first, second


def lay_down(answer: PointAnswer) -> PointAnswer:
    """The answer with rows and columns swapped."""
    descriptors, sureness = answer.descriptors, answer.descriptor_confidence
    return PointAnswer(
        answer.points.transpose(-3, -2),
        answer.confidence.mT,
        None if descriptors is None else descriptors.transpose(-3, -2),
        None if sureness is None else sureness.mT,
    )


def make_point_head(config: PairConfig) -> nn.Module:
    """The head that the configuration asks for."""
    if config.dpt is None:
        return LinearPoints(config.cross_width, config.patch)
    widths = [config.cross_width if hook else config.width for hook in config.dpt.hooks]
    if config.descriptors:
        return DescriptorPoints(
            config.dpt, widths, config.patch, config.descriptors, config.descriptor_mlp_ratio
        )
    return DptPoints(config.dpt, widths, config.patch)
