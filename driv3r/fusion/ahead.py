"""Independent work on several threads, whose results come in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def work_ahead(tasks: Iterable[Callable[[], T]], threads: int) -> Iterator[T]:
    """What each task gives, in order, while as many as there are threads are worked on ahead.

    Tasks are taken from the iterable one after the other, in the caller's thread.
    """
    ahead: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for task in tasks:
            ahead.append(pool.submit(task))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
