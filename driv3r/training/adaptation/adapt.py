"""Adapt trained weights to recorded logs: a few minutes on their LiDAR, or on images alone.

Only what turns features into answers is trained, at a low rate, on batches from the logs among
batches from generated worlds (replay), and drawn back towards the weights of before, so that little
is forgotten. The state that is best on held-out moments is kept.
"""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from driv3r.errors import ConfigError
from driv3r.models.driv3r.inputs import Outputs
from driv3r.models.driv3r.losses import LossWeights, Targets
from driv3r.models.driv3r.network import Driv3r
from driv3r.simulator.export.clips import ClipConfig
from driv3r.training.adaptation.photometric import (
    PhotometricConfig,
    photometric_losses,
    validate_photometric,
)
from driv3r.training.batches import draw_batch, draw_parts, make_inputs, make_targets, vary
from driv3r.training.checkpoints import Progress, Run
from driv3r.training.clip_pool import ClipPool, RawClip
from driv3r.training.config import AugmentationConfig, DataConfig, TrainConfig
from driv3r.training.lineage import merge_seeds, read_ancestry
from driv3r.training.trainer import OnLog, take_step
from driv3r.training.validation import validate

# What the held-out moments are chosen by.
CRITERIA = {"lidar": "val_abs_rel", "images": "val_photometric"}


@dataclass(frozen=True)
class AdaptConfig:
    """How weights are adapted, for at most `minutes`.

    `supervision` is by the depth of the logs' LiDAR, or by their images (photometric.py).
    `trained` are the network's parts that change. A batch has one clip of `frames` frames, a share
    `generated_share` of the batches is of generated worlds. Each step draws the weights by
    `pull_back` of the way back to where they began (as L2-SP does, Li et al. 2018). Views are
    enlarged by up to `zoom`: one log shows few places by a few lenses. `validations` are spread
    over the time.
    """

    minutes: float = 10.0
    learning_rate: float = 4e-4
    frames: int = 2
    supervision: Literal["lidar", "images"] = "lidar"
    photometric: PhotometricConfig = PhotometricConfig()
    trained: tuple[str, ...] = ("dense", "depth_sweep", "local", "ego")
    generated_share: float = 0.3
    pull_back: float = 0.02
    zoom: float = 1.6
    validations: int = 4
    seed: int = 0

    def __post_init__(self):
        if self.minutes <= 0 or self.frames < 1:
            raise ConfigError(
                f"{self.minutes} minutes of clips of {self.frames} frames; expected more than none"
            )
        if not 0 <= self.generated_share < 1:
            raise ConfigError(
                f"generated_share is {self.generated_share}; expected 0 to less than 1: the rest "
                "of the batches is of the logs"
            )


@dataclass(frozen=True)
class Adapted:
    """The adapted network, and figures of the held-out moments before and after."""

    network: Driv3r
    before: dict[str, float]
    after: dict[str, float]
    steps: int


def adapt(
    network: Driv3r,
    logs: Sequence[RawClip],
    held_out: Sequence[RawClip],
    generated: Sequence[RawClip],
    config: AdaptConfig,
    on_log: OnLog = lambda row: None,
) -> Adapted:
    """The network that is best on the `held_out` clips, the given one if none is better.

    ConfigError where there are no clips to learn from or to judge by.
    """
    if not logs or not held_out:
        raise ConfigError(
            f"{len(logs)} clips to learn from and {len(held_out)} held out; expected one of each "
            "at least: give more moments or logs"
        )
    run = _start(network, config)
    anchor = [p.detach().clone() for p in _trained(run.model)]
    pools = [_fill(clips) for clips in (logs, generated)]
    before = best = _validate(run.average, held_out, config)
    on_log({"step": 0, **before})
    kept = copy.deepcopy(run.average.state_dict())
    began, checks = time.monotonic(), 1
    while run.progress.seconds < config.minutes * 60:
        _step(run, pools, anchor, config)
        run.progress.seconds = time.monotonic() - began
        if run.progress.seconds >= checks * config.minutes * 60 / config.validations:
            checks += 1
            row = _validate(run.average, held_out, config)
            on_log({"step": run.progress.step, "seconds": round(run.progress.seconds), **row})
            if row[CRITERIA[config.supervision]] < best[CRITERIA[config.supervision]]:
                best, kept = row, copy.deepcopy(run.average.state_dict())
    run.average.load_state_dict(kept)
    return Adapted(run.average.eval(), before, best, run.progress.step)


