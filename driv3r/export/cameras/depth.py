"""Depth of every view at the working size, as 16-bit PNG and as OpenEXR."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt16

from driv3r.export.cameras.images import save_image
from driv3r.export.cameras.views import list_views
from driv3r.export.packages import need
from driv3r.export.selection import SelectedLog
from driv3r.types import Camera

KITTI_STEPS = 256.0  # a metre in KITTI's depth images
MM_PER_M = 1000.0
FASTEST = 1  # of PNG's and zip's compression, which costs most of the time
LARGEST = 65535


def write_png(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """<camera>/<frame>.png: z in the camera in metres * 256, 0 where there is none (KITTI).

    Depth of 256 m and more is clipped to 65535 and counted. cameras.json has the cameras.
    """
    counts = {"images": 0, "clipped_pixels": 0}
    for view in list_views(selected):
        depth_m = selected.store.depth_m(view.frame, view.view)
        codes, clipped = encode_depth(depth_m, KITTI_STEPS)
        save_png(folder / f"{view.stem}.png", codes)
        counts["images"] += 1
        counts["clipped_pixels"] += clipped
    return counts | {"metre": KITTI_STEPS, "none": 0, "cameras": describe_cameras(selected)}


def write_exr(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """<camera>/<frame>.exr: channels Y (m, z in the camera, float32), sigma and motion (float16).

    Y, the name of grey, is what OpenCV and others show where they know no Z. `sigma` is the scale
    (Laplace b) of the logarithm of depth, `motion` the probability that the surface moves. NaN
    where there is none. ConfigError without OpenEXR.
    """
    exr = need("OpenEXR")
    images = 0
    views = list(list_views(selected))
    for frame in sorted({view.frame for view in views}):
        prediction = selected.store.prediction(frame)
        for view in (v for v in views if v.frame == frame):
            channels = {
                "Y": prediction.depth_m[view.view].astype(np.float32),
                "sigma": prediction.sigma[view.view].astype(np.float16),
                "motion": prediction.motion[view.view].astype(np.float16),
            }
            path = folder / f"{view.stem}.exr"
            path.parent.mkdir(parents=True, exist_ok=True)
            header = {"compression": exr.ZIPS_COMPRESSION, "type": exr.scanlineimage}
            exr.File(header, channels).write(str(path))
            images += 1
    return {"images": images, "cameras": describe_cameras(selected)}


def encode_depth(
    depth_m: Float[np.ndarray, "h w"], steps_per_m: float
) -> tuple[UInt16[np.ndarray, "h w"], int]:
    """Depth as 16-bit codes, 0 for none, and how many pixels were too far and are clipped."""
    known = np.isfinite(depth_m)
    codes = np.rint(np.where(known, depth_m, 0.0).astype(np.float64) * steps_per_m)
    clipped = int((codes > LARGEST).sum())
    least = np.where(known, 1, 0)  # a depth so small that it would read as none
    return np.clip(codes, least, LARGEST).astype(np.uint16), clipped


def encode_mm(depth_m: Float[np.ndarray, "h w"]) -> tuple[UInt16[np.ndarray, "h w"], int]:
    """Depth in millimetres, 0 for none and from 65.535 m on, and how many pixels are that far.

    For formats whose readers would take a clipped depth for a wall.
    """
    codes, _ = encode_depth(depth_m, MM_PER_M)
    too_far = codes == LARGEST
    return np.where(too_far, np.uint16(0), codes), int(too_far.sum())


def save_png(path: Path, image: np.ndarray) -> None:
    """A PNG that is quick to write."""
    cv2 = need("cv2", "torch")
    save_image(path, image, (cv2.IMWRITE_PNG_COMPRESSION, FASTEST))


def describe_cameras(selected: SelectedLog) -> dict[str, Any]:
    """Intrinsics of the working size by the cameras' names."""
    return {camera.name: describe_camera(camera) for camera in selected.store.rig.cameras}


def describe_camera(camera: Camera) -> dict[str, Any]:
    """One camera as JSON. Pixel (0, 0) is the corner of the first pixel, not its centre."""
    return {
        "height": camera.size_hw[0],
        "width": camera.size_hw[1],
        "K": camera.K.tolist(),
        "ego_T_cam": camera.ego_T_cam.tolist(),
    }
