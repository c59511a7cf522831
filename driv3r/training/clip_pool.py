"""Clips as a device holds them between steps: raw, compact, bounded by a memory budget."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Float16, UInt8
from torch import Tensor

from driv3r.geometry import transforms
from driv3r.simulator.export.clips import Clip

MOVING, VALID, MOTION_VALID = 1, 2, 4  # bits of labels


@dataclass(frozen=True, eq=False)
class RawClip:
    """A clip on a device. `labels` are bits: MOVING, VALID (depth is known), MOTION_VALID.

    `ego_rate` is velocity (m/s) and rotation rate (rad/s) since the frame before, 0 on the first.
    """

    images: UInt8[Tensor, "t v 3 h w"]
    depth_m: Float16[Tensor, "t v h w"]
    labels: UInt8[Tensor, "t v h w"]
    K: Float[Tensor, "v 3 3"]
    ego_T_cam: Float[Tensor, "v 4 4"]
    ego_rate: Float[Tensor, "t 6"]
    time_s: Float[Tensor, "t"]

    @property
    def frames(self) -> int:
        """How many frames it has."""
        return self.images.shape[0]

    @property
    def views(self) -> int:
        """How many cameras it has."""
        return self.images.shape[1]

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(t.numel() * t.element_size() for t in _tensors(self))


def _tensors(clip: RawClip) -> Iterator[Tensor]:
    return (getattr(clip, field.name) for field in fields(clip))


def ego_rates(
    world_T_ego: Float[np.ndarray, "t 4 4"], time_us: np.ndarray
) -> Float[np.ndarray, "t 6"]:
    """Velocity (m/s) and rotation rate (rad/s) since the last frame, in it; 0 on the first."""
    rates = np.zeros((len(time_us), 6))
    prev_T_curr = transforms.invert(world_T_ego[:-1]) @ world_T_ego[1:]
    dt_s = np.diff(time_us)[:, None] * 1e-6
    rates[1:, :3] = prev_T_curr[:, :3, 3] / dt_s
    rates[1:, 3:] = transforms.to_rotvec(prev_T_curr) / dt_s
    return rates


def put_on_device(clip: Clip, device: torch.device) -> RawClip:
    """A generated clip, of which everything is known, as a device holds it."""
    labels = np.uint8(VALID | MOTION_VALID) | clip.moving * np.uint8(MOVING)
    time_s = (clip.time_us - clip.time_us[0]) * 1e-6
    arrays = (
        np.moveaxis(clip.images, -1, -3),
        clip.depth_m.astype(np.float16),
        labels,
        *(a.astype(np.float32) for a in (clip.K, clip.ego_T_cam)),
        ego_rates(clip.world_T_ego, clip.time_us).astype(np.float32),
        time_s.astype(np.float32),
    )
    return RawClip(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays))


def blank_clip(frames: int, views: int, size_hw: tuple[int, int], device: torch.device) -> RawClip:
    """A clip of noise and plausible cameras, of which nothing is known."""
    h, w = size_hw
    shape = (frames, views, h, w)
    images = torch.randint(0, 256, (frames, views, 3, h, w), dtype=torch.uint8, device=device)
    K = torch.tensor([[0.8 * w, 0, w / 2], [0, 0.8 * w, h / 2], [0, 0, 1.0]], device=device)
    forward = torch.tensor(
        [[0, 0, 1.0, 1], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]], device=device
    )
    return RawClip(
        images=images,
        depth_m=torch.ones(shape, dtype=torch.float16, device=device),
        labels=torch.zeros(shape, dtype=torch.uint8, device=device),
        K=K.repeat(views, 1, 1),
        ego_T_cam=forward.repeat(views, 1, 1),
        ego_rate=torch.zeros(frames, 6, device=device),
        time_s=torch.arange(frames, device=device) * 0.5,
    )


class ClipPool:
    """Clips in the order in which they came, at most `budget_gib`; the oldest make room."""

    def __init__(self, budget_gib: float):
        self.budget_bytes = budget_gib * 2**30
        self.clips: list[RawClip] = []
        self.bytes = 0
        self.added = 0

    def add(self, clip: RawClip) -> None:
        """Take in a clip; one is always held, however small the budget."""
        self.clips.append(clip)
        self.bytes += clip.bytes
        self.added += 1
        while self.bytes > self.budget_bytes and len(self.clips) > 1:
            self.bytes -= self.clips.pop(0).bytes

    def draw(self, count: int, rng: np.random.Generator) -> list[RawClip]:
        """Clips at random, with replacement."""
        return [self.clips[int(i)] for i in rng.integers(len(self.clips), size=count)]
