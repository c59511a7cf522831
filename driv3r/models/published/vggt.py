"""VGGT: cameras, depth, points and tracks of many views at once (Wang et al., CVPR 2025)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from driv3r.errors import ConfigError
from driv3r.models.layers.blocks import Block, BlockStyle
from driv3r.models.layers.dinov2 import DinoV2
from driv3r.models.layers.dpt import Dpt, DptConfig
from driv3r.models.layers.rope import grid_positions, make_rope
from driv3r.models.published.vggt_camera_head import CameraHead, decode_cameras, lift_views
from driv3r.models.published.vggt_point_tracker import TrackAnswer, TrackerConfig, TrackHead

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CHUNK = 8  # views that a dense head decodes at once, which bounds its memory
STYLE = BlockStyle(norm_heads=True, gain=True)
LEVELS = (0, 1, 2, 3)
DENSE = DptConfig(
    LEVELS, (256, 512, 1024, 1024), 256, 32, crop=False, relu_skip=True, embed_uv=True, norm=True
)
FEATURES = DptConfig(
    LEVELS, (256, 512, 1024, 1024), 128, 32, crop=False, relu_skip=True, embed_uv=False, norm=True
)


@dataclass(frozen=True)
class VggtConfig:
    """Sizes; the defaults are VGGT-1B's.

    `grid` is the side of the grid of patches that places were learned for, `hooks` the layers that
    heads read, the last of them the aggregator's last. DPT heads count these hooked layers.
    """

    width: int = 1024
    depth: int = 24
    heads: int = 16
    encoder_depth: int = 24
    encoder_heads: int = 16
    patch: int = 14
    grid: int = 37
    registers: int = 4
    hooks: tuple[int, int, int, int] = (4, 11, 17, 23)
    camera_depth: int = 4
    camera_heads: int = 16
    camera_steps: int = 4
    dense: DptConfig = DENSE
    features: DptConfig = FEATURES
    tracker: TrackerConfig = TrackerConfig()


@dataclass(frozen=True, eq=False)
class VggtAnswer:
    """Predictions of all views in one unit of length; the first view is the reference frame.

    `codes` are the cameras after each step (see camera_head). Confidences are above 1.
    """

    codes: Float[Tensor, "s b v 9"]
    depth: Float[Tensor, "b v h w"]
    depth_confidence: Float[Tensor, "b v h w"]
    points_ref: Float[Tensor, "b v h w 3"]
    points_confidence: Float[Tensor, "b v h w"]
    tracks: TrackAnswer | None = None

    def cameras(self) -> tuple[Float[Tensor, "b v 4 4"], Float[Tensor, "b v 3 3"]]:
        """cam_T_ref and K after the last step."""
        return decode_cameras(self.codes[-1], (self.depth.shape[-2], self.depth.shape[-1]))

    def lift_depth(self) -> Float[Tensor, "b v h w 3"]:
        """Points in the frame of reference by depth and cameras, not by the head for points."""
        cam_T_ref, K = self.cameras()
        return lift_views(self.depth, K, cam_T_ref)


class FrameGlobal(nn.Module):
    """Blocks within each view and over all views in turn (VGGT, section 3.2).

    Each view has one camera token and registers before its patches; the first view, whose camera
    is the frame of reference, has its own.
    """

    def __init__(self, width: int, depth: int, heads: int, registers: int):
        super().__init__()
        self.head_dim, self.specials = width // heads, 1 + registers
        self.camera = nn.Parameter(torch.zeros(1, 2, 1, width))
        self.registers = nn.Parameter(torch.zeros(1, 2, registers, width))
        self.within = nn.ModuleList(Block(width, heads, 4, STYLE) for _ in range(depth))
        self.among = nn.ModuleList(Block(width, heads, 4, STYLE) for _ in range(depth))

    def iterate_layers(
        self, patches: Float[Tensor, "b v n c"], grid: tuple[int, int]
    ) -> Iterator[Float[Tensor, "b v m d"]]:
        """Each layer in turn: what both of its blocks answered, side by side."""
        b, v = patches.shape[:2]
        specials = torch.cat([self.camera, self.registers], dim=2)
        specials = torch.cat([specials[:, :1], specials[:, 1:].expand(-1, v - 1, -1, -1)], dim=1)
        x = torch.cat([specials.expand(b, -1, -1, -1), patches], dim=2)
        places = grid_positions(grid, 1, patches.device) + 1
        rope = make_rope(nn.functional.pad(places, (0, 0, self.specials, 0)), self.head_dim)
        rope_within = rope.expand(-1, b * v, -1, -1, -1)
        rope_among = rope.repeat(1, 1, 1, v, 1).expand(-1, b, -1, -1, -1)
        for within, among in zip(self.within, self.among, strict=True):
            seen = within(x.flatten(0, 1), rope=rope_within).unflatten(0, (b, v))
            x = among(seen.flatten(1, 2), rope=rope_among).unflatten(1, (v, -1))
            yield torch.cat([seen, x], dim=-1)


class Vggt(nn.Module):
    """The whole network. Its heads calculate in float32 under any autocast."""

    def __init__(self, config: VggtConfig):
        super().__init__()
        if config.hooks[-1] != config.depth - 1 or sorted(config.hooks) != list(config.hooks):
            raise ConfigError(
                f"VGGT's heads read layers {config.hooks} of {config.depth}; expected four in "
                f"order, the last one {config.depth - 1}"
            )
        self.config = config
        width, patch = config.width, config.patch
        self.encoder = DinoV2(
            width, config.encoder_depth, config.encoder_heads, patch, config.grid, config.registers
        )
        self.aggregator = FrameGlobal(width, config.depth, config.heads, config.registers)
        self.camera = CameraHead(
            2 * width, config.camera_depth, config.camera_heads, config.camera_steps
        )
        widths = [2 * width] * 4
        self.depth = Dpt(config.dense, widths, 2, patch)
        self.points = Dpt(config.dense, widths, 4, patch)
        self.tracks = TrackHead(config.features, widths, patch, config.tracker)

    def forward(
        self,
        images: Float[Tensor, "b v 3 h w"],
        queries_px: Float[Tensor, "b n 2"] | None = None,
    ) -> VggtAnswer:
        """Everything of images in 0..1; tracks of places (column, row) in the first view if given.

        ConfigError where the images' size is no multiple of the patch.
        """
        layers = self.see(images)
        size_hw = (images.shape[-2], images.shape[-1])
        tracks = None if queries_px is None else self.track(layers, size_hw, queries_px)
        return VggtAnswer(
            self.predict_cameras(layers),
            *self.predict_depth(layers, size_hw),
            *self.predict_points(layers, size_hw),
            tracks,
        )

    def see(self, images: Float[Tensor, "b v 3 h w"]) -> list[Float[Tensor, "b v m d"]]:
        """The layers that heads read; ConfigError as `forward`."""
        patch, (rows, columns) = self.config.patch, images.shape[-2:]
        if rows % patch or columns % patch:
            raise ConfigError(
                f"images of {rows} x {columns} pixels; expected multiples of {patch}: resize them"
            )
        mean, deviation = (
            torch.tensor(x, device=images.device)[:, None, None] for x in (MEAN, DEVIATION)
        )
        encoded = self.encoder(((images - mean) / deviation).flatten(0, 1))
        patches = encoded[:, self.encoder.specials :].unflatten(0, images.shape[:2])
        layers = self.aggregator.iterate_layers(patches, (rows // patch, columns // patch))
        return [layer for i, layer in enumerate(layers) if i in self.config.hooks]

    def predict_cameras(self, layers: list[Float[Tensor, "b v m d"]]) -> Float[Tensor, "s b v 9"]:
        """Cameras after each step, as codes."""
        with _exactly(layers):
            return self.camera(layers[-1][:, :, 0].float())

    def predict_depth(
        self, layers: list[Float[Tensor, "b v m d"]], size_hw: tuple[int, int]
    ) -> tuple[Float[Tensor, "b v h w"], Float[Tensor, "b v h w"]]:
        """Depth and its confidence."""
        raw = self._decode(self.depth, layers, size_hw)
        return raw[:, :, 0].exp(), 1 + raw[:, :, 1].exp()

    def predict_points(
        self, layers: list[Float[Tensor, "b v m d"]], size_hw: tuple[int, int]
    ) -> tuple[Float[Tensor, "b v h w 3"], Float[Tensor, "b v h w"]]:
        """Points in the frame of reference and their confidence."""
        raw = self._decode(self.points, layers, size_hw)
        return expand_axes(raw[:, :, :3].movedim(2, -1)), 1 + raw[:, :, 3].exp()

    def track(
        self,
        layers: list[Float[Tensor, "b v m d"]],
        size_hw: tuple[int, int],
        queries_px: Float[Tensor, "b n 2"],
    ) -> TrackAnswer:
        """Tracks of places in the first view."""
        maps = self._decode(self.tracks.features, layers, size_hw)
        with _exactly(layers):
            return self.tracks.tracker(maps, queries_px)

    def _decode(
        self, head: Dpt, layers: list[Float[Tensor, "b v m d"]], size_hw: tuple[int, int]
    ) -> Float[Tensor, "b v c y x"]:
        """A dense head's answer, a few views at a time."""
        views = [layer.flatten(0, 1) for layer in layers]
        specials, parts = self.aggregator.specials, []
        with _exactly(layers):
            for i in range(0, len(views[0]), CHUNK):
                few = [x[i : i + CHUNK, specials:].float() for x in views]
                parts.append(head(few, size_hw))
        return torch.cat(parts).unflatten(0, layers[0].shape[:2])


def _exactly(layers: list[Tensor]) -> torch.autocast:
    return torch.autocast(layers[0].device.type, enabled=False)


def expand_axes(raw: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3"]:
    """Each coordinate from its signed logarithm (VGGT's "inv_log")."""
    return raw.sign() * raw.abs().expm1()
