"""The report: one HTML file that needs nothing else, and the same figures as JSON."""

import base64
import contextlib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from driv3r.errors import StoreError
from driv3r.evaluation.records import LogResult, Picture, RunResult, save_result
from driv3r.reporting.birds_eye import draw_birds_eye
from driv3r.reporting.charts import (
    draw_bars,
    draw_paths,
    draw_reliability,
    draw_stages,
    format_duration,
    format_number,
)
from driv3r.reporting.embedded_scene import encode_scene
from driv3r.reporting.images import encode_jpeg
from driv3r.reporting.tables import (
    HEADLINE,
    ROLES,
    Sheet,
    Table,
    build_camera_tables,
    build_tables,
    find_role,
    is_headline,
)
from driv3r.store.reader import LogStore
from driv3r.types import Score

REPAIRS_SHOWN = 20
EMBED_BYTES = 96_000_000  # a page beyond that opens badly; further pictures stay files beside it

PROTOCOL_TITLES = {
    "ego": "Ego motion",
    "light": "Depth by brightness of the image",
    "motion": "Moving or still",
    "map": "Static map",
    "objects": "Moving objects",
    "removal": "What moves left out of the map",
    "flow": "Scene flow",
    "rendered": "Depth of the fused model in the cameras",
}
BY_LIGHT = "abs_rel_"  # and a band of brightness
COVERAGE = (
    "coverage_"  # metrics of the share of truths in a stated interval, with its percent after
)
MAPS_ON_TOP = 4


@dataclass(frozen=True)
class BaselineComparison:
    """The network's headline error over the best baseline's."""

    subject: str
    baseline: str
    ratio: float


@dataclass(frozen=True)
class Panel:
    """The headline of one protocol."""

    protocol: str
    chart: Markup
    comparisons: tuple[BaselineComparison, ...]


@dataclass(frozen=True)
class Chart:
    """A drawing with its title and how to read it."""

    title: str
    note: str
    drawing: Markup


@dataclass(frozen=True)
class Card:
    """A protocol's decisions, and the logs that were scored so."""

    protocol: str
    decisions: dict[str, Any]
    logs: int


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, or why it is not on the page."""

    picture: Picture
    data: str = ""
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One log's part of the page."""

    number: int
    log: LogResult
    seconds: float | int
    headline: Score | None
    stages: Markup
    plan: Markup
    depth_tables: list[Table]
    other_tables: list[Table | Sheet]
    figures: list[Figure]
    birds_eye: str = ""  # a JPEG and a scene, as base64; empty where the log's store has none
    scene: str = ""
    scene_left_out: bool = False

    @property
    def repairs_count(self) -> int:
        """How many things of the log's input were repaired."""
        return len(self.log.repairs)


def write_report(folder: Path, run: RunResult) -> Path:
    """Write `folder`/report.json and report.html, one self-contained page; returns the page.

    Pictures are read from `folder`; one that is missing leaves a note in its place.
    """
    save_result(run, folder / "report.json")
    seconds = _add_up(log.seconds for log in run.logs)
    colours = {stage: i for i, stage in enumerate(seconds)}
    depth_tables, other_tables = build_tables(run.scores)
    sections = _write_sections(folder, run.logs, colours)
    script = (Path(__file__).parent / "scene_view.js").read_text(encoding="utf-8")
    page = _load_template().render(
        run=run,
        script=Markup(script) if any(section.scene for section in sections) else None,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        charts=build_charts(run),
        maps=[section for section in sections if section.birds_eye][:MAPS_ON_TOP],
        failed=[log for log in run.logs if log.error is not None or log.state == "failed"],
        generated=sum(log.generated for log in run.logs),
        unscaled=[log.log_id for log in run.logs if log.scale != "metric"],
        totals=_add_up(_counts(log) for log in run.logs),
        seconds=sum(seconds.values()),
        stages=draw_stages(seconds, colours),
        panels=build_panels(run.scores),
        depth_tables=depth_tables,
        other_tables=other_tables,
        protocol_titles=PROTOCOL_TITLES,
        camera_tables=build_camera_tables(run.scores),
        cards=collect_cards(run.logs),
        lost=sorted(_add_up(log.lost for log in run.logs).items(), key=lambda kv: -kv[1]),
        sections=sections,
        repaired=[section for section in sections if section.log.repairs],
        repairs_shown=REPAIRS_SHOWN,
    )
    path = folder / "report.html"
    partial = folder / "report.html.partial"
    partial.write_text(page, encoding="utf-8", errors="replace")
    partial.replace(path)
    return path


def build_panels(scores: Sequence[Score]) -> list[Panel]:
    """A headline for each protocol that has one: metric Abs Rel of every subject."""
    headline: dict[str, dict[str, float]] = {}
    for score in scores:
        if is_headline(score):
            headline.setdefault(score.protocol, {})[score.subject] = score.value
    return [_build_panel(protocol, values) for protocol, values in headline.items()]


