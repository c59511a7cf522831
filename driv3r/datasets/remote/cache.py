"""Logs' files in a local folder, of which those that were read least lately make room for others.

Processes share the folder. A log is fetched by one of them and kept while any of them uses it.
"""

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from driv3r.datasets.reader import Root
from driv3r.errors import ConfigError, DatasetError

GIGABYTES = "DRIV3R_CACHE_GB"  # an environment variable
DEFAULT_GB = 100.0  # a Waymo segment is 1 GB
KEPT, PART = ".logs", ".part-"
STALE_S = 86400.0  # after which what a killed process was fetching is removed
TRIES = 3
Sizes = Mapping[str, int]  # of files (bytes), by their names below the root
Fetch = Callable[[list[str], list[str]], None]  # of names to paths


class LogCache:
    """The local folder of one root."""

    def __init__(self, folder: Path):
        self.root = Root(folder)
        (folder / KEPT).mkdir(parents=True, exist_ok=True)

    def path(self, name: str) -> Path:
        """Where a file is kept; UnsafePathError where its name leads elsewhere."""
        return self.root.resolve_inside(name)

    def has_fetched(self, log_id: str) -> bool:
        """Whether any files of a log may be here."""
        return self._record(log_id, "json").exists()

    def holds(self, sizes: Sizes) -> bool:
        """Whether all of these files are here and whole."""
        return not self._missing(sizes)

    def take(self, log_id: str, sizes: Sizes, fetch: Fetch) -> int:
        """Have a log's files here, fetched where they are not; a lock that keeps them until it is
        closed.

        Raises DatasetError where a file does not come whole.
        """
        lock = os.open(self._record(log_id, "lock"), os.O_RDWR | os.O_CREAT)
        try:
            for _ in range(TRIES):  # between two locks another may have made room
                fcntl.flock(lock, fcntl.LOCK_SH)
                if self.holds(sizes):
                    self._record(log_id, "json").touch()
                    return lock
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._complete(log_id, sizes, fetch)
            raise DatasetError(f"{log_id} is removed as soon as it is fetched: raise {GIGABYTES}")
        except BaseException:
            os.close(lock)
            raise

    def _complete(self, log_id: str, sizes: Sizes, fetch: Fetch) -> None:
        self._record(log_id, "json").write_text(json.dumps(dict(sizes)))  # first: may be killed
        missing = self._missing(sizes)
        if missing:
            self._make_room(sum(missing.values()), log_id)
            self._fetch(missing, fetch)

    def _missing(self, sizes: Sizes) -> dict[str, int]:
        return {name: size for name, size in sizes.items() if _size_of(self.path(name)) != size}

    def _record(self, log_id: str, suffix: str) -> Path:
        return self.path(f"{KEPT}/{log_id}.{suffix}")

    def _fetch(self, sizes: Sizes, fetch: Fetch) -> None:
        """All files at once, each whole or not at all."""
        with _parts(self.root.path / KEPT, len(sizes)) as parts:
            fetch(list(sizes), [str(part) for part in parts])
            for (name, size), part in zip(sizes.items(), parts, strict=True):
                if _size_of(part) != size:
                    raise DatasetError(
                        f"{name} came with {_size_of(part)} bytes, the store lists {size}; run "
                        "the same command again"
                    )
                self.path(name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(part, self.path(name))

    def _make_room(self, needed: int, log_id: str) -> None:
        """Remove logs that nobody uses, the one read least lately first."""
        most, held = _most_bytes(), []
        for part in (self.root.path / KEPT).glob(f"{PART}*"):
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > STALE_S:
                    part.unlink()
        for record in (self.root.path / KEPT).glob("*.json"):
            with contextlib.suppress(OSError, ValueError):  # another removes or writes it
                if record.stem != log_id:
                    sizes = json.loads(record.read_text())
                    held.append((record.stat().st_mtime, sum(sizes.values()), sizes, record))
        total = needed + sum(size for _, size, _, _ in held)
        for _, size, sizes, record in sorted(held, key=lambda each: each[0]):
            if total <= most:
                return
            if self._remove(record, sizes):
                total -= size

    def _remove(self, record: Path, sizes: Sizes) -> bool:
        """Remove a log's files, unless it is in use."""
        lock = os.open(record.with_suffix(".lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            record.unlink(missing_ok=True)
            for name in sizes:
                self.path(name).unlink(missing_ok=True)
            return True
        finally:
            os.close(lock)


@contextmanager
def _parts(folder: Path, count: int) -> Iterator[list[Path]]:
    """Empty files to be filled, which are gone after."""
    parts = []
    try:
        for _ in range(count):
            handle, name = tempfile.mkstemp(prefix=PART, dir=folder)
            os.close(handle)
            parts.append(Path(name))
        yield parts
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _most_bytes() -> float:
    told = os.environ.get(GIGABYTES, str(DEFAULT_GB))
    try:
        return float(told) * 1e9
    except ValueError as error:
        raise ConfigError(f"{GIGABYTES} is {told!r}, expected a number of gigabytes") from error
