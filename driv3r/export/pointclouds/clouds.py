"""Points of a selected log as arrays that every point format writes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Int32, UInt8

from driv3r.export.selection import SelectedLog
from driv3r.geometry.transforms import apply

STATIC = -1  # in place of a track


@dataclass(frozen=True, eq=False)
class PointCloud:
    """Coloured points, in metres of the log's world or, of an object's shape, of the object.

    `normals` are unit vectors, 0 0 0 where the surface has none. `weight` is the static map's sum
    of confidences, 1 for points of objects. `track_id` is -1 for the static map.
    """

    points: Float[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    normals: Float32[np.ndarray, "n 3"]
    weight: Float32[np.ndarray, "n"]
    track_id: Int32[np.ndarray, "n"]


def static_cloud(selected: SelectedLog) -> PointCloud:
    """The static map."""
    static = selected.static
    normals = np.nan_to_num(static.normals_world, nan=0.0).astype(np.float32)
    n = len(static.index)
    return PointCloud(
        static.points_world,
        static.rgb,
        normals,
        static.weight.astype(np.float32),
        np.full(n, STATIC, np.int32),
    )


def object_cloud(selected: SelectedLog, track_id: int) -> PointCloud:
    """One object's own shape, in its own frame."""
    moving = selected.moving
    rows = np.flatnonzero(moving.points_track == track_id)
    return _plain(moving.points_object[rows].astype(np.float64), rows, selected)


def moving_clouds(selected: SelectedLog) -> Iterator[tuple[int, PointCloud]]:
    """Frame number and points of every frame that has objects: shapes placed by world_T_object."""
    moving = selected.moving
    for frame in np.unique(moving.frame):
        states = np.flatnonzero(moving.frame == frame)
        rows = [np.flatnonzero(moving.points_track == moving.track_id[s]) for s in states]
        placed = [
            apply(moving.world_T_object[s], moving.points_object[r].astype(np.float64))
            for s, r in zip(states, rows, strict=True)
        ]
        yield int(frame), _plain(np.concatenate(placed), np.concatenate(rows), selected)


def _plain(
    points: Float[np.ndarray, "n 3"], rows: Int[np.ndarray, "n"], selected: SelectedLog
) -> PointCloud:
    moving = selected.moving
    return PointCloud(
        points,
        moving.points_rgb[rows],
        np.zeros((len(rows), 3), np.float32),
        np.ones(len(rows), np.float32),
        moving.points_track[rows].astype(np.int32),
    )


def list_clouds(selected: SelectedLog) -> Iterator[tuple[str, PointCloud]]:
    """File names without their ending: "static", then "moving/000012" of every frame's objects."""
    if "static" in selected.layers:
        yield "static", static_cloud(selected)
    for frame, cloud in moving_clouds(selected):
        yield f"moving/{frame:06d}", cloud
