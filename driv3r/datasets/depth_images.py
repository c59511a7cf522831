"""Annotated depth as images: KITTI's 16-bit PNGs."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from driv3r.datasets.image_headers import read_header
from driv3r.datasets.images import read_file
from driv3r.errors import DatasetError
from driv3r.geometry.cameras import unproject
from driv3r.types import Camera

STEPS_M = 256.0  # of a metre; 0 is no depth (the depth benchmark's development kit)


def read_annotated(path: Path, camera: Camera) -> Float[np.ndarray, "n 3"]:
    """Points in the camera's frame, at the middle of each pixel that has depth.

    Raises DatasetError on a missing or broken file, and on one of another size or kind.
    """
    data = read_file(path)
    header = read_header(data)
    if header is None or (header.kind, header.bits) != ("PNG", 16):
        raise DatasetError(f"annotated depth is no PNG of 16 bits: {path}; fetch it again")
    if not header.whole:
        raise DatasetError(f"annotated depth is cut short after {len(data)} bytes: {path}")
    if header.size_hw != camera.size_hw:
        raise DatasetError(
            f"annotated depth is {header.size_hw} (h, w), camera {camera.name} {camera.size_hw}: "
            f"{path}"
        )
    steps = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if steps is None or steps.ndim != 2:
        raise DatasetError(f"annotated depth does not decode to one channel: {path}")
    rows, columns = np.nonzero(steps)
    uv = np.stack([columns, rows], axis=-1) + 0.5
    return unproject(camera, uv) * (steps[rows, columns] / STEPS_M)[:, None]
