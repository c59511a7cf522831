"""Frames at the network's working size."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from driv3r.geometry.cameras import crop_resize
from driv3r.geometry.transforms import from_rotvec, invert, to_rotvec
from driv3r.types import Frame, Rig, Scene, Transform


@dataclass(frozen=True, eq=False)
class WorkRig:
    """The rig at the working size, and the crop (y0, x0, h, w) of each camera's full image."""

    rig: Rig
    crops: tuple[tuple[int, int, int, int], ...]


def prepare_rig(scene: Scene, size_hw: tuple[int, int]) -> WorkRig:
    """Crop to the working aspect ratio, then resize; the intrinsics follow."""
    pairs = [crop_resize(camera, size_hw) for camera in scene.rig.cameras]
    cameras = tuple(camera for camera, _ in pairs)
    return WorkRig(Rig(cameras, scene.rig.ego_T_lidar), tuple(crop for _, crop in pairs))


def prepare_images(frame: Frame, work: WorkRig) -> list[UInt8[np.ndarray, "h w 3"] | None]:
    """Each camera's image at the working size, None where there is none.

    Area averaging, which is what keeps small images of large cameras free of aliases.
    """
    images: list[UInt8[np.ndarray, "h w 3"] | None] = []
    for view, camera, (y0, x0, h, w) in zip(frame.views, work.rig.cameras, work.crops, strict=True):
        if view is None:
            images.append(None)
            continue
        size_wh = (camera.size_hw[1], camera.size_hw[0])
        crop = view.image[y0 : y0 + h, x0 : x0 + w]
        images.append(cv2.resize(crop, size_wh, interpolation=cv2.INTER_AREA))
    return images


def camera_times_us(frame: Frame) -> np.ndarray:
    """Each camera's own time, -1 where there is none."""
    return np.array([-1 if v is None else v.time_us for v in frame.views], np.int64)


def given_ego_poses(frame: Frame, rig: Rig) -> Float[np.ndarray, "v 4 4"]:
    """The dataset's own ego pose at each camera's time; NaN where there is no image."""
    nowhere = np.full((4, 4), np.nan)
    return np.stack(
        [
            nowhere if view is None else view.world_T_cam @ invert(camera.ego_T_cam)
            for view, camera in zip(frame.views, rig.cameras, strict=True)
        ]
    )


def chain_ego_poses(
    world_T_ego: Transform, last_T_ego: Transform | None, gap_s: float, frame: Frame
) -> Float[np.ndarray, "v 4 4"]:
    """The ego pose at each camera's time from the pose at the frame's, at constant velocity.

    `last_T_ego` is the motion over the last `gap_s`; without one the car is taken to stand.
    """
    poses = []
    for view in frame.views:
        if view is None:
            poses.append(np.full((4, 4), np.nan))
        elif last_T_ego is None or gap_s <= 0:
            poses.append(world_T_ego)
        else:
            share = (view.time_us - frame.time_us) * 1e-6 / gap_s
            ego_T_then = from_rotvec(to_rotvec(last_T_ego) * share, last_T_ego[:3, 3] * share)
            poses.append(world_T_ego @ ego_T_then)
    return np.stack(poses)
