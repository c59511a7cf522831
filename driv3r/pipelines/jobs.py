"""What is to be done to which log, and the hashes that say whether it has been done."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from driv3r.network.stream import Precision
from driv3r.types import EgoPoses, FlowName, Refine, Told

PACKAGE = Path(__file__).parent.parent
CODE_ROOMS = ("geometry", "network", "datasets", "align", "fusion", "scoring", "store", "pipelines")


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run writes.

    `aligner` is a name or "own"; `second_weights` are those of a system's partner. `flow` tells
    a published system what moves. A hidden calibration is not told to our network. `refine` by
    tracks holds depth and motion against tracked features; "own" does so for our network.
    """

    dataset: str
    root: str
    split: str
    sweeps: bool
    model: str
    weights: str
    ego_poses: EgoPoses
    precision: Precision
    device: str
    threads: int
    protocol: str
    aligner: str = "own"
    second_weights: str | None = None
    flow: FlowName = "dis"
    calibration: Told = "given"
    refine: Refine = "own"


@dataclass(frozen=True)
class Job:
    """One log of a run, and the folder that the run writes to."""

    settings: Settings
    scene_id: str
    out: str
    replace: bool = False

    @property
    def out_folder(self) -> Path:
        """The run's folder."""
        return Path(self.out)

    @property
    def final(self) -> Path:
        """The finished log."""
        return self.out_folder / f"{self.scene_id}.zarr"

    @property
    def staging(self) -> Path:
        """Where the log grows."""
        return self.out_folder / ".staging" / f"{self.scene_id}.zarr"

    @property
    def result_file(self) -> Path:
        """The log's record for the report."""
        return report_folder(self.out_folder) / "logs" / f"{self.scene_id}.json"


def report_folder(out: Path) -> Path:
    """Where a run's report lies."""
    return out / "report"


def hash_json(value: object) -> str:
    """sha256 of a value as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def hash_code() -> str:
    """sha256 of the package's own source that decides a log's arrays."""
    digest = hashlib.sha256()
    for room in CODE_ROOMS:
        for path in sorted((PACKAGE / room).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint_tables(root: Path) -> str:
    """A quick identity of a dataset's tables: names, sizes and times of its JSON files.

    Images are not looked at: who exchanges those under the same names must ask for --replace.
    """
    files = sorted(p for pattern in ("*.json", "*/*.json") for p in root.glob(pattern))
    facts = [(str(p.relative_to(root)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
    return hash_json(facts)


def run_key(settings: Settings) -> str:
    """Equal for two runs that would write the same."""
    facts = asdict(settings)
    for path in (settings.weights, settings.second_weights):
        if path is not None:
            file = Path(path)
            facts[f"sha256 of {path}"] = hash_file(file) if file.is_file() else "missing"
    return hash_json([facts, hash_code(), fingerprint_tables(Path(settings.root))])
