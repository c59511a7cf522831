"""The still world as sums over voxels: integers, so that no order or split changes a byte."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int32, Int64

from driv3r.errors import ConfigError
from driv3r.fusion.ahead import work_ahead
from driv3r.fusion.consistency import PixelEvidence
from driv3r.fusion.frames import FrameWindow, FusionConfig
from driv3r.fusion.lidar import observe_sweep
from driv3r.fusion.normals import find_normals, list_around
from driv3r.fusion.resampling import SurfacePlaces
from driv3r.fusion.tiles import Arrays, TileCache
from driv3r.fusion.voxels import VoxelGrid
from driv3r.kernels.view_consistency import count_views
from driv3r.kernels.voxel_sums import join_sums, sum_observations
from driv3r.store.morton import TILE_M
from driv3r.store.schema import list_static_arrays
from driv3r.types import FINE, StaticMap, place_surface

PENDING_ROWS = 1 << 18
HELD_BYTES = 64 << 20  # of tiles' sums, and as much again of their voxels
FULL_WEIGHT = 16
# Rows of the sums: pixels, weight, and weight times red, green, blue, the place in the voxel and
# the direction to the camera in 1/127.
HITS, WEIGHT, RGB, PLACE, TOWARDS = 0, 1, slice(2, 5), slice(5, 8), slice(8, 11)
ROWS = 11


@dataclass(frozen=True, eq=False)
class VoxelSums:
    """Sums of observations, a column a voxel by ascending key."""

    key: Int64[np.ndarray, "n"]
    total: Int64[np.ndarray, "11 n"]
    first: Int32[np.ndarray, "n"]
    last: Int32[np.ndarray, "n"]


class StaticFusion:
    """Adds the still pixels of frames into voxels, tile by tile; what is not at hand is on disk.

    Parts of a log may be fused apart and merged: the result is the same to the byte. A frame counts
    as often as it is added.
    """

    def __init__(self, config: FusionConfig):
        self.config, self.grid = config, VoxelGrid(config.voxel_m)
        self._sums = TileCache(HELD_BYTES)
        self._pending: list[VoxelSums] = []

    def add(self, sums: VoxelSums) -> None:
        """Count the sums of some still pixels."""
        self._pending.append(sums)
        if sum(len(pending.key) for pending in self._pending) > PENDING_ROWS:
            self._settle()

    def merge(self, other: "StaticFusion") -> None:
        """Take in what another has added, under the same settings (else ConfigError)."""
        if other.config != self.config:
            raise ConfigError(
                f"static maps of different settings can not be merged: {self.config} and "
                f"{other.config}; fuse all parts of a log with one config"
            )
        other._settle()
        for tile in other._sums:
            self.add(VoxelSums(**other._sums[tile]))

    def result(self, frames: FrameWindow, threads: int = 1) -> StaticMap:
        """The map so far; more can be added afterwards."""
        return join_maps(self.config.voxel_m, list(self.list_tiles(frames, threads)))

    def list_tiles(self, frames: FrameWindow, threads: int = 1) -> Iterator[StaticMap]:
        """The map's tiles in the order of the store.

        Left out are voxels of fewer than `min_hits` pixels, and those that no fewer of the frames'
        views look through than see a surface there.
        """
        tiles = self.describe(self.config.min_hits)
        cameras = CameraSensors(frames, self.config, self.config.voxel_m)
        count_evidence(tiles, self.grid, cameras, self.config)
        if self.config.source != "cameras":
            seen = self.describe(self.config.min_hits)
            count_evidence(seen, self.grid, LidarSensor(frames), self.config)
            _trust_lidar(tiles, seen)
        for tile in tiles:
            tiles[tile] = _drop_free(tiles[tile], self.config.max_misses)
        yield from work_ahead(self._list_makers(tiles), threads)

    def _list_makers(self, tiles: TileCache) -> Iterator[Callable[[], StaticMap]]:
        for tile in tiles:
            around = [tiles[near] for near in list_around(tile, self.grid) if near in tiles]
            if len(tiles[tile]["hits"]):
                yield partial(_make_map, tiles[tile], around, self.grid)

    def _settle(self) -> None:
        """Add what is pending to its tiles."""
        sums, self._pending = add_up(self._pending), []
        for tile, part in _split_tiles(sums, self.grid):
            if tile in self._sums:
                part = add_up([VoxelSums(**self._sums[tile]), part])
            self._sums[tile] = dict(vars(part))

    def describe(self, min_hits: int) -> TileCache:
        """Every tile's voxels that have pixels enough: fields of StaticMap, `towards`, `sees`."""
        self._settle()
        tiles = TileCache(HELD_BYTES)
        for tile in self._sums:
            sums = VoxelSums(**self._sums[tile])
            kept = sums.total[HITS] >= min_hits
            if kept.any():
                tiles[tile] = _describe(sums, kept, self.grid)
        return tiles


