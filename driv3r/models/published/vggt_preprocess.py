"""Images as VGGT's official loader gives them to the network, to the last bit.

Resizing is Pillow's: bicubic, widened when an image shrinks, one axis after the other, each
rounded to eight bits. OpenCV's and PyTorch's answers differ from it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SIDE = 518
PATCH = 14
WHITE, BLACK = 255, 0
WEIGHT_ONE = 1 << 22  # Pillow keeps filter weights in units of this

Image = UInt8[np.ndarray, "_ _ _"]


def fit_width(images: Sequence[Image], side: int = SIDE) -> Float[Tensor, "b 3 h w"]:
    """RGB or RGBA images made `side` wide; those that are then higher lose rows above and below.

    Heights become multiples of the patch. Where sizes differ, smaller images get a white frame.
    """
    resized = []
    for image in images:
        rows, columns = image.shape[:2]
        small = resize_bicubic(blend_white(image), (snap(rows * side / columns), side))
        above = max(0, len(small) - side) // 2
        resized.append(small[above : above + side])
    return _stack(resized)


def fit_longest(images: Sequence[Image], side: int = SIDE) -> Float[Tensor, "b 3 s s"]:
    """RGB or RGBA images whose longer side becomes `side`, in a white square."""
    resized = []
    for image in images:
        rows, columns = image.shape[:2]
        size = (snap(rows * side / columns), side)
        if rows > columns:
            size = (side, snap(columns * side / rows))
        resized.append(surround(resize_bicubic(blend_white(image), size), (side, side), WHITE))
    return _stack(resized)


def fit_square(
    images: Sequence[Image], side: int = SIDE
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b 6"]]:
    """RGB or RGBA images in black squares, resized; and where they lie in these.

    Places are left, top, right, bottom in the square's pixels, then the image's own width and
    height.
    """
    squares, places = [], []
    for image in images:
        rows, columns = image.shape[:2]
        longest = max(rows, columns)
        whole = surround(blend_white(image), (longest, longest), BLACK)
        squares.append(resize_bicubic(whole, (side, side)))
        left, top = (longest - columns) // 2, (longest - rows) // 2
        corners = np.array([left, top, left + columns, top + rows]) * (side / longest)
        places.append([*corners, columns, rows])
    return _stack(squares), torch.tensor(np.array(places), dtype=torch.float32)


def snap(length: float) -> int:
    """The nearest multiple of the patch."""
    return round(length / PATCH) * PATCH


def blend_white(image: Image) -> UInt8[np.ndarray, "h w 3"]:
    """An RGBA image over white; an RGB image as it is."""
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:].astype(np.int32)
    mixed = image[..., :3] * alpha + WHITE * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def surround(
    image: UInt8[np.ndarray, "_ _ 3"], size_hw: tuple[int, int], value: int
) -> UInt8[np.ndarray, "h w 3"]:
    """The image in the middle of a larger one of one value."""
    out = np.full((*size_hw, 3), value, np.uint8)
    top, left = ((whole - part) // 2 for whole, part in zip(size_hw, image.shape, strict=False))
    out[top : top + image.shape[0], left : left + image.shape[1]] = image
    return out


def resize_bicubic(
    image: UInt8[np.ndarray, "_ _ 3"], size_hw: tuple[int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Resized as Pillow 13 does it.

    It begins with the rows where these shrink by more than twice what the columns do (its request
    9549); before, it always began with the columns.
    """
    gone = [max(n - m, 0) for n, m in zip(image.shape, size_hw, strict=False)]
    out = image.astype(np.float64)
    for axis in (0, 1) if gone[0] > 2 * gone[1] else (1, 0):
        weights = _weigh(image.shape[axis], size_hw[axis])
        out = _round(np.moveaxis(np.tensordot(weights, out, axes=(1, axis)), 0, axis))
    return out.astype(np.uint8)


def _weigh(given: int, asked: int) -> Float[np.ndarray, "asked given"]:
    """Whole weights of each given pixel in each asked one (Keys 1981, a = -1/2).

    Products with bytes stay below 2^53: sums in float64 are exact in any order.
    """
    scale = given / asked
    width = max(scale, 1.0)
    centre = (np.arange(asked)[:, None] + 0.5) * scale
    first = np.maximum(np.trunc(centre - 2 * width + 0.5), 0)
    last = np.minimum(np.trunc(centre + 2 * width + 0.5), given)
    pixel = np.arange(given)[None]
    x = np.abs(pixel + 0.5 - centre) / width
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weight = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    weight = np.where((pixel >= first) & (pixel < last), weight, 0.0)
    weight = weight / weight.sum(1, keepdims=True) * WEIGHT_ONE
    return np.trunc(weight + np.copysign(0.5, weight))


def _round(sums: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    return np.clip(np.floor((sums + WEIGHT_ONE // 2) / WEIGHT_ONE), 0, 255)


def _stack(images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float[Tensor, "b 3 h w"]:
    """In 0..1, in the middle of white ones of the largest height and width."""
    size_hw = (max(len(image) for image in images), max(image.shape[1] for image in images))
    whole = np.stack([surround(image, size_hw, WHITE) for image in images])
    return torch.from_numpy(whole).permute(0, 3, 1, 2).float() / 255
