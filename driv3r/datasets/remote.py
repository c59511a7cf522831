"""Dataset roots in an object store (gs://, s3://, any of fsspec's), of which logs are fetched.

The store is listed once; a log's files are fetched into a local folder when it is read.
"""

import importlib
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driv3r.datasets.reader import Reader, Root
from driv3r.errors import ConfigError, DatasetError
from driv3r.types import Scene

LOG = logging.getLogger("driv3r")
FOLDER, GIGABYTES = "DRIV3R_CACHE", "DRIV3R_CACHE_GB"  # environment variables
DEFAULT_GB = 100.0  # a Waymo segment is 1 GB; every worker needs room for its log
PART = ".part-"


@dataclass(frozen=True)
class RemoteLayout:
    """Where a dataset's logs lie below its root, by glob patterns.

    `logs` matches files, or folders, that have a log's id in their names; with all that is in them
    they are the log. A log's folder holds an `inner` one, by which the reader knows it.
    """

    logs: tuple[str, ...]
    inner: str = ""


class RemoteReader:
    """A reader of a root in an object store: what it lists is there, what it reads is fetched."""

    def __init__(
        self, make: Callable[..., Reader], url: str, layout: RemoteLayout, **options: Any
    ) -> None:
        self._url, self._layout = url, layout
        with _explained(url):
            self._store, self._top = _open(url)
            self._listed = dict(self._list())
        if not self._listed:
            raise DatasetError(
                f"nothing of {url} is named as {', '.join(layout.logs[:3])}; give the dataset's "
                "top folder, and credentials where it is not public"
            )
        self._root = Root(_cache_of(url))
        self._root.path.mkdir(parents=True, exist_ok=True)
        for name, size in self._listed.items():
            self._stand_in(name, size)
        self._reader = make(self._root.path, **options)

    def scenes(self, split: str) -> tuple[str, ...]:
        """As the dataset's own reader tells them."""
        return self._reader.scenes(split)

    def read(self, scene_id: str) -> Scene:
        """A log, when all of its files are here; DatasetError where they can not be fetched."""
        with _explained(self._url):
            wanted = dict(self._files_of(scene_id))
            missing = {name: size for name, size in wanted.items() if not self._is_here(name, size)}
            _make_room(self._root.path, set(wanted), sum(missing.values()))
            if missing:
                size_mb = sum(missing.values()) / 1e6
                LOG.info("%s: fetching %d files, %.0f MB", scene_id, len(missing), size_mb)
            self._fetch(missing)
        for name in wanted:
            os.utime(self._local(name))
        return self._reader.read(scene_id)

    def _list(self) -> Iterator[tuple[str, int | None]]:
        """Names below the root with their sizes, None of folders."""
        for pattern in self._layout.logs:
            found = self._store.glob(f"{self._top}/{pattern}", detail=True)
            for path, facts in sorted(found.items()):
                folder = facts["type"] == "directory"
                if folder == bool(self._layout.inner):
                    yield path[len(self._top) + 1 :], None if folder else int(facts["size"])

    def _files_of(self, scene_id: str) -> Iterator[tuple[str, int]]:
        known = re.compile(rf"(^|[^a-zA-Z0-9]){re.escape(scene_id)}($|[^a-zA-Z0-9])")
        for name, size in self._listed.items():
            if not known.search(name.rsplit("/", 1)[-1]):
                continue
            if size is not None:
                yield name, size
                continue
            inside = self._store.find(f"{self._top}/{name}", detail=True)
            for path, facts in inside.items():
                yield path[len(self._top) + 1 :], int(facts["size"])

    def _local(self, name: str) -> Path:
        """Where a file is kept; UnsafePathError where its name leads elsewhere."""
        return self._root.resolve_inside(name)

    def _is_here(self, name: str, size: int) -> bool:
        path = self._local(name)
        return path.is_file() and path.stat().st_size == size

    def _stand_in(self, name: str, size: int | None) -> None:
        """What the dataset's reader finds a log by: an empty file or folder."""
        path = self._local(name)
        if size is None:
            (path / self._layout.inner).mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    def _fetch(self, sizes: dict[str, int]) -> None:
        """All files at once, each whole or not at all: other workers may fetch the same."""
        paths = {name: self._local(name) for name in sizes}
        parts = {}
        for name, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, parts[name] = tempfile.mkstemp(prefix=PART, dir=path.parent)
            os.close(handle)
        try:
            if parts:
                self._store.get([f"{self._top}/{name}" for name in parts], list(parts.values()))
            for name, part in parts.items():
                if os.path.getsize(part) != sizes[name]:
                    raise DatasetError(
                        f"{self._url}/{name} came with {os.path.getsize(part)} bytes, the store "
                        f"lists {sizes[name]}; run the same command again"
                    )
                os.replace(part, paths[name])
        finally:
            for part in parts.values():
                Path(part).unlink(missing_ok=True)


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    try:
        fsspec = importlib.import_module("fsspec")
        store, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise ConfigError(f"{url} needs a package ({error}): pip install 'driv3r[remote]'") from (
            error
        )
    except ValueError as error:
        raise ConfigError(f"{url}: {error}; give a folder, or a URL such as gs://... ") from error
    return store, str(path).rstrip("/")


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """DatasetError in place of whatever the store's client raises: each has errors of its own."""
    try:
        yield
    except (ConfigError, DatasetError):
        raise
    except Exception as error:
        raise DatasetError(
            f"{url} can not be read ({type(error).__name__}: {error}); check its name, the network "
            "and your credentials (gs://: gcloud auth application-default login; s3://: aws "
            "configure, or FSSPEC_S3_ANON=true for a public one)"
        ) from error


def _cache_of(url: str) -> Path:
    """The local folder of a URL's files."""
    top = os.environ.get(FOLDER) or Path.home() / ".cache" / "driv3r"
    return Path(top).expanduser().resolve() / re.sub(r"[^\w.-]+", "_", url)


def _make_room(folder: Path, wanted: set[str], needed: int) -> None:
    """Remove the files that were read least lately, of any log but the one that is wanted."""
    told = os.environ.get(GIGABYTES, str(DEFAULT_GB))
    try:
        most = float(told) * 1e9
    except ValueError as error:
        raise ConfigError(f"{GIGABYTES} is {told!r}, expected a number of gigabytes") from error
    held = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith(PART):
            facts = path.stat()
            held.append((facts.st_mtime, facts.st_size, path))
    total = needed + sum(size for _, size, _ in held)
    for _, size, path in sorted(held):
        if total <= most:
            return
        if size and path.relative_to(folder).as_posix() not in wanted:
            path.unlink(missing_ok=True)
            total -= size
