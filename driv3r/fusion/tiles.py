"""Arrays by tile (or by frame), of which only some are held in memory."""

import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]


class TileCache:
    """Named arrays a tile; those used least lately are written to a temporary folder.

    At most `most_bytes` are held, and the tile in use. The folder goes with the object.
    """

    def __init__(self, most_bytes: int):
        self._most_bytes, self._bytes = most_bytes, 0
        self._held: OrderedDict[int, Arrays] = OrderedDict()
        self._written: set[int] = set()  # those whose file is what was last put
        self._tiles: set[int] = set()
        self._folder: Path | None = None

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._tiles))

    def __len__(self) -> int:
        return len(self._tiles)

    def __contains__(self, tile: int) -> bool:
        return tile in self._tiles

    def __getitem__(self, tile: int) -> Arrays:
        if tile in self._held:
            self._held.move_to_end(tile)
            return self._held[tile]
        if tile not in self._tiles:
            raise KeyError(tile)
        with np.load(self._file(tile)) as stored:
            arrays = {name: stored[name] for name in stored.files}
        self._hold(tile, arrays)
        return arrays

    def __setitem__(self, tile: int, arrays: Arrays) -> None:
        self._tiles.add(tile)
        self._written.discard(tile)
        if tile in self._held:
            self._bytes -= _count_bytes(self._held.pop(tile))
        self._hold(tile, arrays)

    def _hold(self, tile: int, arrays: Arrays) -> None:
        self._held[tile] = arrays
        self._bytes += _count_bytes(arrays)
        while self._bytes > self._most_bytes and len(self._held) > 1:
            old, spilled = self._held.popitem(last=False)
            self._bytes -= _count_bytes(spilled)
            if old not in self._written:
                np.savez(self._file(old), **spilled)
                self._written.add(old)

    def _file(self, tile: int) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="driv3r-tiles-"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return self._folder / f"{tile}.npz"


def _count_bytes(arrays: Arrays) -> int:
    return sum(array.nbytes for array in arrays.values())
