"""Recorded frames at a network's working size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from driv3r.geometry.cameras import crop_resize, is_pinhole, resize_camera
from driv3r.geometry.pinholes import find_sources, looked_at
from driv3r.geometry.rolling_shutter import crop_shutter
from driv3r.types import Camera, Frame, Rig, RollingShutter

Crop = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class WorkRig:
    """The rig at the working size, of pinholes, and what its images are made of.

    `crops` (y0, x0, h, w) are of the images of `full`, the recorded cameras; of one whose lens
    bends lines, they are of the image that `geometry.pinholes.pinhole_of` it has.
    """

    rig: Rig
    crops: tuple[Crop, ...]
    full: tuple[Camera, ...]


def prepare_rig(rig: Rig, size_hw: tuple[int, int]) -> WorkRig:
    """Crop to the working aspect ratio, then resize; the intrinsics follow."""
    pairs = [crop_resize(looked_at(camera), size_hw) for camera in rig.cameras]
    cameras = tuple(camera for camera, _ in pairs)
    return WorkRig(replace(rig, cameras=cameras), tuple(crop for _, crop in pairs), rig.cameras)


def resize_work(work: WorkRig, size_hw: tuple[int, int]) -> WorkRig:
    """The same crops of the images at another size, and so the same field of view to the pixel."""
    cameras = tuple(resize_camera(camera, size_hw) for camera in work.rig.cameras)
    return replace(work, rig=replace(work.rig, cameras=cameras))


def prepare_images(frame: Frame, work: WorkRig) -> list[UInt8[np.ndarray, "h w 3"] | None]:
    """Each camera's image at the working size, None where there is none."""
    given = zip(frame.views, work.full, work.rig.cameras, work.crops, strict=True)
    return [
        None if view is None else fit_image(view.image, full, camera, crop)
        for view, full, camera, crop in given
    ]


def prepare_shutters(frame: Frame, work: WorkRig) -> list[RollingShutter | None]:
    """Each camera's shutter as it is of the working image, None where there is none."""
    given = zip(frame.views, work.full, work.crops, strict=True)
    return [
        None
        if view is None or view.shutter is None
        else crop_shutter(view.shutter, crop, full.size_hw)
        for view, full, crop in given
    ]


def prepare_ignored(
    ignored: Sequence[Bool[np.ndarray, "_ _"] | None], work: WorkRig
) -> Bool[np.ndarray, "v h w"] | None:
    """Pixels of the working images that show any ignored one, or what lies outside of the recorded
    image; None where no camera has any. No mask at all is none of any camera.
    """
    masks = ignored or (None,) * len(work.full)
    given = list(zip(masks, work.full, work.rig.cameras, work.crops, strict=True))
    if all(mask is None and is_pinhole(full) for mask, full, _, _ in given):
        return None
    out = []
    for mask, full, camera, crop in given:
        shown = np.zeros(full.size_hw, np.float32) if mask is None else mask.astype(np.float32)
        out.append(fit_image(shown, full, camera, crop, outside=1.0) > 0)
    return np.stack(out)


def fit_image(
    image: np.ndarray, full: Camera, working: Camera, crop: Crop, outside: float = 0.0
) -> np.ndarray:
    """An image (h w, of any channels) of `full`, cropped and resized to `working`.

    Area averaging, which is what keeps small images of large cameras free of aliases. `outside` is
    the value where a lens saw nothing.
    """
    y0, x0, h, w = crop
    size_wh = (working.size_hw[1], working.size_hw[0])
    if is_pinhole(full):
        cropped = image[y0 : y0 + h, x0 : x0 + w]
    else:
        sources = _find_sources(full, working, math.ceil(h / working.size_hw[0]))
        cropped = cv2.remap(image, sources, None, cv2.INTER_LINEAR, borderValue=[outside] * 3)  # type: ignore[call-overload]
    return cv2.resize(cropped, size_wh, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=32)
def _find_sources(full: Camera, working: Camera, oversampling: int) -> Float32[np.ndarray, "h w 2"]:
    """Where in the recorded image the pixels lie that each working pixel is the average of."""
    height, width = working.size_hw
    return find_sources(full, resize_camera(working, (height * oversampling, width * oversampling)))