def _validate(
    network: Driv3r, held_out: Sequence[RawClip], config: AdaptConfig
) -> dict[str, float]:
    """Figures of held-out clips: by LiDAR where it is learned from, by images where they are."""
    frames = max(config.frames, 2)
    if config.supervision == "lidar":
        return validate(network, held_out, frames)
    return validate_photometric(network, held_out, frames)


def _trained(network: Driv3r) -> list[Tensor]:
    return [p for p in network.parameters() if p.requires_grad]


def _start(network: Driv3r, config: AdaptConfig) -> Run:
    """A run whose model and average both are copies of the network."""
    model, average = copy.deepcopy(network), copy.deepcopy(network)
    for each in (model, average):
        each.requires_grad_(False)
        for name in config.trained:
            getattr(each, name).requires_grad_(True)
    optimizer = torch.optim.AdamW(
        _trained(model), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    data = DataConfig(
        ClipConfig(size_hw=network.config.size_hw, frames=config.frames),
        min_clips=1,
        shapes=((1, config.frames),),
        half_size_shapes=(),
        zoom=config.zoom,
        augmentation=replace(AugmentationConfig(), blur_share=0.0),
        seed=config.seed,
    )
    recipe = TrainConfig(
        "adapt", network.config, data, LossWeights(motion=1.0, edge=0.5), steps=0,
        seconds=config.minutes * 60, learning_rate=config.learning_rate, warmup_steps=10,
        cooldown=0.5, ema_decay=0.95,
    )  # fmt: skip
    return Run(recipe, model, average, optimizer, Progress(), next(model.parameters()).device)


def _fill(clips: Sequence[RawClip]) -> ClipPool:
    pool = ClipPool(float("inf"))
    for clip in clips:
        pool.add(clip)
    return pool


def _step(run: Run, pools: list[ClipPool], anchor: list[Tensor], config: AdaptConfig) -> None:
    """A step on a batch of the logs or of generated worlds, then a little way back."""
    step = run.progress.step
    rng = np.random.default_rng([config.seed, step, 2])
    replay = bool(pools[1].clips) and rng.random() < config.generated_share
    pool = pools[int(replay)]
    data = replace(run.config.data, views=max(clip.views for clip in pool.clips))
    if replay or config.supervision == "lidar":
        take_step(run, [draw_batch(pool, step, data)])
    else:
        _step_by_images(run, pool, data, config)
    with torch.no_grad():
        for p, origin in zip(_trained(run.model), anchor, strict=True):
            p.lerp_(origin, config.pull_back)


def _step_by_images(run: Run, pool: ClipPool, data: DataConfig, config: AdaptConfig) -> None:
    """A step on the photometric losses: the network sees images that vary, these are recorded."""
    rng = np.random.default_rng([config.seed, run.progress.step, 3])
    parts, random = draw_parts(pool, data, rng)

    def losses(outputs: Outputs, _targets: Targets) -> dict[str, Tensor]:
        return photometric_losses(outputs, parts, config.photometric)

    batch = make_inputs(vary(parts, data, random)), make_targets(parts)
    take_step(run, [batch], losses=losses)


def split_moments(count: int, held_out_share: float) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first moments of a log to learn from, the last to judge by; two of each at least.

    ConfigError for a log of fewer than four.
    """
    if count < 4:
        raise ConfigError(
            f"a log of {count} moments; adapting needs four at least: two to learn from, two to "
            "judge by"
        )
    last = min(max(round(count * held_out_share), 2), count - 2)
    return (0, count - last), (count - last, count)


def weights_card(
    config: AdaptConfig,
    adapted: Adapted,
    parent: Path,
    logs: Sequence[str],
    replayed: Sequence[int] = (),
) -> dict:
    """What adapted weights say of themselves; `replayed` are the seeds of generated clips."""
    return {
        "note": f"adapted from {parent.name} to {len(logs)} logs",
        "logs": list(logs),
        "train_seeds": merge_seeds([], replayed),
        "ancestry": read_ancestry(parent),
        "minutes": config.minutes,
        "steps": adapted.steps,
        "before": adapted.before,
        "after": adapted.after,
    }
