"""Dot products of vectors with a map of vectors, read bilinearly, on GPUs (Triton).

The sampled vectors are never written: a program holds one vector, reads the four corners of all its
places and writes dot products. Backward reads the corners again.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportIncompatibleMethodOverride=false
# Triton comes with torch for CUDA and launches its kernels by index.

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor


@triton.jit
def _corner(
    maps, x, y, left, top, i: tl.constexpr, j: tl.constexpr, channel, height, width,
    channels: tl.constexpr, there,
):  # fmt: skip
    """Addresses, mask and weight of one of the four corners of places [r]."""
    column, row = left + j, top + i
    inside = there & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    weight_x = x - left.to(tl.float32) if j else 1.0 - (x - left.to(tl.float32))
    weight_y = y - top.to(tl.float32) if i else 1.0 - (y - top.to(tl.float32))
    at = maps + (row * width + column)[:, None] * channels + channel[None, :]
    return at, inside, tl.where(inside, weight_x * weight_y, 0.0)


@triton.jit
def _places(places, program, r, count: tl.constexpr):
    """Places [r] of a program's vector, and which of them there are."""
    there = r < count
    at = places + (program * count + r) * 2
    # Far outside is as good as outside, and fits an int32.
    x = tl.minimum(tl.maximum(tl.load(at, mask=there, other=-4.0), -4.0), 1e6)
    y = tl.minimum(tl.maximum(tl.load(at + 1, mask=there, other=-4.0), -4.0), 1e6)
    left, top = tl.floor(x).to(tl.int32), tl.floor(y).to(tl.int32)
    return x, y, left, top, there


@triton.jit
def _forward(
    cells, maps, places, out, cells_a_map, height, width,
    channels: tl.constexpr, count: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    channel, r = tl.arange(0, channels), tl.arange(0, block)
    cell = tl.load(cells + program * channels + channel).to(tl.float32)
    own = maps + (program // cells_a_map) * height * width * channels
    x, y, left, top, there = _places(places, program, r, count)
    total = tl.zeros([block, channels], tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            at, inside, weight = _corner(
                own, x, y, left, top, i, j, channel, height, width, channels, there
            )
            feature = tl.load(at, mask=inside[:, None], other=0.0).to(tl.float32)
            total += weight[:, None] * feature
    tl.store(out + program * count + r, tl.sum(total * cell[None, :], 1), mask=there)


@triton.jit
def _backward(
    cells, maps, places, grad, grad_cells, grad_maps, cells_a_map, height, width,
    channels: tl.constexpr, count: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    channel, r = tl.arange(0, channels), tl.arange(0, block)
    cell = tl.load(cells + program * channels + channel).to(tl.float32)
    first = (program // cells_a_map) * height * width * channels
    x, y, left, top, there = _places(places, program, r, count)
    slope = tl.load(grad + program * count + r, mask=there, other=0.0)
    total = tl.zeros([block, channels], tl.float32)
    for i in tl.static_range(2):
        for j in tl.static_range(2):
            at, inside, weight = _corner(
                maps + first, x, y, left, top, i, j, channel, height, width, channels, there
            )
            share = (slope * weight)[:, None]
            total += share * tl.load(at, mask=inside[:, None], other=0.0).to(tl.float32)
            to, _, _ = _corner(
                grad_maps + first, x, y, left, top, i, j, channel, height, width, channels, there
            )
            tl.atomic_add(to, share * cell[None, :], mask=inside[:, None], sem="relaxed")
    tl.store(grad_cells + program * channels + channel, tl.sum(total, 0))


def _shape(cells: Tensor, maps: Tensor, places: Tensor) -> tuple[tuple[int], dict[str, int]]:
    n, count = places.shape[1:3]
    sizes = {
        "cells_a_map": n, "height": maps.shape[1], "width": maps.shape[2],
        "channels": maps.shape[3], "count": count, "block": triton.next_power_of_2(count),
    }  # fmt: skip
    return (cells.shape[0] * n,), sizes


@torch.library.custom_op("driv3r::sampled_dot", mutates_args=())
def sampled_dot(cells: Tensor, maps: Tensor, places: Tensor) -> Tensor:
    """[b n r]: cells [b n c] with maps [b y x c] at places [b n r 2], (column, row), 0 outside.

    Pixel centres are at whole numbers; the number of channels is a power of two.
    """
    cells, maps, places = cells.contiguous(), maps.contiguous(), places.contiguous()
    out = torch.empty(places.shape[:3], device=cells.device)
    grid, sizes = _shape(cells, maps, places)
    _forward[grid](cells, maps, places, out, **sizes)
    return out


@sampled_dot.register_fake
def _(cells: Tensor, maps: Tensor, places: Tensor) -> Tensor:
    return places.new_empty(places.shape[:3])


@torch.library.custom_op("driv3r::sampled_dot_backward", mutates_args=())
def sampled_dot_backward(
    grad: Tensor, cells: Tensor, maps: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of cells and maps."""
    cells, maps, places = cells.contiguous(), maps.contiguous(), places.contiguous()
    grad_cells = torch.empty(cells.shape, device=cells.device)
    grad_maps = torch.zeros(maps.shape, device=cells.device)
    grid, sizes = _shape(cells, maps, places)
    _backward[grid](cells, maps, places, grad.contiguous(), grad_cells, grad_maps, **sizes)
    return grad_cells, grad_maps


@sampled_dot_backward.register_fake
def _(
    grad: Tensor, cells: Tensor, maps: Tensor, places: Tensor
) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b y x c"]]:
    return cells.new_empty(cells.shape), maps.new_empty(maps.shape)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
    return (*torch.ops.driv3r.sampled_dot_backward(grad, *ctx.saved_tensors), None)


def _keep(ctx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


sampled_dot.register_autograd(_differentiate, setup_context=_keep)
