"""Trained features for the depth sweep."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.layers.blocks import ConvBlock

SWEEP_CHANNELS = 32


class SweepFeatures(nn.Module):
    """Unit features of single images at stride 4, trained so that true depths correlate.

    Inputs are the image and pretrained features: these carry context and transfer from generated to
    real images, the image adds lost detail.
    """

    def __init__(self, pretrained_channels: int, channels: int = SWEEP_CHANNELS):
        super().__init__()
        self.image = nn.Sequential(ConvBlock(3, 24, 2), ConvBlock(24, 48, 2))
        self.fuse = nn.Sequential(ConvBlock(48 + pretrained_channels, 64), ConvBlock(64, 64))
        self.out = nn.Conv2d(64, channels, 1)

    def forward(
        self, images: Float[Tensor, "b t v 3 h w"], pretrained: Float[Tensor, "b t v c yy xx"]
    ) -> Float[Tensor, "b t v e yy xx"]:
        """Features; `pretrained` are unit features at stride 4."""
        maps = self.encode(images.flatten(0, 2), pretrained.flatten(0, 2))
        return maps.unflatten(0, images.shape[:3])

    def encode(
        self, images: Float[Tensor, "n 3 h w"], pretrained: Float[Tensor, "n c yy xx"]
    ) -> Float[Tensor, "n e yy xx"]:
        """Features of single images."""
        scaled = pretrained * pretrained.shape[1] ** 0.5
        maps = self.fuse(torch.cat([self.image(images), scaled], 1))
        return F.normalize(self.out(maps).float(), dim=1)
