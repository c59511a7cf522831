"""Tracks as a table: one row a state, one state a track and frame."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from driv3r.export.packages import need
from driv3r.export.selection import SelectedLog
from driv3r.geometry.transforms import to_quaternion

MEANING = {
    "track_id": "number of the object in its log",
    "frame, time_us": "number and time of the frame; time in microseconds",
    "x_m, y_m, z_m": "centre of the box in the log's world",
    "qw, qx, qy, qz": "world_T_object's rotation: x forward, y left, z up",
    "yaw_rad": "heading about the world's z, from its x",
    "length_m, width_m, height_m": "box along the object's x, y and z",
    "vx_mps, vy_mps, vz_mps": "velocity in the world",
    "velocity_sigma_mps": "its standard deviation an axis",
    "observed": "false where the state was interpolated between others",
    "quality": "share of the track's frames in which it was observed",
}


def tabulate(selected: SelectedLog) -> dict[str, Shaped[np.ndarray, "m"]]:
    """Columns of equal length, sorted by track and time. Units are in the names."""
    moving = selected.moving
    rows = np.lexsort((moving.time_us, moving.track_id))
    track, pose = moving.track_id[rows], moving.world_T_object[rows]
    quaternion = to_quaternion(pose)
    columns = {"track_id": track, "frame": moving.frame[rows], "time_us": moving.time_us[rows]}
    columns |= {f"{axis}_m": pose[:, i, 3] for i, axis in enumerate("xyz")}
    columns |= {f"q{part}": quaternion[:, i] for i, part in enumerate("wxyz")}
    columns["yaw_rad"] = np.arctan2(pose[:, 1, 0], pose[:, 0, 0])
    sizes = moving.size_m[track]
    columns |= {f"{side}_m": sizes[:, i] for i, side in enumerate(("length", "width", "height"))}
    velocity = moving.velocity_world_mps[rows]
    columns |= {f"v{axis}_mps": velocity[:, i] for i, axis in enumerate("xyz")}
    columns["velocity_sigma_mps"] = moving.velocity_sigma_mps[rows]
    columns["observed"] = moving.observed[rows]
    columns["quality"] = moving.quality[track]
    return columns


def write_csv(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """tracks.csv: as `tabulate` has it, floats with all their digits."""
    columns = tabulate(selected)
    lines = [",".join(columns)]
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    lines += [",".join(str(value) for value in row) for row in rows]
    (folder / "tracks.csv").write_text("\n".join(lines) + "\n")
    return {"columns": MEANING}


def write_parquet(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """tracks.parquet: the same columns, typed. ConfigError without pyarrow."""
    pyarrow, parquet = need("pyarrow"), need("pyarrow.parquet")
    parquet.write_table(pyarrow.table(tabulate(selected)), folder / "tracks.parquet")
    return {"columns": MEANING}
