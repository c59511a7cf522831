"""The main job: logs of a dataset to metric 4D reconstructions, scored and reported."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from driv3r.config import build_config
from driv3r.datasets import Reader
from driv3r.datasets.remote import is_at_hand
from driv3r.errors import ConfigError, DatasetError, Driv3rError, StoreError
from driv3r.evaluation.merge import merge_scores
from driv3r.evaluation.records import (
    LogResult,
    RunResult,
    load_failure,
    read_log_result,
    save_result,
)
from driv3r.pipelines.finished import find_unfinished
from driv3r.pipelines.job import Job, failure_file, report_folder
from driv3r.pipelines.preflight import (
    check_space,
    describe_run,
    make_provenance,
    resolve,
)
from driv3r.pipelines.worker import LogWorker, open_reader
from driv3r.settings import Provenance, Settings, identity_of
from driv3r.store.commit import commit
from driv3r.store.files import is_complete, write_atomically
from driv3r.store.lock import lock_folder
from driv3r.store.reader import LogStore
from driv3r.store.schema import check_name

Report = Callable[[str, str, int, int], None]
RUN_FILE = "run.json"
BEGUN = "begun"  # the stage by which a log's frames are announced
LOG = logging.getLogger("driv3r")


def process(
    settings: Settings,
    out: Path,
    workers: int = 2,
    inline: bool = False,
    address: str | None = None,
    replace_finished: bool = False,
    report: Report = lambda log, stage, done, total: None,
    scenes: Sequence[str] | None = None,
    limit: int | None = None,
) -> RunResult:
    """Process the logs of a split; a killed run goes on, a finished one is not done again.

    All of them, or those named in `scenes`, at most `limit`.

    Raises ConfigError, DatasetError, CheckpointError or StoreError for what can not be, before
    anything is written. Errors of one log are in its result.
    """
    settings, out = resolve(settings, here=address is None), out.expanduser().resolve()
    reader, names = list_logs(settings, scenes, limit)
    provenance = make_provenance(settings)
    run = describe(settings, provenance, names)
    jobs = [Job(settings, name, out, replace_finished) for name in names]
    todo = find_unfinished(jobs, reader, provenance)
    if not todo and read_run(out) == run and (report_folder(out) / "report.html").is_file():
        return gather(out, run)
    worker: LogWorker | None = LogWorker(settings, reader)
    if todo:
        check_space(out, todo, reader, worker.system)  # raises once, before any work
    if not inline:
        worker = None  # Ray's workers load their own: the network is not kept here
    with lock_folder(out, "driv3r process"):
        todo = find_unfinished(todo, reader, provenance)  # another run may have ended meanwhile
        write_run(out, run)
        announce(todo, reader, report)
        results = run_jobs(settings, todo, workers, worker, address, report)
        attempts = [finish(jobs[names.index(each.log_id)], each) for each in results]
        return write_reports(out, run, attempts)


def announce(jobs: Sequence[Job], reader: Reader, report: Report) -> None:
    """Report the total number of frames, so that progress has a known end.

    Not of logs that are yet to be fetched: their frames are told when they are begun.
    """
    LOG.info("%d logs to do", len(jobs))
    for job in jobs:
        if not is_at_hand(reader, job.scene_id):
            continue
        with contextlib.suppress(DatasetError):  # reported where the log is processed
            report(job.scene_id, BEGUN, 0, len(reader.read(job.scene_id).frames))


def make_settings(**options: Any) -> Settings:
    """Settings from plain option values; ConfigError names the one that is not possible."""
    return build_config(options, Settings, "options")


def list_logs(
    settings: Settings, scenes: Sequence[str] | None, limit: int | None
) -> tuple[Reader, tuple[str, ...]]:
    """The dataset's reader, and the logs of the split as it has them, or those asked for."""
    reader = open_reader(settings)
    names = reader.scenes(settings.split)
    if not names:
        raise ConfigError(f"split {settings.split!r} of {settings.root} holds no log")
    strange = [name for name in scenes or () if name not in names]
    if strange:
        some = ", ".join(names[:5]) + ", ..." * (len(names) > 5)
        raise ConfigError(
            f"split {settings.split!r} has no log {', '.join(strange)}; it has {len(names)}: {some}"
        )
    return reader, tuple(name for name in names if not scenes or name in scenes)[:limit]


