"""Clips of recorded logs for a training run, read by a thread while steps are taken."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from queue import Empty, Full, Queue

import numpy as np
import torch

from driv3r.datasets import Reader
from driv3r.errors import ConfigError, Driv3rError
from driv3r.models.driv3r.inputs import Inputs
from driv3r.models.driv3r.losses import Targets
from driv3r.training.batches import draw_batch
from driv3r.training.clip_pool import ClipPool, RawClip
from driv3r.training.config import DataConfig
from driv3r.training.log_clips import LogClipConfig, read_log_clips

AHEAD = 8  # clips read and not yet taken over
PATIENCE_S = 0.5
SEED_OF_LOGS = 7  # apart from the draws of generated clips


@dataclass(frozen=True)
class LogSplit:
    """A dataset's logs to train on."""

    reader: Reader
    split: str


class LogSource:
    """Log clips in a pool of their own; a share `share` of the batches is drawn from it.

    Logs are read over and over in an order that is drawn anew each time, so that a pool that holds
    a part of them turns over. A log that can not be learned from is skipped, its reason kept in
    `skipped`; `names` are those that gave clips. ConfigError from `take` where none did.
    """

    def __init__(
        self, splits: Sequence[LogSplit], data: DataConfig, device: torch.device, share: float
    ):
        if not 0 < share <= 1:
            raise ConfigError(f"log share is {share}; expected more than 0, 1 at most")
        frames = max(frames for _, frames in data.shapes)
        self.cut = LogClipConfig(data.clips.size_hw, frames, max(frames // 2, 1))
        self.share, self.data, self.device = share, data, device
        self.logs = [(each.reader, name) for each in splits for name in _list(each)]
        self.pool = ClipPool(data.pool_gib)
        self.names: list[str] = []
        self.skipped: dict[str, str] = {}
        self.queue: Queue[RawClip] = Queue(AHEAD)
        self.stopped = threading.Event()
        self.failure: Exception | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def take(self, wait: bool = False) -> None:
        """Take over the clips that are there; with `wait` at least one."""
        while True:
            try:
                self.pool.add(self.queue.get(timeout=PATIENCE_S if wait else None, block=wait))
                wait = False
            except Empty:
                if self.failure is not None:
                    raise self.failure from None
                if not wait:
                    return

    def is_due(self, step: int) -> bool:
        """Whether a step's batch is of logs."""
        rng = np.random.default_rng([self.data.seed, step, SEED_OF_LOGS])
        return bool(self.pool.clips) and rng.random() < self.share

    def draw(self, step: int) -> tuple[Inputs, Targets]:
        """A batch of log clips; what is unknown of them has no loss."""
        data = replace(self.data, seed=self.data.seed + SEED_OF_LOGS)
        return draw_batch(self.pool, step, data)

    def close(self) -> None:
        """End the thread."""
        self.stopped.set()

    def _read(self) -> None:
        rng = np.random.default_rng([self.data.seed, SEED_OF_LOGS])
        try:
            while not self.stopped.is_set():
                for index in rng.permutation(len(self.logs)):
                    for clip in self._read_log(*self.logs[int(index)]):
                        self._put(clip)
                if not self.names:
                    reasons = "; ".join(dict.fromkeys(self.skipped.values()))
                    raise ConfigError(
                        f"none of {len(self.logs)} logs can be learned from: {reasons}"
                    )
        except Exception as error:  # told by the trainer's thread
            self.failure = error

    def _read_log(self, reader: Reader, name: str) -> Iterator[RawClip]:
        if name in self.skipped:
            return
        try:
            for clip in read_log_clips(reader.read(name), self.cut, self.device):
                if clip.frames < self.cut.frames:
                    raise ConfigError(
                        f"log {name} has {clip.frames} frames; the recipe's batches need "
                        f"{self.cut.frames}"
                    )
                if name not in self.names:
                    self.names.append(name)
                yield clip
        except Driv3rError as error:
            self.skipped[name] = str(error)

    def _put(self, clip: RawClip) -> None:
        while not self.stopped.is_set():
            try:
                self.queue.put(clip, timeout=PATIENCE_S)
                return
            except Full:  # look whether the run has ended
                continue


def _list(each: LogSplit) -> list[str]:
    names = list(each.reader.scenes(each.split))
    if not names:
        raise ConfigError(f"split {each.split!r} has no log; give another, or another --root")
    return names
