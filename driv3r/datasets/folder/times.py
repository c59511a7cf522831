"""Times of files: in their names, in a unit that the rig file tells, or in a table beside them."""

import csv
import io
import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from driv3r.datasets.folder.rig_file import Recording
from driv3r.datasets.images import read_file
from driv3r.errors import DatasetError

UNITS = {"ns": Decimal("0.001"), "us": Decimal(1), "ms": Decimal(1000), "s": Decimal(1_000_000)}
NUMBER = re.compile(r"\d+(?:\.\d+)?")
LATEST_US = 10**17  # the year 5138
LEAST_STEP_US = 1000  # between exposures of a camera or sweeps; frame numbers are 1 apart
UNIT_REMEDY = (
    "set recording.time_unit in rig.yaml, or recording.frame_rate_hz where names hold frame numbers"
)


def parse_us(text: str, unit: str, where: str) -> int:
    """A decimal number of a unit as whole microseconds; DatasetError where it is none."""
    try:
        time_us = Decimal(text.strip()) * UNITS[unit]
    except ArithmeticError as error:  # no number, or one too large for any
        raise DatasetError(f"{where}: {text!r} is no number") from error
    if not time_us.is_finite() or not 0 <= time_us < LATEST_US:
        raise DatasetError(
            f"{where}: the time {text} {unit} is {time_us:.3g} us, expected 0 to {LATEST_US:.0e}; "
            f"set recording.time_unit in rig.yaml to one of {', '.join(UNITS)}"
        )
    return round(time_us)


def time_of_name(path: Path, recording: Recording) -> int:
    """The time in a file's name: its longest number, the last of several that are as long.

    Raises DatasetError where the name holds none.
    """
    numbers = NUMBER.findall(path.stem)
    if not numbers:
        raise DatasetError(
            f"the name of {path} holds no number, expected its time in {recording.time_unit}; "
            "rename the file, or give the times in images.csv (camera,time_us,path)"
        )
    longest = max(reversed(numbers), key=len)
    if recording.frame_rate_hz is not None:
        seconds = Decimal(longest) / Decimal(recording.frame_rate_hz)
        return parse_us(str(seconds), "s", str(path))
    return parse_us(longest, recording.time_unit, str(path))


def check_steps(times_us: Sequence[int], what: str, remedy: str = UNIT_REMEDY) -> None:
    """DatasetError where two times of a sensor are the same, or closer than any sensor has them."""
    steps_us = np.diff(np.array(times_us, np.int64))
    if len(steps_us) and steps_us.min() <= 0:
        at = int(times_us[int(steps_us.argmin())])
        raise DatasetError(
            f"{what} has two files or rows of {at} us, or times that run backwards; expected one a "
            "time, in order"
        )
    if len(steps_us) and np.median(steps_us) < LEAST_STEP_US:
        raise DatasetError(
            f"{what} has times {np.median(steps_us):g} us apart, expected {LEAST_STEP_US} us or "
            f"more; {remedy}"
        )


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV with a head of just these columns, in any order; else DatasetError."""
    try:
        text = read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text (UTF-8): {error}") from error
    rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    head = [name.strip() for name in rows[0]] if rows else []
    if sorted(head) != sorted(columns):
        raise DatasetError(
            f"{path} has the columns {', '.join(head) or 'none'}; expected a first line of "
            f"{','.join(columns)}"
        )
    for number, row in enumerate(rows[1:], 2):
        if row and len(row) != len(head):
            raise DatasetError(f"{path} line {number} has {len(row)} values, expected {len(head)}")
    return [dict(zip(head, row, strict=True)) for row in rows[1:] if row]
