"""What is known beforehand, and where it enters a network."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.layers.aggregators import LayerPrior
from driv3r.models.layers.blocks import Block, zero_init
from driv3r.models.layers.encoders import CROCO_STYLE
from driv3r.models.layers.rope import Spin


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of an image pair beforehand; any part may be absent.

    Rays are unit directions per pixel in each camera, depth is 0 where it is not known;
    `first_T_second` is in metres. `points` are pointmaps of monocular depth, each in its camera.
    """

    rays: tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 h w"]] | None = None
    depth_m: tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"]] | None = None
    first_T_second: Float[Tensor, "b 4 4"] | None = None
    points: tuple[Float[Tensor, "b h w 3"], Float[Tensor, "b h w 3"]] | None = None


class PointPrior(nn.Module):
    """Pointmaps from monocular depth, added at the decoder's first layers (Align3R).

    The additions pass through layers that start at zero, as ControlNet's.
    """

    def __init__(self, width: int, heads: int, depth: int, patch: int):
        super().__init__()
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.ModuleList(Block(width, heads, 4, CROCO_STYLE) for _ in range(depth))
        zero = [nn.Conv1d(width, width, 1) for _ in range(depth + 1)]
        zero_init(*zero)
        self.zero = nn.ModuleList(zero)

    def embed(self, points: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b n c"]:
        """Tokens of a pointmap."""
        return self.patch(points.movedim(-1, 1)).flatten(2).transpose(1, 2)

    def enter(self, known: Known, spins: tuple[Spin, Spin]) -> LayerPrior | None:
        """How both images' pointmaps enter the aggregator."""
        if known.points is None:
            return None
        tokens = [self.embed(torch.cat(known.points))]
        spin = torch.cat(spins, dim=1)
        for block in self.blocks:
            tokens.append(block(tokens[-1], spin=spin))
        extra = [
            zero(x.transpose(1, 2)).transpose(1, 2).chunk(2)
            for zero, x in zip(self.zero, tokens, strict=True)
        ]

        def add(layer: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            if layer >= len(extra):
                return a, b
            return a + extra[layer][0], b + extra[layer][1]

        return add


class KnownPrior(nn.Module):
    """Rays and depth enter the encoder's tokens, the relative pose those of the decoder.

    After Pow3R (Jang et al. 2025, section 3.2). All is divided by one length, the mean of the known
    depths or else that of the translation, as the answer is known up to scale.
    """

    def __init__(self, width: int, cross_width: int, patch: int):
        super().__init__()
        self.rays = nn.Conv2d(3, width, patch, patch)
        self.depth = nn.Conv2d(2, width, patch, patch)
        last = nn.Linear(cross_width, cross_width)
        self.placement = nn.Sequential(nn.Linear(12, cross_width), nn.GELU(), last)
        zero_init(self.rays, self.depth, last)

    def embed(self, known: Known) -> Float[Tensor, "b n c"] | None:
        """What is added to the encoder's tokens of both images, first ones first."""
        extra: list[Tensor] = []
        if known.rays is not None:
            extra.append(self.rays(torch.cat(known.rays)))
        if known.depth_m is not None:
            depth = torch.stack(known.depth_m, 1) / measure(known)[:, None, None, None]
            depth = torch.cat(depth.unbind(1))
            extra.append(self.depth(torch.stack([depth, (depth > 0).to(depth)], 1)))
        return torch.stack(extra).sum(0).flatten(2).transpose(1, 2) if extra else None

    def place(self, known: Known) -> LayerPrior | None:
        """How the relative pose enters the aggregator."""
        if known.first_T_second is None:
            return None
        length_m = measure(known)[:, None]
        tokens = []
        for dst_T_src in (known.first_T_second, torch.linalg.inv(known.first_T_second)):
            shift = dst_T_src[:, :3, 3] / length_m
            facts = torch.cat([dst_T_src[:, :3, :3].flatten(1), shift], dim=1)
            tokens.append(self.placement(facts)[:, None])

        def add(layer: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return (a + tokens[0], b + tokens[1]) if layer == 0 else (a, b)

        return add


def measure(known: Known) -> Float[Tensor, "b"]:
    """The length (m) that is taken as one: mean known depth, or else the baseline."""
    if known.depth_m is not None:
        depth_m = torch.stack(known.depth_m, 1).flatten(1)
        return (depth_m.sum(1) / (depth_m > 0).sum(1).clamp(min=1)).clamp(min=1e-3)
    assert known.first_T_second is not None
    return known.first_T_second[:, :3, 3].norm(dim=1).clamp(min=1e-3)


def chain(*priors: LayerPrior | None) -> LayerPrior | None:
    """Several priors in turn, None where there is none."""
    there = [prior for prior in priors if prior is not None]
    if not there:
        return None

    def add(layer: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        for prior in there:
            a, b = prior(layer, a, b)
        return a, b

    return add
