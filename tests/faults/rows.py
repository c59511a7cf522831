"""What a row of the fault matrix says: which input is bad, how, and what comes of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from driv3r.errors import DatasetError, Driv3rError

if TYPE_CHECKING:
    import pytest

    from tests.faults.place import Place

BAD_INPUT = (
    "missing",
    "truncated",
    "wrong type",
    "wrong unit",
    "out of range",
    "NaN",
    "duplicated",
    "unsorted",
    "hostile",
)
KINDS = (*BAD_INPUT, "killed", "full disk", "unwritable", "two at once")


@dataclass(frozen=True)
class ReaderFault:
    """A tiny dataset, harmed, and what reading all of one scene does.

    `says` is a part of the message, `...` in it stands for anything. With "repair" all data are as
    in the whole dataset, but for those of `lost` (frame, sensor), which are absent; `thinned` is a
    frame whose sweep has fewer points. "same" is for what does no harm.
    """

    subject: str
    kind: str
    what: str
    harm: Callable[[Path], object]
    outcome: Literal["error", "repair", "same"]
    says: str
    error: type[Driv3rError] = DatasetError
    lost: tuple[tuple[int, str], ...] = ()
    thinned: int | None = None
    frames: int | None = None

    def happens(self) -> str:
        """The outcome in a few words of Markdown."""
        if self.outcome == "same":
            return "read as if nothing were wrong"
        if self.outcome == "error":
            return f"`{self.error.__name__}`: {show(self.says)}"
        gaps = ", ".join(f"{sensor} of frame {frame}" for frame, sensor in self.lost)
        return f"repair: {show(self.says)}" + f" (without {gaps})" * bool(gaps)


@dataclass(frozen=True)
class CommandFault:
    """A command that `prepare` gives the arguments of, and how it ends.

    `code` is its exit status, `says` a part of what it tells. Where it `goes_on`, the same command
    without the fault then ends well, and its logs have the same bytes as ever. Files that were
    there stay as they were, but for those that begin with one of `changes`. A `usage` error shows
    the usage, too; `shows_figures` is for right figures that could not also be written; `page` is a
    part of what the report then says.
    """

    subject: str
    kind: str
    what: str
    prepare: Callable[["Place", "pytest.MonkeyPatch"], list[str]]
    code: int
    says: str
    goes_on: bool = False
    changes: tuple[str, ...] = ()
    usage: bool = False
    shows_figures: bool = False
    page: str = ""

    def happens(self) -> str:
        """The outcome in a few words of Markdown."""
        page = f"; the report says {show(self.page)}" if self.page else ""
        after = page + "; the same command then goes on and gives the same bytes" * self.goes_on
        return f"status {self.code}: {show(self.says)}{after}"


@dataclass(frozen=True)
class Elsewhere:
    """A fault that has its own test, as `file::function` below tests/."""

    subject: str
    kind: str
    what: str
    outcome: str
    test: str

    def happens(self) -> str:
        """The outcome in a few words of Markdown."""
        return f"{self.outcome} (tests/{self.test})"


Row = ReaderFault | CommandFault | Elsewhere


def pattern(says: str) -> re.Pattern[str]:
    """`says` as a pattern in which `...` stands for anything."""
    return re.compile(".*".join(re.escape(part) for part in says.split("...")), re.DOTALL)


def show(says: str) -> str:
    """`says` as a Markdown table takes it."""
    return says.replace("|", "\\|").replace("<", "&lt;")
