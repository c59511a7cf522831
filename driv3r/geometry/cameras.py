"""Pinhole cameras and those of any lens. Pixel centres are at +0.5 (see driv3r.types)."""

import dataclasses
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from driv3r.errors import GeometryError
from driv3r.geometry.lenses import bend, unbend
from driv3r.geometry.transforms import apply
from driv3r.types import Camera, Rig

NEAREST = 1e-3  # metres of depth, and of a unit ray along the axis


def is_pinhole(camera: Camera) -> bool:
    """Whether straight lines are straight in a camera's images."""
    return camera.lens == "brown_conrady" and not any(camera.distortion)


def pixel_grid(size_hw: tuple[int, int]) -> Float[np.ndarray, "h w 2"]:
    """(u, v) of every pixel's centre."""
    v, u = np.meshgrid(np.arange(size_hw[0]) + 0.5, np.arange(size_hw[1]) + 0.5, indexing="ij")
    return np.stack([u, v], axis=-1)


def unproject(camera: Camera, uv: Float[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b 3"]:
    """Viewing rays in the camera's frame, scaled to z = 1, so that ray * depth_m is the point.

    They are NaN outside of the lens model, and 90 degrees off the axis and beyond.
    """
    y = (uv[..., 1] - camera.K[1, 2]) / camera.K[1, 1]
    x = (uv[..., 0] - camera.K[0, 2] - camera.K[0, 1] * y) / camera.K[0, 0]
    xy = np.stack([x, y], axis=-1)
    if is_pinhole(camera):
        return np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1)
    directions = unbend(camera.lens, camera.distortion, xy)
    return directions / np.where(directions[..., 2:] > NEAREST, directions[..., 2:], np.nan)


def rays_of(camera: Camera) -> Float[np.ndarray, "h w 3"]:
    """`unproject` for every pixel of the image."""
    return unproject(camera, pixel_grid(camera.size_hw))


@lru_cache(maxsize=32)
def cached_rays(camera: Camera) -> Float[np.ndarray, "h w 3"]:
    """`rays_of`, kept between calls: not to be written to."""
    return rays_of(camera)


def lift_depth(
    camera: Camera, depth_m: Float[np.ndarray, "h w"], world_T_cam: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "h w 3"]:
    """World points of a depth image, NaN where depth is; a camera's rays are kept between calls."""
    points_cam = cached_rays(camera) * depth_m[..., None].astype(np.float64)
    return apply(world_T_cam, points_cam)


def project(
    camera: Camera, points_cam: Float[np.ndarray, "*b 3"]
) -> tuple[Float[np.ndarray, "*b 2"], Float[np.ndarray, "*b"], Bool[np.ndarray, "*b"]]:
    """Pixel coordinates, depth_m, and whether a point lies ahead and inside the image.

    Pixel coordinates are NaN where the lens has no image of a point.
    """
    depth_m = points_cam[..., 2]
    ahead = depth_m > NEAREST
    if is_pinhole(camera):
        xy = points_cam[..., :2] / np.where(ahead, depth_m, 1.0)[..., None]
    else:
        xy = bend(camera.lens, camera.distortion, points_cam)
    u = camera.K[0, 0] * xy[..., 0] + camera.K[0, 1] * xy[..., 1] + camera.K[0, 2]
    v = camera.K[1, 1] * xy[..., 1] + camera.K[1, 2]
    inside = ahead & (u >= 0) & (v >= 0) & (u < camera.size_hw[1]) & (v < camera.size_hw[0])
    return np.stack([u, v], axis=-1), np.asarray(depth_m), np.asarray(inside)


def crop_resize(
    camera: Camera, size_hw: tuple[int, int]
) -> tuple[Camera, tuple[int, int, int, int]]:
    """The camera of a centred crop of its image, resized to `size_hw`, and the crop (y0, x0, h, w).

    The crop is the largest of the new aspect ratio. With pixel centres at +0.5 the intrinsics scale
    without an offset.
    """
    (h, w), (new_h, new_w) = camera.size_hw, size_hw
    if min(h, w, new_h, new_w) < 1:
        raise GeometryError(f"image sizes must be positive, got {camera.size_hw} -> {size_hw}")
    crop_h = min(h, round(w * new_h / new_w))
    crop_w = min(w, round(h * new_w / new_h))
    y0, x0 = (h - crop_h) // 2, (w - crop_w) // 2
    K = camera.K.astype(np.float64).copy()
    K[0, 2] -= x0
    K[1, 2] -= y0
    K[0] *= new_w / crop_w
    K[1] *= new_h / crop_h
    return dataclasses.replace(camera, K=K, size_hw=size_hw), (y0, x0, crop_h, crop_w)


def resize_camera(camera: Camera, size_hw: tuple[int, int]) -> Camera:
    """The camera of the whole image resized to `size_hw`, its field of view unchanged."""
    K = camera.K.astype(np.float64)
    K[0] *= size_hw[1] / camera.size_hw[1]
    K[1] *= size_hw[0] / camera.size_hw[0]
    return dataclasses.replace(camera, K=K, size_hw=size_hw)


def sees_the_same(a: Camera, b: Camera, tolerance: float = 1e-3) -> bool:
    """Whether two cameras' images cover one field of view at whatever sizes.

    `tolerance` is in shares of the image: a thousandth is less than half a pixel of small images.
    """
    shares = [c.K[:2] / np.array([[c.size_hw[1]], [c.size_hw[0]]]) for c in (a, b)]
    return bool(np.abs(shares[0] - shares[1]).max() <= tolerance)


def place_on_road(rig: Rig) -> Rig:
    """The rig with its ego origin moved straight down (or up) onto the road."""
    if rig.ground_z_m == 0.0:
        return rig
    road_T_ego = np.eye(4)
    road_T_ego[2, 3] = -rig.ground_z_m
    lidar = None if rig.ego_T_lidar is None else road_T_ego @ rig.ego_T_lidar
    cameras = (dataclasses.replace(c, ego_T_cam=road_T_ego @ c.ego_T_cam) for c in rig.cameras)
    return Rig(tuple(cameras), lidar)
