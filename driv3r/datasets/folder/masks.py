"""Masks of a log's cameras: pixels that show no street, such as the own bonnet."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from driv3r.datasets.images import read_image
from driv3r.errors import DatasetError
from driv3r.types import Camera


def read_mask(folder: Path, camera: Camera) -> Bool[np.ndarray, "h w"] | None:
    """Where <folder>/<camera>.png is black: pixels to ignore (as COLMAP has masks), None without.

    A mask is of the images as they lie there. Raises DatasetError where it is broken, of another
    size, or ignores all.
    """
    path = folder / f"{camera.name}.png"
    if not path.is_file():
        return None
    image = read_image(path, camera.size_hw)
    ignored = (image == 0).all(axis=-1)
    if ignored.all():
        raise DatasetError(
            f"the mask {path} ignores every pixel; expected black where the camera sees its own "
            "car, and any other colour elsewhere"
        )
    return ignored if ignored.any() else None
