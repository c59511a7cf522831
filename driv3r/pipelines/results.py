"""What a run says of itself: one record a log, one for the run; JSON both ways."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from driv3r.errors import StoreError
from driv3r.pipelines.recipe import build_recipe
from driv3r.types import Score


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


@dataclass(frozen=True)
class RunResult:
    """A whole run: settings as given, every log, and figures over all logs."""

    title: str
    settings: dict[str, Any]
    logs: tuple[LogResult, ...]
    scores: tuple[Score, ...]


def save_result(result: LogResult | RunResult, path: Path) -> None:
    """Write as JSON, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(result), indent=1, sort_keys=True))
    partial.replace(path)


def load_log_result(path: Path) -> LogResult:
    """Read a log's record; StoreError where it is not one."""
    try:
        return build_recipe(json.loads(path.read_text()), LogResult, str(path))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} is not a log's result ({error}); run `driv3r process` again"
        ) from error
