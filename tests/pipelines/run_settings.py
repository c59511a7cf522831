"""The settings of a run and the bytes of its logs, for tests of whole runs."""

import hashlib
from pathlib import Path

from driv3r.pipelines.process import make_settings
from driv3r.settings import Settings

ROOMS = ("views", "static", "dynamic", "poses", "rig", "frames", "eval", "pictures")


def settings_for(root: Path, **changes) -> Settings:
    """The settings of a plain run over a folder."""
    return make_settings(**{"dataset": "nuscenes", "root": root} | changes)


def digest_arrays(store: Path) -> dict[str, str]:
    """sha256 of every file that is not lineage."""
    files = [p for room in ROOMS for p in sorted((store / room).rglob("*")) if p.is_file()]
    return {str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
