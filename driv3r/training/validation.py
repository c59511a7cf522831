"""Figures of a network on held-out clips, whose seeds are neither trained on nor evaluated."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from driv3r.models.driv3r.inputs import Inputs
from driv3r.models.driv3r.losses import Targets
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.driv3r.streaming import fast_bf16
from driv3r.simulator.export.clips import ClipConfig, ensure_clip, read_clip
from driv3r.training.batches import whole_batch
from driv3r.training.clip_pool import RawClip, put_on_device
from driv3r.training.config import FIRST_VAL_SEED

NEAREST_M, FARTHEST_M = 0.1, 80.0


def load_validation_clips(
    clips: Path, recipe: ClipConfig, count: int, device: torch.device
) -> list[RawClip]:
    """The first held-out clips, rendered where they are not there."""
    jobs = list_validation_clips(clips, recipe, count)
    return [put_on_device(read_clip(ensure_clip(*job)), device) for job in jobs]


def list_validation_clips(
    clips: Path, recipe: ClipConfig, count: int
) -> list[tuple[Path, int, ClipConfig]]:
    """Folder, seed and recipe of the first held-out clips."""
    return [(clips / "check", FIRST_VAL_SEED + i, recipe) for i in range(count)]


def validation_batches(
    clips: Path, recipe: ClipConfig, count: int, frames: int, device: torch.device
) -> Iterator[tuple[Inputs, Targets]]:
    """The first frames of held-out clips as they are, one clip a batch."""
    for clip in load_validation_clips(clips, recipe, count, device):
        yield whole_batch(clip, frames)


@torch.no_grad()
def validate(network: Driv3r, clips: Sequence[RawClip], frames: int) -> dict[str, float]:
    """Abs Rel and delta1 to 80 m, motion IoU, and the error of the velocity in m/s."""
    network.eval()
    errors, near, speed, overlap, union = [], [], [], 0, 0
    for clip in clips:
        inputs, targets = whole_batch(clip, frames)
        device = inputs.images.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bf16(device)):
            outputs, _ = network(inputs)
        truth = targets.depth_m
        scored = targets.valid & (truth > NEAREST_M) & (truth < FARTHEST_M)
        ratio = (outputs.log_depth.exp() / truth)[scored]
        errors.append((ratio - 1).abs().mean().item())
        near.append((torch.maximum(ratio, 1 / ratio) < 1.25).float().mean().item())
        moving = outputs.motion_logit > 0
        overlap += (moving & targets.moving & targets.motion_valid).sum().item()
        union += ((moving | targets.moving) & targets.motion_valid).sum().item()
        off = (outputs.ego_rate - targets.ego_rate)[:, 1:, :3]
        speed.append(off.norm(dim=-1).mean().item() if off.numel() else 0.0)
    return {
        "val_abs_rel": round(float(np.mean(errors)), 4),
        "val_delta1": round(float(np.mean(near)), 4),
        "val_motion_iou": round(overlap / max(union, 1), 4),
        "val_velocity_mps": round(float(np.mean(speed)), 3),
    }
