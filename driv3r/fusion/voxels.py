"""Voxels as one sortable integer each: the tile, then the Morton code within it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from driv3r.errors import GeometryError
from driv3r.store.morton import count_tile_voxels, morton_code, morton_decode

KEY_BITS = 63


@dataclass(frozen=True)
class VoxelGrid:
    """Keys of voxels of `voxel_m`; ascending keys are the order of the store.

    A key has as many low bits as the Morton code within a tile needs; the tile's x, y and z share
    the others. At 0.2 m that reaches 838 km in x and y, and 13 km in z.
    """

    voxel_m: float

    @property
    def edge(self) -> int:
        """Voxels along a tile's edge."""
        return count_tile_voxels(self.voxel_m)

    @property
    def local_bits(self) -> int:
        """Bits of the Morton code within a tile."""
        return 3 * (self.edge - 1).bit_length()

    @property
    def tile_limits(self) -> tuple[int, int, int]:
        """Tile numbers go from minus this to below it, in x, y and z."""
        left = KEY_BITS - self.local_bits
        z_bits = left // 4
        xy_bits = (left - z_bits) // 2
        return 1 << (xy_bits - 1), 1 << (xy_bits - 1), 1 << (z_bits - 1)

    def pack(self, points: Float[np.ndarray, "n 3"]) -> Int64[np.ndarray, "n"]:
        """Keys of floor(points / voxel_m); GeometryError beyond the grid."""
        cell = np.floor(points.astype(np.float64) / self.voxel_m)
        limit = np.array(self.tile_limits, np.float64) * self.edge
        outside = ~((cell >= -limit) & (cell < limit)).all(-1)
        if outside.any():
            raise GeometryError(
                f"{int(outside.sum())} points lie outside the voxel grid, the first at "
                f"{points[outside][0].tolist()} m; expected finite points within "
                f"{(limit * self.voxel_m).tolist()} m: "
                "measure the world from a place near the log, such as its first ego position"
            )
        tile, local = np.divmod(cell.astype(np.int64), self.edge)
        return self.pack_tiles(tile) << self.local_bits | morton_code(local).astype(np.int64)

    def unpack(self, key: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n 3"]:
        """The voxel indices of `pack`."""
        local = morton_decode((key & ((1 << self.local_bits) - 1)).astype(np.uint64))
        return self.unpack_tiles(key >> self.local_bits) * self.edge + local

    def pack_tiles(self, tile: Int64[np.ndarray, "n 3"]) -> Int64[np.ndarray, "n"]:
        """The upper bits of a key."""
        x_limit, y_limit, z_limit = self.tile_limits
        x, y, z = (tile + self.tile_limits).T
        return (x * (2 * y_limit) + y) * (2 * z_limit) + z

    def unpack_tiles(self, key: Int64[np.ndarray, "n"]) -> Int64[np.ndarray, "n 3"]:
        """The tiles of `pack_tiles`."""
        x_limit, y_limit, z_limit = self.tile_limits
        rest, z = np.divmod(key, 2 * z_limit)
        return np.stack([*np.divmod(rest, 2 * y_limit), z], axis=-1) - self.tile_limits
