"""CLEAR MOT, IDF1 and HOTA against trackeval, whose answers to random frames are a golden."""

import json
from pathlib import Path

import numpy as np
import pytest

from driv3r.evaluation.metrics.objects import kind_of
from driv3r.evaluation.metrics.tracking import TrackedFrame, clear_mot, hota, identity_f1

GOLDEN = Path(__file__).parents[1] / "goldens" / "tracking" / "trackeval.json"
CASES = json.loads(GOLDEN.read_text())["cases"]


def frames_of(case):
    return [
        TrackedFrame(
            np.array(f["true_id"], int),
            np.array(f["track_id"], int),
            np.array(f["similarity"], float).reshape(len(f["true_id"]), len(f["track_id"])),
        )
        for f in case["frames"]
    ]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_figures_are_trackevals(case):
    frames = frames_of(case)
    clear = clear_mot(frames)
    assert (clear.missed, clear.false, clear.switches) == (
        case["missed"],
        case["false"],
        case["switches"],
    )
    assert clear.mota == pytest.approx(case["mota"], abs=1e-12)
    assert identity_f1(frames) == pytest.approx(case["idf1"], abs=1e-12)
    assert hota(frames) == pytest.approx(case["hota"], abs=1e-12)


def test_perfect_tracks_score_one_and_none_score_nothing():
    ids = np.arange(3)
    perfect = [TrackedFrame(ids, ids[::-1].copy(), np.eye(3)[::-1].copy())] * 4
    assert clear_mot(perfect).mota == identity_f1(perfect) == 1
    assert hota(perfect) == pytest.approx(1)
    empty = [TrackedFrame(ids[:0], ids[:0], np.zeros((0, 0)))]
    assert np.isnan([clear_mot(empty).mota, identity_f1(empty), hota(empty)]).all()


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("human.pedestrian.adult", "pedestrian"), ("TYPE_PEDESTRIAN", "pedestrian"),
        ("vehicle.bicycle", "cyclist"), ("TYPE_CYCLIST", "cyclist"), ("Cyclist", "cyclist"),
        ("Motorcycle", "cyclist"), ("BICYCLIST", "cyclist"), ("TYPE_VEHICLE", "vehicle"),
        ("vehicle.truck", "vehicle"), ("Car", "vehicle"),
    ],
)  # fmt: skip
def test_labels_of_all_datasets_have_a_kind(label, kind):
    assert kind_of(label) == kind