def sum_pixels(
    static: PixelEvidence, config: FusionConfig, places: SurfacePlaces | None = None
) -> VoxelSums:
    """The sums of a frame's still pixels; points out of the grid's range raise GeometryError.

    Weight is the inverse variance of a pixel's place in integers, 1 to 16: full from a quarter of
    a voxel down. `places` are those of the surface that the pixels tell of, else their own.
    """
    if places is None:
        places = SurfacePlaces(np.arange(len(static)), static.point_world)
    key = VoxelGrid(config.voxel_m).pack(places.point_world)
    order, start = _group(key)
    total = np.zeros((ROWS, len(start)), np.int64)
    sum_observations(
        order, start, places.point_world, places.pixel, static.ray_world, static.error_m,
        static.rgb, config.voxel_m, FINE, FULL_WEIGHT, total,
    )  # fmt: skip
    index = np.full(len(start), static.frame, np.int32)
    return VoxelSums(key[order[start]], total, index, index)


def find_offsets(
    points_world: Float[np.ndarray, "n 3"], voxel_m: float
) -> Int64[np.ndarray, "n 3"]:
    """Places of points in their voxels, in 1/256 of a side."""
    cell = points_world / voxel_m
    return np.floor((cell - np.floor(cell)) * FINE).astype(np.int64)


def add_up(parts: Sequence[VoxelSums]) -> VoxelSums:
    """One column per voxel, by ascending key."""
    if not parts:
        none = np.zeros(0, np.int32)
        return VoxelSums(np.zeros(0, np.int64), np.zeros((ROWS, 0), np.int64), none, none)
    key = np.concatenate([part.key for part in parts])
    order, start = _group(key)
    total = np.concatenate([part.total for part in parts], axis=1)
    first, last = (np.concatenate([getattr(p, end) for p in parts]) for end in ("first", "last"))
    joined = VoxelSums(
        key[order[start]],
        np.zeros((ROWS, len(start)), np.int64),
        np.empty(len(start), np.int32),
        np.empty(len(start), np.int32),
    )
    join_sums(order, start, total, first, last, joined.total, joined.first, joined.last)
    return joined


def _group(key: Int64[np.ndarray, "n"]) -> tuple[np.ndarray, np.ndarray]:
    """The order of ascending keys, and where in it each key begins."""
    order = np.argsort(key, kind="stable")  # fast on runs that are already sorted
    ordered = key[order]
    return order, np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))


def join_maps(voxel_m: float, parts: Sequence[StaticMap]) -> StaticMap:
    """Tiles of one map, in the order given; without any, an empty map."""
    empty = {n: np.zeros(spec.shape, spec.dtype) for n, spec in list_static_arrays(0).items()}
    rows = {
        name: np.concatenate([none, *(getattr(part, name) for part in parts)])
        for name, none in empty.items()
    }
    return StaticMap(voxel_m, **rows)


def _split_tiles(sums: VoxelSums, grid: VoxelGrid) -> Iterator[tuple[int, VoxelSums]]:
    """The sums of each tile; a tile's keys follow one another."""
    tile = sums.key >> grid.local_bits
    start = np.flatnonzero(np.diff(tile, prepend=tile[:1] - 1))
    for rows in np.split(np.arange(len(tile)), start[1:]) if len(tile) else ():
        own = slice(rows[0], rows[-1] + 1)
        part = VoxelSums(sums.key[own], sums.total[:, own], sums.first[own], sums.last[own])
        yield int(tile[rows[0]]), part


def _describe(sums: VoxelSums, kept: np.ndarray, grid: VoxelGrid) -> Arrays:
    total = sums.total[:, kept]
    weight = total[WEIGHT]
    mean = (2 * total + weight) // (2 * weight)
    n = len(weight)
    return {
        "index": grid.unpack(sums.key[kept]).astype(np.int32),
        "offset": np.clip(mean[PLACE].T, 0, FINE - 1).astype(np.uint8),
        "hits": total[HITS],
        "misses": np.zeros(n, np.int32),
        "sees": np.zeros(n, np.int32),
        "by_lidar": np.zeros(n, bool),
        "weight": weight,
        "rgb": mean[RGB].T.astype(np.uint8),
        "towards": mean[TOWARDS].T.astype(np.int8),
        "first_frame": sums.first[kept],
        "last_frame": sums.last[kept],
    }


