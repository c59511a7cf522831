"""A generated world in any layout: rendered as a nuScenes folder, and written anew from that."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.errors import ConfigError
from driv3r.simulator.export.layouts import LAYOUTS
from driv3r.simulator.export.marker import (
    BEGUN,
    MARKER,
    NUSCENES,
    begin_world,
    check_world,
    discard_world,
    finish_world,
)
from driv3r.simulator.export.nuscenes_writer import WorldConfig, write_world

Progress = Callable[[str, int, int], None]  # of a stage how many are done, and of how many
NAMES = (NUSCENES, *LAYOUTS)


def write_world_as(
    layout: str,
    root: Path,
    recipe: WorldConfig,
    workers: int = 2,
    report: Progress = lambda stage, done, total: None,
) -> None:
    """Write a recipe's world into `root` in a layout of NAMES; a complete one is left unchanged.

    One in another layout is rendered into a hidden folder beside `root` first, which is removed in
    the end; a killed call leaves it, and the next one goes on from it. ConfigError on an unknown
    layout, or where something else lies in `root` (see `check_world`).
    """
    check_layout(layout)

    def rendering(done: int, total: int) -> None:
        report("render", done, total)

    if layout == NUSCENES:
        write_world(root, recipe, workers, rendering)
        return
    if check_world(root, recipe, layout):
        return
    root = Path(os.path.abspath(root))
    rendered = root.with_name(f".{root.name}.rendered")
    discard_world(rendered, recipe)
    write_world(rendered, recipe, workers, rendering)
    written = rendered / layout
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir()
    source = NuScenesReader(rendered)
    LAYOUTS[layout](source, recipe.split, written, lambda *counts: report("write", *counts))
    _move(written, root, recipe, layout)
    shutil.rmtree(rendered)


def check_layout(layout: str) -> None:
    """ConfigError where a layout has no writer."""
    if layout not in NAMES:
        raise ConfigError(f"no layout {layout!r}; known: {', '.join(NAMES)}")


def _move(written: Path, root: Path, recipe: WorldConfig, layout: str) -> None:
    """Move what a writer wrote into the root, with the note of what it is."""
    entries = sorted(path.name for path in written.iterdir() if path.name not in (MARKER, BEGUN))
    begin_world(root, recipe, layout, entries)
    for name in entries:
        if (root / name).is_dir():  # of a call that was killed here
            shutil.rmtree(root / name)
        (written / name).replace(root / name)
    finish_world(root)
