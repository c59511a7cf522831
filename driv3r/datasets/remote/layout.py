"""Where a dataset's logs lie in an object store."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteLayout:
    """Where a dataset's logs lie below its root, by glob patterns.

    `logs` matches files, or folders, that have a log's id in their names; with all that is in them
    they are the log. A log's folder holds an `inner` one, by which the reader knows it.
    """

    logs: tuple[str, ...]
    inner: str = ""
