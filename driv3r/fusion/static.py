"""The still world as sums over voxels: integers, so that no order or split changes a byte."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from driv3r.errors import ConfigError
from driv3r.fusion.consistency import PixelEvidence, lens_of, list_placed
from driv3r.fusion.frames import FrameWindow, FusionConfig
from driv3r.fusion.voxels import pack_voxels, unpack_voxels
from driv3r.geometry.transforms import invert
from driv3r.kernels.view_consistency import count_views
from driv3r.store.morton import morton_order
from driv3r.types import StaticMap

PENDING_ROWS = 1 << 18
FULL_WEIGHT = 16
FINE = 256  # steps of a surface's place along the side of its voxel
# Rows of the sums: pixels, weight, and weight times red, green, blue and the place in the voxel.
HITS, WEIGHT, RGB, PLACE = 0, 1, slice(2, 5), slice(5, 8)


@dataclass(frozen=True, eq=False)
class VoxelSums:
    """Sums of observations, a column a voxel by ascending key."""

    key: Int64[np.ndarray, "n"]
    total: Int64[np.ndarray, "8 n"]
    first: Int32[np.ndarray, "n"]
    last: Int32[np.ndarray, "n"]


class StaticFusion:
    """Adds the still pixels of frames into voxels; memory grows with the map, not with frames.

    Parts of a log may be fused apart and merged: the result is the same to the byte. A frame counts
    as often as it is added.
    """

    def __init__(self, config: FusionConfig):
        self.config = config
        self._runs = [add_up([])]

    def add(self, sums: VoxelSums) -> None:
        """Count the sums of some still pixels."""
        # Adding up only once as much is pending as is summed keeps the cost of a frame constant.
        self._runs.append(sums)
        pending = sum(len(run.key) for run in self._runs[1:])
        if pending > max(len(self._runs[0].key), PENDING_ROWS):
            self._runs = [add_up(self._runs)]

    def merge(self, other: "StaticFusion") -> None:
        """Take in what another has added, under the same settings (else ConfigError)."""
        if other.config != self.config:
            raise ConfigError(
                f"static maps of different settings can not be merged: {self.config} and "
                f"{other.config}; fuse all parts of a log with one config"
            )
        self.add(add_up(other._runs))

    def result(self, frames: FrameWindow) -> StaticMap:
        """The map so far; more can be added afterwards.

        Left out are voxels of fewer than `min_hits` pixels, and those that no fewer of the frames'
        views look through than see a surface there.
        """
        self._runs = [add_up(self._runs)]
        sums = self._runs[0]
        kept = np.flatnonzero(sums.total[HITS] >= self.config.min_hits)
        index = unpack_voxels(sums.key[kept])
        order = morton_order(index, self.config.voxel_m)
        static = self._describe(index[order], kept[order])
        sees, through = count_evidence(static, frames, self.config)
        free = through >= np.maximum(sees, 1)
        return _choose(replace(static, misses=through), ~free)

    def _describe(self, index: Int32[np.ndarray, "n 3"], rows: Int[np.ndarray, "n"]) -> StaticMap:
        sums = self._runs[0]
        total = sums.total[:, rows]
        weight = total[WEIGHT]
        mean = (2 * total + weight) // (2 * weight)
        return StaticMap(
            voxel_m=self.config.voxel_m,
            index=index,
            offset=np.clip(mean[PLACE].T, 0, FINE - 1).astype(np.uint8),
            hits=total[HITS],
            misses=np.zeros(len(index), np.int32),
            weight=weight,
            rgb=mean[RGB].T.astype(np.uint8),
            first_frame=sums.first[rows],
            last_frame=sums.last[rows],
        )


def sum_pixels(static: PixelEvidence, config: FusionConfig) -> VoxelSums:
    """The sums of a frame's still pixels; points out of the grid's range raise GeometryError.

    Weight is the inverse variance of a pixel's place in integers, 1 to 16: full from a quarter of
    a voxel down.
    """
    relative = config.voxel_m / 4 / np.maximum(static.error_m, config.voxel_m / 4)
    weight = np.maximum(np.rint(FULL_WEIGHT * relative**2), 1).astype(np.int64)
    cell = static.point_world / config.voxel_m
    place = np.floor((cell - np.floor(cell)) * FINE).astype(np.int64)
    total = np.stack([np.ones_like(weight), weight, *(static.rgb.T * weight), *(place.T * weight)])
    index = np.full(len(weight), static.frame, np.int32)
    key = pack_voxels(static.point_world, config.voxel_m)
    return add_up([VoxelSums(key, total, index, index)])


def add_up(parts: Sequence[VoxelSums]) -> VoxelSums:
    """One column per voxel, by ascending key."""
    if not parts:
        none = np.zeros(0, np.int32)
        return VoxelSums(np.zeros(0, np.int64), np.zeros((8, 0), np.int64), none, none)
    key = np.concatenate([part.key for part in parts])
    order = np.argsort(key, kind="stable")  # fast on runs that are already sorted
    key = key[order]
    start = np.flatnonzero(np.diff(key, prepend=key[:1] - 1))
    total = np.concatenate([part.total for part in parts], axis=1)[:, order]
    first = np.concatenate([part.first for part in parts])[order]
    last = np.concatenate([part.last for part in parts])[order]
    return VoxelSums(
        key[start],
        np.add.reduceat(total, start, axis=1),
        np.minimum.reduceat(first, start),
        np.maximum.reduceat(last, start),
    )


def count_evidence(
    static: StaticMap, frames: FrameWindow, config: FusionConfig
) -> tuple[Int32[np.ndarray, "n"], Int32[np.ndarray, "n"]]:
    """How many views see a surface in each voxel, and how many look through it."""
    points = static.points_world
    sees, through = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    for index in range(len(frames)):
        frame = frames[index]
        for view in list_placed(frame):
            camera = frame.cameras[view]
            count_views(
                points, invert(frame.world_T_cam[view]), camera.K, lens_of(camera.distortion),
                frame.depth_m[view], frame.sigma[view],
                config.tolerance, config.voxel_m, config.max_depth_m, sees, through,
            )  # fmt: skip
    return sees, through


def _choose(static: StaticMap, kept: Bool[np.ndarray, "n"]) -> StaticMap:
    rows = [f.name for f in fields(static) if f.name != "voxel_m"]
    return replace(static, **{name: getattr(static, name)[kept] for name in rows})
