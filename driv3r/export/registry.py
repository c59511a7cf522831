"""Every format by its name: one line each, and those of installed packages."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from driv3r.errors import ConfigError
from driv3r.export.selection import SelectedLog

Write = Callable[[SelectedLog, Path], dict[str, Any]]


@dataclass(frozen=True)
class ExportFormat:
    """One format. `write`, or its "module:function", fills a folder and returns notes for a reader.

    `layers` are those that it can hold, `modules` the libraries beyond the core that it imports,
    which the extra `extra` brings.
    """

    summary: str
    write: Write | str
    layers: tuple[str, ...]
    modules: tuple[str, ...] = ()
    extra: str = "export"


_CLOUD, _GRID = ("static", "moving"), ("static", "moving", "cameras")
_TORCH = {"modules": ("cv2",), "extra": "torch"}
_AT = "driv3r.export."
FORMATS: dict[str, ExportFormat] = {
    "ply": ExportFormat(
        "binary PLY: static map, and moving objects a frame", f"{_AT}pointclouds.ply:write", _CLOUD
    ),
    "laz": ExportFormat(
        "compressed LAS 1.4: the same",
        f"{_AT}pointclouds.laz:write",
        _CLOUD,
        ("laspy", "lazrs"),
    ),
    "pcd": ExportFormat("binary PCD 0.7: the same", f"{_AT}pointclouds.pcd:write", _CLOUD),
    "glb": ExportFormat(
        "glTF 2.0: points, path, objects that drive (animation)",
        f"{_AT}pointclouds.glb:write_points",
        (*_CLOUD, "path"),
    ),
    "glb-mesh": ExportFormat(
        "glTF 2.0: the static map as triangles, else the same",
        f"{_AT}pointclouds.glb:write_mesh",
        (*_CLOUD, "path"),
        ("skimage",),
    ),
    "3dgs": ExportFormat(
        "3D Gaussian splatting: initial gaussians, objects apart",
        f"{_AT}pointclouds.gaussians:write",
        _CLOUD,
    ),
    "colmap": ExportFormat(
        "COLMAP sparse model, binary", f"{_AT}cameras.colmap:write_binary", ("cameras", "static")
    ),
    "colmap-text": ExportFormat(
        "COLMAP sparse model, text", f"{_AT}cameras.colmap:write_text", ("cameras", "static")
    ),
    "nerfstudio": ExportFormat(
        "transforms.json, depth, masks of what moves, initial points",
        f"{_AT}cameras.nerfstudio:write",
        ("cameras",),
        **_TORCH,
    ),
    "depth-png": ExportFormat(
        "16-bit PNG, metres * 256 (KITTI)", f"{_AT}cameras.depth:write_png", ("cameras",), **_TORCH
    ),
    "depth-exr": ExportFormat(
        "OpenEXR: depth, sigma and motion as floats",
        f"{_AT}cameras.depth:write_exr",
        ("cameras",),
        ("OpenEXR",),
    ),
    "tum": ExportFormat("TUM trajectories", f"{_AT}trajectories.tum:write", ("path", "cameras")),
    "kitti": ExportFormat(
        "KITTI odometry poses", f"{_AT}trajectories.kitti:write", ("path", "cameras")
    ),
    "euroc": ExportFormat("EuRoC trajectory", f"{_AT}trajectories.euroc:write", ("path",)),
    "csv": ExportFormat("tracks as CSV", f"{_AT}objects.tables:write_csv", ("moving",)),
    "parquet": ExportFormat(
        "tracks as Parquet", f"{_AT}objects.tables:write_parquet", ("moving",), ("pyarrow",)
    ),
    "nuscenes-detection": ExportFormat(
        "nuScenes detection results",
        f"{_AT}objects.nuscenes_results:write_detection",
        ("moving",),
    ),
    "nuscenes-tracking": ExportFormat(
        "nuScenes tracking results",
        f"{_AT}objects.nuscenes_results:write_tracking",
        ("moving",),
    ),
    "occupancy": ExportFormat(
        "Occ3D occupancy grid a frame (npz)", f"{_AT}grids.occupancy:write", _GRID
    ),
    "ros-map": ExportFormat(
        "2D map, PNG + YAML of ROS map_server", f"{_AT}grids.ros_map:write", ("static",), **_TORCH
    ),
    "mcap": ExportFormat(
        "MCAP with Foxglove schemas",
        f"{_AT}recordings.foxglove:write",
        ("static", "moving", "path", "cameras"),
        ("mcap_protobuf", "foxglove_schemas_protobuf"),
    ),
    "rerun": ExportFormat(
        "Rerun recording (.rrd)",
        f"{_AT}recordings.rerun_file:write",
        ("static", "moving", "path", "cameras"),
        ("rerun",),
        "rerun",
    ),
}


@cache
def list_formats() -> dict[str, ExportFormat]:
    """Every format by name: ours, and those of installed packages (group driv3r.exports).

    Raises ConfigError where an entry point is no ExportFormat.
    """
    theirs = {each.name: each.load() for each in entry_points(group="driv3r.exports")}
    for name, form in theirs.items():
        if not isinstance(form, ExportFormat):
            raise ConfigError(
                f"the entry point {name!r} of driv3r.exports is a {type(form).__name__}; expected "
                "a driv3r.export.ExportFormat"
            )
    return theirs | FORMATS


def choose_format(name: str) -> ExportFormat:
    """The format of a name; ConfigError lists the names where there is none."""
    if name not in list_formats():
        raise ConfigError(f"no format {name!r}; known: all, {', '.join(list_formats())}")
    return list_formats()[name]
