"""Datasets in nuScenes' schema: where their tables lie, and what their sensors are called."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from driv3r.datasets.folder.lidar import read_points as read_any_points
from driv3r.datasets.folder.rig_file import Recording
from driv3r.datasets.images import read_file
from driv3r.datasets.nuscenes.tables import OFFICIAL, Version, find_versions, holds_tables
from driv3r.errors import DatasetError

POINT_FLOATS = 5  # x y z intensity ring
BRIGHTEST = 255.0
RINGS = (-1, 255)  # -1 where a file tells no rings, as T4's do
LYFT_PARTS = ("", "train_", "test_")  # before the names of folders; Kaggle's have one


@dataclass(frozen=True)
class Layout:
    """What distinguishes a dataset in nuScenes' schema.

    `cameras` come first in the rig, in this order. Of `lidars` the first that a scene has gives its
    time and frame; where `all_lidars` are read, sweeps of the others are carried into that.
    `versions` finds the folders of tables below a root, of which a root `lacks` what is told.
    """

    cameras: tuple[str, ...]
    lidars: tuple[str, ...]
    versions: Callable[[Path], list[Version]]
    lacks: str
    read_points: Callable[[Path], Float[np.ndarray, "n 3"]]
    all_lidars: bool = False


def read_points(path: Path) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, LiDAR frame) of a .pcd.bin.

    Raises DatasetError unless it is whole points of 5 floats: files of 4, 6 or 7 floats a point can
    have a size that fits, but then not everywhere an intensity and a ring where these must be.
    """
    points = _read_floats(path)
    _check_columns(points, path)
    return points[:, :3].astype(np.float32)


def _read_floats(path: Path) -> Float[np.ndarray, "n 5"]:
    data = read_file(path)
    if len(data) == 0 or len(data) % (4 * POINT_FLOATS):
        raise DatasetError(
            f"{len(data)} bytes are no whole number of points of {POINT_FLOATS} float32: {path}"
        )
    return np.frombuffer(data, "<f4").reshape(-1, POINT_FLOATS)


def _check_columns(points: Float[np.ndarray, "n 5"], path: Path) -> None:
    known = np.where(np.isfinite(points[:, 3:]), points[:, 3:], 0.0)
    intensity, ring = known[:, 0], known[:, 1]
    dark_or_bright = (intensity < 0) | (intensity > BRIGHTEST)
    no_ring = (ring < RINGS[0]) | (ring > RINGS[1]) | (ring != np.floor(ring))
    for name, wrong, column, expected in (
        ("intensity", dark_or_bright, 3, f"0 to {BRIGHTEST:g}"),
        ("ring", no_ring, 4, f"a whole number of {RINGS[0]} to {RINGS[1]}"),
    ):
        if wrong.any():
            raise DatasetError(
                f"{np.sum(wrong)} of {len(points)} points have no possible {name} (the first "
                f"{points[wrong.argmax(), column]:g}, expected {expected}): the file is not of "
                f"{POINT_FLOATS} float32 a point (x, y, z, intensity, ring); convert it: {path}"
            )


def read_lyft_points(path: Path) -> Float[np.ndarray, "n 3"]:
    """x, y, z of Lyft's .bin: 5 float32 a point, of which the last two tell nothing sure."""
    return _read_floats(path)[:, :3].astype(np.float32)


def read_pcd(path: Path) -> Float[np.ndarray, "n 3"]:
    """x, y, z of a .pcd."""
    return read_any_points(path, Recording())


def find_lyft_versions(root: Path) -> list[Version]:
    """`data` beside images/ and lidar/, or Kaggle's `train_data` beside train_images/."""
    return [
        Version(f"{part}data", f"{part}data", part)
        for part in LYFT_PARTS
        if holds_tables(root / f"{part}data")
    ]


def find_t4_versions(root: Path) -> list[Version]:
    """Each dataset's annotation/ below the root, of its latest version; or the root's own."""
    if holds_tables(root / "annotation"):
        return [Version("annotation", "annotation", "", root.name)]
    found = []
    for folder in sorted(path for path in root.glob("*") if os.path.isdir(path)):
        inner = [path for path in folder.glob("*") if path.name.isdigit() and os.path.isdir(path)]
        latest = max(inner, key=lambda path: int(path.name), default=folder)
        top = latest if holds_tables(latest / "annotation") else folder
        if holds_tables(top / "annotation"):
            prefix = f"{top.relative_to(root).as_posix()}/"
            found.append(Version(folder.name, f"{prefix}annotation", prefix, folder.name))
    return found


SURROUND = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
)
NUSCENES = Layout(
    SURROUND,
    ("LIDAR_TOP", "LIDAR_CONCAT"),
    find_versions,
    f"a table folder {', '.join(OFFICIAL)} in it, or another v1.0-* with all the tables, beside "
    "samples/",
    read_points,
)
TRUCKSCENES = Layout(
    ("CAMERA_LEFT_FRONT", "CAMERA_RIGHT_FRONT", "CAMERA_RIGHT_BACK", "CAMERA_LEFT_BACK"),
    (
        "LIDAR_LEFT",  # this and the next see 200 m far, the others around the truck
        "LIDAR_RIGHT",
        "LIDAR_TOP_FRONT",
        "LIDAR_TOP_LEFT",
        "LIDAR_TOP_RIGHT",
        "LIDAR_REAR",
    ),
    find_versions,
    "a table folder v1.0-trainval, v1.0-mini or v1.0-test beside samples/",
    read_pcd,
    all_lidars=True,
)
LYFT = Layout(
    (*SURROUND, "CAM_FRONT_ZOOMED"),
    ("LIDAR_TOP", "LIDAR_FRONT_LEFT", "LIDAR_FRONT_RIGHT"),
    find_lyft_versions,
    "the tables in data/, beside images/ and lidar/; or in train_data/, beside train_images/ and "
    "train_lidar/",
    read_lyft_points,
    all_lidars=True,
)
T4 = Layout(
    SURROUND,
    ("LIDAR_CONCAT", "LIDAR_TOP"),
    find_t4_versions,
    "annotation/ and data/, or folders of T4 datasets that have them",
    read_points,
)
