"""Matching features, trained with the network; the ego motion sweep correlates them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.driv3r.reprojection import no_autocast
from driv3r.models.layers.blocks import ConvBlock


class Matcher(nn.Module):
    """Unit features of single images at stride 8, and their correlation with the last ones."""

    def __init__(self, channels: int = 32):
        super().__init__()
        self.encoder = nn.Sequential(
            ConvBlock(3, 24, 2), ConvBlock(24, 48, 2), ConvBlock(48, 64, 2), ConvBlock(64, 64)
        )
        self.out = nn.Conv2d(64, channels, 1)
        self.sharpness = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Float[Tensor, "b t v 3 h w"]) -> Float[Tensor, "b t v c y x"]:
        """Features."""
        return self.encode(images.flatten(0, 2)).unflatten(0, images.shape[:3])

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c y x"]:
        """Features of single images."""
        return F.normalize(self.out(self.encoder(images)).float(), dim=1)

    def sharpen(self, features: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Features scaled by a learned temperature for a softmax over their correlation."""
        return features * self.sharpness.exp()


def centre(maps: Float[Tensor, "*b y x"]) -> Float[Tensor, "*b y x"]:
    """Maps less their means, so that a correlation of 0 is uninformative."""
    return maps - maps.mean((-2, -1), keepdim=True)


def correlate(
    cells: Float[Tensor, "b t v c y x"], others: Float[Tensor, "b t v c yy xx"]
) -> Float[Tensor, "b t v n yy xx"]:
    """All-pairs correlation of cells and others, less each cell's mean: 0 is uninformative."""
    there = centre(others).flatten(-2)
    with no_autocast(cells):
        volume = cells.flatten(-2).transpose(-1, -2) @ there
    return volume.unflatten(-1, others.shape[-2:])
