"""Camera head with iterative refinement, and VGGT's nine-number camera encoding."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from driv3r.models.layers.blocks import Block, BlockStyle, make_mlp

# Translation (3), quaternion x y z w (4), vertical and horizontal field of view (radians).
CODE = 9
MODULATED_EPS = 1e-6


class CameraHead(nn.Module):
    """Refines every view's camera in steps (VGGT, Wang et al. 2025, section 3.3).

    In each step the present camera shifts, scales and gates the camera tokens (adaptive layer norm,
    Peebles and Xie 2023), blocks exchange them between views, and a correction is read off.
    """

    def __init__(self, width: int, depth: int, heads: int, steps: int):
        super().__init__()
        self.width, self.steps = width, steps
        self.norm_tokens = nn.LayerNorm(width)
        self.start = nn.Parameter(torch.zeros(1, 1, CODE))
        self.embed = nn.Linear(CODE, width)
        self.modulate = nn.Linear(width, 3 * width)
        style = BlockStyle(gain=True)
        self.blocks = nn.ModuleList(Block(width, heads, 4, style) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = make_mlp(width, width // 2, CODE)

    def forward(self, tokens: Float[Tensor, "b v c"]) -> Float[Tensor, "s b v 9"]:
        """Codes after each step, the best last; fields of view are never negative."""
        tokens = self.norm_tokens(tokens)
        plain = F.layer_norm(tokens, (self.width,), eps=MODULATED_EPS)
        known, code = self.start.expand(*tokens.shape[:2], -1), torch.zeros(())
        codes = []
        for step in range(self.steps):
            shift, scale, gate = self.modulate(F.silu(self.embed(known))).chunk(3, dim=-1)
            x = tokens + gate * (plain * (1 + scale) + shift)
            for block in self.blocks:
                x = block(x)
            change = self.out(self.norm(x))
            code = change if step == 0 else code + change
            # Each step learns to correct what stands, not to prepare the next one.
            known = code.detach()
            codes.append(torch.cat([code[..., :7], F.relu(code[..., 7:])], dim=-1))
        return torch.stack(codes)


def decode_cameras(
    code: Float[Tensor, "*b 9"], size_hw: tuple[int, int]
) -> tuple[Float[Tensor, "*b 4 4"], Float[Tensor, "*b 3 3"]]:
    """cam_T_ref and K of images of a size; the principal point is their centre."""
    cam_T_ref = torch.zeros(*code.shape[:-1], 4, 4, dtype=code.dtype, device=code.device)
    cam_T_ref[..., :3, :3] = turn_by(code[..., 3:7])
    cam_T_ref[..., :3, 3] = code[..., :3]
    cam_T_ref[..., 3, 3] = 1
    K = torch.zeros(*code.shape[:-1], 3, 3, dtype=code.dtype, device=code.device)
    for axis, (size, angle) in enumerate(((size_hw[1], 8), (size_hw[0], 7))):
        K[..., axis, axis] = size / 2 / torch.tan(code[..., angle] / 2)
        K[..., axis, 2] = size / 2
    K[..., 2, 2] = 1
    return cam_T_ref, K


def encode_cameras(
    cam_T_ref: Float[Tensor, "*b 4 4"], K: Float[Tensor, "*b 3 3"], size_hw: tuple[int, int]
) -> Float[Tensor, "*b 9"]:
    """The code of cameras; it does not encode an off-centre principal point."""
    angles = [
        2 * torch.atan(size / 2 / K[..., axis, axis])
        for axis, size in ((1, size_hw[0]), (0, size_hw[1]))
    ]
    quaternion = find_quaternion(cam_T_ref[..., :3, :3])
    return torch.cat([cam_T_ref[..., :3, 3], quaternion, torch.stack(angles, -1)], dim=-1)


def turn_by(xyzw: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """The rotation of a quaternion of any length but zero."""
    i, j, k, r = xyzw.unbind(-1)
    twice = 2 / (xyzw * xyzw).sum(-1)
    entries = [
        1 - twice * (j * j + k * k),
        twice * (i * j - k * r),
        twice * (i * k + j * r),
        twice * (i * j + k * r),
        1 - twice * (i * i + k * k),
        twice * (j * k - i * r),
        twice * (i * k - j * r),
        twice * (j * k + i * r),
        1 - twice * (i * i + j * j),
    ]
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def find_quaternion(rotation: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 4"]:
    """Quaternion x y z w of a rotation, w not negative.

    The entries of the rotation give 4 q q^T for q = (w, x, y, z); q is read off the row whose
    diagonal is largest, so that nothing small is divided by (Shepperd 1978).
    """
    a, b, c, d, e, f, g, h, i = rotation.flatten(-2).unbind(-1)
    rows = [
        [1 + a + e + i, h - f, c - g, d - b],
        [h - f, 1 + a - e - i, d + b, c + g],
        [c - g, d + b, 1 - a + e - i, f + h],
        [d - b, c + g, f + h, 1 - a - e + i],
    ]
    products = torch.stack([torch.stack(row, -1) for row in rows], -2)
    lengths = products.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    best = lengths.argmax(-1, keepdim=True)
    row = products.take_along_dim(best[..., None], -2).squeeze(-2)
    wxyz = row / (2 * lengths.take_along_dim(best, -1).clamp(min=0.1))
    wxyz = torch.where(wxyz[..., :1] < 0, -wxyz, wxyz)
    return wxyz.roll(-1, -1)


def lift_views(
    depth: Float[Tensor, "*b h w"], K: Float[Tensor, "*b 3 3"], cam_T_ref: Float[Tensor, "*b 4 4"]
) -> Float[Tensor, "*b h w 3"]:
    """Points of pixels in the frame of reference.

    Pixel (0, 0) is the centre of the first pixel here, as VGGT has it, not its corner.
    """
    rows, columns = (torch.arange(n, device=depth.device).to(depth) for n in depth.shape[-2:])
    centre, focal = K[..., :2, 2], K.diagonal(dim1=-2, dim2=-1)
    x = (columns - centre[..., 0, None]) / focal[..., 0, None]
    y = (rows - centre[..., 1, None]) / focal[..., 1, None]
    points_cam = torch.stack([x[..., None, :] * depth, y[..., None] * depth, depth], dim=-1)
    rotation = cam_T_ref[..., None, :3, :3]
    return (points_cam - cam_T_ref[..., None, None, :3, 3]) @ rotation
