"""Recorded images, copied or without their lens's distortion."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from driv3r.datasets.images import read_file, read_image
from driv3r.datasets.preprocess import fit_image
from driv3r.datasets.reader import PART, Root
from driv3r.errors import ConfigError, DatasetError
from driv3r.export.cameras.views import PosedView
from driv3r.export.packages import need
from driv3r.geometry.pinholes import find_sources, pinhole_of
from driv3r.types import Camera

JPEG_QUALITY = 95


@lru_cache(maxsize=16)
def _sources_of(camera: Camera) -> Float32[np.ndarray, "h w 2"]:
    return find_sources(camera, pinhole_of(camera))


def read_view(root: Path, view: PosedView) -> UInt8[np.ndarray, "h w 3"]:
    """The recorded image as RGB; DatasetError that names the root where it is not there."""
    return read_image(_find(root, view.path), view.full.size_hw)


def read_working(root: Path, view: PosedView) -> UInt8[np.ndarray, "h w 3"]:
    """The image as the network saw it, cropped and resized (area average)."""
    return fit_image(read_view(root, view), view.full, view.working, view.crop)


def copy_image(root: Path, view: PosedView, target: Path) -> None:
    """The recorded file, byte for byte."""
    data = read_file(_find(root, view.path))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def undistort_image(root: Path, view: PosedView, target: Path) -> None:
    """The image as a pinhole camera would have seen it; black where the lens saw nothing."""
    cv2 = need("cv2", "torch")
    image = cv2.remap(read_view(root, view), _sources_of(view.full), None, cv2.INTER_LINEAR)
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
    file = Root(root.resolve()).resolve_inside(path)
    if PART in path and not file.exists():
        raise ConfigError(
            f"the log's images lie within other files ({path}), expected files of their own; give "
            "--images none, or export a log whose dataset has image files"
        )
    return file
