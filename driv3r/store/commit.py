"""The only committer: a sealed staging folder becomes a finished log, or nothing changes."""

from pathlib import Path

from driv3r.errors import StoreError
from driv3r.store.files import discard, is_complete, read_state, sync, write_atomically
from driv3r.store.manifest import compare_files, complete_root, read_manifest
from driv3r.store.schema import MEMORY_FILE


def commit(staging: Path, final: Path, replace_other: bool = False) -> None:
    """Verify a sealed log, move it into place, and write state "complete" last.

    An existing log is set aside only after the new one is verified, and deleted only after that one
    is complete. A finished log of another header is replaced only with `replace_other`. A commit
    that was killed halfway is finished by calling it again. Both folders lie on one file system.
    Raises StoreError, changing nothing, where digests differ or something else is in the way.
    """
    staging, final = Path(staging), Path(final)
    if staging.exists():
        _check_sealed(staging)
        _check_replaceable(staging, final, replace_other)
        (staging / MEMORY_FILE).unlink(missing_ok=True)
        _move(staging, final)
    elif (read_state(final) or ("", ""))[0] != "incomplete" or read_manifest(final) is None:
        raise StoreError(f"{staging} does not exist: there is nothing to commit to {final}")
    else:
        _check_sealed(final)
    write_atomically(final / "zarr.json", complete_root(final))
    sync(final.parent)
    discard(_aside(final))


def _aside(final: Path) -> Path:
    return final.with_name(f".{final.name}.old")


def _check_sealed(folder: Path) -> None:
    state = read_state(folder)
    if state is None or state[0] != "incomplete":
        raise StoreError(f"{folder} is no staging folder of a log: state and hash are {state}")
    problems = compare_files(folder, complete_root(folder), spare={MEMORY_FILE})
    if problems:
        raise StoreError(
            f"{folder} is not committed, {len(problems)} files are not as sealed "
            f"({'; '.join(problems[:3])}): run the same `driv3r process` command again"
        )


def _check_replaceable(staging: Path, final: Path, replace_other: bool) -> None:
    if not final.exists():
        return
    old, new = read_state(final), read_state(staging)
    if old is None:
        raise StoreError(
            f"{final} exists and is no driv3r log: move it away, or name another --out"
        )
    if old[0] == "complete" and old != ("complete", new and new[1]) and not replace_other:
        raise StoreError(
            f"{final} is a finished log of other input, config, weights or code: "
            "move it away, or name another --out"
        )


def _move(staging: Path, final: Path) -> None:
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if is_complete(final):
            discard(_aside(final))
            final.rename(_aside(final))
        else:
            discard(final)
        staging.rename(final)
    except OSError as error:
        raise StoreError(
            f"could not move {staging} to {final} ({error}): both must be on one file system"
        ) from error
    sync(staging.parent)
    sync(final.parent)
