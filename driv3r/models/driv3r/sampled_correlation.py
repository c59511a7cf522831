"""Correlation of cells with another image's features at given pixels.

On CPUs without gradients a compiled kernel computes each dot product directly on the feature map;
sampling and multiplying would write and read all sampled features.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from driv3r.kernels.sampled_dot import dot_view


def correlate_at(
    cells: Float[Tensor, "b t v c y x"],
    centred: Float[Tensor, "b t v c yy xx"],
    pixels: Float[Tensor, "b t v n r 2"],
    size_hw: tuple[int, int],
) -> Float[Tensor, "b t v n r"]:
    """Each cell with the other image's feature, centred, at r pixels.

    The same as reading `matcher.correlate` of both there, bilinearly; `size_hw` is that of the
    image that both span.
    """
    maps, flat = centred.flatten(0, 2), cells.flatten(0, 2).flatten(-2)
    size = pixels.new_tensor([size_hw[1], size_hw[0]])
    learns = torch.is_grad_enabled() and (cells.requires_grad or centred.requires_grad)
    if cells.device.type == "cpu" and not learns:
        span = pixels.new_tensor([maps.shape[-1], maps.shape[-2]])
        places = (pixels / size * span - 0.5).flatten(0, 2)
        dots = _dot_at(flat, maps, places)  # pyright: ignore[reportCallIssue] - untyped decorator
        return dots.unflatten(0, pixels.shape[:3])
    grid = (pixels / size * 2 - 1).clamp(-9, 9).flatten(0, 2)
    sampled = F.grid_sample(maps, grid, align_corners=False)
    return (flat[..., None] * sampled).sum(1).unflatten(0, cells.shape[:3])


@torch.compiler.disable
def _dot_at(
    cells: Float[Tensor, "b c n"], maps: Float[Tensor, "b c y x"], places: Float[Tensor, "b n r 2"]
) -> Float[Tensor, "b n r"]:
    """Each cell with the map at (column, row) places, pixel centres at whole numbers."""
    rows = cells.detach().transpose(1, 2).contiguous().numpy()
    last = maps.detach().permute(0, 2, 3, 1).contiguous().numpy()
    at, out = places.contiguous().numpy(), np.empty(places.shape[:-1], np.float32)
    jobs = list(zip(rows, last, at, out, strict=True))
    with ThreadPoolExecutor(min(torch.get_num_threads(), len(jobs))) as threads:
        for _ in threads.map(lambda job: dot_view(*job), jobs):
            pass
    return torch.from_numpy(out)
