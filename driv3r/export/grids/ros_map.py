"""A 2D occupancy map as ROS's map_server (map_server2d, nav2) reads it: map.png and map.yaml."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from scipy.spatial import KDTree

from driv3r.errors import ConfigError
from driv3r.export.cameras.depth import save_png
from driv3r.export.selection import SelectedLog
from driv3r.geometry.transforms import apply, invert

OCCUPIED, UNKNOWN, FREE = 0, 205, 254  # grey values, as map_saver writes them
LOW_M, HIGH_M = 0.4, 2.5  # height over the road of what a car would hit
ROAD_M = 0.3  # half the height of the slab that counts as road
MOST_CELLS = 20_000  # along a side


def write(selected: SelectedLog, folder: Path) -> dict[str, Any]:
    """map.png (8-bit grey, its first row at the greatest y) and map.yaml, one cell a voxel.

    Axes are those of the log's world: x right, y up in the image; `origin` is the low corner of the
    lower left pixel, in metres. A cell is occupied (0) where the static map has points 0.4 to 2.5 m
    over the road, free (254) where it has road only or the car drove, else unknown (205). The road
    is the plane under the car where the path is nearest.
    """
    static = selected.static
    points = static.points_world
    path = np.array([pose for _, _, pose in selected.known_frames]).reshape(-1, 4, 4)
    if not len(points) or not len(path):
        raise ConfigError(
            f"log {selected.store.log_id}: a 2D map needs static points and a path, the selection "
            f"has {len(points)} and {len(path)}: widen --min-weight, --frames or --crop"
        )
    resolution = static.voxel_m
    places = np.concatenate([points[:, :2], path[:, :2, 3]])
    low = np.floor(places.min(axis=0) / resolution).astype(np.int64)
    size = np.floor(places.max(axis=0) / resolution).astype(np.int64) - low + 1
    if size.max() > MOST_CELLS:
        raise ConfigError(f"a map of {size.tolist()} cells is too large: choose a part with --crop")
    heights = find_heights(points, path, selected.store.rig.ground_z_m)
    grid = np.full(size, UNKNOWN, np.uint8)
    _mark(grid, low, points[np.abs(heights) < ROAD_M], resolution, FREE)
    _mark(grid, low, path[:, :3, 3], resolution, FREE)
    _mark(grid, low, points[(heights >= LOW_M) & (heights <= HIGH_M)], resolution, OCCUPIED)
    save_png(folder / "map.png", np.ascontiguousarray(grid.T[::-1]))
    origin = [float(value) for value in low * resolution]
    lines = [
        "image: map.png",
        "mode: trinary",
        f"resolution: {resolution:g}",
        f"origin: [{origin[0]:.6f}, {origin[1]:.6f}, 0.0]",
        "negate: 0",
        "occupied_thresh: 0.65",
        "free_thresh: 0.196",
    ]
    (folder / "map.yaml").write_text("\n".join(lines) + "\n")
    shares = {"occupied": OCCUPIED, "free": FREE, "unknown": UNKNOWN}
    return {name: int((grid == value).sum()) for name, value in shares.items()}


def find_heights(
    points_world: Float[np.ndarray, "n 3"],
    world_T_ego: Float[np.ndarray, "t 4 4"],
    ground_z_m: float,
) -> Float[np.ndarray, "n"]:
    """Height of points over the road under the car where it was nearest (in x and y)."""
    nearest = np.asarray(KDTree(world_T_ego[:, :2, 3]).query(points_world[:, :2])[1])
    heights = np.zeros(len(points_world))
    for number in np.unique(nearest):
        rows = nearest == number
        heights[rows] = apply(invert(world_T_ego[number]), points_world[rows])[:, 2] - ground_z_m
    return heights


def _mark(
    grid: UInt8[np.ndarray, "x y"], low: np.ndarray, points: np.ndarray, cell_m: float, value: int
) -> None:
    cells = np.floor(points[:, :2] / cell_m).astype(np.int64) - low
    grid[tuple(cells.T)] = value
