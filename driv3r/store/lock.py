"""One writer a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from driv3r.errors import ConfigError

LOCK_FILE = ".lock"


@contextmanager
def lock_folder(folder: Path, command: str) -> Iterator[None]:
    """Be the only `command` that writes to a folder, which is made where there is none.

    ConfigError where another one does, or where nothing can be written.
    """
    lock = filelock.FileLock(folder / LOCK_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise ConfigError(
            f"another `{command}` is writing to {folder}: wait until it has ended, or name "
            "another --out"
        ) from error
    except OSError as error:
        raise ConfigError(f"can not write to {folder} ({error}); name another --out") from error
    try:
        yield
    finally:
        lock.release()
