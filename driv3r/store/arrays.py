"""The only file that creates, writes and reads Zarr arrays: codecs, layout and error handling."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import LocalStore

from driv3r.errors import StoreError
from driv3r.store.schema import ArraySpec

_CONFIG = {
    "async.concurrency": 2,  # a log's arrays are small, and many workers share the machine
    "array.write_empty_chunks": True,  # so that a missing file always means damage
}


def create_array(
    folder: Path, name: str, spec: ArraySpec, attributes: dict[str, Any] | None = None
) -> None:
    """Write an empty array's metadata. The codecs are of the v3 specification.

    crc32c comes last, so that no reader takes a flipped bit for a value.
    """
    try:
        with zarr.config.set(_CONFIG):
            zarr.create_array(
                LocalStore(folder),
                name=name,
                shape=spec.shape,
                dtype=spec.dtype,
                chunks=spec.chunks,
                shards=spec.shards,
                fill_value=spec.fill,
                compressors=[
                    BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle"),
                    Crc32cCodec(),
                ],
                chunk_key_encoding={"name": "default", "separator": "."},
                dimension_names=spec.dims,
                attributes=attributes,
            )
    except Exception as error:  # zarr's own errors are of many kinds
        raise StoreError(f"could not create {folder / name} as {spec}: {error}") from error


def write_array(folder: Path, name: str, values: np.ndarray, at: int | slice = slice(None)) -> None:
    """Write whole chunks, also those that hold nothing but the fill value."""
    try:
        with zarr.config.set(_CONFIG):
            array = zarr.open_array(LocalStore(folder), path=name, mode="r+")
            if array.size:
                array[at] = values
    except Exception as error:  # zarr's own errors are of many kinds; OSError is the disk's
        raise StoreError(f"could not write {folder / name}: {error}") from error


def append_rows(folder: Path, name: str, values: np.ndarray) -> None:
    """Make an array longer by some rows."""
    try:
        with zarr.config.set(_CONFIG):
            zarr.open_array(LocalStore(folder), path=name, mode="r+").append(values)
    except Exception as error:  # zarr's own errors are of many kinds; OSError is the disk's
        raise StoreError(f"could not write {folder / name}: {error}") from error


def open_array(folder: Path, name: str) -> zarr.Array:
    """Open one array for reading; StoreError where it is absent or its metadata is broken."""
    try:
        return zarr.open_array(LocalStore(folder, read_only=True), path=name, mode="r")
    except Exception as error:
        raise _damaged(folder / name, error) from error


def read_array(folder: Path, name: str, at: Any = ...) -> np.ndarray:
    """Read an array or a part of it; StoreError where chunks are missing or damaged."""
    array = open_array(folder, name)
    try:
        with zarr.config.set(_CONFIG):
            if at is ... and array.nchunks_initialized < array.nchunks:
                raise FileNotFoundError("chunks are missing")
            return np.asarray(array[at])
    except Exception as error:
        raise _damaged(folder / name, error) from error


def shard_path(name: str, frame: int) -> str:
    """The file of one surround frame in one array of views/."""
    return f"{name}/c.{frame}.0.0.0"


def read_view(folder: Path, name: str, frame: int, view: int | slice) -> np.ndarray:
    """Read one surround frame, or one view of it, from an array of views/."""
    # zarr takes a missing file for an empty one, which would read as "no depth"
    if not (folder / shard_path(name, frame)).is_file():
        raise _damaged(folder / shard_path(name, frame), "the file is missing")
    return read_array(folder, name, (frame, view))


def _damaged(path: Path, cause: object) -> StoreError:
    return StoreError(
        f"{path} can not be read ({cause}): `driv3r verify` lists the damage; delete the log's "
        "folder and run the same `driv3r process` command again"
    )
