"""Clips of a run in the order of their numbers, rendered by worker processes ahead of their use."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import torch

from driv3r.errors import DatasetError
from driv3r.simulator.export.clips import FIRST_TRAIN_SEED, ClipConfig, ensure_clip, read_clip
from driv3r.training.clip_pool import RawClip, put_on_device
from driv3r.training.config import DataConfig

AHEAD = 3  # clips asked for a worker, so that none waits while one is taken over
MOST_FAILURES = 5  # in a row; a world that can not be rendered is skipped, a broken renderer is not
RENDERER_NICENESS = 10
SINGLE_THREADED = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class ClipSource:
    """Clips `rank`, `rank + size`, ... of a run.

    With no `workers` there are none ahead: each is rendered when it is asked for, where it is not
    on the disk. Workers render `held_out` clips first, as `ensure_clip` takes them. A clip that
    they can not render is skipped and counted in `failed`; DatasetError after MOST_FAILURES in a
    row. `taken` are the seeds of those that were given out.
    """

    def __init__(
        self,
        folder: Path,
        config: DataConfig,
        device: torch.device,
        workers: int = 0,
        rank: int = 0,
        size: int = 1,
        held_out: Sequence[tuple[Path, int, ClipConfig]] = (),
    ):
        self.folder, self.config, self.device = folder, config, device
        first = FIRST_TRAIN_SEED + config.first
        self.seeds = iter(range(first + rank, first + config.max_clips, size))
        self.waiting: deque[tuple[int, Future[Path]]] = deque()
        self.taken: list[int] = []
        self.failed, self.failed_in_a_row = 0, 0
        self.ahead = AHEAD * workers
        self.held_out: list[Future[Path]] = []
        self.executor: ProcessPoolExecutor | None = None
        if workers:
            spawn = multiprocessing.get_context("spawn")
            with _single_threaded():
                # Renderers yield to the trainer, which compiles and feeds the device.
                self.executor = ProcessPoolExecutor(
                    workers, mp_context=spawn, initializer=os.nice, initargs=(RENDERER_NICENESS,)
                )
                self.held_out = [self.executor.submit(ensure_clip, *job) for job in held_out]
                self._ask()

    def _ask(self) -> None:
        assert self.executor is not None
        for seed in islice(self.seeds, self.ahead - len(self.waiting)):
            job = (self.folder, seed, self.config.clips)
            self.waiting.append((seed, self.executor.submit(ensure_clip, *job)))

    def ready(self) -> Iterator[RawClip]:
        """The clips that are there, without waiting."""
        while self.waiting and self.waiting[0][1].done():
            clip = self._take()
            if clip is not None:
                yield clip

    def next(self) -> RawClip | None:
        """The next clip, waited for; None after the last."""
        while True:
            if self.executor is None:
                seed = next(self.seeds, None)
                if seed is None:
                    return None
                return self._load(seed, ensure_clip(self.folder, seed, self.config.clips))
            if not self.waiting:
                return None
            wait_for([self.waiting[0][1]])
            clip = self._take()
            if clip is not None:
                return clip

    def _take(self) -> RawClip | None:
        """The clip that has waited longest, None where it failed; another is asked for."""
        seed, future = self.waiting.popleft()
        self._ask()
        try:
            clip = self._load(seed, future.result())
        except Exception as error:
            self.failed += 1
            self.failed_in_a_row += 1
            if self.failed_in_a_row >= MOST_FAILURES:
                raise DatasetError(
                    f"{MOST_FAILURES} training clips in a row can not be rendered; the last: "
                    f"{type(error).__name__}: {error}"
                ) from error
            return None
        self.failed_in_a_row = 0
        return clip

    def _load(self, seed: int, path: Path) -> RawClip:
        clip = put_on_device(read_clip(path), self.device)
        if not self.config.keep_clips:
            path.unlink()
        self.taken.append(seed)
        return clip

    def wait_for_held_out(self) -> None:
        """Until the held-out clips are on the disk; one that failed is tried again where read."""
        wait_for(self.held_out)

    def close(self) -> None:
        """End the workers."""
        if self.executor is not None:
            for process in list(self.executor._processes.values()):
                process.terminate()
            self.executor.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started within have one thread each: there are as many of them as cores."""
    before = {name: os.environ.get(name) for name in SINGLE_THREADED}
    os.environ.update(dict.fromkeys(SINGLE_THREADED, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
