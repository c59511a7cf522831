"""Train our network; a cut run continues with the same command."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from driv3r.errors import CheckpointError, ConfigError, TrainingError
from driv3r.models.checkpoints import read_tensors, save_network
from driv3r.models.driv3r.inputs import Inputs, Outputs
from driv3r.models.driv3r.losses import Targets, compute_losses
from driv3r.models.driv3r.network import Driv3r
from driv3r.models.driv3r.streaming import choose_device, fast_bf16
from driv3r.store.lock import lock_folder
from driv3r.training.batches import draw_batch
from driv3r.training.checkpoints import Progress, Run, restore, save_checkpoint, save_light
from driv3r.training.clip_pool import ClipPool, blank_clip
from driv3r.training.clip_source import ClipSource
from driv3r.training.compiling import compile_parts
from driv3r.training.config import TrainConfig
from driv3r.training.distributed import ProcessGroup, choose_local_device, init_distributed
from driv3r.training.lineage import count_seeds, merge_seeds, read_ancestry
from driv3r.training.log_source import LogSource, LogSplit
from driv3r.training.validation import list_validation_clips, load_validation_clips, validate

ALONE = ProcessGroup()
VALIDATION_FRAMES = 3
WARM_UP_BATCHES = 2
OnLog = Callable[[dict], None]
Losses = Callable[[Outputs, Targets], dict[str, Tensor]]  # by name, and their sum as `total`


def train(
    config: TrainConfig,
    folder: Path,
    device: str = "cpu",
    on_log: OnLog = lambda row: None,
    workers: int = 0,
    logs: Sequence[LogSplit] = (),
    log_share: float = 0.5,
) -> Path:
    """Train as long as `config` says, checkpointing into `folder`; returns the weights' path.

    `workers` processes render clips ahead; without them all clips are there before the first step.
    A share `log_share` of the batches is of recorded `logs`, where there are some.
    Under torchrun each process takes batches of its own, and the main one logs and saves:
    `folder/events` is TensorBoard's.
    """
    here = choose_device(choose_local_device(device))
    with init_distributed(str(here)) as group, own(folder, group):
        check_schedule(config, group)
        run = start_run(config, folder, here)
        clips = folder.parent / "clips"
        share, data = (group.rank, group.size), config.data
        if not workers:  # each process takes all clips: the first must leave them to the others
            share, data = (0, 1), replace(data, keep_clips=data.keep_clips or group.size > 1)
        validation = list_validation_clips(clips, config.data.clips, config.validation_clips)
        held_out = validation if group.is_main else []
        recorded = LogSource(logs, data, run.device, log_share) if logs else None
        source = ClipSource(clips, data, run.device, workers, *share, held_out)
        try:
            _run_steps(run, folder, source, recorded, on_log, group)
        finally:
            source.close()
            if recorded is not None:
                recorded.close()
        if group.is_main:
            release(run, folder)
        group.barrier()
    return weights_path(config, folder)


def own(folder: Path, group: ProcessGroup) -> AbstractContextManager[None]:
    """The main process is the only run that writes to the folder."""
    return lock_folder(folder, "driv3r train") if group.is_main else nullcontext()


def check_schedule(config: TrainConfig, group: ProcessGroup) -> None:
    """ConfigError for several processes that would each end by a clock of their own."""
    if config.seconds and group.size > 1:
        raise ConfigError(
            f"{group.size} processes and a schedule by seconds ({config.seconds:g}): they would "
            "not end at the same step; give `steps`, and `seconds: 0`"
        )


def start_run(config: TrainConfig, folder: Path, device: torch.device) -> Run:
    """A fresh run, or the one that `folder` holds."""
    torch.manual_seed(config.seed)
    model, average = Driv3r(config.model), Driv3r(config.model)
    progress = Progress()
    if config.start_from:
        init_from(model, Path(config.start_from))
        progress.ancestry = read_ancestry(Path(config.start_from))
    average.load_state_dict(model.state_dict())
    for network in (model, average):
        network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    decay = [p for p in model.parameters() if p.ndim > 1 and p.requires_grad]
    plain = [p for p in model.parameters() if p.ndim <= 1 and p.requires_grad]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": plain}]
    optimizer = torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0,
        fused=device.type == "cuda",
    )  # fmt: skip
    torch.backends.cudnn.benchmark = device.type == "cuda"  # shapes are few
    run = Run(config, model, average, optimizer, progress, device)
    restore(run, folder)
    return run


def init_from(model: Driv3r, path: Path) -> int:
    """Load what fits of earlier weights; returns how many tensors did (CheckpointError if none)."""
    own, given = model.state_dict(), read_tensors(path)[0]
    fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not fits:
        raise CheckpointError(f"{path}: no tensor fits the recipe's network; drop `start_from`")
    model.load_state_dict(fits, strict=False)
    return len(fits)


def _run_steps(
    run: Run,
    folder: Path,
    source: ClipSource,
    logs: LogSource | None,
    on_log: OnLog,
    group: ProcessGroup,
) -> None:
    """Fill the pool, then take steps while clips keep coming."""
    config, progress = run.config, run.progress
    pool = ClipPool(config.data.pool_gib)
    if config.compile:
        compile_parts(run.model)
        _warm_up(run)
    _fill(pool, source, config.data.min_clips)
    source.wait_for_held_out()
    if logs is not None:
        logs.take(wait=True)
    agreement = Agreement(run, source, group)
    with SummaryWriter(str(folder / "events")) if group.is_main else nullcontext() as writer:
        logger = TrainLogger(run, folder, source.folder, on_log, writer)
        since = time.monotonic()
        while progress_of(run) < 1:
            for clip in source.ready():
                pool.add(clip)
            if logs is not None:
                logs.take()
                progress.logs = sorted({*progress.logs, *logs.names})
            losses = take_step(run, _draw_batches(run, pool, logs, group), group)
            now = time.monotonic()
            progress.seconds += now - since
            since = now
            agreed = agreement.reach(losses["total"])
            if group.is_main:
                logger.log_step(losses, may_save=agreed)


def _draw_batches(
    run: Run, pool: ClipPool, logs: LogSource | None, group: ProcessGroup
) -> list[tuple[Inputs, Targets]]:
    """This process's batches of the next step."""
    config, step = run.config, run.progress.step
    half_size = progress_of(run) < config.data.half_size_share
    first = step * config.accumulate * group.size + group.rank
    numbers = [first + i * group.size for i in range(config.accumulate)]
    return [
        logs.draw(number)
        if logs is not None and logs.is_due(number)
        else draw_batch(pool, number, config.data, half_size)
        for number in numbers
    ]


