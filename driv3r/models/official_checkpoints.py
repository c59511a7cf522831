"""Official checkpoints: read as data and checked before loading."""

import argparse
import ast
import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from driv3r.errors import CheckpointError
from driv3r.models.checkpoints import check_finite, check_fit
from driv3r.models.registry import ModelCard

STATE_KEYS = ("model", "state_dict", "model_state_dict")
WRAPPERS = ("module.", "model.", "net.")  # DistributedDataParallel's, and of training modules


def read_official(path: Path) -> tuple[dict[str, Tensor], str]:
    """A checkpoint's tensors and its stored constructor call ("" where there is none).

    Prefixes of wrappers are removed.
    Safetensors, or .pth by `weights_only` unpickling, memory-mapped: no code of the file runs.
    CheckpointError where it can not be read.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give --weights a downloaded file")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                return unwrap_names({k: file.get_tensor(k) for k in file.keys()}), ""  # noqa: SIM118
        except SafetensorError as error:
            raise _unreadable(path, str(error)) from error
    try:
        with _allowing(argparse.Namespace):
            saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, OSError, pickle.UnpicklingError, EOFError) as error:
        raise _unreadable(path, str(error).splitlines()[0]) from error
    return _unwrap(saved, path)


@contextlib.contextmanager
def _allowing(kind: type) -> Iterator[None]:
    """torch.serialization.safe_globals, which torch 2.4 lacks."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([kind])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _unreadable(path: Path, why: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not a checkpoint that can be read safely ({why}); expected .safetensors, or "
        ".pth of tensors: fetch it again"
    )


def _unwrap(saved: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict inside a training script's checkpoint."""
    construction = ""
    if isinstance(saved, dict) and "args" in saved:
        construction = str(getattr(saved["args"], "model", ""))
    for key in STATE_KEYS:
        if isinstance(saved, dict) and isinstance(saved.get(key), dict):
            saved = saved[key]
    if not isinstance(saved, dict) or not all(isinstance(v, Tensor) for v in saved.values()):
        raise CheckpointError(
            f"{path} holds no state dict; expected names and tensors, or one under "
            f"{', '.join(STATE_KEYS)}"
        )
    return unwrap_names(saved), construction


def unwrap_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors without the prefixes of WRAPPERS that all of their names have, however deep."""
    while tensors:
        shared = [w for w in WRAPPERS if all(name.startswith(w) for name in tensors)]
        if not shared:
            break
        tensors = {name.removeprefix(shared[0]): tensor for name, tensor in tensors.items()}
    return dict(tensors)


def parse_construction(text: str) -> tuple[str, dict[str, Any]]:
    """Class name and keyword arguments of a constructor call given as text, without running it.

    Values are literals; `inf` stands for infinity. CheckpointError on anything else.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("not a call with keyword arguments")
        values = {k.arg: _literal(k.value) for k in call.keywords if k.arg is not None}
    except (SyntaxError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint's construction {text[:80]!r} is no plain constructor call ({error})"
        ) from error
    return call.func.id, values


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id == "inf":
        return float("inf")
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_literal(node.operand)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(item) for item in node.elts)
    return ast.literal_eval(node)


def check_official(card: ModelCard, tensors: dict[str, Tensor], where: str) -> int:
    """Compare names and shapes with the full-size network's, without building it in memory.

    Returns the number of parameters; CheckpointError says what does not fit.
    """
    with torch.device("meta"):
        network = card.build()
        given = card.key_map.apply({k: torch.empty(v.shape) for k, v in tensors.items()})
    check_fit(network.state_dict(), given, where)
    return sum(p.numel() for p in network.parameters())


def load_official(card: ModelCard, path: Path) -> nn.Module:
    """The full-size network with a user's checkpoint, in eval mode; CheckpointError as above."""
    tensors, _ = read_official(path)
    check_official(card, tensors, str(path))
    check_finite(tensors, str(path))
    with torch.device("meta"):
        network = card.build()
    network.load_state_dict(card.key_map.apply(tensors), assign=True)
    return network.float().eval()
