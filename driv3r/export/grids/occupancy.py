"""Occupancy grids in the layout of Occ3D-nuScenes (Tian et al., 2023): labels.npz a frame."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from driv3r.export.cameras.views import PosedView, list_views
from driv3r.export.objects.kinds import RULE, guess_kind
from driv3r.export.pointclouds.clouds import moving_clouds
from driv3r.export.selection import SelectedLog
from driv3r.geometry.cameras import cached_rays, project
from driv3r.geometry.transforms import apply, invert

VOXEL_M = 0.4
LOW_M, SHAPE = np.array([-40.0, -40.0, -1.0]), (200, 200, 16)
OTHERS, FREE = 0, 17
CLASSES = {"bicycle": 2, "bus": 3, "car": 4, "motorcycle": 6, "pedestrian": 7, "truck": 10}
MARGIN_M = VOXEL_M  # how far behind the surface a voxel's centre may be and still be seen


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """<frame>/labels.npz: semantics, mask_lidar and mask_camera, uint8 [200 200 16].

    Axes are x, y, z of the ego frame (x forward, y left, z up, the origin on the road) from
    -40, -40, -1 m in steps of 0.4 m. Semantics: 17 is free, an object's class is guessed by its
    size, all else that is occupied is 0 (others), for no semantics are known. mask_camera is 1
    where a camera of this frame sees or sees through the voxel by the log's depth; mask_lidar is 0,
    for no LiDAR was asked. What lies in no mask is not known, free or not.
    """
    clouds = dict(moving_clouds(selected))
    kinds = [CLASSES[guess_kind(size)] for size in selected.moving.size_m]
    static = selected.static.points_world
    views: dict[int, list[PosedView]] = {}
    for view in list_views(selected) if "cameras" in selected.layers else ():
        views.setdefault(view.frame, []).append(view)
    for frame, _, world_T_ego in selected.known_frames:
        road_T_world = _lower(invert(world_T_ego), selected.store.rig.ground_z_m)
        semantics = np.full(SHAPE, FREE, np.uint8)
        _fill(semantics, apply(road_T_world, static), OTHERS)
        if frame in clouds:
            points, track = apply(road_T_world, clouds[frame].points), clouds[frame].track_id
            for number in np.unique(track):
                _fill(semantics, points[track == number], kinds[number])
        place = folder / f"{frame:06d}"
        place.mkdir()
        np.savez_compressed(
            place / "labels.npz",
            semantics=semantics,
            mask_lidar=np.zeros(SHAPE, np.uint8),
            mask_camera=_see(selected, views.get(frame, []), invert(road_T_world)),
        )
    return {
        "axes": "x, y, z of the ego frame, its origin on the road",
        "low_m": LOW_M.tolist(),
        "voxel_m": VOXEL_M,
        "semantics": {"free": FREE, "others": OTHERS, **CLASSES},
        "classes": RULE,
        "mask_lidar": "0: no LiDAR was asked",
    }


def _lower(ego_T_world: Float[np.ndarray, "4 4"], ground_z_m: float) -> Float[np.ndarray, "4 4"]:
    """The frame of the car whose origin lies on the road, as Occ3D's does."""
    lowered = ego_T_world.copy()
    lowered[2, 3] -= ground_z_m
    return lowered


def _fill(semantics: UInt8[np.ndarray, "x y z"], points: np.ndarray, label: int) -> None:
    cells = find_cells(points)
    semantics[tuple(cells.T)] = label


def find_cells(points_road: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, "m 3"]:
    """Cells of the points that lie in the grid."""
    cells = np.floor((points_road - LOW_M) / VOXEL_M).astype(np.int64)
    return cells[((cells >= 0) & (cells < SHAPE)).all(-1)]


def _see(
    selected: SelectedLog, views: list[PosedView], world_T_road: Float[np.ndarray, "4 4"]
) -> UInt8[np.ndarray, "x y z"]:
    """Which cells' centres lie before or in the surface that any camera sees there."""
    centers = (LOW_M + (np.indices(SHAPE).reshape(3, -1).T + 0.5) * VOXEL_M).astype(np.float32)
    seen = np.zeros(len(centers), bool)
    for view in views:
        depth_m = selected.store.depth_m(view.frame, view.view)
        cam_T_road = invert(view.world_T_cam) @ world_T_road
        seen |= _is_seen(view, depth_m, apply(cam_T_road, centers))
    return seen.reshape(SHAPE).astype(np.uint8)


def _is_seen(
    view: PosedView, depth_m: Float[np.ndarray, "h w"], points_cam: Float[np.ndarray, "n 3"]
) -> Bool[np.ndarray, "n"]:
    widest = 1.05 * float(np.abs(cached_rays(view.working)[..., :2]).max())  # and half a pixel
    x, y, z = points_cam.T
    ahead = np.flatnonzero((np.abs(x) <= widest * z) & (np.abs(y) <= widest * z))
    uv, z_m, inside = project(view.working, points_cam[ahead].astype(np.float64))
    rows = np.flatnonzero(inside)
    u, v = uv[rows].astype(np.int64).T
    seen = np.zeros(len(points_cam), bool)
    seen[ahead[rows]] = z_m[rows] <= depth_m[v, u] + MARGIN_M  # False where depth is NaN
    return seen
