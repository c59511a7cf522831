"""What a person sees: progress bars, tables of figures, warnings."""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

screen, complaints = Console(), Console(stderr=True)


PLAIN_EVERY_S = 10.0  # between lines where the output is no terminal


class ProgressBar:
    """One bar over the frames of all logs and stages, with frames a second and the time left.

    Where the output is no terminal, a plain line now and then. `total_stages` is how often a frame
    is worked on. `unit` is what is counted, where that is no frames.
    """

    def __init__(
        self, what: str, total_stages: int = 1, quiet: bool = False, unit: str = "frames"
    ) -> None:
        self.what, self.stages, self.quiet, self.unit = what, total_stages, quiet, unit
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=screen)
        self.totals: dict[str, int] = {}
        self.done: dict[tuple[str, str], float] = {}
        self.since = self.said = time.monotonic()
        self.task: TaskID | None = None

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        if self.task is not None:
            self.progress.stop()

    def update(self, log: str, stage: str, done: float, total: int) -> None:
        """Take one log's progress in a stage; the first one shows the bar."""
        self.totals[log] = total
        if done:
            self.done[log, stage] = done
        work, whole = sum(self.done.values()), self.stages * sum(self.totals.values())
        frames_a_second = work / self.stages / max(time.monotonic() - self.since, 1e-9)
        speed = f"{frames_a_second:.2f} {self.unit}/s" if work else ""
        if self.quiet:
            return
        if screen.is_terminal:
            if self.task is None:
                self.progress.start()
                self.task = self.progress.add_task(self.what, speed="")
            self.progress.update(self.task, completed=work, total=whole, speed=speed)
        elif work and (work == whole or time.monotonic() - self.said > PLAIN_EVERY_S):
            self.said = time.monotonic()
            left_s = (whole - work) / self.stages / max(frames_a_second, 1e-9)
            screen.print(f"{self.what}: {work / whole:.0%}, {speed}, {left_s:.0f} s left")


def stop_if_failed(run) -> None:
    """Name the logs that failed and end with status 1 where there are any."""
    failed = [log for log in run.logs if log.error is not None]
    for log in failed:
        complaints.print(f"{log.log_id} failed: {log.error}", markup=False, soft_wrap=True)
    if failed:
        raise SystemExit(1)


def show_run(run) -> None:
    """The overall depth and ego figures as a table."""
    shown = ("abs_rel", "sq_rel", "rmse", "delta1")
    table = Table(title=f"{run.title}: {len(run.logs)} logs")
    for column in ("subject", "scaling", *shown, "points"):
        table.add_column(column)
    rows: dict[tuple[str, str], dict] = {}
    for s in run.scores:
        if s.camera == "all" and s.metric in shown:
            rows.setdefault((s.subject, s.scaling), {})[s.metric] = s
    for (subject, scaling), scores in rows.items():
        values = [f"{scores[m].value:.3f}" if m in scores else "-" for m in shown]
        table.add_row(subject, scaling, *values, str(next(iter(scores.values())).n))
    if rows:
        screen.print(table)
    for s in run.scores:
        if s.metric in ("ate_rmse", "rpe_percent"):
            screen.print(f"{s.subject} {s.metric} ({s.scaling}): {s.value:.3f} {s.unit}")
    for line in warnings_of(run):
        screen.print(line, markup=False, soft_wrap=True)


def warnings_of(run) -> list[str]:
    """What a reader of the figures has to know: repairs, what could not be scored, what data."""
    done = [log for log in run.logs if log.state == "done"]
    lines = []
    repaired = [log for log in done if log.repairs]
    if repaired:
        count = sum(len(log.repairs) for log in repaired)
        first = repaired[0].repairs[0]
        lines.append(f"input repaired {count} times in {len(repaired)} logs, such as {first}")
    unscaled = [log.log_id for log in done if log.scale != "metric"]
    if unscaled:
        names = ", ".join(unscaled)
        lines.append(f"up to scale, as cameras are assumed and not calibrated: {names}")
    unscored = [
        log.log_id
        for log in done
        if log.scale == "metric" and all(s.protocol == "ego" for s in log.scores)
    ]
    if unscored:
        lines.append(
            f"no depth was scored, for want of LiDAR or annotated depth, in {', '.join(unscored)}"
        )
    if any(log.generated for log in done):
        lines.append("the data are generated: figures tell nothing of recorded streets")
    return lines
