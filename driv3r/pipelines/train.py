"""Train our network on generated worlds; a cut run continues with the same command."""

import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from driv3r.errors import CheckpointError, ConfigError
from driv3r.network.checkpoints import read_tensors, save_weights
from driv3r.network.inputs import Inputs
from driv3r.network.losses import LossWeights, Targets, compute_losses
from driv3r.network.stream import choose_device, fast_bf16
from driv3r.network.surround import Driv3r, Driv3rConfig
from driv3r.pipelines.batches import (
    DataRecipe,
    collate,
    make_example,
    render_ahead,
    stream_batches,
)
from driv3r.pipelines.crew import Crew, choose_local_device, join_crew
from driv3r.world.clips import FIRST_TRAIN_SEED, ClipRecipe, ensure_clip, read_clip

FIRST_CHECK_SEED = 2 * FIRST_TRAIN_SEED
ALONE = Crew()


@dataclass(frozen=True)
class TrainRecipe:
    """One training run. The rate warms up, stays, and falls over the last `cooldown` share.

    `start_from` names weights whose tensors are taken over where name and shape are the same. A
    step takes `accumulate` batches in each process.
    """

    name: str
    model: Driv3rConfig = Driv3rConfig()
    data: DataRecipe = DataRecipe()
    losses: LossWeights = LossWeights()
    steps: int = 3000
    rate: float = 8e-4
    warmup_steps: int = 100
    cooldown: float = 0.35
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    ema: float = 0.998
    seed: int = 0
    check_every: int = 250
    check_clips: int = 8
    save_every_s: float = 180.0
    log_every: int = 20
    start_from: str = ""
    accumulate: int = 1

    def __post_init__(self):
        if self.accumulate < 1:
            raise ConfigError(f"accumulate is {self.accumulate}; expected 1 at least")


@dataclass
class Progress:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)


@dataclass
class Run:
    """A training run in memory."""

    recipe: TrainRecipe
    model: Driv3r
    average: Driv3r
    optimizer: torch.optim.Optimizer
    progress: Progress
    device: torch.device

    @property
    def has_bf16(self) -> bool:
        """Whether this hardware multiplies bf16 faster than fp32."""
        return fast_bf16(self.device)


