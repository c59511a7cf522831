"""Official state dicts to ours: each system's key map as data, verified by its parity test."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from driv3r.errors import CheckpointError


@dataclass(frozen=True)
class KeyMap:
    """Regular expressions over official names: `drops` are left out, `renames` applied in order.

    After them, `x.qkv.*` is cut into `x.query.*` and `x.key_value.*`, and `x.key.*` is joined with
    `x.value.*` into `x.key_value.*`, which is how our attention keeps them.
    """

    renames: tuple[tuple[str, str], ...]
    drops: tuple[str, ...] = ()

    def __add__(self, other: "KeyMap") -> "KeyMap":
        return KeyMap(self.renames + other.renames, self.drops + other.drops)

    def apply(self, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors under our names."""
        ours: dict[str, Tensor] = {}
        for name, tensor in official.items():
            if any(re.fullmatch(drop, name) for drop in self.drops):
                continue
            for pattern, replacement in self.renames:
                name = re.sub(pattern, replacement, name)
            if name in ours:
                raise CheckpointError(f"two official tensors map to {name!r}")
            ours[name] = tensor
        return _join(_cut(ours))


def _cut(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if ".qkv." not in name:
            out[name] = tensor
            continue
        width = tensor.shape[0] // 3
        out[name.replace(".qkv.", ".query.")] = tensor[:width]
        out[name.replace(".qkv.", ".key_value.")] = tensor[width:]
    return out


def _join(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if ".value." in name and name.replace(".value.", ".key.") in tensors:
            continue
        value = tensors.get(name.replace(".key.", ".value.")) if ".key." in name else None
        if value is None:
            out[name] = tensor
        else:
            out[name.replace(".key.", ".key_value.")] = torch.cat([tensor, value])
    return out


VIT_BLOCK = KeyMap(
    (
        (r"\.attn\.qkv\.", ".attention.qkv."),
        (r"\.attn\.proj\.", ".attention.out."),
        (r"\.norm1\.", ".norm_attention."),
        (r"\.mlp\.fc1\.", ".mlp.0."),
        (r"\.mlp\.fc2\.", ".mlp.2."),
    )
)
# After norm1; in a decoder block norm2 is the cross-attention's and norm3 the MLP's.
ENCODER_BLOCK = KeyMap(((r"^(encoder\.blocks\.\d+)\.norm2\.", r"\1.norm_mlp."),))
CROSS_BLOCK = KeyMap(
    (
        (r"\.norm2\.", ".norm_cross."),
        (r"\.norm3\.", ".norm_mlp."),
        (r"\.norm_y\.", ".norm_context."),
        (r"\.cross_attn\.projq\.", ".cross.query."),
        (r"\.cross_attn\.projk\.", ".cross.key."),
        (r"\.cross_attn\.projv\.", ".cross.value."),
        (r"\.cross_attn\.proj\.", ".cross.out."),
    )
)
CROCO = KeyMap(
    (
        (r"^patch_embed\.proj\.", "encoder.patch."),
        (r"^enc_blocks\.", "encoder.blocks."),
        (r"^enc_norm\.", "encoder.norm."),
    ),
    (r"mask_token", r"prediction_head\..*"),
)
PAIR_CROSS = KeyMap(
    (
        (r"^decoder_embed\.", "aggregator.project."),
        (r"^dec_blocks\.", "aggregator.first."),
        (r"^dec_blocks2\.", "aggregator.second."),
        (r"^dec_norm\.", "aggregator.norm."),
    )
)
# The unit that reads the coarsest fusion's second input has none to read; the four layer_rn are
# listed twice.
DPT_LEVELS = KeyMap(
    (
        (r"\.act_postprocess\.(\d)\.0\.", r".project.\1."),
        (r"\.act_postprocess\.(\d)\.1\.", r".resize.\1."),
        (r"\.scratch\.layer_rn\.(\d)\.", r".narrow.\1."),
        *((rf"\.scratch\.refinenet{i + 1}\.", f".fuse.{i}.") for i in range(4)),
        (r"\.resConfUnit1\.", ".before."),
        (r"\.resConfUnit2\.", ".after."),
        (r"\.out_conv\.", ".out."),
        (r"\.(before|after)\.conv1\.", r".\1.first."),
        (r"\.(before|after)\.conv2\.", r".\1.second."),
    ),
    (r".*\.scratch\.layer\d_rn\.weight", r".*\.refinenet4\.resConfUnit1\..*"),
)
POINT_HEADS = KeyMap(
    (
        (r"^downstream_head1\.", "heads.0."),
        (r"^downstream_head2\.", "heads.1."),
        (r"^(heads\.\d)\.proj\.", r"\1.out."),
        (r"\.dpt\.head\.0\.", ".dpt.smooth."),
        (r"\.dpt\.head\.2\.", ".dpt.head.0."),
        (r"\.dpt\.head\.4\.", ".dpt.head.2."),
        (r"\.head_local_features\.fc1\.", ".descriptors.0."),
        (r"\.head_local_features\.fc2\.", ".descriptors.2."),
    )
)
DUST3R = CROCO + PAIR_CROSS + VIT_BLOCK + ENCODER_BLOCK + CROSS_BLOCK + DPT_LEVELS + POINT_HEADS
ALIGN3R = (
    KeyMap(
        (
            (r"^patch_embed_point_cloud\.proj\.", "prior.patch."),
            (r"^dec_blocks_pc\.(\d+)\.norm2\.", r"prior.blocks.\1.norm_mlp."),
            (r"^dec_blocks_pc\.", "prior.blocks."),
            (r"^zero_convs\.(\d+)\.0\.", r"prior.zero.\1."),
        )
    )
    + DUST3R
)
