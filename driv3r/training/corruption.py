"""What training spoils, so that no cue is trusted alone where it fails in photographs."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.models.driv3r.inputs import Corruption
from driv3r.models.driv3r.losses import ROAD_M, Targets
from driv3r.models.driv3r.reprojection import STRIDE
from driv3r.training.augmentation import DeviceRandom
from driv3r.training.config import CorruptionConfig

FIELD = (4, 7)  # rows and columns of the smooth noise of an image
KERNEL = 5  # of random convolutions


def corrupt(
    images: Float[Tensor, "b t v 3 h w"],
    targets: Targets,
    config: CorruptionConfig,
    random: DeviceRandom,
    rng: np.random.Generator,
) -> Corruption | None:
    """Spoilt images and an error of the coarse depth; None where a recipe spoils nothing."""
    if config.stem_share <= 0 and config.prior_share <= 0:
        return None
    spoilt = rng.random(len(images)) < config.stem_share
    stem_images = [
        convolve_randomly(clip, random) if spoil else clip
        for clip, spoil in zip(images, spoilt, strict=True)
    ]
    context = random.uniform(0.0, 1.0, *images.shape[0:3:2]) >= config.context_drop
    return Corruption(torch.stack(stem_images), draw_depth_error(targets, config, random), context)


def convolve_randomly(
    images: Float[Tensor, "t v 3 h w"], random: DeviceRandom
) -> Float[Tensor, "t v 3 h w"]:
    """Shapes stay, colours and textures change (RandConv, Xu et al., ICLR 2021, section 3).

    One random convolution a clip, its result at the clip's own mean and spread, mixed with the
    images by a random share.
    """
    weight = random.normal(3, 3, KERNEL, KERNEL) / (3 * KERNEL**2) ** 0.5
    flat = F.pad(images.flatten(0, 1), (KERNEL // 2,) * 4, mode="replicate")
    out = F.conv2d(flat, weight).unflatten(0, images.shape[:2])
    over = (0, 1, 3, 4)
    std, mean = torch.std_mean(out, over, keepdim=True)
    own_std, own_mean = torch.std_mean(images, over, keepdim=True)
    out = (out - mean) / std.clamp(min=1e-4) * own_std + own_mean
    share = random.uniform(0.0, 1.0, 1)
    return (share * images + (1 - share) * out).clamp(0, 1)


def draw_depth_error(
    targets: Targets, config: CorruptionConfig, random: DeviceRandom
) -> Float[Tensor, "b t v y x"]:
    """An error of log depth at cells: one number and a smooth field a camera, less on the road.

    A share `prior_share` of the cameras has one, the same in all frames.
    """
    b, _, v, h, w = targets.depth_m.shape
    constant, smooth = config.prior_log_sigma
    field = F.interpolate(
        smooth * random.normal(b, v, *FIELD), (h // STRIDE, w // STRIDE), mode="bicubic"
    )
    field = field + constant * random.normal(b, v, 1, 1)
    field = field * (random.uniform(0.0, 1.0, b, v, 1, 1) < config.prior_share)
    middle = slice(STRIDE // 2, None, STRIDE)
    road = targets.height_m[..., middle, middle].abs() < ROAD_M
    road = road & targets.valid[..., middle, middle]
    return field[:, None] * torch.where(road, config.road_factor, 1.0)
