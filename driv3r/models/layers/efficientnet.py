"""EfficientNet-Lite0 up to stride 16 (Tan & Le, EfficientNet, ICML 2019, table 1; lite: no squeeze
and excitation, ReLU6), trained by its authors to classify photographs (ImageNet); Apache-2.0.

Batch norms are folded into the convolutions (tools/take_efficientnet.py).
"""

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.settings import PACKAGE

PRETRAINED = PACKAGE / "weights" / "efficientnet-lite0.safetensors"
# Of each block: inputs, outputs, expansion, kernel, stride.
BLOCKS = (
    (32, 16, 1, 3, 1),
    (16, 24, 6, 3, 2), (24, 24, 6, 3, 1),
    (24, 40, 6, 5, 2), (40, 40, 6, 5, 1),
    (40, 80, 6, 3, 2), (80, 80, 6, 3, 1), (80, 80, 6, 3, 1),
    (80, 112, 6, 5, 1), (112, 112, 6, 5, 1), (112, 112, 6, 5, 1),
)  # fmt: skip
EIGHTH, EIGHTH_CHANNELS, SIXTEENTH_CHANNELS = 4, 40, 112  # the last block of stride 8


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: of an odd row or column, the later side gets it."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Convolved."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in input.shape[-2:]]
        (top, left), (h, w) = ((n // 2 for n in pads), pads)
        return super().forward(F.pad(input, (left, w - left, top, h - top)))


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project (MobileNetV2, Sandler et al. 2018, section 3.3)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = nn.Conv2d(inputs, hidden, 1) if expansion > 1 else nn.Identity()
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """One block."""
        hidden = x if isinstance(self.expand, nn.Identity) else F.relu6(self.expand(x))
        out = self.project(F.relu6(self.depthwise(hidden)))
        return x + out if self.residual else out


class EfficientNetLite(nn.Module):
    """Features of RGB images at strides 8 and 16."""

    def __init__(self):
        super().__init__()
        self.stem = SameConv(3, 32, 3, 2)
        self.blocks = nn.ModuleList(InvertedResidual(*block) for block in BLOCKS)

    @classmethod
    def pretrained(cls) -> "EfficientNetLite":
        """With its authors' weights, which are not trained further."""
        network = cls()
        weights = {name: tensor.float() for name, tensor in load_file(PRETRAINED).items()}
        network.load_state_dict(weights, assign=True)  # also on the meta device
        return network.requires_grad_(False)

    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 40 y x"], Float[Tensor, "b 112 yy xx"]]:
        """Features of images in 0..1."""
        x = F.relu6(self.stem((images * 255 - 127) / 128))
        eighth = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            eighth = x if i == EIGHTH else eighth
        return eighth, x


class SemanticFeatures(nn.Module):
    """What the images show, as channel-normalised features at strides 8 and 16."""

    def __init__(self):
        super().__init__()
        self.encoder = EfficientNetLite.pretrained()

    @torch.no_grad()
    def forward(
        self, images: Float[Tensor, "b 3 h w"]
    ) -> tuple[Float[Tensor, "b 40 y x"], Float[Tensor, "b 112 yy xx"]]:
        """Features of images in 0..1."""
        eighth, sixteenth = (
            F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)
            for x in self.encoder(images)
        )
        return eighth, sixteenth
