"""PCD 0.7, binary (Point Cloud Library, The PCD file format)."""

from pathlib import Path
from typing import Any

import numpy as np

from driv3r.export.pointclouds.clouds import PointCloud, list_clouds
from driv3r.export.selection import SelectedLog

COLUMNS = (
    *((name, "F", "<f4") for name in ("x", "y", "z", "normal_x", "normal_y", "normal_z")),
    ("rgb", "F", "<f4"),
    ("weight", "F", "<f4"),
    ("track_id", "I", "<i4"),
)


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """static.pcd, and moving/<frame>.pcd with the frame's objects at their places.

    Metres of the log's world as float32. `rgb` is the float32 whose bits are 0x00RRGGBB, as PCL
    packs it. Normals are 0 0 0 where unknown.
    """
    counts = {}
    for name, cloud in list_clouds(selected):
        path = folder / f"{name}.pcd"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encode(cloud))
        counts[name] = len(cloud.points)
    return {"points": counts, "normals": "0 0 0 where unknown"}


def _encode(cloud: PointCloud) -> bytes:
    rows = np.zeros(len(cloud.points), [(name, kind) for name, _, kind in COLUMNS])
    for i, axis in enumerate("xyz"):
        rows[axis], rows[f"normal_{axis}"] = cloud.points[:, i], cloud.normals[:, i]
    red, green, blue = cloud.rgb.T.astype(np.uint32)
    rows["rgb"] = (red << 16 | green << 8 | blue).view(np.float32)
    rows["weight"], rows["track_id"] = cloud.weight, cloud.track_id
    n = len(rows)
    header = [
        "# .PCD v0.7 - Point Cloud Data file format",
        "VERSION 0.7",
        "FIELDS " + " ".join(name for name, _, _ in COLUMNS),
        "SIZE " + " ".join("4" for _ in COLUMNS),
        "TYPE " + " ".join(kind for _, kind, _ in COLUMNS),
        "COUNT " + " ".join("1" for _ in COLUMNS),
        f"WIDTH {n}",
        "HEIGHT 1",
        "VIEWPOINT 0 0 0 1 0 0 0",
        f"POINTS {n}",
        "DATA binary",
    ]
    return "\n".join(header).encode() + b"\n" + rows.tobytes()
