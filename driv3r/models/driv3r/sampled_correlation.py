"""Correlation of cells with another image's features at given pixels.

Kernels compute each dot product directly on the feature map, on CPUs (Numba) where nothing is
learned and on GPUs (Triton); sampling and multiplying would write and read all sampled features.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.kernels.sampled_dot import dot_view

try:
    from driv3r.kernels.sampled_dot_triton import sampled_dot
except ImportError:  # torch for CPUs comes without Triton
    sampled_dot = None


def as_vectors(cells: Float[Tensor, "b t v c y x"]) -> Float[Tensor, "b t v n c"]:
    """Features of cells as `correlate_at` takes them."""
    return cells.flatten(-2).transpose(-1, -2).contiguous()


def channels_last(maps: Float[Tensor, "b t v c y x"]) -> Float[Tensor, "b t v y x c"]:
    """Features of an image as `correlate_at` takes them."""
    return maps.movedim(3, -1).contiguous()


def correlate_at(
    cells: Float[Tensor, "b t v n c"],
    centred: Float[Tensor, "b t v yy xx c"],
    pixels: Float[Tensor, "b t v n r 2"],
    size_hw: tuple[int, int],
) -> Float[Tensor, "b t v n r"]:
    """Each cell with the other image's feature, centred, at r pixels.

    The same as reading `matcher.correlate` of both there, bilinearly; `size_hw` is that of the
    image that both span.
    """
    maps, flat = centred.flatten(0, 2), cells.flatten(0, 2)
    size = pixels.new_tensor([size_hw[1], size_hw[0]])
    learns = torch.is_grad_enabled() and (cells.requires_grad or centred.requires_grad)
    on_gpu = cells.device.type == "cuda" and sampled_dot is not None
    if on_gpu or (cells.device.type == "cpu" and not learns):
        span = pixels.new_tensor([maps.shape[2], maps.shape[1]])
        places = (pixels / size * span - 0.5).flatten(0, 2)
        dot = sampled_dot if on_gpu and sampled_dot is not None else _dot_at
        return dot(flat, maps, places).unflatten(0, pixels.shape[:3])  # pyright: ignore[reportCallIssue] - untyped decorator
    grid = (pixels / size * 2 - 1).clamp(-9, 9).flatten(0, 2)
    sampled = F.grid_sample(maps.movedim(-1, 1), grid, align_corners=False)
    return (flat.transpose(1, 2)[..., None] * sampled).sum(1).unflatten(0, cells.shape[:3])


@torch.compiler.disable
def _dot_at(
    cells: Float[Tensor, "b n c"], maps: Float[Tensor, "b y x c"], places: Float[Tensor, "b n r 2"]
) -> Float[Tensor, "b n r"]:
    """Each cell with the map at (column, row) places, pixel centres at whole numbers."""
    rows = cells.detach().contiguous().numpy()
    last = maps.detach().contiguous().numpy()
    at, out = places.contiguous().numpy(), np.empty(places.shape[:-1], np.float32)
    jobs = list(zip(rows, last, at, out, strict=True))
    with ThreadPoolExecutor(min(torch.get_num_threads(), len(jobs))) as threads:
        for _ in threads.map(lambda job: dot_view(*job), jobs):
            pass
    return torch.from_numpy(out)