class Agreement:
    """What the processes of a run tell each other, every `log_every` steps: all at the same ones.

    One process alone needs to tell nobody, so that its seeds are known at every step.
    """

    def __init__(self, run: Run, source: ClipSource, group: ProcessGroup):
        self.run, self.source, self.group = run, source, group
        self.sum = torch.zeros((), device=run.device)  # of losses; a NaN or infinity stays in it

    def reach(self, loss: Tensor) -> bool:
        """Take a step's loss; whether all know now which seeds all have trained on.

        TrainingError, in every process, where a loss is not finite in any.
        """
        run, group = self.run, self.group
        self.sum = self.sum + loss
        due = run.progress.step % run.config.log_every == 0 or progress_of(run) >= 1
        if due and group.any(~self.sum.isfinite()):
            raise TrainingError(
                f"a loss is not finite by step {run.progress.step} ({float(loss)} in process "
                f"{group.rank} of {group.size}): lower `learning_rate` and train into another "
                "--out; the last checkpoint is kept"
            )
        agreed = due or group.size == 1
        if agreed:
            self._share_seeds()
        return agreed

    def _share_seeds(self) -> None:
        progress, source = self.run.progress, self.source
        taken = self.group.gather(source.taken)
        progress.failed_clips = source.failed
        if taken:
            progress.seeds = merge_seeds(progress.seeds, taken)
            progress.clips = count_seeds(progress.seeds)
            source.taken.clear()


def _fill(pool: ClipPool, source: ClipSource, count: int) -> None:
    """Take in clips until there are `count`; all there will ever be if none are rendered ahead."""
    while source.executor is None or len(pool.clips) < count:
        clip = source.next()
        if clip is None:
            break
        pool.add(clip)
    if not pool.clips:
        raise ConfigError("no training clip could be rendered; see the errors above")


def _warm_up(run: Run) -> None:
    """Compile, on a blank clip, while the first ones are rendered; nothing of it stays."""
    data = run.config.data
    pool = ClipPool(data.pool_gib)
    pool.add(blank_clip(data.clips.frames, data.views, data.clips.size_hw, run.device))
    for step in range(WARM_UP_BATCHES):
        _take_batch(run, *draw_batch(pool, step, data), 1.0)
        run.optimizer.zero_grad(set_to_none=True)


def progress_of(run: Run) -> float:
    """The share of the run that is done, by steps or seconds, whichever is farther."""
    config, progress = run.config, run.progress
    by_steps = progress.step / config.steps if config.steps else 0.0
    by_seconds = progress.seconds / config.seconds if config.seconds else 0.0
    return max(by_steps, by_seconds)


def learning_rate_at(step: int, done: float, config: TrainConfig) -> float:
    """Warm up, stay, cool down linearly (warmup-stable-decay); `done` is the share that is done."""
    left = (1 - done) / max(config.cooldown, 1e-6)
    return config.learning_rate * min(1.0, (step + 1) / config.warmup_steps, max(left, 0.01))


