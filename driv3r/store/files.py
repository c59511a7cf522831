"""Files that survive kill -9 and power loss: atomic writes, digests, group metadata as JSON."""

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.errors import StoreError

PARTIAL = ".partial"  # zarr's LocalStore names its own temporary files so, too


def sync(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below, and the folder itself, leaves first."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(path, name))
        sync(Path(path))


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that a reader, or a crash, finds the old bytes or the new, never a mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> list[str]:
    """Every file below as a relative path with forward slashes, sorted."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())


def discard(folder: Path) -> None:
    """Delete a folder that may not be there; it leaves its name at once, whole."""
    doomed = folder.with_name(f".{folder.name}.discarded{PARTIAL}")
    shutil.rmtree(doomed, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def clear_partial(folder: Path) -> None:
    """Delete what a killed writer left half-written below the folder."""
    for path in sorted(folder.rglob(f"*{PARTIAL}")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def dump_json(document: Any) -> bytes:
    """JSON with one spelling per document; StoreError where it holds more than JSON can."""
    try:
        return json.dumps(
            document, sort_keys=True, allow_nan=False, indent=1, default=_to_plain
        ).encode()
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"metadata must be strings, finite numbers, lists and dicts: {error}"
        ) from error


def _to_plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def dump_group(attributes: dict[str, Any]) -> bytes:
    """The zarr.json of a Zarr v3 group."""
    return dump_json({"attributes": attributes, "node_type": "group", "zarr_format": 3})


def write_group(folder: Path, attributes: dict[str, Any]) -> None:
    """Make a folder a Zarr v3 group, or replace its attributes, atomically."""
    write_atomically(folder / "zarr.json", dump_group(attributes))


def read_attributes(folder: Path) -> dict[str, Any] | None:
    """Attributes of a Zarr v3 group, None where it is absent or unreadable."""
    try:
        attributes = json.loads((folder / "zarr.json").read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return attributes if isinstance(attributes, dict) else None


def is_complete(path: Path) -> bool:
    """Whether a finished log lies there."""
    return (read_state(path) or ("",))[0] == "complete"


def read_state(path: Path) -> tuple[str, str] | None:
    """State and header hash of a driv3r store from its root metadata alone.

    None where there is none. Reads one small JSON file, so finished logs are passed by quickly.
    """
    attributes = read_attributes(path) or {}
    if not str(attributes.get("schema", "")).startswith("driv3r/"):
        return None
    return str(attributes.get("state", "")), str(attributes.get("header_hash", ""))
