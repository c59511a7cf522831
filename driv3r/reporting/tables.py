"""Scores as tables: who and how in the rows, metrics in the columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from driv3r.reporting.metric_names import METRICS, name_metric
from driv3r.types import Score

BASELINES = ("positional-prior", "ground-plane")
FLOOR = "floor"
ROLES = ("network", "baseline", "floor")  # the order of rows
SCALINGS = ("metric", "per_log", "per_frame", "per_view", "none", "se3", "sim3")
ALIGNMENTS = {"se3", "sim3"}
SCALING_LABELS = {"se3": "SE(3)", "sim3": "Sim(3)", "none": "-"}
HEADLINE = "abs_rel"


@dataclass(frozen=True)
class Column:
    """A metric; `better` is -1 where less is better, 1 where more is, 0 where neither."""

    metric: str
    label: str
    better: int
    unit: str


@dataclass(frozen=True)
class Row:
    """A table's line; `best` names the metrics in which it leads its rivals."""

    names: tuple[str, ...]
    role: str
    scores: dict[str, Score]
    best: frozenset[str]

    @property
    def n(self) -> int:
        """Samples; metrics of one row may rest on fewer (steps instead of poses)."""
        return max(score.n for score in self.scores.values())


@dataclass(frozen=True)
class Table:
    """Figures of one protocol; `facts` are those without a scaling beside ones that have one."""

    protocol: str
    titles: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    facts: tuple[tuple[Score, Column], ...] = ()


@dataclass(frozen=True)
class SheetRow:
    """A metric; a score for each of the sheet's parts, None where there is none."""

    label: str
    better: int
    unit: str
    explanation: str
    scores: tuple[Score | None, ...]

    @property
    def n(self) -> int:
        """Samples, the most of its parts."""
        return max(score.n for score in self.scores if score is not None)


@dataclass(frozen=True)
class Sheet:
    """Figures of one subject under one protocol, a metric a line; `parts` head the columns."""

    protocol: str
    subject: str
    parts: tuple[str, ...]
    rows: tuple[SheetRow, ...]


def find_role(subject: str) -> str:
    """Whether a subject is a baseline, the floor, or else a network."""
    if subject == FLOOR:
        return "floor"
    return "baseline" if subject in BASELINES else "network"


def is_headline(score: Score) -> bool:
    """Metric Abs Rel over all cameras."""
    return (score.metric, score.scaling, score.camera) == (HEADLINE, "metric", "all")


def build_tables(scores: Sequence[Score]) -> tuple[list[Table], list[Table | Sheet]]:
    """Tables over all cameras, of depth and of everything else: one a protocol.

    Rows are subjects and scalings; of a protocol with one of each, they are metrics.
    """
    depth: list[Table] = []
    other: list[Table | Sheet] = []
    for protocol in dict.fromkeys(score.protocol for score in scores):
        of_all = [s for s in scores if s.protocol == protocol and s.camera == "all"]
        unscaled = [s for s in of_all if s.scaling == "none"]
        scaled = [s for s in of_all if s.scaling != "none"]
        of_depth = any(score.metric == HEADLINE for score in of_all)
        if not of_depth and len({(score.subject, score.scaling) for score in of_all}) == 1:
            other.append(build_sheet(of_all))
        elif of_all:
            keys = ("subject", "scaling") if scaled else ("subject",)
            table = pivot(scaled, keys, unscaled) if scaled else pivot(unscaled, keys)
            (depth if of_depth else other).append(table)
    return depth, other


def build_camera_tables(scores: Sequence[Score]) -> list[tuple[Table | None, Table | None]]:
    """For each protocol with cameras: the networks under metric scaling, and everything else."""
    tables = []
    by_camera = [s for s in scores if s.camera != "all"]
    for protocol in dict.fromkeys(score.protocol for score in by_camera):
        kinds: dict[bool, list[Score]] = {True: [], False: []}
        for s in by_camera:
            if s.protocol == protocol:
                kinds[s.scaling == "metric" and find_role(s.subject) == "network"].append(s)
        tables.append(
            (
                pivot(kinds[True], ("subject", "camera")) if kinds[True] else None,
                pivot(kinds[False], ("subject", "scaling", "camera")) if kinds[False] else None,
            )
        )
    return tables