def take_step(
    run: Run,
    batches: list[tuple[Inputs, Targets]],
    group: ProcessGroup = ALONE,
    losses: Losses | None = None,
) -> dict[str, Tensor]:
    """One step of AdamW over all batches of all processes, and of the moving average.

    `losses` are those of the recipe where not given. They stay on the device: reading them would
    make it wait.
    """
    config, progress = run.config, run.progress
    run.model.train()
    for parameters in run.optimizer.param_groups:
        parameters["lr"] = learning_rate_at(progress.step, progress_of(run), config)
    run.optimizer.zero_grad(set_to_none=True)
    terms = [_take_batch(run, *batch, 1 / len(batches), losses) for batch in batches]
    group.average_gradients(run.model)
    trained: list[Tensor] = [p for p in run.model.parameters() if p.requires_grad]
    torch.nn.utils.clip_grad_norm_(trained, config.clip_norm)
    run.optimizer.step()
    progress.step += 1
    decay = min(config.ema_decay, (progress.step + 1) / (progress.step + 10))
    average: list[Tensor] = [p for p in run.average.parameters() if p.requires_grad]
    get_ema_multi_avg_fn(decay)(average, trained, progress.step)
    return {k: torch.stack([term[k] for term in terms]).mean() for k in terms[0]}


def _take_batch(
    run: Run, inputs: Inputs, targets: Targets, share: float, compute: Losses | None = None
) -> dict[str, Tensor]:
    """Add a batch's gradients; its losses by name."""
    bf16 = fast_bf16(run.device)
    with torch.autocast(run.device.type, dtype=torch.bfloat16, enabled=bf16):
        outputs, _ = run.model(inputs)
    if compute is None:
        losses = compute_losses(outputs, targets, inputs.present, run.config.losses)
    else:
        losses = compute(outputs, targets)
    (losses["total"] * share).backward()
    return {k: v.detach() for k, v in losses.items()}


class TrainLogger:
    """Logs losses and validation to TensorBoard and the caller, and saves checkpoints."""

    def __init__(
        self, run: Run, folder: Path, clips: Path, on_log: OnLog, writer: SummaryWriter | None
    ):
        self.run, self.folder, self.clips = run, folder, clips
        self.on_log, self.writer = on_log, writer
        self.recent: list[dict[str, Tensor]] = []
        self.held_out = None
        self.saved_at = self.logged_at = time.monotonic()
        self.validated_at_s = run.progress.seconds

    def log_step(self, losses: dict[str, Tensor], may_save: bool = True) -> None:
        """Take a step's losses; log, validate and save where that is due, save if it may be."""
        config, step = self.run.config, self.run.progress.step
        self.recent.append(losses)
        last = progress_of(self.run) >= 1
        due = self._is_validation_due(last)
        if step % config.log_every == 0 or due or last:
            self._log(step, due)
        late = time.monotonic() - self.saved_at > config.save_every_s
        if may_save and (late or last) and _is_finite(self.run.model):
            save_checkpoint(self.run, self.folder)
            save_light(self.run, self.folder / "light")
            self.saved_at = time.monotonic()

    def _is_validation_due(self, last: bool) -> bool:
        config, progress = self.run.config, self.run.progress
        if config.validate_every_s:
            return last or progress.seconds - self.validated_at_s > config.validate_every_s
        return last or progress.step % config.validate_every == 0

    def _log(self, step: int, validation_due: bool) -> None:
        means = {k: torch.stack([r[k] for r in self.recent]).mean() for k in self.recent[0]}
        row = {k: round(float(v), 4) for k, v in means.items()}
        took_s = time.monotonic() - self.logged_at
        row["steps_per_s"] = round(len(self.recent) / max(took_s, 1e-9), 2)
        self.recent.clear()
        if validation_due:
            row |= self._validate()
        self.logged_at = time.monotonic()
        if self.writer is not None:
            for name, value in row.items():
                self.writer.add_scalar(name.replace("val_", "val/"), value, step)
        progress = self.run.progress
        row |= {"step": step, "seconds": round(progress.seconds), "clips": progress.clips}
        if progress.failed_clips:
            row["failed_clips"] = progress.failed_clips
        progress.history.append(row)
        self.on_log(row)

    def _validate(self) -> dict[str, float]:
        run, data = self.run, self.run.config.data
        if self.held_out is None:
            count = run.config.validation_clips
            self.held_out = load_validation_clips(self.clips, data.clips, count, run.device)
        self.validated_at_s = run.progress.seconds
        frames = min(VALIDATION_FRAMES, data.clips.frames)
        return validate(run.average, self.held_out, frames)


def _is_finite(network: Driv3r) -> bool:
    """Whether weights are worth to be kept: a step may have spoilt them before a loss shows it."""
    return bool(torch.stack([p.isfinite().all() for p in network.parameters()]).all())


def weights_path(config: TrainConfig, folder: Path) -> Path:
    """Where a run releases its weights."""
    return folder / f"{config.name}.safetensors"


def release(run: Run, folder: Path) -> Path:
    """The averaged weights in float16, with the model card's facts inside and beside."""
    card = {
        "recipe": asdict(run.config),
        "steps": run.progress.step,
        "seconds": round(run.progress.seconds),
        "parameters": sum(p.numel() for p in run.average.parameters()),
        "train_seeds": run.progress.seeds,
        "logs": run.progress.logs,
        "ancestry": run.progress.ancestry,
        "history": run.progress.history,
    }
    path = weights_path(run.config, folder)
    save_network(path, run.average, card)
    (folder / "card.json").write_text(json.dumps(card, indent=1))
    return path
