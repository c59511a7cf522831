"""Recorded images, copied or without their lens's distortion."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from driv3r.datasets.images import read_file, read_image
from driv3r.datasets.reader import Root
from driv3r.errors import ConfigError, DatasetError
from driv3r.export.cameras.views import PosedView
from driv3r.export.packages import need
from driv3r.geometry.cameras import distort, pixel_grid, unproject
from driv3r.types import Camera

JPEG_QUALITY = 95


def without_distortion(camera: Camera) -> Camera:
    """A pinhole of the same size, focal lengths and centre; skew is left out, too."""
    K = camera.K.copy()
    K[0, 1] = 0.0
    return replace(camera, K=K, distortion=())


@lru_cache(maxsize=16)
def find_sources(camera: Camera) -> Float32[np.ndarray, "h w 2"]:
    """Where in the recorded image each pixel of the pinhole's lies, as cv2.remap counts: from the
    centre of the first pixel.
    """
    ray = unproject(without_distortion(camera), pixel_grid(camera.size_hw))
    xy = distort(ray[..., :2], camera.distortion) if camera.distortion else ray[..., :2]
    u = camera.K[0, 0] * xy[..., 0] + camera.K[0, 1] * xy[..., 1] + camera.K[0, 2]
    v = camera.K[1, 1] * xy[..., 1] + camera.K[1, 2]
    return np.stack([u - 0.5, v - 0.5], axis=-1).astype(np.float32)


def read_view(root: Path, view: PosedView) -> UInt8[np.ndarray, "h w 3"]:
    """The recorded image as RGB; DatasetError that names the root where it is not there."""
    return read_image(_find(root, view.path), view.full.size_hw)


def read_working(root: Path, view: PosedView) -> UInt8[np.ndarray, "h w 3"]:
    """The image as the network saw it, cropped and resized (area average)."""
    cv2 = need("cv2", "torch")
    y0, x0, h, w = view.crop
    height, width = view.working.size_hw
    cropped = read_view(root, view)[y0 : y0 + h, x0 : x0 + w]
    return np.asarray(cv2.resize(cropped, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def copy_image(root: Path, view: PosedView, target: Path) -> None:
    """The recorded file, byte for byte."""
    data = read_file(_find(root, view.path))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def undistort_image(root: Path, view: PosedView, target: Path) -> None:
    """The image as a pinhole camera would have seen it; black where the lens saw nothing."""
    cv2 = need("cv2", "torch")
    image = cv2.remap(read_view(root, view), find_sources(view.full), None, cv2.INTER_LINEAR)
    save_image(target, image)


def save_image(path: Path, image: np.ndarray, options: tuple[int, ...] = ()) -> None:
    """RGB, or one channel of 8 or 16 bits, by the ending of the file's name."""
    cv2: Any = need("cv2", "torch")
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = image[..., ::-1] if image.ndim == 3 else image
    quality = (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
    if not cv2.imwrite(str(path), ordered, options or quality):
        raise ConfigError(f"can not write {path}: give --out a folder that takes files")


def _find(root: Path, path: str) -> Path:
    if not root.is_dir():
        raise DatasetError(f"--root {root} is no folder; give the dataset's folder")
    return Root(root.resolve()).resolve_inside(path)
