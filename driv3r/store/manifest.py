"""The manifest: the SHA-256 of every file of a log, as the attributes of lineage/.

It is the one file that it can not list. The root's digest is that of its finished form (state
"complete"), which commit writes last.
"""

import hashlib
import json
from collections.abc import Set
from pathlib import Path

from driv3r.store.files import digest_file, dump_json, list_files, read_attributes, write_group
from driv3r.store.schema import MEMORY_FILE

_ROOT, _MANIFEST = "zarr.json", "lineage/zarr.json"


def complete_root(folder: Path) -> bytes:
    """The root metadata of a log as it reads in state "complete"."""
    document = json.loads((folder / _ROOT).read_bytes())
    document["attributes"]["state"] = "complete"
    return dump_json(document)


def write_manifest(folder: Path) -> None:
    """Digest every file but the manifest itself and the network's memory."""
    listed = set(list_files(folder)) - {_ROOT, _MANIFEST, MEMORY_FILE}
    digests = {path: digest_file(folder / path) for path in listed}
    digests[_ROOT] = hashlib.sha256(complete_root(folder)).hexdigest()
    write_group(folder / "lineage", {"sha256": digests})


def read_manifest(folder: Path) -> dict[str, str] | None:
    """Digest of every file, None where the log is not sealed."""
    return (read_attributes(folder / "lineage") or {}).get("sha256")


def compare_files(folder: Path, root: bytes, spare: Set[str] = frozenset()) -> list[str]:
    """Files missing, changed or unlisted against the manifest, one sentence each.

    `root` is what the root metadata is or will be; `spare` names files that may be unlisted.
    """
    listed = read_manifest(folder)
    if not isinstance(listed, dict):
        return [f"{_MANIFEST}: holds no digests, the log was never sealed or the file is damaged"]
    found = set(list_files(folder)) - {_MANIFEST}
    problems = [f"{path}: missing" for path in listed if path not in found]
    problems += [f"{path}: not listed in the manifest" for path in found - set(listed) - spare]
    for path in found & set(listed):
        digest = hashlib.sha256(root).hexdigest() if path == _ROOT else digest_file(folder / path)
        if digest != listed[path]:
            problems.append(f"{path}: changed, its SHA-256 is not the manifest's")
    return sorted(problems)
