"""LAS 1.4 compressed as LAZ, point format 2 (ASPRS, LAS 1.4 R15)."""

from pathlib import Path
from typing import Any

import numpy as np

from driv3r.export.packages import need
from driv3r.export.pointclouds.clouds import PointCloud, list_clouds
from driv3r.export.selection import SelectedLog

STEP_M = 0.001  # of the coordinates, which LAS keeps as integers
FULL_COLOUR = 257  # LAS has 16 bits a channel: 255 becomes 65535
EXTRA = (  # as CloudCompare and PDAL name them
    ("NormalX", "f4", "0 0 0 where unknown"),
    ("NormalY", "f4", "unit normal"),
    ("NormalZ", "f4", "unit normal"),
    ("weight", "f4", "sum of confidences"),
    ("track_id", "i4", "-1: static"),
)


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """static.laz, and moving/<frame>.laz with the frame's objects at their places.

    Metres of the log's world in steps of a millimetre; no coordinate system of the Earth is named,
    for none is known. Colours are 16 bits a channel. Normals, weight and track are extra
    dimensions. ConfigError without laspy and lazrs.
    """
    laspy = need("laspy")
    counts = {}
    for name, cloud in list_clouds(selected):
        if len(cloud.points):  # laspy can not read back a LAZ file of no points
            _write_laz(laspy, folder / f"{name}.laz", cloud)
        counts[name] = len(cloud.points)
    return {"points": counts, "step_m": STEP_M, "normals": "0 0 0 where unknown"}


def _write_laz(laspy: Any, path: Path, cloud: PointCloud) -> None:
    header = laspy.LasHeader(version="1.4", point_format=2)
    header.scales = np.full(3, STEP_M)
    header.offsets = np.floor(cloud.points.min(axis=0))
    header.system_identifier, header.generating_software = "driv3r", "driv3r export"
    header.add_extra_dims(
        [laspy.ExtraBytesParams(name, kind, meaning) for name, kind, meaning in EXTRA]
    )
    las = laspy.LasData(header)
    las.x, las.y, las.z = cloud.points.T
    las.red, las.green, las.blue = cloud.rgb.T.astype(np.uint16) * FULL_COLOUR
    las.NormalX, las.NormalY, las.NormalZ = cloud.normals.T
    las.weight, las.track_id = cloud.weight, cloud.track_id
    path.parent.mkdir(parents=True, exist_ok=True)
    las.write(path)
