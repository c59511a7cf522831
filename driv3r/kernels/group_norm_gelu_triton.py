"""Group norm (Wu & He, ECCV 2018) and GELU in one, of channels_last maps on GPUs (Triton).

torch's group norm takes contiguous maps and, under autocast, fp32: every layer would convert its
map's layout and type twice. Here a map is read twice and written once, in its own layout and type.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportIncompatibleMethodOverride=false
# Triton comes with torch for CUDA and launches its kernels by index.

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

TILE = 4096  # elements of a program's tile
TILES = 8  # tiles a program sums before it adds to a channel's total
INVERSE_SQRT2 = tl.constexpr(0.7071067811865476)
INVERSE_SQRT2_PI = tl.constexpr(0.3989422804014327)


@triton.jit
def _tile(
    first, tile, pixels, channels: tl.constexpr, rows: tl.constexpr, width: tl.constexpr
):  # fmt: skip
    """Offsets and mask of a tile [rows width] of a map [pixels channels]."""
    row, column = tile * rows + tl.arange(0, rows), tl.arange(0, width)
    mask = (row[:, None] < pixels) & (column[None, :] < channels)
    return first + row[:, None] * channels + column[None, :], mask


@triton.jit
def _sums(
    x, total, squares, pixels, channels: tl.constexpr, rows: tl.constexpr, width: tl.constexpr,
    tiles: tl.constexpr,
):  # fmt: skip
    image, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    one, two = tl.zeros([width], tl.float32), tl.zeros([width], tl.float32)
    for i in range(tiles):
        at, mask = _tile(
            image * pixels * channels, block * tiles + i, pixels, channels, rows, width
        )
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        one += tl.sum(value, 0)
        two += tl.sum(value * value, 0)
    column = tl.arange(0, width)
    place = image * channels + column
    tl.atomic_add(total + place, one, mask=column < channels)
    tl.atomic_add(squares + place, two, mask=column < channels)


@triton.jit
def _coefficients(gain, shift, image, channels: tl.constexpr, width: tl.constexpr):
    """What each channel of an image is scaled by and moved by."""
    column = tl.arange(0, width)
    place, mask = image * channels + column, column < channels
    return (
        tl.load(gain + place, mask=mask, other=0.0)[None, :],
        tl.load(shift + place, mask=mask, other=0.0)[None, :],
    )


@triton.jit
def _apply(
    x, gain, shift, out, pixels, channels: tl.constexpr, rows: tl.constexpr, width: tl.constexpr
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    a, b = _coefficients(gain, shift, image, channels, width)
    at, mask = _tile(image * pixels * channels, tl.program_id(1), pixels, channels, rows, width)
    z = a * tl.load(x + at, mask=mask, other=0.0).to(tl.float32) + b
    y = 0.5 * z * (1.0 + tl.erf(z * INVERSE_SQRT2))
    tl.store(out + at, y, mask=mask)


@triton.jit
def _slope(z):
    """Derivative of GELU."""
    return 0.5 * (1.0 + tl.erf(z * INVERSE_SQRT2)) + z * INVERSE_SQRT2_PI * tl.exp(-0.5 * z * z)


@triton.jit
def _grad_sums(
    x, gain, shift, grad, grad_gain, grad_shift, pixels, channels: tl.constexpr,
    rows: tl.constexpr, width: tl.constexpr, tiles: tl.constexpr,
):  # fmt: skip
    image, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    a, b = _coefficients(gain, shift, image, channels, width)
    one, two = tl.zeros([width], tl.float32), tl.zeros([width], tl.float32)
    for i in range(tiles):
        at, mask = _tile(
            image * pixels * channels, block * tiles + i, pixels, channels, rows, width
        )
        value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
        slope = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32) * _slope(a * value + b)
        one += tl.sum(slope * value, 0)
        two += tl.sum(slope, 0)
    column = tl.arange(0, width)
    place = image * channels + column
    tl.atomic_add(grad_gain + place, one, mask=column < channels)
    tl.atomic_add(grad_shift + place, two, mask=column < channels)


@triton.jit
def _grad_x(
    x, gain, shift, grad, constant, linear, out, pixels, channels: tl.constexpr,
    rows: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    image = tl.program_id(0).to(tl.int64)
    a, b = _coefficients(gain, shift, image, channels, width)
    c, d = _coefficients(constant, linear, image, channels, width)
    at, mask = _tile(image * pixels * channels, tl.program_id(1), pixels, channels, rows, width)
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    slope = tl.load(grad + at, mask=mask, other=0.0).to(tl.float32) * _slope(a * value + b)
    tl.store(out + at, slope * a + c + value * d, mask=mask)


def _sizes(x: Tensor) -> tuple[int, dict[str, int]]:
    """Tiles of an image, and what kernels are told of a map's size."""
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    width = triton.next_power_of_2(channels)
    rows = max(TILE // width, 1)
    sizes = {"pixels": pixels, "channels": channels, "rows": rows, "width": width}
    return triton.cdiv(pixels, rows), sizes


def _sum_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Each image's sum and sum of squares of each channel."""
    tiles, sizes = _sizes(x)
    total, squares = torch.zeros(2, *x.shape[:2], device=x.device).unbind()
    _sums[(len(x), triton.cdiv(tiles, TILES))](x, total, squares, tiles=TILES, **sizes)
    return total, squares


class GroupNormGelu(torch.autograd.Function):
    """See `group_norm_gelu`; gradients are those of z = gain * x + shift through both sums."""

    @staticmethod
    def forward(ctx, x, weight, bias, groups: int, eps: float):
        """Normalised and activated."""
        x = x.contiguous(memory_format=torch.channels_last)
        count = x[0].numel() // groups
        total, squares = (s.unflatten(1, (groups, -1)).sum(2) / count for s in _sum_channels(x))
        scale = (squares - total**2).clamp(min=0).add(eps).rsqrt()
        per_group = x.shape[1] // groups
        mean, scale = (s.repeat_interleave(per_group, 1) for s in (total, scale))
        gain = scale * weight
        shift = bias - mean * gain
        out = torch.empty_like(x)
        tiles, sizes = _sizes(x)
        _apply[(len(x), tiles)](x, gain, shift, out, **sizes)
        ctx.save_for_backward(x, weight, mean, scale, gain, shift)
        ctx.groups = groups
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Gradients of x, weight and bias."""
        x, weight, mean, scale, gain, shift = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        tiles, sizes = _sizes(x)
        grad_gain, grad_shift = torch.zeros(2, *x.shape[:2], device=x.device).unbind()
        _grad_sums[(len(x), triton.cdiv(tiles, TILES))](
            x, gain, shift, grad, grad_gain, grad_shift, tiles=TILES, **sizes
        )
        centred = grad_gain - mean * grad_shift
        count, per_group = x[0].numel() // ctx.groups, x.shape[1] // ctx.groups

        def pool(values: Tensor) -> Tensor:
            sums = values.unflatten(1, (ctx.groups, -1)).sum(2) / count
            return sums.repeat_interleave(per_group, 1)

        linear = -(scale**3) * pool(weight * centred)
        constant = -pool(gain * grad_shift) - mean * linear
        out = torch.empty_like(x)
        _grad_x[(len(x), tiles)](x, gain, shift, grad, constant, linear, out, **sizes)
        return out, (scale * centred).sum(0), grad_shift.sum(0), None, None


def group_norm_gelu(
    x: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "c"],
    bias: Float[Tensor, "c"],
    groups: int,
    eps: float,
) -> Float[Tensor, "b c h w"]:
    """gelu(group_norm(x)) in the type of `x`, channels last; sums in fp32."""
    return GroupNormGelu.apply(x, weight, bias, groups, eps)
