"""Which logs of a run are finished already, and whether they are what the command asks for."""

from collections.abc import Sequence
from pathlib import Path

from driv3r.datasets import Reader
from driv3r.datasets.remote import is_at_hand
from driv3r.errors import ConfigError, DatasetError, StoreError
from driv3r.pipelines.job import Job
from driv3r.settings import Provenance
from driv3r.store.files import is_complete, read_state
from driv3r.store.reader import LogStore

LISTED = 5


def find_unfinished(jobs: Sequence[Job], reader: Reader, provenance: Provenance) -> list[Job]:
    """The jobs that are still to be done; nothing is written.

    Raises StoreError that lists what differs where a finished log is of other input, settings,
    weights or code, unless it may be replaced.
    """
    todo: list[Job] = []
    differing: dict[str, list[str]] = {}
    for job in jobs:
        state = read_state(job.final)
        if state is None and is_there(job.final):
            raise StoreError(
                f"{job.final} exists and is no driv3r log: move it away, or name another --out"
            )
        if job.replace or not is_complete(job.final):
            todo.append(job)
        elif reasons := compare(job, reader, provenance):
            differing[job.scene_id] = reasons
    if differing:
        reasons = list(dict.fromkeys(r for of_log in differing.values() for r in of_log))
        named = ", ".join([*differing][:LISTED]) + ", ..." * (len(differing) > LISTED)
        raise StoreError(
            f"{jobs[0].out} holds {len(differing)} finished logs ({named}) that this command would "
            f"make otherwise ({'; '.join(reasons)}). Nothing was changed: give --replace to make "
            "them again, or name another --out"
        )
    return todo


def is_there(path: Path) -> bool:
    """Whether a file or folder exists; ConfigError for a path that no file can have."""
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"can not write to {path} ({error}); name another --out") from error


def compare(job: Job, reader: Reader, provenance: Provenance) -> list[str]:
    """In what a finished log differs from what the job would make; empty where in nothing."""
    try:
        store = LogStore.open(job.final)
        reasons = provenance.differences(store.provenance)
    except StoreError as error:
        return [str(error)]
    if not is_at_hand(reader, job.scene_id):  # not worth fetching: it was made of what is listed
        return reasons
    try:
        same = reader.read(job.scene_id).input_hash == store.header.input_hash
    except DatasetError as error:
        return [*reasons, f"input: {error}"]
    return reasons if same else [*reasons, "input: other tables, or files of other sizes"]
