"""Logs spread over worker processes by Ray. The only module that imports ray."""

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayActorError, RaySystemError
from ray.util.queue import Empty, Queue

from driv3r.errors import ConfigError
from driv3r.evaluation.records import LogResult
from driv3r.pipelines.job import Job
from driv3r.pipelines.worker import LogWorker
from driv3r.settings import Settings

# No statistics to Ray's makers; a worker without a GPU of Ray's still sees those that there are.
RAY_OPTIONS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
MOST_ATTEMPTS = 3
POLL_S = 0.2
REACH_S = 5.0  # for a cluster's head to answer; Ray itself would wait for minutes

Report = Callable[[str, str, int, int], None]


def run_on_cluster(
    settings: Settings, jobs: Sequence[Job], workers: int, address: str | None, report: Report
) -> Iterator[LogResult]:
    """Yield each log's result on completion; a dead worker is replaced and its log retried.

    A log whose worker died three times is given up and reported as failed, so that one poisonous
    log can not hold up the others. Without an address the run has a Ray of its own, whatever else
    runs on the machine; ConfigError where a given one does not answer.
    """
    join_cluster(settings, workers, address)
    try:
        events = Queue(actor_options={"num_cpus": 0})
        pool = [_start(settings, events, workers) for _ in range(min(workers, len(jobs)))]
        waiting = deque((job, 1) for job in jobs)
        yield from _drain(settings, waiting, pool, events, workers, report)
    finally:
        ray.shutdown()


def join_cluster(settings: Settings, workers: int, address: str | None) -> None:
    """Start a Ray of the run's own, or join the one at an address; ConfigError where none answers.

    An address is host:port, ray://host:port, or "auto" for the machine's running one.
    """
    cpus = None if address else max(workers * settings.threads, 1)
    if address and address != "auto":
        _reach(address)
    try:
        with _environment(RAY_OPTIONS), _silenced(logging.getLogger("ray")):
            ray.init(
                address=address or "local",
                num_cpus=cpus,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
                runtime_env={"env_vars": RAY_OPTIONS} if address else None,
            )
    except (ConnectionError, RuntimeError, ValueError, RaySystemError) as error:
        where = f"the Ray cluster at {address}" if address else "a local Ray"
        raise ConfigError(
            f"{where} can not be used ({str(error).splitlines()[0]}): start one with `ray start "
            "--head` and give its --address, or leave Ray out with --inline"
        ) from error


@contextmanager
def _environment(options: dict[str, str]) -> Iterator[None]:
    """Variables that processes started within inherit; the user's own values stand."""
    new = [name for name in options if name not in os.environ]
    os.environ.update({name: options[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    """Errors only: Ray's notices are not about the run."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reach(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"--address {address}: expected host:port, ray://host:port or auto")
    try:
        socket.create_connection((host, int(port)), REACH_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"no Ray cluster answers at {address} ({error}): is its head running (`ray status`), "
            "and the port open? Without --address the run starts a Ray of its own"
        ) from error


def share_gpus(device: str, workers: int, gpus: float) -> float:
    """How much of a GPU each worker takes of the cluster's.

    None where a GPU is asked for by number (cuda:1): that is taken without Ray's say.
    """
    if device != "cuda":
        return 0.0
    return min(1.0, gpus / workers) if gpus else 1.0


def _start(settings: Settings, events: Queue, workers: int) -> Any:
    """One actor: it loads the network once and keeps it for all its logs."""
    gpus = share_gpus(settings.device, workers, ray.cluster_resources().get("GPU", 0.0))
    remote = ray.remote(num_cpus=settings.threads, num_gpus=gpus, max_restarts=0)
    return remote(_Actor).remote(settings, events)


class _Actor:
    """A LogWorker in a process of its own, its progress sent through a queue."""

    def __init__(self, settings: Settings, events: Queue):
        self.worker = LogWorker(settings)
        self.events = events

    def run(self, job: Job) -> LogResult:
        return self.worker.run(job, lambda *event: self.events.put((job.scene_id, *event)))


def _drain(
    settings: Settings,
    waiting: deque[tuple[Job, int]],
    idle: list,
    events: Queue,
    workers: int,
    report: Report,
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
            except RayActorError as error:
                idle.append(_start(settings, events, workers))
                if attempt < MOST_ATTEMPTS and not never_began(error):
                    waiting.append((job, attempt + 1))
                    continue
                yield LogResult(job.scene_id, "failed", explain_death(error, attempt))
    _pass_on(events, report)


def never_began(error: RayActorError) -> bool:
    """Whether a worker died of what it was started with, as it would again."""
    return bool(getattr(error, "actor_init_failed", False))


def explain_death(error: RayActorError, attempts: int) -> str:
    """Why a log has no result."""
    if never_began(error):
        last = str(error).strip().splitlines()[-1]
        return f"its worker could not start ({last}): is driv3r installed on the worker's machine?"
    return (
        f"its worker process died {attempts} times (out of memory?); what was written is kept: "
        "try again with fewer --workers"
    )


def _pass_on(events: Queue, report: Report) -> None:
    while True:
        try:
            report(*events.get_nowait())
        except Empty:
            return
