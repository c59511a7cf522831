"""Logs spread over worker processes by Ray. The only module that imports ray."""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from driv3r.pipelines.jobs import Job, Settings
from driv3r.pipelines.results import LogResult
from driv3r.pipelines.work import LogWorker

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray.exceptions import RayActorError
from ray.util.queue import Empty, Queue

MOST_ATTEMPTS = 3
POLL_S = 0.2

Report = Callable[[str, str, int, int], None]


def run_on_cluster(
    settings: Settings, jobs: Sequence[Job], workers: int, address: str | None, report: Report
) -> Iterator[LogResult]:
    """Yield each log's result as it comes; a worker that dies is replaced and its log tried again.

    A log whose worker died three times is given up and reported as failed, so that one poisonous
    log can not hold up the others.
    """
    ray.init(
        address=address,
        num_cpus=None if address else max(workers, 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        configure_logging=False,
    )
    try:
        events = Queue(actor_options={"num_cpus": 0})
        pool = [_start(settings, events) for _ in range(min(workers, len(jobs)))]
        yield from _drain(settings, deque((job, 1) for job in jobs), pool, events, report)
    finally:
        ray.shutdown()


def _start(settings: Settings, events: Queue) -> Any:
    """One actor: it loads the network once and keeps it for all its logs."""
    actor = ray.remote(num_cpus=1, max_restarts=0)(_Actor)
    return actor.remote(settings, events)


class _Actor:
    """A LogWorker in a process of its own, its progress sent through a queue."""

    def __init__(self, settings: Settings, events: Queue):
        self.worker = LogWorker(settings)
        self.events = events

    def run(self, job: Job) -> LogResult:
        return self.worker.run(job, lambda *event: self.events.put((job.scene_id, *event)))


def _drain(
    settings: Settings, waiting: deque[tuple[Job, int]], idle: list, events: Queue, report: Report
) -> Iterator[LogResult]:
    running: dict[Any, tuple[Any, Job, int]] = {}
    while waiting or running:
        while waiting and idle:
            actor, (job, attempt) = idle.pop(), waiting.popleft()
            running[actor.run.remote(job)] = (actor, job, attempt)
        finished, _ = ray.wait(list(running), timeout=POLL_S)
        _pass_on(events, report)
        for reference in finished:
            actor, job, attempt = running.pop(reference)
            try:
                yield ray.get(reference)
                idle.append(actor)
            except RayActorError:
                idle.append(_start(settings, events))
                if attempt < MOST_ATTEMPTS:
                    waiting.append((job, attempt + 1))
                    continue
                yield LogResult(
                    job.scene_id,
                    "failed",
                    f"its worker process died {attempt} times (out of memory?); what was written "
                    "is kept: try again with fewer --workers",
                )
    _pass_on(events, report)


def _pass_on(events: Queue, report: Report) -> None:
    while True:
        try:
            report(*events.get_nowait())
        except Empty:
            return
