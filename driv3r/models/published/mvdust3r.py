"""MV-DUSt3R and MV-DUSt3R+: many views to points at once (Tang et al. 2025)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.errors import ConfigError
from driv3r.models.layers.encoders import CroCo
from driv3r.models.layers.multi_view_decoder import ReferenceSourceDecoder, answer_views
from driv3r.models.layers.point_heads import LinearPoints, PointAnswer, to_pixels

MAX_CONFIDENCE = 1e9


@dataclass(frozen=True)
class MvDust3rConfig:
    """Sizes; the defaults are ViT-L with the base decoder.

    `skip_width` is the width of the heads' image skip, `gaussian_width` that of the Gaussian heads;
    `across` adds MV-DUSt3R+'s cross-reference blocks.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    cross_width: int = 768
    cross_depth: int = 12
    cross_heads: int = 12
    patch: int = 16
    skip_width: int = 256
    gaussian_width: int = 768
    across: bool = False


@dataclass(frozen=True, eq=False)
class Gaussians:
    """One Gaussian per pixel around its point; colours are not clamped to 0..1.

    `scale` is in the points' unit and may be negative; rotations are unit quaternions.
    """

    rgb: Float[Tensor, "*b h w 3"]
    opacity: Float[Tensor, "*b h w 1"]
    scale: Float[Tensor, "*b h w 3"]
    rotation: Float[Tensor, "*b h w 4"]


class GaussianHead(nn.Module):
    """Gaussians of a patch from its last token (novel view synthesis)."""

    def __init__(self, width: int, hidden: int, patch: int):
        super().__init__()
        self.patch = patch
        self.norm = nn.LayerNorm(width)
        self.rgb, self.opacity, self.scale, self.rotation = (
            nn.Sequential(
                nn.Linear(width, hidden, bias=False),
                nn.ReLU(),
                nn.Linear(hidden, channels * patch * patch, bias=False),
            )
            for channels in (3, 1, 3, 4)
        )

    def forward(self, tokens: Float[Tensor, "b n c"], size_hw: tuple[int, int]) -> Gaussians:
        """Gaussians of one view."""
        x = self.norm(tokens)

        def lay_out(mlp: Callable[[Tensor], Tensor]) -> Float[Tensor, "b h w o"]:
            return to_pixels(mlp(x).float(), size_hw, self.patch).movedim(1, -1)

        return Gaussians(
            lay_out(self.rgb),
            lay_out(self.opacity).sigmoid(),
            0.1 * lay_out(self.scale),
            F.normalize(lay_out(self.rotation), dim=-1, eps=1e-5),
        )


class MvDust3r(nn.Module):
    """All views' points in the frame of a reference view.

    With cross-reference blocks the first `references` views each are one in a path of their own,
    and paths exchange tokens (MV-DUSt3R+); without, the first view is the only reference.
    """

    def __init__(self, config: MvDust3rConfig):
        super().__init__()
        self.config = config
        self.encoder = CroCo(config.width, config.depth, config.heads, config.patch)
        self.aggregator = ReferenceSourceDecoder(
            config.width,
            config.cross_width,
            config.cross_depth,
            config.cross_heads,
            "join",
            config.across,
        )
        self.heads = nn.ModuleList(
            LinearPoints(config.cross_width, config.patch, config.skip_width, MAX_CONFIDENCE)
            for _ in range(2)
        )
        self.gaussians = nn.ModuleList(
            GaussianHead(config.cross_width, config.gaussian_width, config.patch) for _ in range(2)
        )

    def forward(self, images: Float[Tensor, "b v 3 h w"], references: int = 1) -> PointAnswer:
        """Points of all views of images in -1..1, in the first view's camera."""
        return self.answer(self.see(images, references), images)

    def see(
        self, images: Float[Tensor, "b v 3 h w"], references: int = 1
    ) -> Float[Tensor, "b p v n c"]:
        """Last tokens of every path; ConfigError where the network has not these paths."""
        encoded = self.encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        rope = self.encoder.rope(images[:, 0], self.aggregator.head_dim)
        return self.aggregator(encoded, [[path] for path in range(references)], rope)

    def answer(
        self,
        tokens: Float[Tensor, "b p v n c"],
        images: Float[Tensor, "b v 3 h w"],
        path: int = 0,
    ) -> PointAnswer:
        """Points of a path: all views in the camera of view `path`."""
        size_hw = (images.shape[-2], images.shape[-1])
        return answer_views(self.heads, self._choose(tokens, path), [path], size_hw, images)

    def predict_gaussians(
        self, tokens: Float[Tensor, "b p v n c"], size_hw: tuple[int, int], path: int = 0
    ) -> Gaussians:
        """Gaussians of a path, around the points of `answer`."""
        views = [
            self.gaussians[0 if view == path else 1](seen, size_hw)
            for view, seen in enumerate(self._choose(tokens, path).unbind(1))
        ]
        return Gaussians(
            *(
                torch.stack([getattr(view, part) for view in views], 1)
                for part in ("rgb", "opacity", "scale", "rotation")
            )
        )

    def _choose(self, tokens: Float[Tensor, "b p v n c"], path: int) -> Float[Tensor, "b v n c"]:
        if not 0 <= path < tokens.shape[1]:
            raise ConfigError(f"path {path}; there are {tokens.shape[1]}, numbered from 0")
        return tokens[:, path]
