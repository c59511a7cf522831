"""KITTI's text files: calibration as `key: numbers`, a time a line, matrices a line."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from jaxtyping import Float

from driv3r.datasets.folder.rig_file import make_rigid
from driv3r.datasets.images import read_file
from driv3r.datasets.reader import FARTHEST_M
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import make_transform
from driv3r.types import Transform

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
MOST_SECONDS = 1e6  # of one sequence, from its start; milliseconds taken for seconds are more


def read_text(path: Path) -> str:
    """The text of a file; DatasetError where the file is missing or no text."""
    try:
        return read_file(path).decode()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is no text ({error}); fetch the file again") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text up to the last that is not empty, stripped; errors as `read_text`."""
    return [line.strip() for line in read_text(path).rstrip().splitlines()]


def parse_numbers(text: str, count: int, where: str) -> Float[np.ndarray, "n"]:
    """`count` finite numbers between blanks; else DatasetError."""
    parts = text.split()
    try:
        numbers = np.array([float(part) for part in parts])
    except ValueError as error:
        raise DatasetError(f"{where}: {error}; expected {count} numbers") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise DatasetError(
            f"{where} has {len(numbers)} values ({text[:80]}), expected {count} finite numbers; "
            "fetch the file again"
        )
    return numbers


def read_calibration(path: Path) -> dict[str, str]:
    """What a calibration file says by its keys; DatasetError on a key twice or a line without."""
    table: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not line:
            continue
        key, colon, value = line.partition(":")
        if not colon or key in table:
            fault = f"has {key} twice" if colon else f"is {line[:80]!r}"
            raise DatasetError(f"{path} line {number} {fault}; expected `key: numbers`, each once")
        table[key] = value
    return table


def take_matrix(
    table: Mapping[str, str], key: str, shape: tuple[int, ...], path: Path
) -> np.ndarray:
    """A key's numbers in rows; DatasetError where the key is missing or has others."""
    if key not in table:
        raise DatasetError(f"{path} lacks {key}; it has {', '.join(table)}. Fetch the file again")
    return parse_numbers(table[key], int(np.prod(shape)), f"{path}: {key}").reshape(shape)


def take_rigid(table: Mapping[str, str], rotation: str, place: str | None, path: Path) -> Transform:
    """dst_T_src of a rotation's and a translation's key; DatasetError where it is not rigid."""
    place_m = np.zeros(3) if place is None else take_matrix(table, place, (3,), path)
    matrix = make_transform(take_matrix(table, rotation, (3, 3), path), place_m)
    return check_rigid(matrix, f"{path}: {rotation}")


def check_rigid(matrix: Transform, where: str) -> Transform:
    """The rigid transform nearest to a written one; DatasetError where it is none."""
    try:
        return make_rigid(matrix, where)
    except DatasetError as error:
        raise DatasetError(
            f"{where} is no rotation: {matrix[:3, :3].tolist()}, expected its rows, of length 1 "
            "and at right angles; fetch the file again"
        ) from error


def parse_rigid(text: str, where: str) -> Transform:
    """dst_T_src of 12 numbers, its upper three rows; DatasetError where it is not rigid."""
    rows = parse_numbers(text, 12, where).reshape(3, 4)
    if np.abs(rows[:, 3]).max() > FARTHEST_M:
        raise DatasetError(
            f"{where}: the place {rows[:, 3].tolist()} is farther off than any on Earth; give it "
            "in metres"
        )
    return check_rigid(make_transform(rows[:, :3], rows[:, 3]), where)


def read_times(path: Path) -> list[int | None]:
    """Times (us) of a timestamps.txt, None of an empty line, which KITTI has where data were lost.

    They are the clock's on the wall, taken as UTC. Raises DatasetError on what is no time.
    """
    return [
        _parse_time_us(line, f"{path} line {number}") if line else None
        for number, line in enumerate(read_lines(path), 1)
    ]


def _parse_time_us(text: str, where: str) -> int:
    try:
        time = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise DatasetError(
            f"{where}: {text!r} is no time such as 2011-09-26 13:02:25.964389445; fetch the file "
            "again"
        ) from error
    if time < EARLIEST:
        raise DatasetError(f"{where}: {text!r} is before {EARLIEST:%Y}; repair the clock's date")
    return (time - EPOCH) // timedelta(microseconds=1)


def read_seconds(path: Path) -> list[int]:
    """Times (us) of a times.txt in seconds from the start; DatasetError on what is none."""
    times_us = []
    for number, line in enumerate(read_lines(path), 1):
        (time_s,) = parse_numbers(line, 1, f"{path} line {number}")
        if not 0 <= time_s < MOST_SECONDS:
            raise DatasetError(
                f"{path} line {number}: {time_s:g} is no time in seconds from the start, expected "
                f"0 to {MOST_SECONDS:g}; convert it"
            )
        times_us.append(round(time_s * 1e6))
    return times_us
