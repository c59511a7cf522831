"""Rotary position embedding in two dimensions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

RopeCosSin = Float[Tensor, "2 b 1 n d"]


def grid_positions(
    size: tuple[int, int], batch: int, device: torch.device | None = None
) -> Int[Tensor, "b n 2"]:
    """(row, column) of each token of a grid, row by row."""
    y, x = (torch.arange(n, device=device) for n in size)
    return torch.cartesian_prod(y, x).expand(batch, -1, -1)


def make_rope(positions: Int[Tensor, "b n 2"], head_dim: int, base: float = 100.0) -> RopeCosSin:
    """Cosines and sines for heads of `head_dim` channels: half by the row, half by the column.

    Each half pairs channel i with i + head_dim / 4 (RoFormer, Su et al. 2021, section 3.4.2; in two
    dimensions as CroCo v2, Weinzaepfel et al. 2023).
    """
    quarter = head_dim // 4
    steps = torch.arange(quarter, device=positions.device, dtype=torch.float32) / quarter
    angles = positions[..., None].float() / base**steps
    both = torch.cat([angles, angles], dim=-1).flatten(-2)[:, None]
    return torch.stack([both.cos(), both.sin()])


def apply_rope(x: Float[Tensor, "b h n d"], rope: RopeCosSin) -> Float[Tensor, "b h n d"]:
    """Rotate the channels of queries or keys."""
    a, b, c, d = x.chunk(4, dim=-1)
    turned = torch.cat([-b, a, -d, c], dim=-1)
    return (x * rope[0] + turned * rope[1]).to(x.dtype)
