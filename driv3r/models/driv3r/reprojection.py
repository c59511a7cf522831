"""Rays of cells, and their reprojection into source images at hypothesised depths."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

STRIDE = 8
NEAREST_M = 0.1
OUTSIDE = -1e4  # pixel of what lies behind a camera


@dataclass(frozen=True, eq=False)
class CellRays:
    """Cells of every camera: rays with z = 1 in the camera's frame, intrinsics and extrinsics."""

    rays_cam: Float[Tensor, "b v n 3"]
    K: Float[Tensor, "b v 3 3"]
    ego_T_cam: Float[Tensor, "b v 4 4"]
    size_hw: tuple[int, int]

    def subsample(self, step: int) -> "CellRays":
        """Every `step`-th cell of every `step`-th row."""
        rays_cam = subsample(self.rays_cam, self.size_hw, step, -2)
        return CellRays(rays_cam, self.K, self.ego_T_cam, self.size_hw)

    def repeat(self, frames: int) -> "CellRays":
        """Each sample's cameras `frames` times, as of samples of one frame each."""
        tensors = (self.rays_cam, self.K, self.ego_T_cam)
        rays_cam, K, ego_T_cam = (x.repeat_interleave(frames, 0) for x in tensors)
        return CellRays(rays_cam, K, ego_T_cam, self.size_hw)

    def take(self, index: Int[Tensor, "b v"]) -> "CellRays":
        """Cameras reordered by index, each sample in its own order."""
        rays_cam, K, ego_T_cam = (
            take_views(x, index, 1) for x in (self.rays_cam, self.K, self.ego_T_cam)
        )
        return CellRays(rays_cam, K, ego_T_cam, self.size_hw)


def take_views(x: Tensor, index: Int[Tensor, "b v"], axis: int) -> Tensor:
    """`x` with views in another order along `axis`, each sample of the batch in its own."""
    shape, views = x.shape[:axis], x.shape[axis]
    first = torch.arange(shape.numel(), device=x.device).view(*shape, 1) * views
    rows = first + index.view(len(index), *[1] * (axis - 1), -1)
    return x.flatten(0, axis).index_select(0, rows.flatten()).unflatten(0, rows.shape)


def subsample(x: Tensor, size_hw: tuple[int, int], step: int, axis: int) -> Tensor:
    """Every `step`-th cell and row of the flattened grid along a negative `axis`."""
    cells = x.unflatten(axis, (size_hw[0] // STRIDE, size_hw[1] // STRIDE))
    rows, columns = axis - 1, axis
    keep = [torch.arange(0, cells.shape[i], step, device=x.device) for i in (rows, columns)]
    picked = cells.index_select(rows, keep[0]).index_select(columns, keep[1])
    return picked.flatten(rows, columns)


def around_cell_centers(maps: Tensor, stride: int = STRIDE) -> Tensor:
    """The four pixels [*b 4 y x] of full-size maps [*b h w] around the centre of each cell.

    Rays of cells go through the corner that the four share, not through any of their centres.
    """
    first = stride // 2 - 1
    around = [maps[..., first + i :: stride, first + j :: stride] for i in (0, 1) for j in (0, 1)]
    return torch.stack(around, -3)


def cell_center_log_depth(
    log_depth: Tensor, known: Tensor | None = None, stride: int = STRIDE
) -> Tensor:
    """Log depth [*b y x] at the rays of cells, of a full-size map [*b h w].

    It averages the inverse depth around, which is exact on planes (inverse depth is affine in the
    pixel). Pixels that are not `known` count only where none is.
    """
    inverse = (-around_cell_centers(log_depth, stride)).exp()
    mean = inverse.mean(-3)
    if known is not None:
        share = around_cell_centers(known, stride).to(inverse.dtype)
        count = share.sum(-3)
        mean = torch.where(count > 0, (inverse * share).sum(-3) / count.clamp(min=1), mean)
    return -mean.log()


def make_cell_rays(
    K: Float[Tensor, "b v 3 3"],
    ego_T_cam: Float[Tensor, "b v 4 4"],
    size_hw: tuple[int, int],
    stride: int = STRIDE,
) -> CellRays:
    """Rays through the centres of the cells at a stride; those of 1 are pixels."""
    y, x = (
        torch.arange(n // stride, device=K.device, dtype=K.dtype) * stride + stride / 2
        for n in size_hw
    )
    v, u = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
    across = (u - K[..., 0, 2, None]) / K[..., 0, 0, None]
    down = (v - K[..., 1, 2, None]) / K[..., 1, 1, None]
    rays_cam = torch.stack([across, down, torch.ones_like(across)], dim=-1)
    return CellRays(rays_cam, K, ego_T_cam, size_hw)


def find_neighbours(
    ego_T_cam: Float[Tensor, "b v 4 4"], calibrated: Bool[Tensor, "b v"], count: int
) -> list[Int[Tensor, "b v"]]:
    """For each camera the others of most similar viewing direction, nearest first.

    Uncalibrated cameras come last.
    """
    forward = ego_T_cam[..., :3, 2]
    cosine = forward @ forward.transpose(-1, -2)
    views = cosine.shape[-1]
    cosine = torch.where(calibrated[:, None], cosine, -2.0) - 9 * torch.eye(
        views, device=cosine.device
    )
    return list(cosine.topk(min(count, views - 1)).indices.unbind(-1))


def planar_motion(
    speed_mps: Float[Tensor, "*s"], yaw_rate: Float[Tensor, "*s"], dt_s: Float[Tensor, "*s"]
) -> Float[Tensor, "*s 4 4"]:
    """prev_T_curr of a car on a circular arc: the chord lies at half of the turn."""
    angle, chord_m = yaw_rate * dt_s, speed_mps * dt_s
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos, -sin, zero, chord_m * (angle / 2).cos()], -1),
        torch.stack([sin, cos, zero, chord_m * (angle / 2).sin()], -1),
        torch.stack([zero, zero, one, zero], -1),
        torch.stack([zero, zero, zero, one], -1),
    ]
    return torch.stack(rows, -2)


