"""Scores as tables: who and how in the rows, metrics in the columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from driv3r.types import Score

BASELINES = ("positional-prior", "ground-plane")
FLOOR = "floor"
ROLES = ("network", "baseline", "floor")  # the order of rows
SCALINGS = ("metric", "per_log", "per_frame", "per_view", "none", "se3", "sim3")
ALIGNMENTS = {"se3", "sim3"}
SCALING_LABELS = {"se3": "SE(3)", "sim3": "Sim(3)", "none": "-"}
HEADLINE = "abs_rel"

# Label, and whether less (-1) or more (1) is better. The order is the columns'; others follow.
METRICS: dict[str, tuple[str, int]] = {
    "abs_rel": ("Abs Rel", -1),
    "sq_rel": ("Sq Rel", -1),
    "rmse": ("RMSE", -1),
    "rmse_log": ("RMSE log", -1),
    "silog": ("SILog", -1),
    "delta1": ("δ₁", 1),
    "delta2": ("δ₂", 1),
    "delta3": ("δ₃", 1),
    "coverage_50": ("Cover 50 %", 0),
    "coverage_90": ("Cover 90 %", 0),
    "ause": ("AUSE", -1),
    "ate_rmse": ("ATE RMSE", -1),
    "rpe_translation": ("RPE translation", -1),
    "rpe_rotation": ("RPE rotation", -1),
    "rpe_percent": ("RPE of path", -1),
    "scale": ("Scale", 0),
    "path_length": ("Path length", 0),
    "step": ("Step", 0),
    "iou": ("IoU", 1),
    "precision": ("Precision", 1),
    "recall": ("Recall", 1),
    "average_precision": ("Average precision", 1),
    "recall_walking": ("Recall, walking", 1),
    "recall_driving": ("Recall, driving", 1),
    "unpredicted": ("Unpredicted", -1),
    "pr": ("PR (ERASOR)", 1),
    "rr": ("RR (ERASOR)", 1),
    "f1": ("F1 (ERASOR)", 1),
    "sa": ("SA", 1),
    "da": ("DA", 1),
    "aa": ("AA", 1),
    "ha": ("HA", 1),
    "occupancy_iou": ("Occupancy IoU", 1),
    "epe_three_way": ("EPE 3-way", -1),
    "epe_foreground_dynamic": ("EPE FD", -1),
    "epe_foreground_static": ("EPE FS", -1),
    "epe_background_static": ("EPE BS", -1),
    "flow_foreground_dynamic": ("Flow FD", 0),
    "epe_dynamic_normalised": ("EPE FD / flow", -1),
}


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


def find_role(subject: str) -> str:
    """Whether a subject is a baseline, the floor, or else a network."""
    if subject == FLOOR:
        return "floor"
    return "baseline" if subject in BASELINES else "network"


def is_headline(score: Score) -> bool:
    """Metric Abs Rel over all cameras."""
    return (score.metric, score.scaling, score.camera) == (HEADLINE, "metric", "all")


def build_tables(scores: Sequence[Score]) -> tuple[list[Table], list[Table]]:
    """Tables over all cameras, of depth and of everything else: one a protocol.

    Rows are subjects and scalings, or subjects alone where nothing is scaled.
    """
    depth, other = [], []
    for protocol in dict.fromkeys(score.protocol for score in scores):
        of_all = [s for s in scores if s.protocol == protocol and s.camera == "all"]
        unscaled = [s for s in of_all if s.scaling == "none"]
        scaled = [s for s in of_all if s.scaling != "none"]
        kind = depth if any(score.metric == HEADLINE for score in of_all) else other
        if scaled:
            kind.append(pivot(scaled, ("subject", "scaling"), unscaled))
        elif unscaled:
            kind.append(pivot(unscaled, ("subject",)))
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


def _title(key: str, scores: Sequence[Score]) -> str:
    aligned = key == "scaling" and {score.scaling for score in scores} <= ALIGNMENTS
    return "Alignment" if aligned else key.capitalize()


def _columns(scores: Sequence[Score]) -> tuple[Column, ...]:
    """Every metric that occurs: known ones in our order, then the others as they came."""
    units = {score.metric: score.unit for score in scores}
    known = [metric for metric in METRICS if metric in units]
    others = [metric for metric in units if metric not in METRICS]
    return tuple(
        Column(metric, *METRICS.get(metric, (metric, 0)), units[metric])
        for metric in known + others
    )


def _find_leaders(scores: Sequence[Score]) -> set[Score]:
    """The best of each metric among rivals: same scaling and camera, at least two, no floor."""
    rivals: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        if score.subject != FLOOR and math.isfinite(score.value):
            rivals.setdefault((score.metric, score.scaling, score.camera), []).append(score)
    leaders = set()
    for (metric, _, _), group in rivals.items():
        _, better = METRICS.get(metric, (metric, 0))
        if better and len({score.subject for score in group}) > 1:
            leaders.add(max(group, key=lambda score: better * score.value))
    return leaders
