"""Map, objects and motion pixel by pixel against scenes whose figures are known beforehand."""

import numpy as np
import pytest
from fused_scenes import EYE, boxes_at, map_of, named, states_at, street, sweep_of

from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.metrics.motion import MotionScorer, find_inside, label_motion
from driv3r.evaluation.metrics.objects import ObjectScorer
from driv3r.evaluation.metrics.scans import Scans
from driv3r.evaluation.metrics.static_map import find_surface, score_map
from driv3r.types import Camera


@pytest.mark.parametrize("shift_m", [0.0, 0.3])
def test_a_map_shifted_off_its_wall_errs_by_the_shift(shift_m):
    scans = Scans()
    scans.add(0, EYE, sweep_of(street()), None)
    points = street()
    points[points[:, 1] > 7.9, 1] += shift_m
    figures = named(score_map(scans, map_of(points), EYE[None]))
    assert figures["off_ground_error_median"] == pytest.approx(shift_m, abs=0.02)
    assert figures["ground_error_median"] < 0.02
    assert figures["ground_f_score_0.2"] > 0.98
    assert (figures["off_ground_f_score_0.2"] > 0.95) == (shift_m == 0)


def test_drift_of_the_path_is_not_counted_again():
    """Map and path are both 5 m off: seen from the car, all is in its place."""
    scans = Scans()
    scans.add(0, EYE, sweep_of(street()), None)
    drifted = EYE.copy()
    drifted[0, 3] = 5.0
    figures = named(score_map(scans, map_of(street() + [5.0, 0, 0]), drifted[None]))
    assert figures["off_ground_error_median"] < 0.02
    assert figures["ground_f_score_0.2"] > 0.98


def test_ghosts_of_movers_are_told():
    car = boxes_at([(15, 0, 0.8)], [5.0])
    body = np.array([(13.5, y, z) for y in np.arange(-0.8, 0.9, 0.2) for z in (0.6, 0.9, 1.2)])
    for ghost, removed in ((False, 1.0), (True, 0.0)):
        scans = Scans()
        scans.add(0, EYE, sweep_of(np.concatenate([street(), body])), car)
        points = np.concatenate([street(), body]) if ghost else street()
        assert named(score_map(scans, map_of(points), EYE[None]))["movers_removed"] == removed


def test_what_lies_behind_a_surface_is_not_judged():
    scans = Scans()
    scans.add(0, EYE, sweep_of(street()), None)
    behind = street()[-200:] + [0, 6.0, 0]
    figures = named(score_map(scans, map_of(np.concatenate([street(), behind])), EYE[None]))
    assert figures["off_ground_over_1_m"] == 0.0
    assert figures["in_sight"] < 1.0


def test_distance_is_to_the_plane_where_points_are_flat():
    rng = np.random.default_rng(0)
    plane = np.c_[rng.uniform(0, 5, (2000, 2)), np.zeros(2000)]
    points = np.c_[rng.uniform(1, 4, (50, 2)), np.full(50, 0.07)]
    np.testing.assert_allclose(find_surface(plane, points).distance_m, 0.07, atol=1e-6)
    assert np.isinf(find_surface(plane[:3], points).distance_m).all()


@pytest.mark.parametrize("tilt_deg", [0, 20, 180])
def test_normals_agree_by_the_cosine_of_their_tilt_whatever_their_sign(tilt_deg):
    scans, tilt = Scans(), np.deg2rad(tilt_deg)
    scans.add(0, EYE, sweep_of(street()), None)
    static = map_of(street()[street()[:, 1] < 6.5], (np.sin(tilt), 0, np.cos(tilt)))
    figures = named(score_map(scans, static, EYE[None]))
    assert figures["ground_normal_consistency"] == pytest.approx(abs(np.cos(tilt)), abs=0.01)


def test_unknown_normals_are_not_scored():
    scans = Scans()
    scans.add(0, EYE, sweep_of(street()), None)
    assert "ground_normal_consistency" not in named(score_map(scans, map_of(street()), EYE[None]))


def test_perfect_tracks_have_perfect_figures_whatever_the_drift():
    scorer, drift = ObjectScorer(), EYE.copy()
    drift[1, 3] = 3.0
    centers = [(10 + 2 * i, 3.0, 0.8) for i in range(4)]
    for i, center in enumerate(centers):
        boxes = boxes_at([center, (20, -5, 0.8)], [4.0, 0.0])
        scorer.add(i, EYE, boxes, sweep_of([center, (20, -5, 0.8)]))
    tracks = states_at(np.add(centers, [0, 3.0, 0]), [0] * 4, range(4), 4.0)
    figures = named(scorer.scores(tracks, np.tile(drift, (4, 1, 1))))
    for metric in ("mota", "idf1", "movers_found", "recall", "tracks_per_mover"):
        assert figures[metric] == 1.0, metric
    assert figures["hota"] == pytest.approx(1.0)
    assert figures["false_states"] == figures["velocity_error"] == figures["center_error"] == 0


