"""Inputs and outputs of the network as tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from driv3r.geometry.cameras import rays_of
from driv3r.types import Camera

RAY_CHANNELS = 5


@dataclass(frozen=True, eq=False)
class Corruption:
    """What training spoils, so that no cue is trusted alone; absent in use.

    `stem_images` are seen by the trained encoder in place of the images, which pretrained encoders
    and matching still see. `log_depth_offset` is added to the coarse log depth of cells before
    anything is matched: in photographs it errs far more than in the images it was trained on.
    Without `context` a camera's depth sweep does not see the features that it comes from either.
    """

    stem_images: Float[Tensor, "b t v 3 h w"]
    log_depth_offset: Float[Tensor, "b t v y x"]
    context: Bool[Tensor, "b v"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """A batch of clips. `dt_s` is the time since the previous frame, 0 on a log's first.

    `rays`, `K` and `ego_T_cam` of a camera that is not `calibrated` must not be used.
    """

    images: Float[Tensor, "b t v 3 h w"]
    present: Bool[Tensor, "b t v"]
    rays: Float[Tensor, "b v 5 h w"]
    K: Float[Tensor, "b v 3 3"]
    ego_T_cam: Float[Tensor, "b v 4 4"]
    dt_s: Float[Tensor, "b t"]
    calibrated: Bool[Tensor, "b v"]
    corruption: Corruption | None = None


@dataclass(frozen=True, eq=False)
class Outputs:
    """Per pixel: log of depth in metres, log of its Laplace scale, logit of motion.

    `ego_rate` is the motion of the ego frame since the previous frame, in that frame, as velocity
    (m/s) and rotation rate (rad/s). Intermediate outputs with their own losses: the coarse depth
    and its scale, log probabilities of the depth hypotheses, those of the sweep features'
    correlation alone and the share of the sources that see each (all at stride 8), and log
    probabilities of the ego motion hypotheses.
    """

    log_depth: Float[Tensor, "b t v h w"]
    log_sigma: Float[Tensor, "b t v h w"]
    motion_logit: Float[Tensor, "b t v h w"]
    ego_rate: Float[Tensor, "b t 6"]
    coarse_log_depth: Float[Tensor, "b t v y x"]
    coarse_log_sigma: Float[Tensor, "b t v y x"]
    depth_log_prob: Float[Tensor, "b t v r y x"]
    matching_log_prob: Float[Tensor, "b t v r y x"]
    matching_seen: Float[Tensor, "b t v r y x"]
    ego_log_prob: Float[Tensor, "b t k"]


def encode_rays(camera: Camera) -> Float32[np.ndarray, "5 h w"]:
    """Ray encoding of each pixel in the ego frame: unit direction, inverse flat-ground depth.

    The last two channels are metric: the inverse depth (1/m, times 10) at which the ray meets the
    plane z = 0 of the ego frame, 0 above the horizon, and the camera's height. Inverse depth is
    affine in the pixel, so the channel is smooth.
    """
    rays_cam = rays_of(camera)
    rays_ego = rays_cam @ camera.ego_T_cam[:3, :3].T
    height_m = max(float(camera.ego_T_cam[2, 3]), 0.2)
    ground = np.clip(-rays_ego[..., 2] / height_m, 0.0, 2.0) * 10.0
    unit = rays_ego / np.linalg.norm(rays_ego, axis=-1, keepdims=True)
    tall = np.full(ground.shape, height_m)
    return np.stack([*np.moveaxis(unit, -1, 0), ground, tall]).astype(np.float32)


def encode_ray_maps(
    K: Float[Tensor, "*b 3 3"], ego_T_cam: Float[Tensor, "*b 4 4"], size_hw: tuple[int, int]
) -> Float[Tensor, "*b 5 h w"]:
    """`encode_rays` of many pinhole cameras on their device."""
    h, w = size_hw
    rows, columns = (torch.arange(n, device=K.device, dtype=torch.float64) + 0.5 for n in size_hw)
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)]).flatten(1)
    R = ego_T_cam[..., :3, :3].double()
    rays_ego = (R @ torch.linalg.inv_ex(K.double())[0] @ pixels).unflatten(-1, (h, w))
    height_m = ego_T_cam[..., 2, 3].double().clamp(min=0.2)[..., None, None, None]
    ground = (-rays_ego[..., 2:3, :, :] / height_m).clamp(0, 2) * 10
    unit = rays_ego / rays_ego.norm(dim=-3, keepdim=True)
    return torch.cat([unit, ground, height_m.expand_as(ground)], -3).float()
