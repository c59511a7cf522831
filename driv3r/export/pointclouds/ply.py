"""PLY 1.0, binary little endian (Turk, The PLY Polygon File Format)."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from driv3r.export.pointclouds.clouds import PointCloud, list_clouds
from driv3r.export.selection import SelectedLog

KINDS = {"f4": "float", "f8": "double", "u1": "uchar", "i4": "int"}
COLUMNS = [
    *((name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")),
    *((name, "u1") for name in ("red", "green", "blue")),
    ("weight", "<f4"),
    ("track_id", "<i4"),
]


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """static.ply, and moving/<frame>.ply with the frame's objects at their places.

    Metres of the log's world, x y z as float32; normals are 0 0 0 where unknown; `track_id` is -1
    for what stands.
    """
    counts = {}
    for name, cloud in list_clouds(selected):
        write_ply(folder / f"{name}.ply", tabulate(cloud))
        counts[name] = len(cloud.points)
    return {"points": counts, "normals": "0 0 0 where unknown"}


def tabulate(cloud: PointCloud) -> Shaped[np.ndarray, "n"]:
    """The points as rows of named columns."""
    rows = np.zeros(len(cloud.points), COLUMNS)
    for i, axis in enumerate("xyz"):
        rows[axis] = cloud.points[:, i]
        rows[f"n{axis}"] = cloud.normals[:, i]
        rows[("red", "green", "blue")[i]] = cloud.rgb[:, i]
    rows["weight"], rows["track_id"] = cloud.weight, cloud.track_id
    return rows


def write_ply(path: Path, rows: Shaped[np.ndarray, "n"]) -> None:
    """A structured array (little endian, packed) as the vertices of a PLY file."""
    fields = [
        f"property {KINDS[dtype.str[1:]]} {name}"
        for name, dtype in ((name, rows.dtype[name]) for name in rows.dtype.names or ())
    ]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment driv3r",
        f"element vertex {len(rows)}",
        *fields,
        "end_header",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(header).encode() + b"\n" + rows.tobytes())
