"""Runs on disk: whole checkpoints, and light ones that travel between machines.

A light checkpoint has weights in float16 and AdamW's moments in bfloat16, in safetensors parts of
at most PART_BYTES; a run goes on from it to nearly the same losses, at a quarter of the size.
"""

import json
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from driv3r.errors import CheckpointError
from driv3r.models.checkpoints import read_tensors
from driv3r.models.driv3r.network import Driv3r
from driv3r.settings import differences, identity_of
from driv3r.training.config import TrainConfig
from driv3r.training.lineage import SeedRanges

PART_BYTES = 15 * 2**20
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """What a checkpoint holds besides tensors.

    `seeds` are those of all worlds that any process has trained on, `logs` the recorded logs,
    `ancestry` is the weights that the run began at (see `read_ancestry`).
    """

    step: int = 0
    seconds: float = 0.0
    clips: int = 0
    failed_clips: int = 0
    history: list[dict] = field(default_factory=list)
    seeds: SeedRanges = field(default_factory=list)
    ancestry: list[dict] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)


@dataclass
class Run:
    """A training run in memory; `average` is the moving average that is validated and released."""

    config: TrainConfig
    model: Driv3r
    average: Driv3r
    optimizer: torch.optim.Optimizer
    progress: Progress
    device: torch.device


def save_checkpoint(run: Run, folder: Path) -> None:
    """Everything needed to go on, replaced in one step so that a kill leaves a whole file."""
    partial = folder / "checkpoint.partial"
    torch.save(
        {
            "model": run.model.state_dict(),
            "average": run.average.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            **_describe(run),
        },
        partial,
    )
    partial.replace(folder / "checkpoint.pt")


def _describe(run: Run) -> dict[str, str]:
    return {
        "progress": json.dumps(asdict(run.progress)),
        "recipe": json.dumps(identity_of(run.config)),
    }


def restore(run: Run, folder: Path) -> bool:
    """Go on from the checkpoint in `folder`, a light one if there is no whole one.

    False where there is neither; CheckpointError where it is of another recipe.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return load_light(run, folder / "light")
    try:
        saved = torch.load(path, weights_only=True, map_location=run.device)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint that can be read safely ({str(error).splitlines()[0]}): "
            "delete it, or choose another --out folder"
        ) from error
    _check_recipe(run, saved, path)
    run.model.load_state_dict(saved["model"])
    run.average.load_state_dict(saved["average"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.progress = Progress(**json.loads(saved["progress"]))
    return True


def _check_recipe(run: Run, saved: dict, path: Path) -> None:
    ours, theirs = identity_of(run.config), json.loads(saved.get("recipe", "null"))
    if theirs is None:
        raise CheckpointError(
            f"{path} does not say which recipe it was trained by: an earlier version wrote it; "
            "choose another --out folder"
        )
    changed = differences(ours, theirs)
    if changed:
        raise CheckpointError(
            f"{path} was trained by another recipe than {run.config.name!r} is now: "
            f"{'; '.join(changed)}; restore the recipe, or choose another --out folder"
        )


def save_light(run: Run, folder: Path) -> list[Path]:
    """A light checkpoint's parts, written beside each other into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, network in (("model", run.model), ("average", run.average)):
        for key, value in trained_state(network).items():
            tensors[f"{name}/{key}"] = value.half()
    for key, p in run.model.named_parameters():
        for moment in MOMENTS:
            state = run.optimizer.state.get(p, {})
            if moment in state:
                tensors[f"{moment}/{key}"] = state[moment].bfloat16()
    parts: list[dict[str, Tensor]] = [{}]
    used = 0
    for key, value in tensors.items():
        size = value.numel() * value.element_size()
        if used + size > PART_BYTES and parts[-1]:
            parts.append({})
            used = 0
        parts[-1][key] = value.detach().cpu().contiguous()
        used += size
    paths = []
    for i, part in enumerate(parts):
        path = folder / f"part-{i}.safetensors"
        partial = path.with_suffix(".partial")
        save_file(part, partial, _describe(run) | {"parts": str(len(parts))})
        paths.append(partial.replace(path))
    return paths


def trained_state(network: Driv3r) -> dict[str, Tensor]:
    """Tensors that training changes: pretrained features are those of the package."""
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    return {k: v for k, v in network.state_dict().items() if k not in frozen}


def load_light(run: Run, folder: Path) -> bool:
    """Go on from the parts in `folder`, False where there are none.

    CheckpointError where parts are missing, of different moments, or of another recipe.
    """
    paths = sorted(folder.glob("part-*.safetensors"))
    if not paths:
        return False
    read = [read_tensors(path) for path in paths]
    metadata = read[0][1]
    if len(paths) != int(metadata["parts"]) or any(m != metadata for _, m in read):
        raise CheckpointError(
            f"{folder} holds {len(paths)} parts of {metadata['parts']}, or parts of different "
            "steps; bring all of one save"
        )
    _check_recipe(run, metadata, folder)
    tensors = {key: value for part, _ in read for key, value in part.items()}
    run.progress = Progress(**json.loads(metadata["progress"]))
    for name, network in (("model", run.model), ("average", run.average)):
        state = {k.removeprefix(f"{name}/"): v.float() for k, v in tensors.items()
                 if k.startswith(f"{name}/")}  # fmt: skip
        network.load_state_dict(state, strict=False)
    for key, p in run.model.named_parameters():
        if f"{MOMENTS[0]}/{key}" in tensors:
            # in the parameter's memory format: fused AdamW reads both alike
            moments = {m: torch.empty_like(p).copy_(tensors[f"{m}/{key}"]) for m in MOMENTS}
            step = torch.tensor(float(run.progress.step), device=step_device(run))
            run.optimizer.state[p] = {"step": step, **moments}
    return True


def step_device(run: Run) -> torch.device:
    """Where AdamW keeps its step count: on the device only where its kernel is fused."""
    fused = run.optimizer.defaults.get("fused")
    return run.device if fused else torch.device("cpu")
