"""What varies at random between an image as rendered and as a network sees it; on the device."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.training.config import AugmentationConfig

GREY = (0.299, 0.587, 0.114)


class DeviceRandom:
    """Uniform and normal draws of one generator on one device."""

    def __init__(self, seed: int, device: torch.device):
        self.device = device
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Draws of low..high."""
        return low + (high - low) * torch.rand(shape, device=self.device, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws."""
        return torch.randn(shape, device=self.device, generator=self.generator)


def vary_appearance(
    images: Float[Tensor, "b t v 3 h w"], config: AugmentationConfig, random: DeviceRandom
) -> Float[Tensor, "b t v 3 h w"]:
    """Images in 0..1 of other cameras, light and processing; see AugmentationConfig."""
    b, _, v = images.shape[:3]
    images = _mix_colours(images, config, random)
    middle = 0.45
    slope = random.uniform(*config.contrast, b, 1, 1, 1, 1, 1)
    images = (middle + slope * (images - middle)).clamp(1e-3, 1)
    images = images ** random.uniform(*config.gamma, b, 1, v, 1, 1, 1)
    images = _blur_or_sharpen(images, config, random)
    gain = random.uniform(*config.gain, b, 1, v, 1, 1, 1)
    spread = random.uniform(1 - config.balance, 1 + config.balance, b, 1, v, 3, 1, 1)
    noise = random.normal(*images.shape) * random.uniform(0.0, config.noise, b, 1, 1, 1, 1, 1)
    return (images * gain * spread + noise).clamp(0, 1)


def _mix_colours(images: Tensor, config: AugmentationConfig, random: DeviceRandom) -> Tensor:
    b = images.shape[0]
    weights = images.new_tensor(GREY)[:, None, None]
    grey = (images * weights).sum(-3, keepdim=True)
    saturation = random.uniform(*config.saturation, b, 1, 1, 1, 1, 1)
    images = grey + saturation * (images - grey)
    matrix = torch.eye(3, device=images.device) + config.colour_mix * random.normal(b, 3, 3)
    matrix = matrix / matrix.sum(-1, keepdim=True)  # white stays white
    return torch.einsum("bij,btvjhw->btvihw", matrix, images)


def _blur_or_sharpen(images: Tensor, config: AugmentationConfig, random: DeviceRandom) -> Tensor:
    """A binomial blur, added or taken away by an amount that is drawn for each clip."""
    if config.blur_share <= 0:
        return images
    b = images.shape[0]
    kind = random.uniform(0.0, 1.0, b, 1, 1, 1, 1, 1)
    amount = random.uniform(0.0, 1.0, b, 1, 1, 1, 1, 1)
    blurred = (kind < config.blur_share).float() - (kind > 1 - config.blur_share).float()
    row = images.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    row = row * config.blur_px + images.new_tensor([0, 0, 1.0, 0, 0]) * (1 - config.blur_px)
    kernel = (row[:, None] * row[None]).expand(3, 1, 5, 5)
    flat = F.pad(images.flatten(0, 2), (2, 2, 2, 2), mode="replicate")
    soft = F.conv2d(flat, kernel, groups=3).view_as(images)
    return (images + blurred * amount * (soft - images)).clamp(1e-3, 1)


def draw_crops(
    b: int, v: int, most: float, random: DeviceRandom
) -> tuple[Float[Tensor, "b v"], Float[Tensor, "b v 2"]]:
    """A crop of each view: its share of the image's size, 1 / `most` to 1, and its middle.

    The middle (x, y) is in -1..1 of the image, the crop inside of it.
    """
    share = 1 / random.uniform(1.0, most, b, v)
    return share, random.uniform(-1.0, 1.0, b, v, 2) * (1 - share)[..., None]


def crop_and_resize(
    maps: Float[Tensor, "b t v c h w"],
    share: Float[Tensor, "b v"],
    middle: Float[Tensor, "b v 2"],
    mode: Literal["bilinear", "nearest"],
) -> Float[Tensor, "b t v c h w"]:
    """What lies in each view's crop, at the full size."""
    b, t, v = maps.shape[:3]
    zero = torch.zeros_like(share)
    rows = [torch.stack([share, zero, middle[..., 0]], -1)]
    rows.append(torch.stack([zero, share, middle[..., 1]], -1))
    affine = torch.stack(rows, -2)[:, None].expand(b, t, v, 2, 3).flatten(0, 2)
    flat = maps.flatten(0, 2)
    grid = F.affine_grid(affine, list(flat.shape), align_corners=False)
    seen = F.grid_sample(flat, grid, mode, padding_mode="border", align_corners=False)
    return seen.unflatten(0, (b, t, v))


def crop_intrinsics(
    K: Float[Tensor, "b v 3 3"],
    share: Float[Tensor, "b v"],
    middle: Float[Tensor, "b v 2"],
    size_hw: tuple[int, int],
) -> Float[Tensor, "b v 3 3"]:
    """K of crops that are enlarged to the full size."""
    half = K.new_tensor([size_hw[1] / 2, size_hw[0] / 2])
    corner = half * (1 + middle - share[..., None])
    window = torch.eye(3, device=K.device).repeat(*share.shape, 1, 1)
    window[..., :2, :2] /= share[..., None, None]
    window[..., :2, 2] = -corner / share[..., None]
    return window @ K


def jitter_calibration(
    K: Float[Tensor, "b v 3 3"],
    ego_T_cam: Float[Tensor, "b v 4 4"],
    jitter: tuple[float, float],
    random: DeviceRandom,
) -> tuple[Float[Tensor, "b v 3 3"], Float[Tensor, "b v 4 4"]]:
    """A calibration that is off by degrees of turn and percent of focal length, one sigma."""
    turn_deg, focal_percent = jitter
    if turn_deg == 0 and focal_percent == 0:
        return K, ego_T_cam
    b, v = K.shape[:2]
    rotation = torch.eye(4, device=K.device).repeat(b, v, 1, 1)
    turn = random.normal(b, v, 3) * (turn_deg * torch.pi / 180)
    rotation[..., :3, :3] = rotate_by(turn)
    zoom = torch.ones(b, v, 3, 3, device=K.device)
    zoom[..., :2, :2] = (random.normal(b, v, 1, 1) * (focal_percent / 100)).exp()
    return K * zoom, ego_T_cam @ rotation


def rotate_by(turn: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Rotations by small axis-angle vectors in rad (Rodrigues' formula).

    torch.linalg.matrix_exp would make the host wait for the device.
    """
    x, y, z = turn.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    angle = turn.norm(dim=-1).clamp(min=1e-8)[..., None, None]
    eye = torch.eye(3, device=turn.device)
    return eye + (angle.sin() / angle) * skew + ((1 - angle.cos()) / angle**2) * skew @ skew


def drop_calibration(b: int, v: int, share: float, random: DeviceRandom) -> Bool[Tensor, "b v"]:
    """Whose calibration is given: a `share` of rigs has none, and of the others of cameras."""
    rig, camera = random.uniform(0.0, 1.0, b, 1), random.uniform(0.0, 1.0, b, v)
    return ~((rig < share) | (camera < share))
