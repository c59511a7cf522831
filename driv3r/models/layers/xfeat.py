"""XFeat's dense features (Potje et al., XFeat: Accelerated Features for Lightweight Image Matching,
CVPR 2024, section 3.1), trained by its authors to match photographs; Apache-2.0.

Batch norms are folded into the convolutions (tools/take_xfeat.py). Keypoints, reliability and the
fine matcher are left out.
"""

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.settings import PACKAGE

PRETRAINED = PACKAGE / "weights" / "xfeat.safetensors"
CHANNELS = 64
FINE_STRIDE = 4


def chain(*layers: tuple[int, int, int, int]) -> nn.Sequential:
    """Convolutions (inputs, outputs, kernel, stride), a ReLU after each."""
    parts: list[nn.Module] = []
    for inputs, outputs, kernel, stride in layers:
        parts += [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.ReLU()]
    return nn.Sequential(*parts)


class XFeat(nn.Module):
    """Features of grey images at stride 8: three scales, added at the finest of them."""

    def __init__(self):
        super().__init__()
        self.shortcut = nn.Conv2d(1, 24, 1)
        self.quarter = chain((1, 4, 3, 1), (4, 8, 3, 2), (8, 8, 3, 1), (8, 24, 3, 2))
        self.quarter_more = chain((24, 24, 3, 1), (24, 24, 3, 1))
        self.eighth = chain((24, 64, 3, 2), (64, 64, 3, 1), (64, 64, 1, 1))
        self.sixteenth = chain((64, 64, 3, 2), (64, 64, 3, 1), (64, 64, 3, 1))
        self.rest = chain((64, 128, 3, 2), (128, 128, 3, 1), (128, 128, 3, 1), (128, 64, 1, 1))
        self.fuse = chain((64, 64, 3, 1), (64, 64, 3, 1)).append(nn.Conv2d(64, CHANNELS, 1))

    @classmethod
    def pretrained(cls) -> "XFeat":
        """With its authors' weights, which are not trained further."""
        network = cls()
        network.load_state_dict(load_file(PRETRAINED), assign=True)  # also on the meta device
        return network.requires_grad_(False)

    def forward(self, images: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b 64 y x"]:
        """Features; brightness and contrast of a whole image do not matter."""
        grey = F.instance_norm(images.float().mean(1, keepdim=True))
        quarter = self.quarter(grey) + self.shortcut(F.avg_pool2d(grey, 4))
        eighth = self.eighth(self.quarter_more(quarter))
        sixteenth = self.sixteenth(eighth)
        coarser = (sixteenth, self.rest(sixteenth))
        size = eighth.shape[-2:]
        for x in coarser:
            eighth = eighth + F.interpolate(x, size, mode="bilinear", align_corners=False)
        return self.fuse(eighth)


class FineFeatures(nn.Module):
    """Unit features of single images at stride 4, for depth by matching.

    XFeat sees images at twice their size: cells are then as fine as half a second of driving needs.
    """

    def __init__(self):
        super().__init__()
        self.encoder = XFeat.pretrained()

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "b t v 3 h w"]) -> Float[Tensor, "b t v c y x"]:
        """Features."""
        grey = images.flatten(0, 2).float().mean(1, keepdim=True)  # XFeat sees no more than that
        larger = F.interpolate(grey, scale_factor=2, mode="bilinear", align_corners=False)
        maps = self.encoder(larger).float()
        return F.normalize(maps, dim=1).unflatten(0, images.shape[:3])


def pool(features: Float[Tensor, "b t v c y x"]) -> Float[Tensor, "b t v c yy xx"]:
    """Unit features at twice the stride."""
    halved = F.avg_pool2d(features.flatten(0, 2), 2).unflatten(0, features.shape[:3])
    return F.normalize(halved, dim=3)
