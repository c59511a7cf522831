"""From a log's per-frame predictions to what stands still and what moves.

Left for later: evidence against a voxel (rays that pass through it) removes nothing yet.
"""

from collections.abc import Iterable

from driv3r.fusion.evidence import FusedFrame, FusionConfig
from driv3r.fusion.moving import MovingFusion
from driv3r.fusion.static import StaticFusion
from driv3r.types import Reconstruction

__all__ = ["FusedFrame", "FusionConfig", "MovingFusion", "StaticFusion", "fuse"]


def fuse(frames: Iterable[FusedFrame], config: FusionConfig) -> Reconstruction:
    """Fuse a log's frames, in any order, one in memory at a time."""
    static, moving = StaticFusion(config), MovingFusion(config)
    for frame in frames:
        static.add(frame)
        moving.add(frame)
    return Reconstruction(static.result(), moving.result())