def reproject(
    source: CellRays,
    cell_rays: CellRays,
    source_T_ego: Float[Tensor, "b t #k 4 4"],
    depth_m: Float[Tensor, "b t v n #k"],
) -> Float[Tensor, "b t v n k 2"]:
    """Pixel (u, v) in each view's source image of its cells at each of k motions or depths.

    `source_T_ego` turns the ego frame of the cells' time into that of the source's time. Motions
    and depths go in pairs, or one motion with k depths, or k motions with one depth. Points behind
    the source's camera map to OUTSIDE.
    """
    ego_T_cam = cell_rays.ego_T_cam[:, None, :, None]
    ego_T_source = source.ego_T_cam[:, None, :, None]
    motion = source_T_ego[:, :, None]
    back = ego_T_source[..., :3, :3].transpose(-1, -2)
    source_R_cam = back @ motion[..., :3, :3] @ ego_T_cam[..., :3, :3]
    moved_m = (motion[..., :3, :3] @ ego_T_cam[..., :3, 3, None])[..., 0] + motion[..., :3, 3]
    shift_m = back @ (moved_m - ego_T_source[..., :3, 3])[..., None]
    K = source.K[:, None, :, None]
    rays = torch.einsum("btvkij,bvnj->btvnki", K @ source_R_cam, cell_rays.rays_cam)
    points = rays * depth_m[..., None] + (K @ shift_m)[..., 0][:, :, :, None]
    z = points[..., 2:]
    return torch.where(z > NEAREST_M, points[..., :2] / z.clamp(min=NEAREST_M), OUTSIDE)


def lies_inside(pixels: Float[Tensor, "*b 2"], size_hw: tuple[int, int]) -> Bool[Tensor, "*b"]:
    """Which pixels lie within an image."""
    size = pixels.new_tensor([size_hw[1], size_hw[0]])
    return ((pixels >= 0) & (pixels <= size)).all(-1)


def read_volume(
    volume: Float[Tensor, "b t v n y x"],
    pixels: Float[Tensor, "b t v n k 2"],
    size_hw: tuple[int, int],
) -> Float[Tensor, "b t v n k"]:
    """Each cell's map at k pixels of the image of `size_hw` that it spans; 0 outside of it."""
    size = pixels.new_tensor([size_hw[1], size_hw[0]])
    grid = (pixels / size * 2 - 1).clamp(-9, 9).flatten(0, 3)[:, None]
    read = F.grid_sample(volume.flatten(0, 3)[:, None], grid, align_corners=False)
    return read[:, 0, 0].unflatten(0, volume.shape[:4])


def no_autocast(like: Tensor) -> torch.autocast:
    """Disable autocast: pixel positions in bf16 are off by up to half a pixel."""
    return torch.autocast(like.device.type, enabled=False)
