"""Cameras as optimisation variables: poses and focal lengths near an initial estimate."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from driv3r.alignment.pointmaps import InitialCameras

BETAS = (0.9, 0.9)  # as DUSt3R's code has them
FOCAL_SCALE_GAIN = 0.1  # focal lengths are well known from the start: they move more slowly
NEAREST = 1e-3  # depths that are divided by, in units of the scene


class Poses(nn.Module):
    """n rigid world_T_src near a start; those that are not free stay there.

    Rotations move by Gibbs vectors (the axis times the tangent of half the angle), which are smooth
    at zero and need no norm.
    """

    def __init__(self, start: Float[np.ndarray, "n 4 4"], free: Bool[np.ndarray, "n"]):
        super().__init__()
        self.rotation = torch.from_numpy(start[:, :3, :3].astype(np.float32))
        self.translation = torch.from_numpy(start[:, :3, 3].astype(np.float32))
        self.free = torch.from_numpy(free.astype(np.float32))[:, None]
        self.turn = nn.Parameter(torch.zeros(len(start), 3))
        self.shift = nn.Parameter(torch.zeros(len(start), 3))

    def forward(self) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3"]]:
        """Rotations and translations."""
        turned = self.rotation @ cayley_rotation(self.turn * self.free)
        return turned, self.translation + self.shift * self.free

    def read(self) -> Float[np.ndarray, "n 4 4"]:
        """world_T_src as they stand."""
        with torch.no_grad():
            rotation, translation = self()
        out = np.tile(np.eye(4), (len(rotation), 1, 1))
        out[:, :3, :3], out[:, :3, 3] = rotation.numpy(), translation.numpy()
        return out


class Cameras(nn.Module):
    """v cameras: their poses and by how much their focal lengths differ from the start's."""

    def __init__(self, start: InitialCameras):
        super().__init__()
        self.poses = Poses(start.world_T_cam, ~start.has_pose)
        self.K = torch.from_numpy(start.K.astype(np.float32))
        self.free = torch.from_numpy((~start.has_K).astype(np.float32))
        self.log_focal_scale = nn.Parameter(torch.zeros(len(start.K)))

    def focal_scale(self) -> Float[Tensor, "v"]:
        """Focal lengths by those of the start."""
        return (FOCAL_SCALE_GAIN * self.log_focal_scale * self.free).exp()

    def lift(
        self,
        image: Int[Tensor, "*b"],
        rays: Float[Tensor, "*b n 3"],
        depth: Float[Tensor, "*b n"],
    ) -> Float[Tensor, "*b n 3"]:
        """World points of pixels, by their rays (z = 1) under the start's K."""
        rotation, translation = self.poses()
        shrink = 1.0 / self.focal_scale()[image][..., None, None]
        bent = torch.cat([rays[..., :2] * shrink, rays[..., 2:]], dim=-1)
        points_cam = bent * depth[..., None]
        return points_cam @ rotation[image].mT + translation[image][..., None, :]

    def project(
        self, image: Int[Tensor, "*b"], points_world: Float[Tensor, "*b n 3"]
    ) -> tuple[Float[Tensor, "*b n 2"], Bool[Tensor, "*b n"]]:
        """(u, v) in pixels, and which points lie ahead."""
        rotation, translation = self.poses()
        points_cam = (points_world - translation[image][..., None, :]) @ rotation[image]
        z = points_cam[..., 2:]
        xy = points_cam[..., :2] / z.clamp(min=NEAREST) * self.focal_scale()[image][..., None, None]
        flat = torch.cat([xy, torch.ones_like(z)], dim=-1)
        return (flat @ self.K[image].mT)[..., :2], z[..., 0] > NEAREST

    def read_K(self) -> Float[np.ndarray, "v 3 3"]:
        """Intrinsics as they stand."""
        K = self.K.numpy().astype(np.float64)
        K[:, :2, :2] *= self.focal_scale().detach().numpy()[:, None, None]
        return K


def cayley_rotation(gibbs: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3 3"]:
    """Rotations from the axis times the tangent of half the angle (Cayley's formula)."""
    x, y, z = gibbs.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    square = (gibbs**2).sum(-1)[:, None, None]
    outer = gibbs[:, :, None] * gibbs[:, None, :]
    eye = torch.eye(3, dtype=gibbs.dtype)
    return ((1 - square) * eye + 2 * outer + 2 * cross) / (1 + square)


def adam_cosine(
    loss_at: Callable[[float], Float[Tensor, ""]],
    parameters: Iterable[nn.Parameter],
    steps: int,
    learning_rate: float,
    last_learning_rate: float,
) -> float:
    """Adam with cosine decay from `learning_rate` to `last_learning_rate`; returns the last loss.

    The argument of `loss_at` is the share of the steps done.
    """
    optimiser = torch.optim.Adam(parameters, learning_rate, betas=BETAS)
    value = math.nan
    for step in range(steps):
        done = step / max(steps - 1, 1)
        for group in optimiser.param_groups:
            group["lr"] = (
                last_learning_rate
                + (learning_rate - last_learning_rate) * (1 + math.cos(math.pi * done)) / 2
            )
        optimiser.zero_grad()
        loss = loss_at(done)
        loss.backward()
        optimiser.step()
        value = float(loss.detach())
    return value
