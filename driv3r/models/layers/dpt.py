"""The DPT decoder (Ranftl et al. 2021, "Vision Transformers for Dense Prediction")."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class DptConfig:
    """Sizes and options in which published heads differ.

    `hooks` are the layers read, coarsest features last. `crop` doubles each level and crops it to
    the next one's size; without it levels are resized to that size. `relu_skip` adds relu(x), not
    x, around a residual unit (an in-place ReLU of the original). `embed_uv` adds a sinusoidal
    position to features; `norm` is one LayerNorm over all tokens read.
    """

    hooks: tuple[int, int, int, int] = (0, 6, 9, 12)
    widths: tuple[int, int, int, int] = (96, 192, 384, 768)
    features: int = 256
    hidden: int = 128
    crop: bool = True
    relu_skip: bool = False
    embed_uv: bool = False
    norm: bool = False


class ResidualUnit(nn.Module):
    """Two convolutions after ReLUs, with a skip."""

    def __init__(self, features: int, relu_skip: bool):
        super().__init__()
        self.relu_skip = relu_skip
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c y x"]) -> Float[Tensor, "b c y x"]:
        """One unit."""
        out = self.second(F.relu(self.first(F.relu(x))))
        return out + (F.relu(x) if self.relu_skip else x)


class Fusion(nn.Module):
    """Adds a finer level to what came from the coarser ones, and enlarges the sum."""

    def __init__(self, config: DptConfig, is_coarsest: bool):
        super().__init__()
        features = config.features
        self.before = None if is_coarsest else ResidualUnit(features, config.relu_skip)
        self.after = ResidualUnit(features, config.relu_skip)
        self.out = nn.Conv2d(features, features, 1)
        self.crop = config.crop

    def forward(
        self,
        coarse: Float[Tensor, "b c y x"],
        level: Float[Tensor, "b c y x"] | None,
        size: tuple[int, int],
    ) -> Float[Tensor, "b c yy xx"]:
        """`size` is the next level's."""
        if self.before is not None and level is not None:
            coarse = coarse + self.before(level)
        x = self.after(coarse)
        larger = (2 * x.shape[-2], 2 * x.shape[-1]) if self.crop else size
        x = enlarge(x, larger)
        return self.out(x)[..., : size[0], : size[1]]


class Dpt(nn.Module):
    """Tokens of four layers to a map of `outputs` channels at the image's size.

    Without `outputs` the output is features at half of the image's size.
    """

    def __init__(
        self, config: DptConfig, token_widths: Sequence[int], outputs: int | None, patch: int
    ):
        super().__init__()
        self.config, self.patch = config, patch
        self.norm = nn.LayerNorm(token_widths[0]) if config.norm else nn.Identity()
        widths, features = config.widths, config.features
        self.project = nn.ModuleList(
            nn.Conv2d(i, o, 1) for i, o in zip(token_widths, widths, strict=True)
        )
        self.resize = nn.ModuleList(
            [
                nn.ConvTranspose2d(widths[0], widths[0], 4, 4),
                nn.ConvTranspose2d(widths[1], widths[1], 2, 2),
                nn.Identity(),
                nn.Conv2d(widths[3], widths[3], 3, 2, 1),
            ]
        )
        self.narrow = nn.ModuleList(
            nn.Conv2d(w, features, 3, padding=1, bias=False) for w in widths
        )
        self.fuse = nn.ModuleList(Fusion(config, is_coarsest=i == 3) for i in range(4))
        self.smooth = nn.Conv2d(
            features, features if outputs is None else features // 2, 3, padding=1
        )
        self.head = None
        if outputs is not None:
            self.head = nn.Sequential(
                nn.Conv2d(features // 2, config.hidden, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(config.hidden, outputs, 1),
            )

    def forward(
        self, layers: Sequence[Float[Tensor, "b n _"]], size_hw: tuple[int, int]
    ) -> Float[Tensor, "b o h w"]:
        """`layers` are all tokens that the hooks index, patches only."""
        x = self.smooth(self.fuse_levels(layers, size_hw))
        if self.head is None:
            return self._embed(enlarge(x, (size_hw[0] // 2, size_hw[1] // 2)), size_hw)
        return self.head(self._embed(enlarge(x, size_hw), size_hw))

    def fuse_levels(
        self, layers: Sequence[Float[Tensor, "b n _"]], size_hw: tuple[int, int]
    ) -> Float[Tensor, "b c y x"]:
        """All levels in one map, twice as fine as the finest."""
        grid = (size_hw[0] // self.patch, size_hw[1] // self.patch)
        levels = []
        parts = zip(self.config.hooks, self.project, self.resize, self.narrow, strict=True)
        for hook, project, resize, narrow in parts:
            tokens = self.norm(layers[hook]).transpose(1, 2).unflatten(2, grid)
            levels.append(narrow(resize(self._embed(project(tokens), size_hw))))
        x, level = levels[3], None
        for i in (3, 2, 1, 0):
            above = levels[i - 1].shape[-2:] if i else [2 * n for n in levels[0].shape[-2:]]
            x = self.fuse[i](x, level, (above[0], above[1]))
            level = levels[i - 1] if i else None
        return x

    def _embed(self, x: Tensor, size_hw: tuple[int, int]) -> Tensor:
        if not self.config.embed_uv:
            return x
        return x + 0.1 * embed_uv(x.shape[1], (x.shape[-2], x.shape[-1]), size_hw, x.device).to(x)


def enlarge(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners, as these heads were trained."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


@lru_cache(maxsize=8)
def embed_uv(
    channels: int, size: tuple[int, int], size_hw: tuple[int, int], device: torch.device
) -> Float[Tensor, "c y x"]:
    """Sines and cosines of each cell's place, measured in the image's half diagonal (VGGT).

    They are the same for every image of a size, so the last few are kept.
    """
    aspect = size_hw[1] / size_hw[0]
    spans = torch.tensor([1.0, aspect], dtype=torch.float64) / (1 + aspect**2) ** 0.5
    axes = [
        span * (n - 1) / n * torch.linspace(-1, 1, n, dtype=torch.float64)
        for span, n in zip(spans, size, strict=True)
    ]
    v, u = torch.meshgrid(*axes, indexing="ij")
    quarter = channels // 4
    frequency = 100.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = torch.cat([axis * frequency[:, None, None] for axis in (u, v)])
    halves = angles.unflatten(0, (2, quarter))
    return torch.cat([halves.sin(), halves.cos()], dim=1).flatten(0, 1).float().to(device)