def _build_panel(protocol: str, values: dict[str, float]) -> Panel:
    roles = {subject: find_role(subject) for subject in values}
    ordered = sorted(values.items(), key=lambda kv: ROLES.index(roles[kv[0]]))
    rivals = {s: v for s, v in values.items() if roles[s] == "baseline" and math.isfinite(v)}
    best = min(rivals, key=rivals.__getitem__, default=None)
    comparisons = tuple(
        BaselineComparison(subject, best, value / rivals[best])
        for subject, value in ordered
        if roles[subject] == "network"
        and math.isfinite(value)
        and best is not None
        and rivals[best] > 0
    )
    chart = draw_bars([(subject, value, roles[subject]) for subject, value in ordered])
    return Panel(protocol, chart, comparisons)


def build_charts(run: RunResult) -> list[Chart]:
    """What the networks' depth errors depend on: camera, log, light; and their reliability."""
    ours = [s for s in run.scores if s.scaling == "metric" and find_role(s.subject) == "network"]
    cameras = [s for s in ours if s.metric == HEADLINE and s.camera != "all"]
    headlines = [(log.log_id, _find_headline(log.scores)) for log in run.logs]
    logs = [(log_id, score.value) for log_id, score in headlines if score is not None]
    light = [
        (s.metric.removeprefix(BY_LIGHT), s.value) for s in ours if s.metric.startswith(BY_LIGHT)
    ]
    charts = []
    for title, bars in (
        ("Abs Rel by camera", [(s.camera, s.value, "network") for s in cameras]),
        ("Abs Rel by log", [(name, value, "network") for name, value in logs[:20]]),
        ("Abs Rel by brightness of the image", [(*each, "network") for each in light]),
    ):
        if len(bars) > 1:
            charts.append(Chart(title, "Metric: no scaling. Less is better.", draw_bars(bars)))
    curves: dict[str, dict[int, float]] = {}
    for s in ours:
        if s.metric.startswith(COVERAGE) and s.camera == "all":
            percent = int(s.metric.removeprefix(COVERAGE))
            curves.setdefault(f"{s.subject}, {s.protocol}", {})[percent] = s.value
    reliability = draw_reliability(list(curves.items()))
    if reliability:
        note = "On the diagonal, sigma says what errors are; below it, it is too sure."
        charts.append(Chart("Reliability of the stated depth intervals", note, reliability))
    return charts


def collect_cards(logs: Sequence[LogResult]) -> list[Card]:
    """Every protocol's card once; twice where logs were scored under different decisions."""
    cards: dict[str, Card] = {}
    for log in logs:
        for protocol, decisions in log.cards.items():
            if not isinstance(decisions, dict):
                decisions = {"decision": decisions}
            key = f"{protocol} {decisions}"
            known = cards.get(key)
            cards[key] = Card(protocol, decisions, 1 + (known.logs if known else 0))
    return list(cards.values())


def _write_sections(
    folder: Path, logs: Sequence[LogResult], colours: dict[str, int]
) -> list[Section]:
    left_bytes, sections = EMBED_BYTES, []
    for log in logs:
        figures = []
        for picture in log.pictures:
            figures.append(_embed(folder, picture, left_bytes))
            left_bytes -= len(figures[-1].data)
        birds_eye, scene = _picture_store(log)
        too_large = len(birds_eye) + len(scene) > left_bytes
        if too_large:
            birds_eye = scene = ""
        left_bytes -= len(birds_eye) + len(scene)
        sections.append(
            Section(
                len(sections),
                log,
                sum(log.seconds.values()),
                _find_headline(log.scores),
                draw_stages(log.seconds, colours),
                draw_paths(log.paths),
                *build_tables(log.scores),
                figures,
                birds_eye,
                scene,
                too_large,
            )
        )
    return sections


def _find_headline(scores: Sequence[Score]) -> Score | None:
    """The network's error under the first protocol that has one: the log's own."""
    ours = (s for s in scores if is_headline(s) and find_role(s.subject) == "network")
    return next(ours, None)


def _picture_store(log: LogResult) -> tuple[str, str]:
    """The map from above and the scene of a log; empty where its store has gone."""
    if log.store:
        with contextlib.suppress(StoreError):
            store = LogStore.open(Path(log.store))
            picture = draw_birds_eye(store)
            if picture is not None:
                jpeg = base64.b64encode(encode_jpeg(picture, 82)).decode("ascii")
                return jpeg, encode_scene(store)
    return "", ""


def _embed(folder: Path, picture: Picture, left_bytes: int) -> Figure:
    path = folder / picture.file
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return Figure(picture, note=f"{picture.file} lies outside the report's folder")
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return Figure(picture, note=f"{picture.file} is missing")
    if len(data) > left_bytes:
        return Figure(
            picture, note=f"left out to keep this page small: see {picture.file} beside it"
        )
    return Figure(picture, data)


def _add_up(maps: Iterable[Mapping[str, float | int]]) -> dict[str, float | int]:
    total: dict[str, float | int] = {}
    for each in maps:
        for key, value in each.items():
            total[key] = total.get(key, 0) + value
    return total


def _counts(log: LogResult) -> dict[str, int]:
    return {
        "frames": log.frames,
        "static voxels": log.static_voxels,
        "moving tracks": log.moving_tracks,
        "moving states": log.moving_states,
        "repairs": len(log.repairs),
    }


def _format_value(value: Any) -> str:
    """A setting or decision as people write it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_format_value(each)}" for key, each in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_format_value(each) for each in value) or "-"
    return str(value)


def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "duration": format_duration,
        "value": _format_value,
    }
    return environment.get_template("report.html.jinja")
