"""Several logs of one place as one static map, with what has changed since."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Int8, Int32
from scipy.spatial import KDTree

from driv3r.fusion.frames import FrameWindow, FusionConfig
from driv3r.fusion.normals import find_normals, list_around
from driv3r.fusion.static import (
    CameraSensors,
    StaticFusion,
    VoxelSums,
    add_up,
    count_evidence,
    find_offsets,
)
from driv3r.fusion.tiles import Arrays, TileCache
from driv3r.fusion.voxels import VoxelGrid
from driv3r.store.map_store import CHANGES
from driv3r.types import StaticMap

SAME, NEW, GONE = (CHANGES.index(name) for name in ("same", "new", "gone"))
LEAST_MISSES = 3  # views that look through a voxel before it counts as gone
NEAR_M = 1.0  # between voxels of two maps that are held to be one surface
BASE_ERROR_M = 0.5  # between two drives: what their paths differ by over a few hundred metres


@dataclass(frozen=True, eq=False)
class Visit:
    """One log of the place: its map and its frames, both in the world of the joint map.

    `read_sums` reads the map, as `place_map` gives it.
    """

    name: str
    read_sums: Callable[[], VoxelSums]
    frames: FrameWindow


@dataclass(frozen=True, eq=False)
class MapTile:
    """A tile of the joint map; `first_frame` and `last_frame` of `static` count visits.

    `visits` counts those that have the voxel, `change` tells the latest against what was known
    before it: unknown (one visit tells, or nothing is seen), same, new or gone.
    """

    static: StaticMap
    visits: Int32[np.ndarray, "n"]
    change: Int8[np.ndarray, "n"]


def fuse_visits(
    visits: Sequence[Visit],
    config: FusionConfig,
    report: Callable[[str, int], None] = lambda name, done: None,
) -> Iterator[MapTile]:
    """Join visits in order of time, tile by tile; what is not at hand lies on the disk.

    Sums add up, so that the order of visits of one time changes nothing but `change`. `report`
    hears a visit's name and how many of its frames have been held against the map.
    """
    joint, grid = StaticFusion(config), VoxelGrid(config.voxel_m)
    for visit in visits:
        joint.add(visit.read_sums())
    tiles = joint.describe(min_hits=1)
    for visit in visits:
        _compare_visit(tiles, grid, visit, config, report)
    for tile in tiles:
        voxels = tiles[tile]
        around = [tiles[near] for near in list_around(tile, grid) if near in tiles]
        yield _make_tile(voxels, find_normals(voxels, around, grid), grid)


def place_map(static: StaticMap, shift_m: Float[np.ndarray, "3"], number: int) -> VoxelSums:
    """A finished map, moved, as sums again: of means rounded to what a map keeps.

    `number` is its visit's.
    """
    points = static.points_world + shift_m
    place = find_offsets(points, static.voxel_m)
    means = np.concatenate([static.rgb.T, place.T, static.normal.T]).astype(np.int64)
    weight = static.weight.astype(np.int64)
    total = np.concatenate([static.hits[None], weight[None], means * weight])
    visit = np.full(len(weight), number, np.int32)
    return add_up([VoxelSums(VoxelGrid(static.voxel_m).pack(points), total, visit, visit)])


def _compare_visit(
    tiles: TileCache, grid: VoxelGrid, visit: Visit, config: FusionConfig,
    report: Callable[[str, int], None],
) -> None:  # fmt: skip
    """Hold the joint map against a visit's views: where it saw a surface, or looked through."""
    heard = partial(report, visit.name)
    cameras = CameraSensors(visit.frames, config, BASE_ERROR_M)
    count_evidence(tiles, grid, cameras, config, heard)
    mine = visit.read_sums().key
    for tile in tiles:
        voxels = tiles[tile]
        key = grid.pack((voxels["index"] + 0.5) * grid.voxel_m)
        tiles[tile] = _take_note(voxels, np.isin(key, mine, assume_unique=True))


def _take_note(voxels: Arrays, has: np.ndarray) -> Arrays:
    """Compare what a visit tells of a tile's voxels with what is known (1 there, -1 not there)."""
    n = len(has)
    sees, misses = voxels["sees"], voxels["misses"]
    zeros = np.zeros(n, np.int8)
    latest = voxels.get("latest", zeros)
    gone = (misses >= LEAST_MISSES) & (misses > 3 * sees) & ~has
    now = np.where(has | ((sees > 0) & (sees >= misses)), 1, np.where(gone, -1, 0)).astype(np.int8)
    known = now != 0
    change = voxels.get("change", zeros).copy()
    for then, today, name in ((1, 1, SAME), (-1, 1, NEW), (1, -1, GONE), (-1, -1, GONE)):
        change[known & (latest == then) & (now == today)] = name
    return voxels | {
        "sees": np.zeros(n, np.int32),
        "misses": np.zeros(n, np.int32),
        "latest": np.where(known, now, latest),
        "change": change,
        "visits": voxels.get("visits", np.zeros(n, np.int32)) + has,
        "all_misses": voxels.get("all_misses", np.zeros(n, np.int32)) + misses,
    }


def _make_tile(voxels: Arrays, normal: np.ndarray, grid: VoxelGrid) -> MapTile:
    names = ("index", "offset", "hits", "weight", "rgb", "first_frame", "last_frame")
    static = StaticMap(
        voxel_m=grid.voxel_m,
        misses=voxels["all_misses"],
        normal=normal,
        **{name: voxels[name] for name in names},
    )
    return MapTile(static, voxels["visits"], voxels["change"])


def measure_gap(
    static: StaticMap, other: StaticMap, shift_m: Float[np.ndarray, "3"]
) -> tuple[float, int]:
    """Median distance (m) between two maps along the normals of the first, and over how many.

    It tells how well two drives' paths agree: of voxels within a metre of each other, when the
    other map is moved by `shift_m`. NaN where there are none.
    """
    known = static.normal.any(-1)
    points, normals = static.points_world[known], static.normals_world[known]
    others = other.points_world + shift_m
    if not len(points) or not len(others):
        return float("nan"), 0
    gap_m, nearest = map(np.asarray, KDTree(others).query(points, distance_upper_bound=NEAR_M))
    near = np.isfinite(gap_m)
    off_m = np.abs(((others[nearest[near]] - points[near]) * normals[near]).sum(-1))
    return (float(np.median(off_m)) if len(off_m) else float("nan")), int(near.sum())
