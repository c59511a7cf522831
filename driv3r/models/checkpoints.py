"""Weights on disk: safetensors with the network's configuration as JSON beside the tensors."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from driv3r.errors import CheckpointError
from driv3r.models.driv3r.network import Driv3r, Driv3rConfig
from driv3r.settings import PACKAGE

SHIPPED = PACKAGE / "weights" / "driv3r-s.safetensors"


def save_weights(path: Path, config: Driv3rConfig, tensors: dict[str, Tensor], card: dict) -> None:
    """Write tensors, configuration and model card (plain JSON values) to one file."""
    metadata = {"config": json.dumps(dataclasses.asdict(config)), "card": json.dumps(card)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)


def load_weights(path: Path) -> tuple[Driv3r, dict]:
    """The network of a file, in eval mode, and its card; CheckpointError when they do not fit."""
    tensors, metadata = read_tensors(path)
    try:
        sizes: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v
            for k, v in json.loads(metadata["config"]).items()
        }
        model = Driv3r(Driv3rConfig(**sizes))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} does not say how its network is built ({error}); "
            "expected weights written by `driv3r train`"
        ) from error
    check_fit(model.state_dict(), tensors, str(path))
    check_finite(tensors, str(path))
    model.load_state_dict(tensors)
    return model.eval(), json.loads(metadata.get("card", "{}"))


def save_network(path: Path, network: Driv3r, card: dict) -> None:
    """Our network as weights are kept: in float16."""
    half = {name: x.half().cpu() for name, x in network.state_dict().items()}
    save_weights(path, network.config, half, card)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its metadata."""
    if not path.is_file():
        raise CheckpointError(f"no weights at {path}; give --weights a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}); fetch it again or convert it"
        ) from error


def check_finite(tensors: dict[str, Tensor], where: str) -> None:
    """Raise CheckpointError where a weight is NaN or infinite: every answer would be."""
    bad = [name for name, x in tensors.items() if not torch.isfinite(x).all()]
    if bad:
        some = ", ".join(bad[:3]) + ", ..." * (len(bad) > 3)
        raise CheckpointError(
            f"{where}: {len(bad)} tensors hold NaN or infinity ({some}); give weights of a "
            "training that went well"
        )


def check_fit(expected: dict[str, Tensor], given: dict[str, Tensor], where: str) -> None:
    """Raise CheckpointError unless names and shapes are the same."""
    missing = sorted(expected.keys() - given.keys())
    extra = sorted(given.keys() - expected.keys())
    reshaped = sorted(
        f"{k} {tuple(given[k].shape)} for {tuple(expected[k].shape)}"
        for k in expected.keys() & given.keys()
        if expected[k].shape != given[k].shape
    )
    for what, names in (
        ("missing", missing),
        ("unexpected", extra),
        ("of another shape", reshaped),
    ):
        if names:
            raise CheckpointError(
                f"{where}: {len(names)} tensors {what}, first: {', '.join(names[:3])}; "
                "the weights belong to another configuration"
            )
