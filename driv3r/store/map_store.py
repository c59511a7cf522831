"""The static map of several logs: one Zarr group, written tile by tile."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Int8

from driv3r.errors import StoreError
from driv3r.store import files
from driv3r.store.arrays import append_rows, create_array, read_array
from driv3r.store.morton import TILE_M
from driv3r.store.schema import CHUNK_ROWS, CONVENTIONS, list_static_arrays, spec_rows
from driv3r.types import StaticMap

SCHEMA = "driv3r-map/1"
CHANGES = ("unknown", "same", "new", "gone")
EXTRA = {"visits": "int32", "change": "int8"}
Rows = Mapping[str, np.ndarray]  # fields of StaticMap, visits and change


class MapStore:
    """A finished map on the disk; `MapStore.open` is the way in.

    `logs` are the visits in order of time; `first_frame` and `last_frame` of the map count them.
    """

    def __init__(self, path: Path, attributes: dict[str, Any]):
        self.path, self.attributes = path, attributes
        self.logs: tuple[str, ...] = tuple(attributes["logs"])
        self.origin_world: tuple[float, ...] = tuple(attributes["origin_world"])

    @classmethod
    def open(cls, path: Path) -> "MapStore":
        """Open a finished map; StoreError where there is none of this schema."""
        attributes = files.read_attributes(Path(path))
        if attributes is None or attributes.get("schema") != SCHEMA:
            raise StoreError(
                f"{path} holds no map of schema {SCHEMA!r}: make one with "
                "`driv3r fuse LOG... --out map.zarr`"
            )
        return cls(Path(path), attributes)

    def static(self) -> StaticMap:
        """The voxels of all visits, those that are gone among them."""
        names = [f.name for f in dataclasses.fields(StaticMap) if f.name != "voxel_m"]
        rows = {name: read_array(self.path, name) for name in names}
        return StaticMap(self.attributes["voxel_m"], **rows)

    def visits(self) -> Int[np.ndarray, "n"]:
        """How many visits have each voxel."""
        return read_array(self.path, "visits")

    def change(self) -> Int8[np.ndarray, "n"]:
        """What the latest visit tells of each voxel, as rows of CHANGES."""
        return read_array(self.path, "change")


def write_map(
    path: Path, tiles: Iterable[Rows], attributes: dict[str, Any], replace: bool = False
) -> dict[str, int]:
    """Write a map's tiles in their order and let it take its name when it is whole.

    Gives how many voxels have each change. StoreError where something else lies there, or another
    map and not `replace`.
    """
    path = Path(path)
    found = files.read_attributes(path) or {}
    if path.exists() and not (replace and found.get("schema") == SCHEMA):
        what = "a map already: --replace writes it anew" if found else "no map: name another --out"
        raise StoreError(f"{path} exists and is {what}")
    room = path.with_name(f".{path.name}{files.PARTIAL}")
    files.discard(room)
    files.write_group(room, {})
    specs = list_static_arrays(0) | {name: spec_rows(d, "voxel", 0) for name, d in EXTRA.items()}
    for name, spec in specs.items():
        create_array(room, name, spec)
    counts = np.zeros(len(CHANGES), np.int64)
    for rows in _fill_chunks(tiles):
        counts += np.bincount(rows["change"], minlength=len(CHANGES))
        for name, spec in specs.items():
            append_rows(room, name, rows[name].astype(spec.dtype))
    found_changes = {str(name): int(n) for name, n in zip(CHANGES, counts, strict=True)}
    document = {"schema": SCHEMA, "tile_m": TILE_M, "changes": CHANGES, **CONVENTIONS}
    files.write_group(room, document | attributes | {"counts": found_changes})
    files.sync_tree(room)
    files.discard(path)
    room.rename(path)
    files.sync(path.parent)
    return found_changes


def _fill_chunks(tiles: Iterable[Rows]) -> Iterator[Rows]:
    """The same rows in pieces of a chunk or more, so that few chunks are written twice."""
    held: list[Rows] = []
    for rows in tiles:
        held.append(rows)
        if sum(len(part["hits"]) for part in held) >= CHUNK_ROWS:
            yield _join(held)
            held = []
    if held:
        yield _join(held)


def _join(parts: list[Rows]) -> Rows:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
