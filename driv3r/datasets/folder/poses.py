"""A log's ego poses off a TUM file or a CSV, and where the car was at a sensor's time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from driv3r.datasets.folder.times import check_steps, parse_us, read_table
from driv3r.datasets.images import read_file
from driv3r.datasets.reader import make_pose
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import interpolate
from driv3r.types import Transform

COLUMNS = ("time_us", "x", "y", "z", "qw", "qx", "qy", "qz")
NAMES = ("poses.csv", "poses.tum", "poses.txt")
LARGEST_GAP_US = 1_000_000  # that is interpolated over: a car may turn by a radian in it


@dataclass(frozen=True, eq=False)
class PosePath:
    """world_T_ego at increasing times, as a file has them."""

    time_us: Int64[np.ndarray, "n"]
    world_T_ego: Float[np.ndarray, "n 4 4"]

    def at(
        self, time_us: Int64[np.ndarray, "m"]
    ) -> tuple[Float[np.ndarray, "m 4 4"], Bool[np.ndarray, "m"]]:
        """Interpolated poses, and whether each time lies between two that are near enough."""
        before = np.searchsorted(self.time_us, time_us, "right") - 1
        after = np.searchsorted(self.time_us, time_us, "left")
        inside = (before >= 0) & (after < len(self.time_us))
        last = len(self.time_us) - 1
        gap_us = self.time_us[np.clip(after, 0, last)] - self.time_us[np.clip(before, 0, last)]
        return interpolate(self.time_us, self.world_T_ego, time_us), inside & (
            gap_us <= LARGEST_GAP_US
        )


def find_poses(folder: Path) -> Path | None:
    """A log's file of poses; DatasetError where there are several."""
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise DatasetError(
            f"{folder} has {', '.join(path.name for path in found)}; expected one file of poses"
        )
    return found[0] if found else None


def read_poses(path: Path) -> PosePath:
    """Poses of a CSV (time_us,x,y,z,qw,qx,qy,qz: world_T_ego) or in TUM's format.

    TUM's lines are `time_s tx ty tz qx qy qz qw`, # begins a comment. Raises DatasetError on rows
    that are no poses or not in order of time.
    """
    rows = _read_csv(path) if path.suffix == ".csv" else _read_tum(path)
    if not rows:
        raise DatasetError(f"{path} holds no pose")
    times_us = [time_us for time_us, _ in rows]
    check_steps(times_us, str(path))
    return PosePath(np.array(times_us, np.int64), np.stack([pose for _, pose in rows]))


def _read_csv(path: Path) -> list[tuple[int, Transform]]:
    rows = []
    for number, row in enumerate(read_table(path, COLUMNS), 2):
        where = f"{path} line {number}"
        wxyz, xyz = [row[f"q{axis}"] for axis in "wxyz"], [row[axis] for axis in "xyz"]
        rows.append((parse_us(row["time_us"], "us", where), _make(wxyz, xyz, where)))
    return rows


def _read_tum(path: Path) -> list[tuple[int, Transform]]:
    rows = []
    for number, line in enumerate(read_file(path).decode(errors="replace").splitlines(), 1):
        parts = line.split("#")[0].split()
        where = f"{path} line {number}"
        if parts and len(parts) != 8:
            raise DatasetError(
                f"{where} has {len(parts)} values, expected 8: time_s tx ty tz qx qy qz qw"
            )
        if parts:
            wxyz = [parts[7], *parts[4:7]]
            rows.append((parse_us(parts[0], "s", where), _make(wxyz, parts[1:4], where)))
    return rows


def _make(wxyz: list[str], xyz: list[str], where: str) -> Transform:
    try:
        return make_pose([float(v) for v in wxyz], [float(v) for v in xyz], where)
    except ValueError as error:
        raise DatasetError(f"{where}: {error}") from error
