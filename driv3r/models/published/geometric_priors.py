"""Geometric priors of an image pair (rays, depth, pose, pointmaps) and their embeddings."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.models.layers.aggregators import LayerPrior
from driv3r.models.layers.blocks import Block, zero_init
from driv3r.models.layers.encoders import CROCO_STYLE
from driv3r.models.layers.rope import RopeCosSin


@dataclass(frozen=True, eq=False)
class GeometricPrior:
    """Prior knowledge of an image pair; any part may be absent.

    Rays are unit directions per pixel in each camera, depth is 0 where unknown;
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

    def layer_prior(
        self, priors: GeometricPrior, ropes: tuple[RopeCosSin, RopeCosSin]
    ) -> LayerPrior | None:
        """The additions of both images' pointmaps to the decoder's layers."""
        if priors.points is None:
            return None
        tokens = [self.embed(torch.cat(priors.points))]
        rope = torch.cat(ropes, dim=1)
        for block in self.blocks:
            tokens.append(block(tokens[-1], rope=rope))
        extra = [
            zero(x.transpose(1, 2)).transpose(1, 2).chunk(2)
            for zero, x in zip(self.zero, tokens, strict=True)
        ]

        def add(layer: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            if layer >= len(extra):
                return a, b
            return a + extra[layer][0], b + extra[layer][1]

        return add


class GeometricPriorEmbedding(nn.Module):
    """Embeds rays and depth into the encoder's tokens, the relative pose into the decoder's.

    After Pow3R (Jang et al. 2025, section 3.2). Lengths are divided by the mean of the known depths
    or else the translation's length, as predictions are known up to scale.
    """

    def __init__(self, width: int, cross_width: int, patch: int):
        super().__init__()
        self.rays = nn.Conv2d(3, width, patch, patch)
        self.depth = nn.Conv2d(2, width, patch, patch)
        last = nn.Linear(cross_width, cross_width)
        self.pose_mlp = nn.Sequential(nn.Linear(12, cross_width), nn.GELU(), last)
        zero_init(self.rays, self.depth, last)

    def embed(self, priors: GeometricPrior) -> Float[Tensor, "b n c"] | None:
        """Additions to the encoder's tokens of both images, those of the first image first."""
        extra: list[Tensor] = []
        if priors.rays is not None:
            extra.append(self.rays(torch.cat(priors.rays)))
        if priors.depth_m is not None:
            depth = torch.stack(priors.depth_m, 1) / unit_length_m(priors)[:, None, None, None]
            depth = torch.cat(depth.unbind(1))
            extra.append(self.depth(torch.stack([depth, (depth > 0).to(depth)], 1)))
        return torch.stack(extra).sum(0).flatten(2).transpose(1, 2) if extra else None

    def pose_prior(self, priors: GeometricPrior) -> LayerPrior | None:
        """The additions of the relative pose to the decoder's first layer."""
        if priors.first_T_second is None:
            return None
        length_m = unit_length_m(priors)[:, None]
        tokens = []
        for dst_T_src in (priors.first_T_second, torch.linalg.inv(priors.first_T_second)):
            shift = dst_T_src[:, :3, 3] / length_m
            facts = torch.cat([dst_T_src[:, :3, :3].flatten(1), shift], dim=1)
            tokens.append(self.pose_mlp(facts)[:, None])

        def add(layer: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return (a + tokens[0], b + tokens[1]) if layer == 0 else (a, b)

        return add


def unit_length_m(priors: GeometricPrior) -> Float[Tensor, "b"]:
    """The unit of length (m): mean known depth, or else the baseline."""
    if priors.depth_m is not None:
        depth_m = torch.stack(priors.depth_m, 1).flatten(1)
        return (depth_m.sum(1) / (depth_m > 0).sum(1).clamp(min=1)).clamp(min=1e-3)
    assert priors.first_T_second is not None
    return priors.first_T_second[:, :3, 3].norm(dim=1).clamp(min=1e-3)


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
