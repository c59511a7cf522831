"""The still world as sums over voxels: integers, so that no order or split changes a byte."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from driv3r.errors import ConfigError
from driv3r.fusion.evidence import FusedFrame, FusionConfig, find_still, weigh
from driv3r.fusion.voxels import pack_voxels, unpack_voxels
from driv3r.store.morton import morton_order
from driv3r.types import StaticMap

PENDING_ROWS = 1 << 18


@dataclass(frozen=True, eq=False)
class VoxelSums:
    """Sums of observations; `total` has hits, weight and weight * r, g, b."""

    key: Int64[np.ndarray, "n"]
    total: Int64[np.ndarray, "5 n"]
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

    def add(self, frame: FusedFrame) -> None:
        """Count the frame's still pixels; points out of the grid's range raise GeometryError."""
        self._append(sum_frame(frame, self.config))

    def merge(self, other: "StaticFusion") -> None:
        """Take in what another has added, under the same settings (else ConfigError)."""
        if other.config != self.config:
            raise ConfigError(
                f"static maps of different settings can not be merged: {self.config} and "
                f"{other.config}; fuse all parts of a log with one config"
            )
        self._append(add_up(other._runs))

    def result(self) -> StaticMap:
        """The map so far, without voxels of fewer than `min_hits`; more can be added afterwards."""
        self._runs = [add_up(self._runs)]
        sums = self._runs[0]
        kept = np.flatnonzero(sums.total[0] >= self.config.min_hits)
        index = unpack_voxels(sums.key[kept])
        order = morton_order(index, self.config.voxel_m)
        index, kept = index[order], kept[order]
        hits, weight, *rgb_sums = sums.total[:, kept]
        mean = (2 * np.stack(rgb_sums, axis=-1) + weight[:, None]) // (2 * weight[:, None])
        return StaticMap(
            voxel_m=self.config.voxel_m,
            index=index,
            hits=hits,
            weight=weight,
            rgb=mean.astype(np.uint8),
            first_frame=sums.first[kept],
            last_frame=sums.last[kept],
        )

    def _append(self, sums: VoxelSums) -> None:
        # Adding up only once as much is pending as is summed keeps the cost of a frame constant.
        self._runs.append(sums)
        pending = sum(len(run.key) for run in self._runs[1:])
        if pending > max(len(self._runs[0].key), PENDING_ROWS):
            self._runs = [add_up(self._runs)]


def sum_frame(frame: FusedFrame, config: FusionConfig) -> VoxelSums:
    """The sums of one frame's still pixels."""
    still = find_still(frame, config)
    weight = weigh(frame.sigma[still], frame.depth_m[still], config.voxel_m)
    index = np.full(len(weight), frame.index, np.int32)
    total = np.stack([np.ones_like(weight), weight, *(frame.rgb[still].T * weight)])
    key = pack_voxels(frame.points_world[still], config.voxel_m)
    return add_up([VoxelSums(key, total, index, index)])


def add_up(parts: Sequence[VoxelSums]) -> VoxelSums:
    """One row per voxel, by ascending key."""
    if not parts:
        none = np.zeros(0, np.int32)
        return VoxelSums(np.zeros(0, np.int64), np.zeros((5, 0), np.int64), none, none)
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