def train(
    recipe: TrainRecipe,
    folder: Path,
    device: str = "cpu",
    report: Callable[[dict], None] = lambda row: None,
    helpers: int = 1,
) -> Path:
    """Train to `recipe.steps`, checkpointing into `folder`; returns the released weights' path.

    Under torchrun each process takes batches of its own, and the first one keeps the books:
    `folder/events` is TensorBoard's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = choose_local_device(device)
    with join_crew(device) as crew:
        run = resume(recipe, folder, choose_device(device))
        clips = folder.parent / "clips"
        makers = _start_helpers(clips, recipe.data, helpers if crew.leads else 0)
        try:
            _run_steps(run, folder, clips, report, helpers, crew)
        finally:
            for maker in makers:
                maker.terminate()
        if crew.leads:
            release(run, folder)
        crew.wait()
    return weights_path(recipe, folder)


def resume(recipe: TrainRecipe, folder: Path, device: torch.device) -> Run:
    """A fresh run, or the one that `folder` holds."""
    torch.manual_seed(recipe.seed)
    model, average = Driv3r(recipe.model), Driv3r(recipe.model)
    if recipe.start_from:
        take_over(model, Path(recipe.start_from))
    average.load_state_dict(model.state_dict())
    for network in (model, average):
        network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.95), weight_decay=0.0)
    run = Run(recipe, model, average, optimizer, Progress(), device)
    path = folder / "checkpoint.pt"
    if path.exists():
        saved = torch.load(path, weights_only=True, map_location=device)
        if saved["model_config"] != json.dumps(asdict(recipe.model)):
            raise CheckpointError(
                f"{path} was trained with another network than recipe {recipe.name!r} describes; "
                "choose another --out folder"
            )
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        run.progress = Progress(**json.loads(saved["progress"]))
    return run


def take_over(model: Driv3r, path: Path) -> int:
    """Load what fits of earlier weights; returns how many tensors did (CheckpointError if none)."""
    own, given = model.state_dict(), read_tensors(path)[0]
    fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not fits:
        raise CheckpointError(f"{path}: no tensor fits the recipe's network; drop `start_from`")
    model.load_state_dict(fits, strict=False)
    return len(fits)


def _start_helpers(clips: Path, data: DataRecipe, count: int) -> list:
    """Processes that render clips ahead of the steps that will draw them."""
    spawn = multiprocessing.get_context("spawn")
    if count < 1 or data.fresh:
        return []
    maker = spawn.Process(target=render_ahead, args=(clips, data), daemon=True)
    maker.start()
    return [maker]


def _run_steps(
    run: Run, folder: Path, clips: Path, report: Callable[[dict], None], helpers: int, crew: Crew
) -> None:
    recipe, progress = run.recipe, run.progress
    first = (progress.step * recipe.accumulate) * crew.size + crew.rank
    batches = stream_batches(first, recipe.data, clips, run.device, helpers, crew.size)
    with SummaryWriter(str(folder / "events")) if crew.leads else nullcontext() as board:
        journal = Journal(run, folder, clips, report, board)
        since = time.monotonic()
        while progress.step < recipe.steps:
            losses = take_step(run, [next(batches) for _ in range(recipe.accumulate)], crew)
            now = time.monotonic()
            progress.seconds += now - since
            since = now
            if crew.leads:
                journal.take(losses)


class Journal:
    """Keeps the books of a run: losses and held-out figures to TensorBoard and caller, checkpoints.

    A process that does not lead has no board and tells it nothing.
    """

    def __init__(
        self,
        run: Run,
        folder: Path,
        clips: Path,
        report: Callable[[dict], None],
        board: SummaryWriter | None,
    ):
        self.run, self.folder, self.clips = run, folder, clips
        self.report, self.board = report, board
        self.recent: list[dict[str, float]] = []
        self.saved_at = time.monotonic()

    def take(self, losses: dict[str, float]) -> None:
        """A step's losses."""
        recipe, step = self.run.recipe, self.run.progress.step
        self.recent.append(losses)
        if step % recipe.log_every == 0 or step % recipe.check_every == 0:
            self._log(step)
        if time.monotonic() - self.saved_at > recipe.save_every_s or step == recipe.steps:
            save_checkpoint(self.run, self.folder)
            self.saved_at = time.monotonic()

    def _log(self, step: int) -> None:
        row = {k: round(float(np.mean([r[k] for r in self.recent])), 4) for k in self.recent[0]}
        self.recent.clear()
        if step % self.run.recipe.check_every == 0:
            row |= check(self.run, self.clips)
        if self.board is not None:
            for name, value in row.items():
                self.board.add_scalar(name.replace("check_", "check/"), value, step)
        row |= {"step": step, "seconds": round(self.run.progress.seconds)}
        self.run.progress.history.append(row)
        self.report(row)


def rate_at(step: int, recipe: TrainRecipe) -> float:
    """Warm up, stay, cool down linearly (warmup-stable-decay)."""
    left = (recipe.steps - step) / max(recipe.cooldown * recipe.steps, 1)
    return recipe.rate * min(1.0, (step + 1) / recipe.warmup_steps, max(left, 0.01))


def take_step(
    run: Run, batches: Sequence[tuple[Inputs, Targets]], crew: Crew = ALONE
) -> dict[str, float]:
    """One step of AdamW over all batches of all processes, and of the moving average."""
    recipe, progress = run.recipe, run.progress
    run.model.train()
    for group in run.optimizer.param_groups:
        group["lr"] = rate_at(progress.step, recipe)
    run.optimizer.zero_grad(set_to_none=True)
    terms = [_take_batch(run, *batch, 1 / len(batches)) for batch in batches]
    crew.average_gradients(run.model)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip_norm)
    run.optimizer.step()
    progress.step += 1
    keep = min(recipe.ema, (progress.step + 1) / (progress.step + 10))
    with torch.no_grad():
        for mean, value in zip(run.average.parameters(), run.model.parameters(), strict=True):
            mean.lerp_(value, 1 - keep)
    return {k: float(np.mean([term[k] for term in terms])) for k in terms[0]}


