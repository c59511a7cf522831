import base64
import dataclasses
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.evaluation.records import LogResult, Path2D, Picture, RunResult
from driv3r.reporting.charts import draw_paths, format_duration, format_number, nice_step
from driv3r.reporting.html import build_panels, write_report
from driv3r.reporting.images import encode_jpeg
from driv3r.reporting.tables import build_tables
from driv3r.types import Score

VOID = {"meta", "br", "img", "hr", "input", "link"}
HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}\x00\udcff"


class Page(HTMLParser):
    """Checks that tags balance; collects tags, their attributes and the visible text."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.cells: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data if "style" not in self.open else ""
        if "td" in self.open:
            self.cells[-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def make_scores():
    """Values that are all different in their first three digits."""
    digits = (k / 1000 for k in itertools.count(100))
    subjects = ("floor", "ground-plane", "driv3r-s", "positional-prior")
    depth = [
        Score(metric, next(digits), unit, 7, "nuscenes", subject, scaling, camera)
        for subject in subjects
        for camera in ("all", "CAM_FRONT")
        for scaling in ("metric", "per_view")
        for metric, unit in (("abs_rel", ""), ("rmse", "m"), ("delta1", ""), ("novel", "furlong"))
    ]
    ego = [
        Score(metric, next(digits), "m", 9, "ego", "driv3r-s", scaling)
        for metric, scaling in (("ate_rmse", "se3"), ("ate_rmse", "sim3"), ("path_length", "none"))
    ]
    motion = [Score("iou", next(digits), "", 11, "motion", "driv3r-s", "none")]
    return (*depth, *ego, *motion)


def make_run(tmp_path, **changes):
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(np.full((8, 8, 3), 90, np.uint8)))
    log = LogResult(
        "scene-0061",
        "done",
        frames=40,
        seconds={"read": 1.5, "network": 6.0},
        repairs=tuple(f"repair number {k}." for k in range(23)),
        scores=make_scores(),
        cards={"nuscenes": {"max_m": 80.0, "occlusion_filter": True, "scale": "median <of> all"}},
        lost={"behind": 1234, "outside image": 4321},
        paths=(
            Path2D("truth", (0.0, 10.0, 20.0), (0.0, 1.0, 4.0)),
            Path2D("driv3r-s", (0.0, math.nan, 21.0), (0.0, 1.0, 4.5)),
        ),
        pictures=(Picture("Frame 0", "a.jpg"), Picture("Frame 9", "gone.jpg")),
        static_voxels=54321,
        moving_tracks=17,
        moving_states=171,
        store="/stores/scene-0061.zarr",
    )
    return dataclasses.replace(
        RunResult("A run", {"dataset": "nuscenes", "versions": {"torch": "2.13"}}, (log,), ()),
        **changes,
    )


def render(tmp_path, run):
    path = write_report(tmp_path, run)
    assert path == tmp_path / "report.html"
    return Page(path.read_text())


def test_every_score_of_the_run_is_on_the_page(tmp_path):
    scores = make_scores()
    page = render(tmp_path, make_run(tmp_path, logs=(), scores=scores))
    assert len({f"{score.value:.3f}" for score in scores}) == len(scores)
    shown = page.cells + re.findall(r"path length (\S+)", page.words)
    for score in scores:
        assert shown.count(f"{score.value:.3f}") == 1, score
    for word in ("SE(3)", "Sim(3)", "per_view", "CAM_FRONT", "furlong", "positional-prior"):
        assert word in page.words


def test_log_shows_its_scores_over_all_cameras_and_the_rest_of_its_record(tmp_path):
    run = make_run(tmp_path)
    page = render(tmp_path, run)
    for score in run.logs[0].scores:
        shown = f"{score.value:.3f}" in page.words
        assert shown == (score.camera == "all"), score
    for word in ("54,321", "17", "171", "/stores/scene-0061.zarr", "1,234", "4,321", "torch 2.13"):
        assert word in page.words
    assert "repair number 19." in page.words
    assert "repair number 20." not in page.words
    assert "and 3 more" in page.words
    assert "median <of> all" in page.words
    assert "7.50 s" in page.words


def test_pictures_are_embedded_and_missing_ones_noted(tmp_path):
    page = render(tmp_path, make_run(tmp_path))
    (image,) = page.all("img")
    kind, _, data = image["src"].partition(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(data) == (tmp_path / "a.jpg").read_bytes()
    assert "gone.jpg is missing" in page.words


def test_pictures_outside_the_folder_are_not_read(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    log = LogResult("a", "done", pictures=(Picture("p", "../secret.jpg"), Picture("q", ".")))
    page = render(tmp_path / "report", RunResult("r", {}, (log,), ()))
    assert page.all("img") == []
    assert "outside the report's folder" in page.words


def test_pictures_beyond_the_budget_stay_beside_the_page(tmp_path, monkeypatch):
    size = len(base64.b64encode((make_run(tmp_path), (tmp_path / "a.jpg").read_bytes())[1]))
    monkeypatch.setattr("driv3r.reporting.html.EMBED_BYTES", 2 * size)
    log = LogResult("a", "done", pictures=(Picture("p", "a.jpg"),))
    page = render(tmp_path, RunResult("r", {}, (log,) * 3, ()))
    assert len(page.all("img")) == 2
    assert "see a.jpg" in page.words


def test_page_loads_nothing_from_elsewhere(tmp_path):
    page = render(tmp_path, make_run(tmp_path, scores=make_scores()))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "base"}
    for _, attrs in page.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert (attrs.get(name) or "#").startswith(("data:", "#"))
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|url\(|@import", text)


def test_hostile_strings_stay_text(tmp_path):
    score = Score("abs_rel", 0.5, HOSTILE, 3, HOSTILE, HOSTILE, "metric")
    log = LogResult(
        HOSTILE,
        "failed",
        HOSTILE,
        seconds={HOSTILE: 1.0},
        repairs=(HOSTILE,),
        scores=(score, dataclasses.replace(score, metric=HOSTILE, camera=HOSTILE)),
        cards={HOSTILE: {HOSTILE: HOSTILE}, "list": [HOSTILE]},
        lost={HOSTILE: 1},
        paths=(Path2D(HOSTILE, (0.0,), (0.0,)),),
        pictures=(Picture(HOSTILE, HOSTILE),),
        store=HOSTILE,
    )
    run = RunResult(HOSTILE, {HOSTILE: HOSTILE}, (log,), log.scores)
    page = render(tmp_path, run)
    assert page.all("script") == []
    assert page.words.count("alert('x')") > 10
    assert "49" not in page.words.replace("{{ 7*7 }}", "")


def test_failures_stand_at_the_top_with_their_text(tmp_path):
    log = LogResult("scene-0916", "failed", "DatasetError: sweep cut short")
    page = render(tmp_path, RunResult("r", {}, (log,), ()))
    top = page.words.index("sweep cut short")
    assert page.words.index("1 log failed") < top < page.words.index("What was run")
    assert "0 logs done" in " ".join(page.words.split())


@pytest.mark.parametrize("count", [0, 1, 150])
def test_any_number_of_logs_the_first_open(tmp_path, count):
    run = make_run(tmp_path)
    small = dataclasses.replace(run.logs[0], scores=run.logs[0].scores[:12])
    logs = tuple(dataclasses.replace(small, log_id=f"log-{k}") for k in range(count))
    page = render(tmp_path, dataclasses.replace(run, logs=logs))
    sections = [attrs for attrs in page.all("details") if attrs.get("class") == "log"]
    assert len(sections) == count
    assert ["open" in attrs for attrs in sections] == [k == 0 for k in range(count)]
    assert ("There are no logs" in page.words) == (count == 0)


def test_json_beside_the_page_is_the_run(tmp_path):
    run = make_run(tmp_path, scores=make_scores())
    write_report(tmp_path, run)
    record = json.loads((tmp_path / "report.json").read_text())
    assert [Score(**score) for score in record["scores"]] == list(run.scores)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.jpg", "report.html", "report.json"]


def panel_of(**values):
    names = {"ours": "driv3r-s", "prior": "positional-prior", "plane": "ground-plane"}
    scores = [
        Score("abs_rel", value, "", 5, "ddad", names.get(who, who)) for who, value in values.items()
    ]
    return build_panels(scores)[0]


def test_verdict_is_against_the_best_baseline_never_the_floor():
    (verdict,) = panel_of(floor=0.01, plane=0.5, prior=0.4, ours=0.3).comparisons
    assert (verdict.subject, verdict.baseline) == ("driv3r-s", "positional-prior")
    assert verdict.ratio == pytest.approx(0.75)
    assert (
        panel_of(plane=math.nan, prior=0.4, ours=0.3).comparisons[0].baseline == "positional-prior"
    )
    for lacking in ({"ours": 0.3, "floor": 0.01}, {"prior": 0.4}, {"ours": math.nan, "prior": 0.4}):
        assert panel_of(**lacking).comparisons == ()


@pytest.mark.parametrize(
    ("ours", "kind", "word"), [(0.2, "good", "50 % less"), (0.6, "bad", "not")]
)
def test_losing_to_the_baseline_is_said(tmp_path, ours, kind, word):
    scores = (
        Score("abs_rel", ours, "", 5, "ddad", "driv3r-s"),
        Score("abs_rel", 0.4, "", 5, "ddad", "positional-prior"),
    )
    page = render(tmp_path, RunResult("r", {}, (), scores))
    (verdict,) = [a for a in page.all("div") if "verdict" in (a.get("class") or "")]
    assert kind in verdict["class"]
    assert word in page.words


def test_best_is_per_scaling_by_the_metric_s_own_direction_without_the_floor():
    (table,), _ = build_tables(make_scores())
    best = {row.names: row.best for row in table.rows}
    # Values grow in the order floor, ground-plane, driv3r-s, positional-prior.
    for scaling in ("metric", "per_view"):
        assert best["ground-plane", scaling] == {"abs_rel", "rmse"}
        assert best["positional-prior", scaling] == {"delta1"}
        assert best["floor", scaling] == best["driv3r-s", scaling] == set()
    assert [row.names[0] for row in table.rows][::2] == [
        "driv3r-s",
        "ground-plane",
        "positional-prior",
        "floor",
    ]
    assert [column.metric for column in table.columns] == ["abs_rel", "rmse", "delta1", "novel"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (0.1, "0.100"),
        (12.0, "12.0"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (-0.05, "-0.0500"),
        (0.0, "0.00"),
        (math.nan, "-"),
        (math.inf, "∞"),
        (0.99951, "1.00"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert format_number(value) == text


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-4, 99.9))
def test_written_numbers_are_within_half_a_digit(value):
    assert float(format_number(value)) == pytest.approx(value, rel=0.0051)


def test_durations_read_as_people_say_them():
    assert format_duration(12.3) == "12.3 s"
    assert format_duration(192.4) == "3 min 12 s"
    assert format_duration(59.97) == "1 min 00 s"
    assert format_duration(7500) == "2 h 05 min"


@settings(max_examples=40, deadline=None)
@given(st.floats(1e-3, 1e6))
def test_grid_step_is_round_and_cuts_into_few_parts(span):
    step = nice_step(span)
    assert 2.5 <= span / step <= 7.001
    mantissa = step / 10.0 ** math.floor(math.log10(step * 1.0001))
    assert min(abs(mantissa - m) for m in (1, 2, 5)) < 1e-6


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-900, 900), st.floats(-900, 900)), min_size=3, max_size=9))
def test_plan_keeps_shapes_and_stays_on_the_paper(places):
    x_m, y_m = zip(*places, strict=True)
    svg = str(draw_paths([Path2D("truth", x_m, y_m)]))
    ((width, height),) = re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)
    (points,) = re.findall(r'points="([^"]+)"', svg)
    px = np.array([point.split(",") for point in points.split()], float)
    assert (px >= 0).all()
    assert (px <= (float(width), float(height))).all()
    # One positive scale for both axes, and y turned up: distances keep their ratios.
    metres = np.stack([x_m, y_m], axis=1) - (x_m[0], y_m[0])
    moved = (px - px[0]) * (1, -1)
    scale = np.sum(moved * metres) / max(np.sum(metres**2), 1e-9)
    np.testing.assert_allclose(moved, scale * metres, atol=0.21)


def test_plan_does_not_bridge_gaps_and_needs_a_place():
    nan = math.nan
    svg = str(draw_paths([Path2D("a", (0.0, 1.0, nan, 3.0, 4.0), (0.0, 0.0, 0.0, 0.0, nan))]))
    assert svg.count("<polyline") == 2
    assert draw_paths([Path2D("a", (nan,), (0.0,))]) == ""
    assert draw_paths([]) == ""
