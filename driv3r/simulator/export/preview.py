"""A contact sheet of one generated world: its cameras over time, depth, motion and LiDAR."""

import colorsys

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.simulator.rendering.renderer import Renderer, ViewTruth
from driv3r.simulator.scene.camera_rig import EGO_T_LIDAR, make_rig, trigger_offset_us
from driv3r.simulator.scene.world import make_world
from driv3r.types import Camera, Rig

AROUND = (
    "CAM_FRONT_LEFT",
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
)
FAR_M = 80.0
FAST_MPS = 12.0


def draw_preview(
    seed: int,
    size_hw: tuple[int, int],
    times: int = 4,
    step_s: float = 1.5,
    kind: str | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Six cameras (columns) at some instants (rows), then the last one's depth, motion, LiDAR."""
    renderer = Renderer(make_world(seed, times * step_s + 0.5, kind))
    rig = make_rig(size_hw)
    cameras = [next(c for c in rig.cameras if c.name == name) for name in AROUND]
    rows, truths = [], []
    for k in range(times):
        at_s = 0.2 + k * step_s
        truths = [renderer.render_view(c, at_s + trigger_offset_us(c) * 1e-6) for c in cameras]
        rows.append([truth.image for truth in truths])
    end_s = 0.2 + (times - 1) * step_s
    rows.append([colour_depth(truth.depth_m) for truth in truths])
    rows.append([colour_velocity(renderer, rig, truth, end_s) for truth in truths])
    points_lidar = renderer.scan(end_s).points_lidar.astype(np.float64)
    pairs = zip(cameras, truths, strict=True)
    rows.append([draw_points(camera, truth, points_lidar) for camera, truth in pairs])
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def colour_depth(depth_m: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """Near red, far violet, the sky black; logarithmic to FAR_M."""
    share = np.log(np.clip(depth_m, 1, FAR_M)) / np.log(FAR_M)
    table = cv2.applyColorMap((255 * (1 - share)).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where((depth_m > 0)[..., None], table, 0).astype(np.uint8)


def colour_velocity(
    renderer: Renderer, rig: Rig, truth: ViewTruth, time_s: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Hue tells where a surface moves against the car's heading, brightness how fast."""
    ego_T_world = invert(renderer.world.ego.world_T_ego(time_s))
    velocity_ego = truth.velocity_mps @ ego_T_world[:3, :3].T
    speed = np.linalg.norm(velocity_ego[..., :2], axis=-1)
    hue = (np.arctan2(velocity_ego[..., 1], velocity_ego[..., 0]) / np.pi * 90) % 180
    bright = 255 * np.clip(0.25 + speed / FAST_MPS, 0, 1) * (speed > 0.1)
    hsv = np.stack([hue, np.full_like(hue, 220), bright], -1).astype(np.uint8)
    flow = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    grey = truth.image.mean(-1, keepdims=True) * 0.4
    return np.where((speed > 0.1)[..., None], flow, grey).astype(np.uint8)


def draw_points(
    camera: Camera, truth: ViewTruth, points_lidar: Float[np.ndarray, "n 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """The LiDAR's points over a dimmed image, coloured by depth."""
    points_cam = apply(invert(camera.ego_T_cam) @ EGO_T_LIDAR, points_lidar)
    uv, depth_m, inside = project(camera, points_cam)
    out = (truth.image * 0.5).astype(np.uint8)
    far_first = np.argsort(-depth_m[inside])
    for (u, v), depth in zip(uv[inside][far_first], depth_m[inside][far_first], strict=True):
        share = np.log(np.clip(depth, 1, FAR_M)) / np.log(FAR_M)
        red, green, blue = colorsys.hsv_to_rgb(0.75 * share, 1, 1)
        cv2.circle(out, (int(u), int(v)), 1, (255 * red, 255 * green, 255 * blue), -1)
    return out
