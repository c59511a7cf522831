"""What is to be done to which log, and where its files lie."""

from dataclasses import dataclass
from pathlib import Path

from driv3r.settings import Settings


@dataclass(frozen=True)
class Job:
    """One log of a run, and the folder that the run writes to."""

    settings: Settings
    scene_id: str
    out: Path
    replace: bool = False

    @property
    def final(self) -> Path:
        """The finished log."""
        return self.out / f"{self.scene_id}.zarr"

    @property
    def staging(self) -> Path:
        """Where the log grows."""
        return self.out / ".staging" / f"{self.scene_id}.zarr"

    @property
    def failure_file(self) -> Path:
        """Why the log failed, where it did; a finished log's record is its store."""
        return failure_file(self.out, self.scene_id)


def report_folder(out: Path) -> Path:
    """Where a run's report lies."""
    return out / "report"


def failure_file(out: Path, log_id: str) -> Path:
    """Where the record of a failed log lies."""
    return report_folder(out) / "failed" / f"{log_id}.json"
