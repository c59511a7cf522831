"""The main job: logs of a dataset to metric 4D reconstructions, scored and reported."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from driv3r import __version__
from driv3r.errors import ConfigError, StoreError
from driv3r.pipelines.jobs import Job, Settings, report_folder, run_key
from driv3r.pipelines.recipe import build_recipe
from driv3r.pipelines.results import LogResult, RunResult, load_log_result, save_result
from driv3r.pipelines.systems import choose_partner, choose_tracks, tell_scale
from driv3r.scoring.merge import merge_scores
from driv3r.store.commit import commit
from driv3r.store.files import read_state

Report = Callable[[str, str, int, int], None]
RUN_FILE = "run.json"


def process(
    settings: Settings,
    out: Path,
    workers: int = 2,
    inline: bool = False,
    address: str | None = None,
    replace_finished: bool = False,
    report: Report = lambda log, stage, done, total: None,
) -> RunResult:
    """Process every log of a split; a killed run goes on, a finished one is not done again."""
    choose_partner(settings)  # what can not be is said before any log is touched
    choose_tracks(settings)
    scale, key = tell_scale(settings), run_key(settings)
    earlier = read_run(out)
    known = earlier is not None and earlier["key"] == key
    names = earlier["logs"] if earlier is not None and known else list_logs(settings)
    jobs = [Job(settings, name, str(out), replace_finished) for name in names]
    todo = [job for job in jobs if replace_finished or not (known and is_finished(job))]
    results = {job.scene_id: load_log_result(job.result_file) for job in jobs if job not in todo}
    title = f"{settings.dataset} {settings.split}"
    shown = asdict(settings) | {"scale": scale, "driv3r": __version__}
    if not todo and (report_folder(out) / "report.html").is_file():
        return gather(title, shown, [results[job.scene_id] for job in jobs])
    _write_run(out, key, jobs)
    for result in run_jobs(settings, todo, workers, inline, address, report):
        job = next(j for j in todo if j.scene_id == result.log_id)
        results[result.log_id] = finish(job, result)
    run = gather(title, shown, [results[job.scene_id] for job in jobs])
    from driv3r.pipelines.report import write_report

    write_report(report_folder(out), run)
    return run


def make_settings(**options: Any) -> Settings:
    """Settings from plain option values; ConfigError names the one that is not possible."""
    return build_recipe(options, Settings, "options")


def report_again(out: Path) -> Path:
    """Write the report of a run anew from its logs' records."""
    from driv3r.pipelines.report import write_report

    records = sorted((report_folder(out) / "logs").glob("*.json"))
    old = report_folder(out) / "report.json"
    if not records or not old.is_file():
        raise StoreError(f"{out} holds no run to report on; `driv3r process --out {out}` makes one")
    before = json.loads(old.read_text())
    logs = [load_log_result(path) for path in records]
    run = gather(before["title"], before["settings"], logs)
    return write_report(report_folder(out), run)


def list_logs(settings: Settings) -> tuple[str, ...]:
    """The logs of a split, as the dataset has them."""
    from driv3r.datasets import open_dataset

    reader = open_dataset(settings.dataset, Path(settings.root), sweeps=settings.sweeps)
    names = reader.scenes(settings.split)
    if not names:
        raise ConfigError(f"split {settings.split!r} of {settings.root} holds no log")
    return names


def is_finished(job: Job) -> bool:
    """Whether a log is committed and its record says so; the run's key is the caller's to check."""
    state = read_state(job.final)
    if state is None or state[0] != "complete" or not job.result_file.is_file():
        return False
    return load_log_result(job.result_file).state == "done"


def run_jobs(
    settings: Settings,
    jobs: Sequence[Job],
    workers: int,
    inline: bool,
    address: str | None,
    report: Report,
) -> Iterator[LogResult]:
    """Results of logs as they come, in this process or over Ray's."""
    if not jobs:
        return
    if inline:
        from driv3r.pipelines.work import LogWorker

        worker = LogWorker(settings)
        for job in jobs:
            yield worker.run(job, lambda *event, log=job.scene_id: report(log, *event))
        return
    from driv3r.pipelines.cluster import run_on_cluster  # Ray takes seconds to import

    yield from run_on_cluster(settings, jobs, workers, address, report)


def finish(job: Job, result: LogResult) -> LogResult:
    """Commit what a worker sealed and keep its record; the caller is the only committer."""
    if result.state == "done":
        try:
            commit(job.staging, job.final, replace_other=job.replace)
        except StoreError as error:
            result = replace(result, state="failed", error=str(error))
    save_result(result, job.result_file)
    return result


def gather(title: str, settings: dict[str, Any], logs: Sequence[LogResult]) -> RunResult:
    """The run's record with figures over all its logs."""
    scores = merge_scores([log.scores for log in logs if log.state == "done"])
    return RunResult(title, settings, tuple(logs), tuple(scores))


def read_run(out: Path) -> dict | None:
    """What the last run in a folder was, None where there was none."""
    try:
        run = json.loads((out / RUN_FILE).read_text())
    except (OSError, ValueError):
        return None
    return run if isinstance(run, dict) and {"key", "logs"} <= run.keys() else None


def _write_run(out: Path, key: str, jobs: Sequence[Job]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        partial = out / f"{RUN_FILE}.partial"
        partial.write_text(json.dumps({"key": key, "logs": [job.scene_id for job in jobs]}))
        partial.replace(out / RUN_FILE)
    except OSError as error:
        raise StoreError(f"can not write to {out} ({error}); name another --out") from error