def run_jobs(
    settings: Settings,
    jobs: Sequence[Job],
    workers: int,
    inline: LogWorker | None,
    address: str | None,
    report: Report,
) -> Iterator[LogResult]:
    """Results of logs as they come, from the worker in this process or over Ray's."""
    if not jobs:
        return
    if inline is not None:
        for job in jobs:
            yield inline.run(job, lambda *event, log=job.scene_id: report(log, *event))
        return
    from driv3r.pipelines.ray_backend import run_on_cluster  # Ray takes seconds to import

    yield from run_on_cluster(settings, jobs, workers, address, report)


def finish(job: Job, result: LogResult) -> LogResult:
    """Commit what a worker sealed, or note why it failed; the caller is the only committer."""
    if result.state == "done":
        try:
            commit(job.staging, job.final, replace_other=job.replace)
            job.failure_file.unlink(missing_ok=True)
        except (StoreError, OSError) as error:
            result = replace(result, state="failed", error=str(error))
    tell = LOG.info if result.state == "done" else LOG.error
    tell("%s: %s", job.scene_id, result.error or f"done, {job.final}")
    if result.state == "failed":
        with contextlib.suppress(Driv3rError, OSError):  # a full disk; the result is still told
            save_result(result, job.failure_file)
    return result


def describe(settings: Settings, provenance: Provenance, names: Sequence[str]) -> dict[str, Any]:
    """What a run is, as JSON keeps it."""
    title = f"{settings.dataset} {settings.split}"
    shown = describe_run(settings, provenance)
    run = {"title": title, "settings": shown, "logs": list(names)}
    return json.loads(json.dumps(run, default=str))


def gather(out: Path, run: dict[str, Any], attempts: Sequence[LogResult] = ()) -> RunResult:
    """The run's record: each log's from its store, or why it has none, and figures over all."""
    failures = {each.log_id: each for each in attempts if each.state == "failed"}
    logs = [read_log(out, name, failures.get(name)) for name in run["logs"]]
    scores = merge_scores([log.scores for log in logs if log.state == "done"])
    return RunResult(run["title"], run["settings"], tuple(logs), tuple(scores))


def read_log(out: Path, name: str, failure: LogResult | None) -> LogResult:
    """What became of a log; a finished one stays so where another attempt at it failed."""
    store = out / f"{name}.zarr"
    if is_complete(store):
        try:
            log = read_log_result(store, report_folder(out))
        except StoreError as error:
            return LogResult(name, "failed", f"its store is damaged: {error}")
        error = None if failure is None else f"made anew, it failed, and is kept: {failure.error}"
        return replace(log, error=error)
    failure = failure or load_failure(failure_file(out, name))
    return failure or LogResult(name, "failed", "not processed yet: run the same command again")


def report_again(out: Path) -> Path:
    """Regenerate a run's report from its logs' stores; returns the page.

    StoreError where there are none. Which logs belong to the last run is in run.json; without it
    all do that lie there.
    """
    run = read_run(out)
    if run is None:
        stores = [path for path in sorted(out.glob("*.zarr")) if is_complete(path)]
        if not stores:
            raise StoreError(
                f"{out} holds no run to report on; `driv3r process --out {out}` makes one"
            )
        made = identity_of(LogStore.open(stores[0]).provenance)
        settings = {**made.pop("settings"), **made}
        run = {"title": out.name, "settings": settings, "logs": [p.stem for p in stores]}
    write_reports(out, run)
    return report_folder(out) / "report.html"


def write_reports(out: Path, run: dict[str, Any], attempts: Sequence[LogResult] = ()) -> RunResult:
    """Write report.html and report.json; StoreError where the disk does not take them."""
    from driv3r.reporting.html import write_report

    try:
        result = gather(out, run, attempts)
        write_report(report_folder(out), result)
    except OSError as error:
        raise StoreError(
            f"could not write the report to {out} ({error}); the logs are kept: free some room, "
            f"then `driv3r report {out}`"
        ) from error
    return result


def read_run(out: Path) -> dict[str, Any] | None:
    """What the last run in a folder was, None where there was none.

    StoreError where it names logs by what can be no log's name.
    """
    path = out / RUN_FILE
    try:
        run = json.loads(path.read_text())
        sound = {type(run[key]) for key in ("title", "settings", "logs")} == {str, dict, list}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    for name in run["logs"] if sound else ():
        check_name(str(name), f"{path}: log")
    return run if sound else None


def write_run(out: Path, run: dict[str, Any]) -> None:
    """Keep what the run is; StoreError where the disk does not take it."""
    try:
        write_atomically(out / RUN_FILE, json.dumps(run, indent=1).encode())
    except OSError as error:
        raise StoreError(f"can not write to {out} ({error}); name another --out") from error