def pivot(scores: Sequence[Score], keys: tuple[str, ...], facts: Sequence[Score] = ()) -> Table:
    """Scores of one protocol as a table: `keys` name the rows, metrics are the columns."""
    lines: dict[tuple[str, ...], dict[str, Score]] = {}
    for score in scores:
        lines.setdefault(tuple(getattr(score, key) for key in keys), {})[score.metric] = score
    subjects = list(dict.fromkeys(score.subject for score in scores))

    def rank(line: dict[str, Score]) -> tuple[int, int, int]:
        first = next(iter(line.values()))
        scaling = SCALINGS.index(first.scaling) if first.scaling in SCALINGS else len(SCALINGS)
        role = ROLES.index(find_role(first.subject))
        return role, subjects.index(first.subject), scaling

    leaders = _find_leaders(scores)
    rows = [
        Row(
            tuple(SCALING_LABELS.get(name, name) for name in names),
            find_role(next(iter(line.values())).subject),
            line,
            frozenset(metric for metric, score in line.items() if score in leaders),
        )
        for names, line in sorted(lines.items(), key=lambda item: rank(item[1]))
    ]
    named_facts = tuple((fact, _columns([fact])[0]) for fact in facts)
    titles = tuple(_title(key, scores) for key in keys)
    return Table(scores[0].protocol, titles, _columns(scores), tuple(rows), named_facts)


def build_sheet(scores: Sequence[Score]) -> Sheet:
    """Scores of one subject and protocol; what is over parts of the scene stands side by side."""
    names = {score.metric: name_metric(score.metric) for score in scores}
    parts = tuple(dict.fromkeys(names[score.metric].part for score in scores))
    parts = tuple(sorted(parts, key=("", "ground", "off ground").index))
    known = list(METRICS)
    lines: dict[str, dict[str, Score]] = {}
    order = {score: known.index(score.metric) for score in scores if score.metric in known}
    for score in sorted(scores, key=lambda score: order.get(score, len(known))):
        lines.setdefault(names[score.metric].label, {})[names[score.metric].part] = score
    rows = []
    for label, line in lines.items():
        first = next(iter(line.values()))
        name = names[first.metric]
        figures = tuple(line.get(part) for part in parts)
        rows.append(SheetRow(label, name.better, first.unit, name.explanation, figures))
    return Sheet(scores[0].protocol, scores[0].subject, parts, tuple(rows))


def _title(key: str, scores: Sequence[Score]) -> str:
    aligned = key == "scaling" and {score.scaling for score in scores} <= ALIGNMENTS
    return "Alignment" if aligned else key.capitalize()


def _columns(scores: Sequence[Score]) -> tuple[Column, ...]:
    """Every metric that occurs: known ones in our order, then the others as they came."""
    units = {score.metric: score.unit for score in scores}
    known = [metric for metric in METRICS if metric in units]
    others = [metric for metric in units if metric not in METRICS]
    return tuple(
        Column(metric, name.label, name.better, units[metric])
        for metric, name in ((metric, name_metric(metric)) for metric in known + others)
    )


def _find_leaders(scores: Sequence[Score]) -> set[Score]:
    """The best of each metric among rivals: same scaling and camera, at least two, no floor."""
    rivals: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        if score.subject != FLOOR and math.isfinite(score.value):
            rivals.setdefault((score.metric, score.scaling, score.camera), []).append(score)
    leaders = set()
    for (metric, _, _), group in rivals.items():
        better = name_metric(metric).better
        if better and len({score.subject for score in group}) > 1:
            leaders.add(max(group, key=lambda score: better * score.value))
    return leaders