def test_false_states_identity_switches_and_standing_things_are_counted():
    """One object whose track breaks in two; a track on a parked car; one on nothing."""
    scorer = ObjectScorer()
    centers = [(10 + 2 * i, 3.0, 0.8) for i in range(4)]
    for i, center in enumerate(centers):
        boxes = boxes_at([center, (20, -5, 0.8)], [4.0, 0.0])
        scorer.add(i, EYE, boxes, sweep_of([center, (20, -5, 0.8)]))
    states = [*centers, *[(20, -5, 0.8)] * 2, (-20, 9, 1)]
    tracks = states_at(states, [0, 0, 1, 1, 2, 2, 3], [0, 1, 2, 3, 0, 1, 2], 4.0)
    figures = named(scorer.scores(tracks, np.tile(EYE, (4, 1, 1))))
    assert figures["mota"] == 1 - (0 + 3 + 1) / 4
    assert figures["identity_switches"] == 1
    assert figures["tracks_per_mover"] == 2
    assert figures["false_states"] == pytest.approx(3 / 7)
    assert figures["states_on_standing"] == pytest.approx(2 / 7)
    assert figures["single_state_tracks"] == pytest.approx(1 / 4)


def test_objects_that_nobody_knows_of_count_neither_way():
    """Boxes of unknown speed, without a LiDAR point, too far: a track on each is ignored."""
    scorer = ObjectScorer()
    known = (10, 3.0, 0.8)
    places = [known, (15, -3, 0.8), (20, 4, 0.8), (60, 0, 0.8)]
    scorer.add(0, EYE, boxes_at(places, [4.0, np.nan, 5.0, 9.0]), sweep_of([known, places[1]]))
    figures = named(scorer.scores(states_at(places, [0, 1, 2, 3], [0] * 4, 4.0), EYE[None]))
    assert figures["mota"] == 1.0
    assert figures["false_states"] == 0.0


def test_motion_is_told_at_the_pixels_of_lidar_points():
    camera = Camera("front", np.array([[50.0, 0, 50], [0, 50, 50], [0, 0, 1]]), (100, 100), EYE)
    uv = np.array([[50.5, 50.5], [20.5, 50.5], [80.5, 50.5]])
    truth = ViewTruth(uv, np.array([10.0, 10.0, 10.0]), (100, 100), {})
    boxes = boxes_at([(0.1, 0.1, 10), (6.1, 0.1, 10)], [3.0, np.nan], (2.0, 2.0, 2.0))
    probability = np.zeros((100, 100))
    probability[50, 50] = probability[50, 20] = probability[50, 80] = 0.9
    scorer = MotionScorer("network")
    scorer.add(truth, camera, EYE, boxes, probability)
    figures = named(scorer.scores())
    assert figures["recall"] == 1.0
    assert figures["precision"] == 0.5  # of two whose motion is known
    assert MotionScorer("none").scores() == []


def test_recall_of_walking_and_of_driving_pixels():
    """Of two walking pixels one is called moving, of one driving pixel none; 9 stand."""
    camera = Camera("front", np.array([[50.0, 0, 50], [0, 50, 50], [0, 0, 1]]), (100, 100), EYE)
    column = np.arange(5, 100, 8)
    uv = np.stack([column + 0.5, np.full(12, 50.5)], -1)
    truth = ViewTruth(uv, np.full(12, 10.0), (100, 100), {})
    centers = [((u - 50) / 5, 0.1, 10) for u in uv[:3, 0]]
    boxes = boxes_at(centers, [1.4, 2.9, 3.1], (1.0, 1.0, 1.0))
    probability = np.zeros((100, 100))
    probability[50, column[0]] = 0.9
    scorer = MotionScorer("network")
    scorer.add(truth, camera, EYE, boxes, probability)
    counted = {s.metric: (s.value, s.n) for s in scorer.scores()}
    assert counted["recall_walking"] == (0.5, 2)
    assert counted["recall_driving"] == (0.0, 1)
    assert counted["recall"] == (pytest.approx(1 / 3), 3)


def test_points_of_a_turned_box():
    turn = np.deg2rad(90)
    world_T_box = EYE.copy()
    world_T_box[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    points = np.array([[0.0, 1.9, 0], [1.9, 0, 0], [0.9, 0, 0.85]])
    size_m = np.array([4.0, 2.0, 2.0])
    assert find_inside(points, world_T_box, size_m, 0.0).tolist() == [True, False, True]
    moves, known = label_motion(points, boxes_at([(0, 0, 0)], [0.3]))
    assert not moves.any()
    assert known.tolist() == [True, False, False]
