"""What a person sees: progress bars, tables of figures, warnings."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

screen, complaints = Console(), Console(stderr=True)


class StageBars:
    """One progress bar a stage, summed over the logs that have reached it."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self.progress = Progress(*columns, console=screen)
        self.tasks: dict[str, object] = {}
        self.counts: dict[str, dict[str, tuple[int, int]]] = {}

    def __enter__(self) -> "StageBars":
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def update(self, log: str, stage: str, done: int, total: int) -> None:
        """Take one log's progress in a stage; the first one shows the bars."""
        self.progress.start()
        of_stage = self.counts.setdefault(stage, {})
        of_stage[log] = (done, total)
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage)
        done, total = (sum(pair[i] for pair in of_stage.values()) for i in (0, 1))
        self.progress.update(self.tasks[stage], completed=done, total=total)  # type: ignore[arg-type]


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
    unscored = [log.log_id for log in done if all(s.protocol == "ego" for s in log.scores)]
    if unscored:
        lines.append(f"no depth was scored, for want of LiDAR sweeps, in {', '.join(unscored)}")
    if any(log.generated for log in done):
        lines.append("the data are generated: figures tell nothing of recorded streets")
    return lines
