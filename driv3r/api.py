"""What Python callers do with whole logs; single frames are `driv3r.inference.model`'s."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from driv3r.evaluation.records import RunResult
from driv3r.pipelines.process import make_settings
from driv3r.pipelines.process import process as process_settings
from driv3r.settings import Settings


def process(
    dataset: str,
    root: str | Path,
    split: str = "val",
    out: str | Path | None = None,
    *,
    workers: int = 2,
    inline: bool = False,
    address: str | None = None,
    replace: bool = False,
    on_progress: Callable[[str, str, int, int], None] = lambda log, stage, done, total: None,
    **options: Any,
) -> RunResult:
    """Reconstruct and score every log of a split, and write a report: `driv3r process`.

    `options` are fields of Settings, such as model, weights, device, ego_poses or sweeps; `out` is
    by default out/<dataset>-<split>[-<model>]. `on_progress` hears log, stage, frames done and
    frames in all. What goes wrong with one log is in its result.

    Raises ConfigError, DatasetError, CheckpointError or StoreError for what can not be done, before
    anything is written.
    """
    settings = make_settings(dataset=dataset, root=root, split=split, **options)
    folder = default_out(settings) if out is None else Path(out)
    return process_settings(settings, folder, workers, inline, address, replace, on_progress)


def default_out(settings: Settings) -> Path:
    """Where a run's logs go unless told."""
    suffix = "" if settings.model == Settings.model else f"-{settings.model}"
    return Path("out") / f"{settings.dataset}-{settings.split}{suffix}"
