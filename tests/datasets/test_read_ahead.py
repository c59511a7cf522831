"""Frames read ahead: in order, bounded, one at a time, errors where they are due."""

import threading
import time
from collections.abc import Iterator

import pytest

from driv3r.datasets.read_ahead import read_ahead
from driv3r.errors import DatasetError


def test_all_come_in_order_and_one_at_a_time() -> None:
    running, most, threads = 0, 0, set()

    def read(index: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.add(threading.get_ident())
        time.sleep(0.002 * (index % 3))
        running -= 1
        return index * index

    assert list(read_ahead(read, range(3, 20))) == [(i, i * i) for i in range(3, 20)]
    assert most == 1
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert list(read_ahead(read, range(0))) == []
    assert list(read_ahead(read, [5])) == [(5, 25)]


@pytest.mark.parametrize("ahead", [1, 2, 4])
def test_no_more_than_so_many_are_read_before_they_are_due(ahead: int) -> None:
    begun: list[int] = []

    def read(index: int) -> int:
        begun.append(index)
        return index

    for index, _ in read_ahead(read, range(12), ahead):
        time.sleep(0.01)
        assert len(begun) <= index + 1 + ahead
    assert begun == list(range(12))


def test_reading_goes_on_while_one_is_worked_on() -> None:
    """Each takes 20 ms to read and 20 ms to work on: together less than one after the other."""

    def read(index: int) -> int:
        time.sleep(0.02)
        return index

    since = time.monotonic()
    for _ in read_ahead(read, range(20)):
        time.sleep(0.02)
    assert time.monotonic() - since < 0.7  # 0.8 by turns, 0.42 at once


def test_an_error_comes_where_it_is_due_and_ends_the_reading() -> None:
    begun: list[int] = []

    def read(index: int) -> int:
        begun.append(index)
        if index == 2:
            raise DatasetError("broken tables")
        return index

    given: list[int] = []
    with pytest.raises(DatasetError, match="broken tables"):  # noqa: PT012
        for index, _ in read_ahead(read, range(100)):
            given.append(index)
            time.sleep(0.01)
    assert given == [0, 1]
    assert len(begun) <= 6


def test_what_is_left_early_reads_no_further() -> None:
    begun: list[int] = []

    def read(index: int) -> int:
        begun.append(index)
        return index

    frames: Iterator[tuple[int, int]] = read_ahead(read, range(1000))
    assert next(frames) == (0, 0)
    frames.close()  # type: ignore[attr-defined]
    count = len(begun)
    time.sleep(0.02)
    assert len(begun) == count <= 4
    assert not [t for t in threading.enumerate() if t.name.startswith("driv3r-read")]
