"""Goldens: weights, inputs and outputs of the official networks at tiny size."""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from driv3r.models.checkpoints import check_fit
from driv3r.models.key_maps.base import KeyMap


def read_arrays(path: Path) -> dict[str, Tensor]:
    """All arrays of a .npz as tensors."""
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def load_official(network: nn.Module, key_map: KeyMap, path: Path) -> nn.Module:
    """The network with an official state dict, strictly."""
    tensors = key_map.apply(load_file(path))
    check_fit(network.state_dict(), tensors, path.name)
    network.load_state_dict(tensors)
    return network.eval()


def read_manifest(path: Path) -> dict[str, Tensor]:
    """A full-size checkpoint's names and shapes, as tensors without memory."""
    manifest = json.loads(path.read_text())
    listed = manifest.get("keys") or manifest["state_dict"]
    shapes = {k: v[0] if isinstance(v[0], list) else v for k, v in listed.items()}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def assert_matches(ours: Tensor, official: Tensor, limit: float = 1e-5) -> None:
    """Largest difference relative to the largest value."""
    assert ours.shape == official.shape
    scale = official.abs().max().clamp(min=1e-12)
    assert ((ours - official).abs().max() / scale).item() <= limit
