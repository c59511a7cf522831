"""Frames read in a thread while earlier ones are worked on, in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 2  # frames in memory beside the one in work: some 40 MB each of six large cameras
T = TypeVar("T")


def read_ahead(
    read: Callable[[int], T], indices: Iterable[int], ahead: int = AHEAD
) -> Iterator[tuple[int, T]]:
    """Each index with what `read` gives of it, in order, up to `ahead` of them read before.

    One thread reads, one index after the other, as readers hold files open. What `read` raises is
    raised where its index is due, and nothing more is read; so it is when the iterator is closed.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="driv3r-read")
    waiting: deque[tuple[int, Future[T]]] = deque()
    try:
        for index in indices:
            waiting.append((index, pool.submit(read, index)))
            if len(waiting) > ahead:
                due, future = waiting.popleft()
                yield due, future.result()
        while waiting:
            due, future = waiting.popleft()
            yield due, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