def _drop_free(voxels: Arrays, max_misses: float) -> Arrays:
    # Sweeps are exact: one that looks through is believed no more than one that sees.
    share = np.where(voxels["by_lidar"], 1.0, max_misses)
    kept = voxels["misses"] < np.maximum(share * voxels["sees"], 1)
    return {name: array[kept] for name, array in voxels.items()}


def _make_map(voxels: Arrays, around: Sequence[Arrays], grid: VoxelGrid) -> StaticMap:
    normal = find_normals(voxels, around, grid)
    plain = {name: a for name, a in voxels.items() if name not in ("towards", "sees", "by_lidar")}
    return StaticMap(grid.voxel_m, normal=normal, **plain)


@runtime_checkable
class RangeSensor(Protocol):
    """What measures ranges in a log's frames: its cameras, or its LiDAR."""

    def __len__(self) -> int:
        """How many frames there are."""
        ...

    def centers(self, index: int) -> Float[np.ndarray, "c 3"]:
        """Where a frame looks from; none where it does not."""
        ...

    def observe(
        self,
        index: int,
        points_world: Float[np.ndarray, "n 3"],
        sees: Int32[np.ndarray, "n"],
        misses: Int32[np.ndarray, "n"],
    ) -> None:
        """Add to each point how often a frame sees a surface there, or looks through it."""
        ...


class CameraSensors:
    """The depth images of a log; `base_error_m` is added to their stated errors."""

    def __init__(self, frames: FrameWindow, config: FusionConfig, base_error_m: float):
        self._frames = frames
        self._limits = config.tolerance, base_error_m, config.max_depth_m

    def __len__(self) -> int:
        return len(self._frames)

    def centers(self, index: int) -> Float[np.ndarray, "c 3"]:
        """The cameras that have a pose."""
        frame = self._frames[index]
        return frame.world_T_cam[frame.placed.view, :3, 3]

    def observe(self, index, points_world, sees, misses):
        """Compare with the depth images."""
        views = self._frames[index].placed
        pixel, z_m = views.locate(points_world)
        count_views(pixel, z_m, *views.maps, *self._limits, sees, misses)


class LidarSensor:
    """The LiDAR of a log."""

    def __init__(self, frames: FrameWindow):
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def centers(self, index: int) -> Float[np.ndarray, "c 3"]:
        """The LiDAR, where the frame has a sweep."""
        sweep = self._frames.sweep(index)
        return np.zeros((0, 3)) if sweep is None else sweep.world_T_lidar[None, :3, 3]

    def observe(self, index, points_world, sees, misses):
        """Compare with the range image."""
        sweep = self._frames.sweep(index)
        if sweep is not None:
            observe_sweep(sweep.image, points_world, sees, misses)


def count_evidence(
    tiles: TileCache,
    grid: VoxelGrid,
    sensor: RangeSensor,
    config: FusionConfig,
    report: Callable[[int], None] = lambda done: None,
) -> None:
    """Add to every tile's `sees` and `misses` how often a surface is seen, or looked through."""
    number = np.array(list(tiles), np.int64)
    middle = (grid.unpack_tiles(number) + 0.5) * grid.edge * grid.voxel_m
    reach_m = 1.7 * config.max_depth_m + TILE_M  # depth is z: a ray at 54 degrees reaches so far
    for index in range(len(sensor) if len(tiles) else 0):
        centers = sensor.centers(index)
        gap_m = np.linalg.norm(middle[:, None] - centers, axis=-1).min(1, initial=np.inf)
        for tile in number[gap_m <= reach_m].tolist():
            voxels = tiles[tile]
            points = place_surface(voxels["index"], voxels["offset"]) * grid.voxel_m
            sensor.observe(index, points, voxels["sees"], voxels["misses"])
            tiles[tile] = voxels
        report(index + 1)


def _trust_lidar(tiles: TileCache, seen: TileCache) -> None:
    """Where sweeps tell of a voxel, their word counts, and no depth image's."""
    for tile in tiles:
        voxels, by_lidar = tiles[tile], seen[tile]
        told = by_lidar["sees"] + by_lidar["misses"] > 0
        names = ("sees", "misses")
        counts = {n: np.where(told, by_lidar[n], voxels[n]) for n in names}
        tiles[tile] = voxels | counts | {"by_lidar": told}
