"""Writes formats of a log, each into a folder of its own that appears whole or not at all."""

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driv3r.errors import ConfigError
from driv3r.export.packages import is_there
from driv3r.export.registry import ExportFormat, choose_format, list_formats
from driv3r.export.selection import ExportSelection, SelectedLog, select
from driv3r.store.files import PARTIAL, discard
from driv3r.store.reader import LogStore

ABOUT = "export.json"  # beside the files of every format
Report = Callable[[str, str, int, int], None]  # log, format, how many are done, of how many


@dataclass(frozen=True)
class Exported:
    """One format of one log: its files (absolute), or why it was skipped."""

    log_id: str
    format: str
    folder: Path
    files: tuple[Path, ...] = ()
    size_bytes: int = 0
    seconds: float = 0.0
    skipped: str = ""


def choose_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Names of formats without repeats, "all" for every one; ConfigError on an unknown name."""
    chosen = dict[str, None]()
    for name in names:
        chosen |= dict.fromkeys(list_formats() if name == "all" else [name])
    if not chosen:
        raise ConfigError(f"no format is given; known: all, {', '.join(list_formats())}")
    for name in chosen:
        choose_format(name)
    return tuple(chosen)


def export_log(
    store: LogStore,
    formats: Sequence[str],
    selection: ExportSelection,
    out: Path,
    replace: bool = False,
    report: Report | None = None,
) -> tuple[Exported, ...]:
    """Write a log in some formats, as files of `out`/<log>/<format>/; "all" is every format.

    Of all formats, those that can not be written are skipped, and say why; one that is asked for by
    its name raises ConfigError instead, before anything is written. So does a folder that is there
    already, unless `replace`. A format's folder takes its name when it is complete.
    """
    names = choose_formats(formats)
    selected = select(store, selection)
    obstacles = {name: explain_obstacle(name, selected) for name in names}
    for name in names:
        folder = out / store.log_id / name
        if obstacles[name] and name in formats:
            raise ConfigError(f"log {store.log_id} as {name}: {obstacles[name]}")
        if folder.exists() and not replace:
            raise ConfigError(
                f"{folder} is there already: give --replace to write it anew, or another --out"
            )
    done = []
    for count, name in enumerate(names):
        if report is not None:
            report(store.log_id, name, count, len(names))
        folder = out / store.log_id / name
        if obstacles[name]:
            done.append(Exported(store.log_id, name, folder, skipped=obstacles[name]))
        else:
            done.append(_write_format(name, selected, folder))
    if report is not None:
        report(store.log_id, "", len(names), len(names))
    return tuple(done)


def explain_obstacle(name: str, selected: SelectedLog) -> str:
    """Why a log can not be written in a format, "" where it can."""
    form = choose_format(name)
    missing = [module for module in form.modules if not is_there(module)]
    if missing:
        return (
            f"{', '.join(missing)} is not installed: pip install 'driv3r[{form.extra}]' brings it"
        )
    if not set(form.layers) & set(selected.layers):
        return (
            f"it holds {', '.join(form.layers)}, and of the layers that were asked for this log "
            f"has {', '.join(selected.layers) or 'none'}"
        )
    return ""


def _write_format(name: str, selected: SelectedLog, folder: Path) -> Exported:
    start = time.perf_counter()
    staging = folder.with_name(f".{name}{PARTIAL}")
    discard(staging)
    staging.mkdir(parents=True)
    form = choose_format(name)
    try:
        notes = _load(form)(selected, staging)
        about = describe(name, form, selected) | {"notes": notes}
        (staging / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
        discard(folder)
        staging.rename(folder)
    finally:
        discard(staging)
    files = tuple(sorted(path for path in folder.rglob("*") if path.is_file()))
    size = sum(path.stat().st_size for path in files)
    return Exported(selected.store.log_id, name, folder, files, size, time.perf_counter() - start)


def _load(form: ExportFormat) -> Callable[[SelectedLog, Path], dict[str, Any]]:
    if callable(form.write):
        return form.write
    module, _, function = form.write.partition(":")
    return getattr(importlib.import_module(module), function)


def describe(name: str, form: ExportFormat, selected: SelectedLog) -> dict[str, Any]:
    """What every export says of itself: log, selection, units and the world's origin."""
    header, selection = selected.store.header, selected.selection
    unit = "metres" if header.scale == "metric" else f"{header.scale_source}; as metres"
    return {
        "format": name,
        "summary": form.summary,
        "log": header.log_id,
        "dataset": header.dataset,
        "generated": header.generated,
        "scale": header.scale,
        "frames": [selected.frames.start, selected.frames.stop],
        "layers": list(selected.layers),
        "min_weight": selection.min_weight,
        "crop_world_m": selection.crop_world_m,
        "static_points": len(selected.static.index),
        "moving_states": len(selected.moving.track_id),
        "world": f"{unit}; a point plus origin_world_m is the point in the dataset's own world",
        "origin_world_m": list(header.origin_world),
        "voxel_m": selected.static.voxel_m,
        "made_by": f"driv3r {header.provenance.versions.get('driv3r', '')}".strip(),
    }
