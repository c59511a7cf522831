"""Recorded frames at a network's working size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from driv3r.geometry.cameras import crop_resize, resize_camera
from driv3r.types import Frame, Rig


@dataclass(frozen=True, eq=False)
class WorkRig:
    """The rig at the working size, and the crop (y0, x0, h, w) of each camera's full image."""

    rig: Rig
    crops: tuple[tuple[int, int, int, int], ...]


def prepare_rig(rig: Rig, size_hw: tuple[int, int]) -> WorkRig:
    """Crop to the working aspect ratio, then resize; the intrinsics follow."""
    pairs = [crop_resize(camera, size_hw) for camera in rig.cameras]
    cameras = tuple(camera for camera, _ in pairs)
    return WorkRig(replace(rig, cameras=cameras), tuple(crop for _, crop in pairs))


def resize_work(work: WorkRig, size_hw: tuple[int, int]) -> WorkRig:
    """The same crops of the images at another size, and so the same field of view to the pixel."""
    cameras = tuple(resize_camera(camera, size_hw) for camera in work.rig.cameras)
    return replace(work, rig=replace(work.rig, cameras=cameras))


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


def prepare_ignored(
    ignored: Sequence[Bool[np.ndarray, "_ _"] | None], work: WorkRig
) -> Bool[np.ndarray, "v h w"] | None:
    """Pixels of the working images that show any ignored one; None where no camera has any."""
    if all(mask is None for mask in ignored):
        return None
    out = []
    for mask, camera, (y0, x0, h, w) in zip(ignored, work.rig.cameras, work.crops, strict=True):
        size_wh = (camera.size_hw[1], camera.size_hw[0])
        crop = np.zeros((h, w), bool) if mask is None else mask[y0 : y0 + h, x0 : x0 + w]
        share = cv2.resize(crop.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
        out.append(share > 0)
    return np.stack(out)
