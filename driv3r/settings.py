"""What a run is asked to do, and what decides its arrays: the one place of a run's identity.

Two things are the same where their `fingerprint` is. A field of a dataclass is part of it unless it
opts out with IRRELEVANT; a source file is part of a program's unless it is listed to be left out.
"""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.types import CalibrationMode, EgoPoses, FlowName, FusionSource, Precision, Refine

PACKAGE = Path(__file__).parent
ABSENT = "nothing"
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")  # of a log, safe as a folder's
IRRELEVANT = {"identity": False}  # metadata of a field that does not decide what is written
NOT_OF_LOGS = (  # what draws worlds, trains, prints and reports does not decide a log's arrays
    "simulator",
    "training",
    "cli",
    "export",
    "__main__.py",
    "reporting/html.py",
    "reporting/charts.py",
    "reporting/tables.py",
    "reporting/metric_names.py",
    "reporting/viewer",
    "reporting/embedded_scene.py",
    "reporting/birds_eye.py",
    "reporting/rig_picture.py",
    "datasets/rig_formats",
    "pipelines/fuse_logs.py",
    "fusion/visits.py",
    "fusion/mesh.py",
    "store/map_store.py",
)


URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+)")


def url_of(path: Path) -> str | None:
    """The URL that a path was given as, whose two slashes `Path` folds; None of a local one."""
    told = URL.fullmatch(path.as_posix())
    return f"{told[1]}://{told[2]}" if told else None


def show_path(path: Path) -> str:
    """A path as a person gave it: a URL with both of its slashes."""
    return url_of(path) or str(path)


def _at(value: Path | None) -> Path | None:
    if value is None or url_of(Path(value)):
        return value
    return Path(value).expanduser().resolve()


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run writes, and where its input lies.

    Paths are made absolute, so that workers with other working folders find them.
    """

    dataset: str  # a reader's name
    root: Path = field(metadata=IRRELEVANT)  # the dataset's folder; its content is the log's input
    split: str = field(default="val", metadata=IRRELEVANT)  # which logs, not what becomes of one
    sweeps: bool = False  # all camera frames, not keyframes alone
    split_file: Path | None = field(default=None, metadata=IRRELEVANT)  # a DGP root's scene list
    rig: Path | None = field(default=None, metadata=IRRELEVANT)  # a folder's; the log's input
    follow_links: bool = field(default=False, metadata=IRRELEVANT)  # read files outside of `root`
    model: str = "driv3r-s"
    weights: Path | None = field(default=None, metadata=IRRELEVANT)  # None: shipped; hashed apart
    second_weights: Path | None = field(default=None, metadata=IRRELEVANT)  # of a system's partner
    aligner: str = "own"  # a name, or the system's own
    flow: FlowName = "dis"  # what tells a published system which pixels move
    ego_poses: EgoPoses = "predicted"
    calibration: CalibrationMode = "given"  # hidden: the network gets no calibration
    refine: Refine = "own"  # correction by tracked features; own: for our network only
    fuse: FusionSource = "cameras"  # what the static map is made of
    precision: Precision = field(default="auto", metadata=IRRELEVANT)  # Provenance has what it was
    device: str = field(default="cpu", metadata=IRRELEVANT)  # likewise
    threads: int = 1  # CPU threads a log; BLAS sums depend on their number
    protocol: str = "own"  # of depth figures; own: the dataset's

    def __post_init__(self):
        for name in ("root", "split_file", "rig", "weights", "second_weights"):
            object.__setattr__(self, name, _at(getattr(self, name)))
        if self.protocol == "own":
            object.__setattr__(self, "protocol", self.dataset)


@dataclass(frozen=True)
class Provenance:
    """How a log's arrays came to be, but for its input; equal for two that would be equal.

    `settings` are the fields of Settings that decide arrays; `weights` and `sources` are sha256
    digests; `device` is a kind ("cpu", "cuda") and `precision` what "auto" became. `machine` tells
    the processor and its vector instructions, which may change a last digit.
    """

    settings: dict[str, Any]
    weights: str
    sources: str
    versions: dict[str, str]
    device: str
    precision: str
    machine: str = field(default="", metadata=IRRELEVANT)

    def differences(self, other: "Provenance") -> list[str]:
        """What differs in words, as "threads is 1, was 2"; ours first, the other's after."""
        facts = []
        for each in (identity_of(self), identity_of(other)):
            facts.append(each.pop("settings") | each.pop("versions") | each)
        return differences(*facts)


def differences(ours: Any, theirs: Any, name: str = "") -> list[str]:
    """What differs of two values of plain JSON, in words: "data.first is 3, was 0", ours first."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            line
            for key in sorted(ours.keys() | theirs.keys())
            for line in differences(
                ours.get(key, ABSENT), theirs.get(key, ABSENT), f"{name}.{key}".lstrip(".")
            )
        ]
    return [] if ours == theirs else [f"{name} is {_shorten(ours)}, was {_shorten(theirs)}"]


def _shorten(value: Any) -> str:
    """A digest by its first figures, which tell two apart."""
    text = str(value)
    return text[:12] if re.fullmatch("[0-9a-f+]{64,}", text) else text


def identity_of(value: Any) -> Any:
    """The part of a value that counts, as plain JSON: dataclasses lose their IRRELEVANT fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        counting = [f.name for f in dataclasses.fields(value) if f.metadata.get("identity", True)]
        return {name: identity_of(getattr(value, name)) for name in counting}
    if isinstance(value, dict):
        return {str(key): identity_of(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [identity_of(entry) for entry in value]
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value)
        return [array.dtype.str, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
    if isinstance(value, np.generic):
        return identity_of(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float | int | str | bool | None):
        return value
    raise TypeError(f"{type(value).__name__} has no identity; use plain data, arrays, dataclasses")


def fingerprint(value: Any) -> str:
    """sha256 of what counts of a value, as canonical JSON.

    Raises TypeError for what is neither plain data, an array nor a dataclass of such.
    """
    text = json.dumps([_name(value), identity_of(value)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _name(value: Any) -> str:
    return type(value).__name__ if dataclasses.is_dataclass(value) else ""


def hash_file(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def hash_sources(without: tuple[str, ...] = NOT_OF_LOGS, below: Path = PACKAGE) -> str:
    """sha256 of all Python files below a folder, at any depth, and of the weights beside them.

    `without` lists files and folders that are left out, relative to the folder.
    """
    left_out = [below / name for name in without]
    digest = hashlib.sha256()
    for path in sorted(below.rglob("*")):
        counts = path.suffix == ".py" or path.parent.name == "weights"
        inside = any(path.is_relative_to(place) for place in left_out)
        if path.is_file() and counts and not inside:
            digest.update(f"{path.relative_to(below).as_posix()}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()
