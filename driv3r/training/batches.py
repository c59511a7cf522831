"""Training batches from a pool of clips: made on the device, a function of (seed, step, pool)."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.models.driv3r.inputs import Inputs, encode_ray_maps
from driv3r.models.driv3r.losses import Targets, measure_height
from driv3r.models.driv3r.reprojection import around_cell_centers
from driv3r.training.augmentation import (
    DeviceRandom,
    crop_and_resize,
    crop_intrinsics,
    draw_crops,
    drop_calibration,
    jitter_calibration,
    vary_appearance,
)
from driv3r.training.clip_pool import MOTION_VALID, MOVING, VALID, ClipPool, RawClip
from driv3r.training.config import DataConfig
from driv3r.training.corruption import corrupt

Parts = dict[str, Tensor]  # of a batch or one clip
MIRRORED_RATE = (1.0, -1.0, 1.0, -1.0, 1.0, -1.0)


@dataclass(frozen=True)
class Draw:
    """Which part of a clip: frames from `start` on, some of its cameras, mirrored, or at half size.

    `missing` cameras without images and calibration are added, so that batches are of one shape.
    """

    start: int
    frames: int
    views: tuple[int, ...]
    missing: int = 0
    mirrored: bool = False
    half_size: bool = False


def draw_batch(
    pool: ClipPool, step: int, config: DataConfig, half_size: bool = False, rank: int = 0
) -> tuple[Inputs, Targets]:
    """The batch of a step, augmented; the same for the same seed, step, process and pool."""
    rng = np.random.default_rng([config.seed, step, rank])
    parts, random = draw_parts(pool, config, rng, half_size)
    inputs, targets = make_inputs(vary(parts, config, random)), make_targets(parts)
    corruption = corrupt(inputs.images, targets, config.corruption, random, rng)
    return replace(inputs, corruption=corruption), targets


def draw_parts(
    pool: ClipPool, config: DataConfig, rng: np.random.Generator, half_size: bool = False
) -> tuple[Parts, DeviceRandom]:
    """Parts of clips as they are, or enlarged and of another scale, and draws for the rest."""
    shapes = config.half_size_shapes if half_size else config.shapes
    count, frames = shapes[int(rng.integers(len(shapes)))]
    clips = pool.draw(count, rng)
    draws = [
        Draw(
            start=int(rng.integers(clip.frames - frames + 1)),
            frames=frames,
            views=tuple(np.sort(rng.permutation(clip.views)[: config.views]).tolist()),
            missing=max(config.views - clip.views, 0),
            mirrored=bool(rng.random() < 0.5),
            half_size=half_size,
        )
        for clip in clips
    ]
    random = DeviceRandom(int(rng.integers(2**62)), clips[0].K.device)
    parts = gather(clips, draws)
    if config.zoom > 1:
        parts = crop_views(parts, config.zoom, random)
    if config.world_scale > 1:
        parts = scale_world(parts, config.world_scale, random)
    return parts, random


def whole_batch(clip: RawClip, frames: int) -> tuple[Inputs, Targets]:
    """The first frames of a clip as they are."""
    views = tuple(range(clip.views))
    return assemble([clip], [Draw(0, min(frames, clip.frames), views)])


def assemble(clips: list[RawClip], draws: list[Draw]) -> tuple[Inputs, Targets]:
    """A batch of parts of clips as they are, all of as many frames and cameras."""
    parts = gather(clips, draws)
    return make_inputs(parts), make_targets(parts)


def vary(parts: Parts, config: DataConfig, random: DeviceRandom) -> Parts:
    """What a network sees of parts: images, calibration and what is missing of both vary."""
    b, t, v = parts["present"].shape
    K, ego_T_cam = jitter_calibration(parts["K"], parts["ego_T_cam"], config.jitter, random)
    images = vary_appearance(parts["images"], config.augmentation, random)
    present = parts["present"] & (random.uniform(0.0, 1.0, b, t, v) >= config.camera_drop)
    calibrated = parts["calibrated"] & drop_calibration(b, v, config.calibration_drop, random)
    seen = {"images": images, "present": present, "calibrated": calibrated}
    return parts | seen | {"K": K, "ego_T_cam": ego_T_cam}


def crop_views(parts: Parts, most: float, random: DeviceRandom) -> Parts:
    """Random resized crops: each view shows a window of its image, enlarged by up to `most`."""
    b, _, v = parts["present"].shape
    size_hw = (parts["images"].shape[-2], parts["images"].shape[-1])
    crops = draw_crops(b, v, most, random)
    maps = torch.stack([parts["depth_m"], parts["labels"].float()], 3)
    depth_m, labels = crop_and_resize(maps, *crops, "nearest").unbind(3)
    return parts | {
        "images": crop_and_resize(parts["images"], *crops, "bilinear"),
        "depth_m": depth_m,
        "labels": labels.to(torch.uint8),
        "K": crop_intrinsics(parts["K"], *crops, size_hw),
    }


def scale_world(parts: Parts, most: float, random: DeviceRandom) -> Parts:
    """The world, the rig and the speed of half of the clips times a factor: images stay the same.

    What an object usually measures then tells less of its distance than heights, baselines and the
    car's motion do.
    """
    b = parts["K"].shape[0]
    log = torch.log(torch.tensor(most)).item() * random.uniform(-1.0, 1.0, b)
    scale = torch.where(random.uniform(0.0, 1.0, b) < 0.5, log.exp(), torch.ones_like(log))
    ego_T_cam, ego_rate = parts["ego_T_cam"].clone(), parts["ego_rate"].clone()
    ego_T_cam[..., :3, 3] *= scale[:, None, None]
    ego_rate[..., :3] *= scale[:, None, None]
    depth_m = parts["depth_m"] * scale[:, None, None, None, None]
    return parts | {"ego_T_cam": ego_T_cam, "ego_rate": ego_rate, "depth_m": depth_m}


def gather(clips: list[RawClip], draws: list[Draw]) -> Parts:
    """Parts of clips as tensors of a batch, by the names of RawClip, Inputs and Targets."""
    cuts = [_cut(clip, draw) for clip, draw in zip(clips, draws, strict=True)]
    parts = {name: torch.stack([cut[name] for cut in cuts]) for name in cuts[0]}
    t, v = parts["images"].shape[1:3]
    real = [[i < len(draw.views) for i in range(v)] for draw in draws]
    calibrated = torch.tensor(real, device=parts["images"].device)
    return parts | {"calibrated": calibrated, "present": calibrated[:, None].repeat(1, t, 1)}


def make_inputs(parts: Parts) -> Inputs:
    """What a network sees of parts."""
    size_hw = (parts["images"].shape[-2], parts["images"].shape[-1])
    rays = encode_ray_maps(parts["K"], parts["ego_T_cam"], size_hw)
    given = [f.name for f in fields(Inputs) if f.name not in ("rays", "corruption")]
    return Inputs(rays=rays, corruption=None, **{name: parts[name] for name in given})


def make_targets(parts: Parts) -> Targets:
    """The truth of parts, whose calibration is the true one."""
    depth_m, labels = parts["depth_m"], parts["labels"]
    b, t = depth_m.shape[:2]
    return Targets(
        depth_m=depth_m,
        valid=(labels & VALID) > 0,
        height_m=measure_height(depth_m, parts["K"], parts["ego_T_cam"]),
        moving=(labels & MOVING) > 0,
        motion_valid=(labels & MOTION_VALID) > 0,
        ego_rate=parts["ego_rate"],
        has_last=(torch.arange(t, device=depth_m.device) > 0).expand(b, t),
    )


def _cut(clip: RawClip, draw: Draw) -> Parts:
    run = slice(draw.start, draw.start + draw.frames)
    # A missing camera has another one's place, and labels that say that nothing is known.
    views = torch.tensor((*draw.views, *(0,) * draw.missing), device=clip.K.device)
    images, depth_m, labels = (
        x[run].index_select(1, views) for x in (clip.images, clip.depth_m, clip.labels)
    )
    labels[:, len(draw.views) :] = 0
    K, ego_T_cam = clip.K.index_select(0, views), clip.ego_T_cam.index_select(0, views)
    ego_rate, time_s = clip.ego_rate[run].clone(), clip.time_s[run]
    ego_rate[0] = 0
    if draw.mirrored:
        images, depth_m, labels = (x.flip(-1) for x in (images, depth_m, labels))
        K, ego_T_cam = mirror_cameras(K, ego_T_cam, images.shape[-1])
        ego_rate = ego_rate * ego_rate.new_tensor(MIRRORED_RATE)
    images = images.float() / 255
    if draw.half_size:
        images = F.avg_pool2d(images.flatten(0, 1), 2).unflatten(0, images.shape[:2])
        depth_m, labels = _halve(depth_m.float(), labels)
        K = K * K.new_tensor([0.5, 0.5, 1.0])[:, None]
    return {
        "images": images,
        "depth_m": depth_m.float(),
        "labels": labels,
        "K": K,
        "ego_T_cam": ego_T_cam,
        "ego_rate": ego_rate,
        "dt_s": torch.diff(time_s, prepend=time_s[:1]),
    }


def _halve(depth_m: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Depth and labels of maps at half their size.

    A pixel's centre is the corner of the four that it covers: labels are one's, depth is that of
    the mean inverse depth of those that have some, as that one has, which is exact on planes.
    """
    four = ((labels & VALID) > 0) & (depth_m > 0)
    inverse, share = (
        around_cell_centers(torch.where(four, 1 / depth_m, 0.0), 2),
        around_cell_centers(four, 2),
    )
    mean = share.sum(-3) / inverse.sum(-3).clamp(min=1e-6)
    one = (..., slice(1, None, 2), slice(1, None, 2))
    return torch.where(four[one], mean, depth_m[one]), labels[one]


def mirror_cameras(
    K: Float[Tensor, "v 3 3"], ego_T_cam: Float[Tensor, "v 4 4"], width: int
) -> tuple[Float[Tensor, "v 3 3"], Float[Tensor, "v 4 4"]]:
    """The cameras of the mirror images, left to right, of the mirrored world."""
    left = torch.diag(K.new_tensor([1.0, -1, 1, 1]))
    across = torch.diag(K.new_tensor([-1.0, 1, 1, 1]))
    flip = K.new_tensor([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]])
    return flip @ K @ across[:3, :3], left @ ego_T_cam @ across
