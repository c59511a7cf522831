"""Generated worlds in other datasets' layouts: each writes what its reader reads back."""

from collections.abc import Callable
from pathlib import Path

from driv3r.datasets.reader import Reader
from driv3r.simulator.export.layouts import argoverse2, kitti, waymo

Report = Callable[[int, int], None]  # of how many are done, and of how many

LAYOUTS: dict[str, Callable[[Reader, str, Path, Report], None]] = {
    "argoverse2": argoverse2.write_logs,
    "kitti": kitti.write_logs,
    "waymo": waymo.write_logs,
}
