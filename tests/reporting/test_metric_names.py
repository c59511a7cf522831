"""Every metric that is scored has a name; parts of the scene stand side by side."""

import re
from pathlib import Path

import street_log

from driv3r.reporting.metric_names import METRICS, name_metric
from driv3r.reporting.tables import Sheet, build_tables
from driv3r.types import Score

METRIC_SOURCES = Path(__file__).parents[2] / "driv3r" / "evaluation" / "metrics"


def test_known_names_occur_in_the_scorers_or_are_their_fields():
    text = "".join(path.read_text() for path in METRIC_SOURCES.glob("*.py"))
    for metric in ("hota", "movers_found", "in_sight", "average_precision", "ate_rmse", "ause"):
        assert metric in METRICS
        assert re.search(rf"\b{metric}\b", text), metric


def test_names_with_numbers_and_parts():
    name = name_metric("off_ground_f_score_0.2")
    assert (name.label, name.part, name.better) == ("F-score at 0.2 m", "off ground", 1)
    assert name_metric("ground_error_mean").part == "ground"
    assert name_metric("ground_error_mean").better == -1
    assert name_metric("recall_20_40_m").label == "Recall, 20 to 40 m"
    assert name_metric("recall_pedestrian").label == "Recall, pedestrian"
    assert name_metric("novel").label == "novel"


def test_every_score_of_one_subject_is_in_its_sheet_once():
    scores = [score for score in street_log.make_scores() if score.protocol == "map"]
    scores.append(Score("in_sight", 0.9, "", 5, "map", "fusion", "metric"))
    _, (sheet,) = build_tables(scores)
    assert isinstance(sheet, Sheet)
    assert sheet.parts == ("", "ground", "off ground")
    shown = [score for row in sheet.rows for score in row.scores if score is not None]
    assert sorted(shown, key=str) == sorted(scores, key=str)
    f_score = next(row for row in sheet.rows if row.label == "F-score at 0.2 m")
    assert [s.metric if s else None for s in f_score.scores] == [
        None,
        "ground_f_score_0.2",
        "off_ground_f_score_0.2",
    ]
