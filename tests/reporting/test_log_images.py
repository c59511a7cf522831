"""Which frames of a log are shown, and the errors by distance."""

import cv2
import numpy as np
import pytest
import street_log

from driv3r.evaluation.log_evaluator import LogScorer
from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.stored_frames import StoredFrame
from driv3r.reporting.distance_chart import EDGES_M, DistanceErrors, draw_distance_chart
from driv3r.reporting.log_images import LogImageWriter
from driv3r.types import Frame

H, W = street_log.H, street_log.W


def add(writer, index, truth_m):
    """A frame whose network says WALL_M everywhere; without truth where `truth_m` is None."""
    header = street_log.make_header()
    record = street_log.make_record(header, 0)
    image = np.full((H, W, 3), 90, np.uint8)
    uv = np.array([[5.5, 6.5], [20.5, 12.5]])
    truths = {} if truth_m is None else {0: ViewTruth(uv, np.full(2, truth_m), (H, W), {})}
    scorer = LogScorer("nuscenes", header.rig, "made-up", "predicted", False)
    scorer.truths = truths
    frame = Frame(street_log.START_US, street_log.world_T_ego(0), (None,))
    writer.add(StoredFrame(index, frame, [image], record, header.rig, [None]), scorer)


def titles(truths):
    writer = LogImageWriter("log", len(truths))
    for index, truth_m in enumerate(truths):
        add(writer, index, truth_m)
    return list(writer.pictures)


def test_best_median_and_worst_frame_by_their_error():
    wall_m = street_log.WALL_M
    # |12 - g| / g: 0.2, 0.0, 0.5, 0.25, 0.2
    names = titles([10.0, wall_m, 8.0, 16.0, 15.0])
    assert [name.split(":")[0] for name in names[:3]] == [
        "log, best frame 1",
        "log, median frame 4",
        "log, worst frame 2",
    ]
    assert names[2].endswith("Abs Rel 0.500")
    assert names[3:] == ["log, depth error by distance"]


def test_extremes_of_long_logs_are_found_and_few_sheets_kept():
    truths = np.linspace(11.0, 20.0, 60)
    truths[37], truths[41] = street_log.WALL_M, 4.0
    writer = LogImageWriter("log", 60)
    for index, truth_m in enumerate(truths):
        add(writer, index, float(truth_m))
        assert len(writer._sheets) <= 13
    names = list(writer.pictures)
    assert names[0].startswith("log, best frame 37:")
    assert names[2].startswith("log, worst frame 41:")


def test_without_truth_the_first_and_the_middle_frame_are_shown():
    assert titles([None] * 5) == ["log, frame 0", "log, frame 2"]
    assert titles([12.0])[0] == "log, best frame 0: Abs Rel 0.000"
    assert titles([]) == []


def test_errors_go_to_the_band_of_their_true_depth():
    errors, rng = DistanceErrors(), np.random.default_rng(0)
    depth_m, share = rng.uniform(0.1, 100.0, 4000), rng.uniform(0, 1, 4000)
    for part in np.array_split(np.arange(4000), 7):
        errors.add(depth_m[part], share[part])
    for band, (low_m, high_m) in enumerate(zip(EDGES_M[:-1], EDGES_M[1:], strict=True)):
        inside = (depth_m >= low_m) & (depth_m < high_m)
        assert errors.n[band] == inside.sum()
        assert errors.means[band] == pytest.approx(share[inside].mean())


def test_bars_are_as_high_as_their_errors():
    errors = DistanceErrors()
    assert draw_distance_chart(errors) is None
    errors.add(np.array([3.0, 7.0, 50.0]), np.array([0.1, 0.2, 0.4]))
    picture = draw_distance_chart(errors)
    blue = (cv2.absdiff(picture, np.full_like(picture, (36, 87, 214))).max(axis=-1) < 5).astype(int)
    heights = np.sort(np.unique(blue.sum(axis=0)))
    assert heights[0] == 0
    np.testing.assert_allclose(heights[1:] / heights[-1], [0.25, 0.5, 1.0], atol=0.02)