def _take_batch(run: Run, inputs: Inputs, targets: Targets, share: float) -> dict[str, float]:
    """Add a batch's gradients; its losses by name."""
    with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=run.has_bf16):
        outputs, _ = run.model(inputs)
    losses = compute_losses(outputs, targets, inputs.present, run.recipe.losses)
    total = losses["total"].item()
    if not math.isfinite(total):
        raise ConfigError(
            f"loss is {total} at step {run.progress.step}: lower `rate`, then start "
            "again; the last checkpoint is kept"
        )
    (losses["total"] * share).backward()
    return {k: float(v.detach()) for k, v in losses.items()}


def read_checks(
    clips: Path, recipe: ClipRecipe, count: int, frames: int, device: torch.device
) -> Iterator[tuple[Inputs, Targets]]:
    """The first frames of held-out clips as they are, rendered where they are not there.

    Their seeds are neither trained on nor evaluated.
    """
    for i in range(count):
        path = ensure_clip(clips / "check", FIRST_CHECK_SEED + i, recipe)
        example = make_example(read_clip(path), frames, 0.0, np.random.default_rng(i), plain=True)
        yield collate([example], device)


@torch.no_grad()
def check(run: Run, clips: Path) -> dict[str, float]:
    """Figures of the averaged network on held-out worlds: Abs Rel to 80 m, motion IoU, speed."""
    run.average.eval()
    errors, overlap, union, speed = [], 0, 0, []
    recipe = run.recipe
    held_out = read_checks(clips, recipe.data.clips, recipe.check_clips, 3, run.device)
    for inputs, targets in held_out:
        with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=run.has_bf16):
            outputs, _ = run.average(inputs)
        truth = targets.depth_m
        valid = (truth > 0.1) & (truth < 80)
        errors.append(((outputs.log_depth.exp() - truth).abs() / truth)[valid].mean().item())
        moving = outputs.motion_logit > 0
        overlap += (moving & targets.moving).sum().item()
        union += (moving | targets.moving).sum().item()
        speed.append((outputs.ego_rate - targets.ego_rate)[:, 1:, :3].norm(dim=-1).mean().item())
    return {
        "check_abs_rel": round(float(np.mean(errors)), 4),
        "check_motion_iou": round(overlap / max(union, 1), 4),
        "check_velocity_mps": round(float(np.mean(speed)), 3),
    }


def save_checkpoint(run: Run, folder: Path) -> None:
    """Everything needed to go on, replaced in one step so that a kill leaves a whole file."""
    partial = folder / "checkpoint.partial"
    torch.save(
        {
            "model": run.model.state_dict(),
            "average": run.average.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "progress": json.dumps(asdict(run.progress)),
            "model_config": json.dumps(asdict(run.recipe.model)),
        },
        partial,
    )
    partial.replace(folder / "checkpoint.pt")


def weights_path(recipe: TrainRecipe, folder: Path) -> Path:
    """Where a run releases its weights."""
    return folder / f"{recipe.name}.safetensors"


def release(run: Run, folder: Path) -> Path:
    """The averaged weights as safetensors, with the model card's facts inside and beside."""
    data = run.recipe.data
    first_seed = FIRST_TRAIN_SEED + data.first
    card = {
        "recipe": asdict(run.recipe),
        "steps": run.progress.step,
        "seconds": round(run.progress.seconds),
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "train_seeds": [first_seed, first_seed + data.most - 1],
        "history": run.progress.history,
    }
    path = weights_path(run.recipe, folder)
    state = {k: v.cpu().contiguous() for k, v in run.average.state_dict().items()}
    save_weights(path, run.recipe.model, state, card)
    (folder / "card.json").write_text(json.dumps(card, indent=1))
    return path
