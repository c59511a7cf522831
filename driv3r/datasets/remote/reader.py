"""A reader of a root in an object store: listed once, each log fetched when it is read."""

import errno
import hashlib
import importlib
import logging
import os
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from driv3r.datasets.reader import Reader
from driv3r.datasets.remote.cache import LogCache
from driv3r.datasets.remote.layout import RemoteLayout
from driv3r.errors import ConfigError, DatasetError
from driv3r.types import Scene

LOG = logging.getLogger("driv3r")
FOLDER = "DRIV3R_CACHE"  # an environment variable
FULL = (errno.ENOSPC, errno.EDQUOT)


class RemoteReader:
    """The dataset's own reader of a local folder: what it lists is there, what it reads is fetched.

    A log's files stay as long as its scene's frames are in use, in this process or another.
    """

    def __init__(
        self, make: Callable[..., Reader], url: str, layout: RemoteLayout, **options: Any
    ) -> None:
        self._url, self._layout = url, layout
        self._files: dict[str, dict[str, int]] = {}
        with _explained(url):
            self._store, self._top = _open(url)
            self._listed = dict(self._list())
        if not self._listed:
            raise DatasetError(
                f"nothing of {url} is named as {', '.join(layout.logs[:3])}; give the dataset's "
                "top folder, and credentials where it is not public"
            )
        self._cache = _open_cache(url)
        for name, size in self._listed.items():
            self._stand_in(name, size)
        self._reader = make(self._cache.root.path, **options)

    def scenes(self, split: str) -> tuple[str, ...]:
        """As the dataset's own reader tells them, of what the store still has."""
        return tuple(name for name in self._reader.scenes(split) if self._named(name))

    def read(self, scene_id: str) -> Scene:
        """A log, when all of its files are here; DatasetError where they can not be fetched."""
        with _explained(self._url):
            lock = self._cache.take(scene_id, self._files_of(scene_id), self._fetch)
        try:
            scene = self._reader.read(scene_id)
        except BaseException:
            os.close(lock)
            raise
        weakref.finalize(scene.frames, os.close, lock)
        return scene

    def is_here(self, scene_id: str) -> bool:
        """Whether a log can be read without fetching anything."""
        with _explained(self._url):
            fetched = self._cache.has_fetched(scene_id)  # without asking the store
            return fetched and self._cache.holds(self._files_of(scene_id))

    def _fetch(self, names: list[str], paths: list[str]) -> None:
        LOG.info("fetching %d files, %s and on", len(names), names[0])
        self._store.get([f"{self._top}/{name}" for name in names], paths)

    def _list(self) -> Iterator[tuple[str, int | None]]:
        """Names below the root with their sizes, None of folders."""
        for pattern in self._layout.logs:
            found = self._store.glob(f"{self._top}/{pattern}", detail=True)
            for path, facts in sorted(found.items()):
                folder = facts["type"] == "directory"
                if folder == bool(self._layout.inner):
                    yield path[len(self._top) + 1 :], None if folder else int(facts["size"])

    def _named(self, scene_id: str) -> list[str]:
        """What the store lists under a log's id."""
        known = re.compile(rf"(^|[^a-zA-Z0-9]){re.escape(scene_id)}($|[^a-zA-Z0-9])")
        near = (name for name in self._listed if scene_id in name)  # as fast as thousands need
        return [name for name in near if known.search(name.rsplit("/", 1)[-1])]

    def _files_of(self, scene_id: str) -> dict[str, int]:
        """All files of a log with their sizes; folders are listed once."""
        if scene_id not in self._files:
            sizes: dict[str, int] = {}
            for name in self._named(scene_id):
                size = self._listed[name]
                sizes |= self._list_folder(name) if size is None else {name: size}
            self._files[scene_id] = sizes
        return self._files[scene_id]

    def _list_folder(self, name: str) -> dict[str, int]:
        inside = self._store.find(f"{self._top}/{name}", detail=True)
        return {path[len(self._top) + 1 :]: int(facts["size"]) for path, facts in inside.items()}

    def _stand_in(self, name: str, size: int | None) -> None:
        """What the dataset's reader finds a log by: an empty file or folder."""
        path = self._cache.path(name)
        if size is None:
            (path / self._layout.inner).mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def is_at_hand(reader: Reader, scene_id: str) -> bool:
    """Whether reading a log fetches nothing; a log that can not be told of counts as at hand."""
    try:
        return not isinstance(reader, RemoteReader) or reader.is_here(scene_id)
    except DatasetError:
        return True


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    if url.startswith(("file:", "local:")):
        raise ConfigError(f"{url} is on this machine: give the folder's path")
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
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise DatasetError(
            f"{url} can not be read ({type(error).__name__}: {error}); check its name, the network "
            "and your credentials (gs://: gcloud auth application-default login; s3://: aws "
            "configure, or FSSPEC_S3_ANON=true for a public one)"
        ) from error


def _open_cache(url: str) -> LogCache:
    """The local folder of a URL's files."""
    top = Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "driv3r").expanduser().resolve()
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]
    folder = top / f"{re.sub(r'[^a-zA-Z0-9.-]+', '_', url)[:100]}-{digest}"
    try:
        return LogCache(folder)
    except OSError as error:
        raise ConfigError(f"can not write to {folder} ({error}); set {FOLDER} to another") from (
            error
        )
