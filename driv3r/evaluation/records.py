"""What a run says of itself: a log's record, read off its store, and one for the run."""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from driv3r.config import build_config
from driv3r.errors import ConfigError, StoreError
from driv3r.store.files import write_atomically
from driv3r.store.reader import LogStore
from driv3r.types import Score

EGO = "ego"  # the protocol of ego motion
PATH = "path-"  # its arrays, a drive each, with the subject after it


@dataclass(frozen=True)
class Picture:
    """A JPEG in the report's folder."""

    title: str
    file: str


@dataclass(frozen=True)
class Path2D:
    """A drive from above, metres from its first true place, one (x, y) a frame."""

    subject: str
    x_m: tuple[float, ...]
    y_m: tuple[float, ...]


@dataclass(frozen=True)
class LogResult:
    """What became of one log. `error` is None unless the log failed."""

    log_id: str
    state: Literal["done", "failed"]
    error: str | None = None
    frames: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    cards: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    paths: tuple[Path2D, ...] = ()
    pictures: tuple[Picture, ...] = ()
    static_voxels: int = 0
    moving_tracks: int = 0
    moving_states: int = 0
    store: str = ""
    generated: bool = False
    scale: str = "metric"


@dataclass(frozen=True)
class RunResult:
    """A whole run: settings as given, every log, and figures over all logs."""

    title: str
    settings: dict[str, Any]
    logs: tuple[LogResult, ...]
    scores: tuple[Score, ...]


def read_log_result(path: Path, report: Path) -> LogResult:
    """A finished log's record from its store alone; its pictures are put into the report's folder.

    Raises StoreError where the store is damaged.
    """
    store = LogStore.open(path)
    track_ids = store.track_ids()
    protocols = sorted(store.protocols(), key=lambda name: name == EGO)  # depth first
    lost: dict[str, int] = {}
    for protocol in protocols:
        lost |= store.scores_lost(protocol)
    return LogResult(
        log_id=store.log_id,
        state="done",
        frames=len(store.time_us),
        seconds=store.seconds(),
        repairs=tuple(f"{repair.where}: {repair.reason}" for repair in store.repairs()),
        scores=store.scores(),
        cards={protocol: store.scores_card(protocol) for protocol in protocols},
        lost=lost,
        paths=_read_paths(store),
        pictures=_export_pictures(store, report),
        static_voxels=store.count_voxels(),
        moving_tracks=len(np.unique(track_ids)),
        moving_states=len(track_ids),
        store=str(path),
        generated=store.header.generated,
        scale=store.scale,
    )


def _read_paths(store: LogStore) -> tuple[Path2D, ...]:
    drives = store.scores_per_view(EGO)
    names = sorted((n for n in drives if n.startswith(PATH)), key=lambda n: n != f"{PATH}truth")
    return tuple(
        Path2D(name.removeprefix(PATH), *(tuple(np.round(drives[name][:, i], 3)) for i in (0, 1)))
        for name in names
    )


def _export_pictures(store: LogStore, report: Path) -> tuple[Picture, ...]:
    pictures = []
    for i, (title, data) in enumerate(store.pictures().items()):
        file = f"pictures/{store.log_id}_{i}.jpg"
        if not (report / file).is_file() or (report / file).read_bytes() != data:
            write_atomically(report / file, data)
        pictures.append(Picture(title, file))
    return tuple(pictures)


def save_result(result: LogResult | RunResult, path: Path) -> None:
    """Write as JSON, in one step; StoreError where the disk does not take it.

    JSON has no NaN: a figure that could not be had is null.
    """
    text = json.dumps(_plain(dataclasses.asdict(result)), indent=1, sort_keys=True, allow_nan=False)
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise StoreError(f"could not write {path}: {error}; what is finished is kept") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def load_failure(path: Path) -> LogResult | None:
    """The record of a log that failed; None where there is none that can be read."""
    try:
        return build_config(json.loads(path.read_text()), LogResult, str(path))
    except (OSError, ValueError, TypeError, RecursionError, ConfigError):
        return None
