"""Self-supervision by images: depth is right where other images, warped by it, look the same.

Sources are the camera's previous and next images and the overlapping cameras' present ones (FSM,
Guizilini et al. 2022, section 3.2), so that metres come from the rig's baselines and the car's
motion. Each pixel takes its best source, or the unwarped image where that is as like: there depth
has no say (minimum reprojection and auto-masking, Monodepth2, Godard et al. 2019, section 3.2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.models.driv3r.inputs import Outputs
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.driv3r.reprojection import (
    CellRays,
    find_neighbours,
    lies_inside,
    make_cell_rays,
    reproject,
    take_views,
)
from driv3r.models.driv3r.streaming import fast_bf16
from driv3r.training.augmentation import rotate_by
from driv3r.training.batches import Draw, Parts, gather, make_inputs
from driv3r.training.clip_pool import RawClip

SSIM_SHARE = 0.85  # of the error, the rest is L1
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
NEIGHBOURS = 2
FAR = 10.0  # an error above all that images can have


@dataclass(frozen=True)
class PhotometricConfig:
    """Weights: `photometric` of the error, `smooth` of inverse depth's edge-aware smoothness.

    Errors are measured at full size and at halves of it, `scales` in all: far from the right depth
    only coarse images tell where to go.
    """

    photometric: float = 10.0
    smooth: float = 0.02
    scales: int = 3


def photometric_losses(
    outputs: Outputs, parts: Parts, config: PhotometricConfig
) -> dict[str, Float[Tensor, ""]]:
    """Each term by name, weighted, and their sum as `total`; `parts` are as recorded."""
    depth_m = outputs.log_depth.clamp(-2, 5.5).exp()
    standing = 1 - outputs.motion_logit.detach().sigmoid()
    errors = []
    for scale in range(config.scales):
        small, small_depth_m, weight = _shrink(parts, depth_m, standing, 2**scale)
        error, unmoved, seen = reprojection_error(small, small_depth_m)
        weight = weight * seen
        least = torch.minimum(error, unmoved)
        errors.append((least * weight).sum() / weight.sum().clamp(min=1))
    terms = {
        "photometric": config.photometric * torch.stack(errors).mean(),
        "smooth": config.smooth * smoothness(depth_m, parts["images"]),
    }
    return {**terms, "total": torch.stack(list(terms.values())).sum()}


@torch.no_grad()
def validate_photometric(
    network: Driv3r, clips: Sequence[RawClip], frames: int
) -> dict[str, float]:
    """Mean photometric error at full size of pixels that another image shows, in the first frames.

    Each pixel's is that of its best source or of the unwarped image, so that all depths are
    compared on the same pixels, none with an error above what no depth has.
    """
    network.eval()
    total, count = 0.0, 0.0
    for clip in clips:
        views = tuple(range(clip.views))
        parts = gather([clip], [Draw(0, min(frames, clip.frames), views)])
        device = clip.K.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=fast_bf16(device)):
            outputs, _ = network(make_inputs(parts))
        error, unmoved, _ = reprojection_error(parts, outputs.log_depth.exp())
        known = unmoved < FAR
        total += float((torch.minimum(error, unmoved) * known).sum())
        count += float(known.sum())
    return {"val_photometric": round(total / max(count, 1.0), 5)}


def reprojection_error(
    parts: Parts, depth_m: Float[Tensor, "b t v h w"]
) -> tuple[Float[Tensor, "b t v h w"], Float[Tensor, "b t v h w"], Bool[Tensor, "b t v h w"]]:
    """Each pixel's least error over its sources, that of the unwarped images, who has a source.

    FAR is the error where there is no image.
    """
    images, present = parts["images"], parts["present"]
    size_hw = (images.shape[-2], images.shape[-1])
    rays = make_cell_rays(parts["K"], parts["ego_T_cam"], size_hw, 1)
    prev_T_curr = _make_motions(parts)
    next_T_curr = _invert(prev_T_curr).roll(-1, 1)
    warped, still = [], []
    for step, source_T_ego in ((-1, prev_T_curr), (1, next_T_curr)):
        source, there = _shift(images, present, step)
        there = there & present
        warped.append(_compare(images, source, rays, rays, source_T_ego, depth_m, there))
        unwarped = photometric_error(images, source)
        still.append(torch.where(there[..., None, None], unwarped, FAR))
    same = torch.eye(4, device=images.device).expand_as(prev_T_curr)
    for index in find_neighbours(parts["ego_T_cam"], parts["calibrated"], NEIGHBOURS):
        source, there = take_views(images, index, 2), take_views(present, index, 2) & present
        warped.append(_compare(images, source, rays.take(index), rays, same, depth_m, there))
    error, unmoved = torch.stack(warped).amin(0), torch.stack(still).amin(0)
    return error, unmoved, error < FAR


def photometric_error(
    one: Float[Tensor, "*b 3 h w"], two: Float[Tensor, "*b 3 h w"]
) -> Float[Tensor, "*b h w"]:
    """SSIM over 3 x 3 pixels and L1, mixed; 0 for equal images."""
    x, y = one.flatten(0, -4), two.flatten(0, -4)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)
    below = (mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2)
    unlike = ((1 - above / below) / 2).clamp(0, 1)
    error = SSIM_SHARE * unlike + (1 - SSIM_SHARE) * (x - y).abs()
    return error.mean(1).unflatten(0, one.shape[:-3])


def smoothness(
    depth_m: Float[Tensor, "b t v h w"], images: Float[Tensor, "b t v 3 h w"]
) -> Float[Tensor, ""]:
    """Steps of inverse depth, over its mean, where the image has none (Godard et al. 2017)."""
    inverse = 1 / depth_m
    inverse = inverse / inverse.mean((-2, -1), keepdim=True)
    total = depth_m.new_zeros(())
    for axis in (-1, -2):
        edge = torch.diff(images, dim=axis).abs().mean(-3)
        total = total + (torch.diff(inverse, dim=axis).abs() * (-edge).exp()).mean()
    return total


def _blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)


def _shrink(
    parts: Parts, depth_m: Tensor, weight: Tensor, factor: int
) -> tuple[Parts, Tensor, Tensor]:
    """Images, intrinsics, inverse depth's means and weights at a fraction of the size."""
    if factor == 1:
        return parts, depth_m, weight

    def pool(x: Tensor) -> Tensor:
        flat = x.flatten(0, 2)
        flat = flat if flat.ndim == 4 else flat[:, None]
        return F.avg_pool2d(flat, factor).reshape(
            *x.shape[:-2], *(n // factor for n in x.shape[-2:])
        )

    K = parts["K"] * parts["K"].new_tensor([1 / factor, 1 / factor, 1.0])[:, None]
    return parts | {"images": pool(parts["images"]), "K": K}, 1 / pool(1 / depth_m), pool(weight)


def _shift(images: Tensor, present: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """The images of the frame `step` later, and where there are any."""
    t = images.shape[1]
    at = (torch.arange(t, device=images.device) + step).clamp(0, t - 1)
    inside = at == torch.arange(t, device=images.device) + step
    return images[:, at], present[:, at] & inside[:, None]


def _make_motions(parts: Parts) -> Float[Tensor, "b t 4 4"]:
    """prev_T_curr of each frame, of its velocity and rotation rate; the first one's is still."""
    scaled = parts["ego_rate"] * parts["dt_s"][..., None]
    motion = torch.eye(4, device=scaled.device).repeat(*scaled.shape[:2], 1, 1)
    motion[..., :3, :3] = rotate_by(scaled[..., 3:])
    motion[..., :3, 3] = scaled[..., :3]
    return motion


def _invert(transform: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """The inverse of rotations with translations."""
    inverse, back = transform.clone(), transform[..., :3, :3].transpose(-1, -2)
    inverse[..., :3, :3] = back
    inverse[..., :3, 3] = -(back @ transform[..., :3, 3, None])[..., 0]
    return inverse


def _compare(
    images: Tensor,
    source: Tensor,
    source_rays: CellRays,
    rays: CellRays,
    source_T_ego: Float[Tensor, "b t 4 4"],
    depth_m: Float[Tensor, "b t v h w"],
    there: Bool[Tensor, "b t v"],
) -> Float[Tensor, "b t v h w"]:
    """Error of the source, warped to the images by depth; FAR where it does not show them."""
    pixels = reproject(source_rays, rays, source_T_ego[:, :, None], depth_m.flatten(-2)[..., None])
    pixels = pixels[..., 0, :].unflatten(3, depth_m.shape[-2:])
    inside = lies_inside(pixels, rays.size_hw) & there[..., None, None]
    size = pixels.new_tensor([rays.size_hw[1], rays.size_hw[0]])
    grid = (pixels / size * 2 - 1).clamp(-2, 2).flatten(0, 2)
    warped = F.grid_sample(source.flatten(0, 2), grid, align_corners=False, padding_mode="border")
    error = photometric_error(images, warped.unflatten(0, images.shape[:3]))
    return torch.where(inside, error, FAR)
