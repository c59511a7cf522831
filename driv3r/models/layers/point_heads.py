"""Heads that turn tokens into pointmaps, confidences and descriptors."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.layers.blocks import make_mlp
from driv3r.models.layers.dpt import Dpt, DptConfig


@dataclass(frozen=True, eq=False)
class PointAnswer:
    """Points in the head's output frame and their confidence."""

    points: Float[Tensor, "*b h w 3"]
    confidence: Float[Tensor, "*b h w"]
    descriptors: Float[Tensor, "*b h w d"] | None = None
    descriptor_confidence: Float[Tensor, "*b h w"] | None = None


def expand_points(raw: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h w 3"]:
    """Direction times expm1 of the length (DUSt3R's "exp")."""
    raw = raw.movedim(1, -1)
    length = raw.norm(dim=-1, keepdim=True)
    return raw / length.clamp(min=1e-8) * length.expm1()


def to_pixels(
    x: Float[Tensor, "b n _"], size_hw: tuple[int, int], patch: int
) -> Float[Tensor, "b o h w"]:
    """Image of tokens that hold patch x patch pixels each."""
    grid = (size_hw[0] // patch, size_hw[1] // patch)
    return F.pixel_shuffle(x.transpose(1, 2).unflatten(2, grid), patch)


class ImageSkip(nn.Module):
    """A small correction of raw points by the image (MV-DUSt3R)."""

    def __init__(self, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        channels = [6, width, width, width, 3]
        for i, kernel in enumerate((3, 5, 5, 3)):
            layers += [nn.Conv2d(channels[i], channels[i + 1], kernel, padding=kernel // 2)]
            layers += [nn.BatchNorm2d(channels[i + 1])]
            layers += [nn.SELU()] if i < 3 else []
        self.layers = nn.Sequential(*layers)

    def forward(
        self, raw: Float[Tensor, "b 3 h w"], image: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 3 h w"]:
        """Raw points, corrected."""
        return raw + 1e-4 * self.layers(torch.cat([image, raw], dim=1))


class LinearPoints(nn.Module):
    """One linear layer: a patch's points and confidence from its last token.

    With a `skip_width` the image corrects the points; `max_confidence` clamps (MV-DUSt3R).
    """

    def __init__(
        self,
        width: int,
        patch: int,
        skip_width: int | None = None,
        max_confidence: float = float("inf"),
    ):
        super().__init__()
        self.patch, self.max_confidence = patch, max_confidence
        self.out = nn.Linear(width, 4 * patch * patch)
        self.skip = None if skip_width is None else ImageSkip(skip_width)

    def forward(
        self,
        layers: Sequence[Float[Tensor, "b n _"]],
        size_hw: tuple[int, int],
        image: Float[Tensor, "b 3 h w"] | None = None,
    ) -> PointAnswer:
        """Points of the last layer."""
        raw = to_pixels(self.out(layers[-1]).float(), size_hw, self.patch)
        xyz = raw[:, :3] if self.skip is None else self.skip(raw[:, :3], image)
        return PointAnswer(
            expand_points(xyz), 1 + raw[:, 3].exp().clamp(max=self.max_confidence - 1)
        )


class DptPoints(nn.Module):
    """Points and confidence by DPT from four layers."""

    def __init__(self, config: DptConfig, token_widths: Sequence[int], patch: int):
        super().__init__()
        self.dpt = Dpt(config, token_widths, 4, patch)

    def forward(
        self, layers: Sequence[Float[Tensor, "b n _"]], size_hw: tuple[int, int]
    ) -> PointAnswer:
        """Points of the hooked layers."""
        raw = self.dpt(layers, size_hw).float()
        return PointAnswer(expand_points(raw[:, :3]), 1 + raw[:, 3].exp())


class DescriptorPoints(DptPoints):
    """DptPoints with unit descriptors for matching and their confidence (MASt3R)."""

    def __init__(
        self,
        config: DptConfig,
        token_widths: Sequence[int],
        patch: int,
        channels: int,
        mlp_ratio: float,
    ):
        super().__init__(config, token_widths, patch)
        self.patch = patch
        width = token_widths[0] + token_widths[-1]
        outputs = (channels + 1) * patch * patch
        self.descriptors = make_mlp(width, int(mlp_ratio * width), outputs)

    def forward(
        self, layers: Sequence[Float[Tensor, "b n _"]], size_hw: tuple[int, int]
    ) -> PointAnswer:
        """Points of the hooked layers; descriptors of the encoder's and the last layer."""
        answer = super().forward(layers, size_hw)
        tokens = torch.cat([layers[0], layers[-1]], dim=-1)
        raw = to_pixels(self.descriptors(tokens).float(), size_hw, self.patch).movedim(1, -1)
        unit = F.normalize(raw[..., :-1], dim=-1)
        return PointAnswer(answer.points, answer.confidence, unit, raw[..., -1].exp())
