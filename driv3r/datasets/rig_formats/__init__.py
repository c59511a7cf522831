"""Calibrations of other tools as rig files: one reader a format, chosen by name."""

from collections.abc import Callable
from pathlib import Path

from driv3r.datasets.folder.rig_file import RigFile
from driv3r.datasets.rig_formats import colmap, kalibr, nuscenes, opencv, ros_urdf
from driv3r.datasets.rig_formats.options import ImportOptions
from driv3r.errors import ConfigError

FORMATS: dict[str, Callable[[Path, ImportOptions], tuple[RigFile, str]]] = {
    "kalibr": kalibr.read,
    "colmap": colmap.read,
    "ros-urdf": ros_urdf.read,
    "nuscenes": nuscenes.read,
    "opencv": opencv.read,
}


def import_rig(kind: str, path: Path, options: ImportOptions) -> tuple[RigFile, str]:
    """A rig of another tool's file, and what was assumed; ConfigError on an unknown format.

    Raises DatasetError where the file is missing, broken, or of a lens that is not supported.
    """
    if kind not in FORMATS:
        raise ConfigError(f"no calibration format {kind!r}; known: {', '.join(FORMATS)}")
    return FORMATS[kind](path, options)


__all__ = ["FORMATS", "ImportOptions", "import_rig"]
