"""Scene flow against figures of bucketed-scene-flow-eval, and scenes whose flow is known."""

import numpy as np
import pytest
from fused_scenes import EYE, boxes_at, named, states_at, street

from driv3r.evaluation.merge import merge_scores
from driv3r.evaluation.metrics.flow import DYNAMIC_M, FlowScorer, split_ways
from driv3r.geometry.transforms import from_rotvec
from driv3r.types import Boxes, Sweep

BODY = np.array([(x, y, 0.8) for x in (-1.5, 0, 1.5) for y in (-0.5, 0, 0.5)])
SIZE_M = (4.0, 2.0, 1.6)


def turned(yaw_rad):
    return from_rotvec(np.array([0.0, 0.0, yaw_rad]), np.zeros(3))


def moment(scorer, i, centers, seconds=0.5, turns_deg=(), drift=EYE):
    """A frame with a car at each centre; the LiDAR lies at the world's origin."""
    boxes = boxes_at(centers, [0.0] * len(centers), SIZE_M)
    for k, turn in enumerate(turns_deg):
        boxes.world_T_box[k, :3, :3] = turned(np.deg2rad(turn))[:3, :3]
    bodies = [BODY @ pose[:3, :3].T + pose[:3, 3] for pose in boxes.world_T_box]
    points = np.concatenate([street(), *bodies]).astype(np.float32)
    scorer.add(i, EYE, boxes, Sweep(points, int(i * seconds * 1e6), EYE))
    return boxes


def tracks_of(boxes: list[Boxes], shift=(0, 0, 0), car=0):
    states = states_at([(0, 0, 0)] * len(boxes), [0] * len(boxes), range(len(boxes)))
    states.world_T_object[:] = np.stack([b.world_T_box[car] for b in boxes])
    states.world_T_object[:, :3, 3] += shift
    states.size_m[:] = SIZE_M
    return states


def still(t):
    return np.tile(EYE, (t, 1, 1))


def test_errors_are_those_of_bucketed_scene_flow_eval():
    """Figures of its ThreeWayEPEEvaluator 2.0.25 on the same flows, in two frames."""
    rng = np.random.default_rng(7)
    foreground = rng.random(400) < 0.4
    dynamic = foreground & (rng.random(400) < 0.6)
    true_m = np.where(dynamic[:, None], rng.normal(0, 0.3, (400, 3)), 0.0)
    true_m[foreground] += rng.normal(0, 0.01, (foreground.sum(), 3))
    told_m = true_m + rng.normal(0, 0.1, (400, 3)) * (rng.random(400) < 0.5)[:, None]
    errors_m = split_ways(true_m, told_m, foreground)
    means = {way: (len(errors), errors.mean()) for way, errors in errors_m.items()}
    assert means["foreground_dynamic"] == (100, pytest.approx(0.09411268330429827))
    assert means["foreground_static"] == (62, pytest.approx(0.07631069800118645))
    assert means["background_static"] == (238, pytest.approx(0.08163963669081904))
    flow_m = np.linalg.norm(true_m, axis=-1)
    mean_m = flow_m[foreground & (flow_m >= DYNAMIC_M)].mean()
    assert means["foreground_dynamic"][1] / mean_m == pytest.approx(0.1976356142765009)


def test_a_perfect_track_has_no_error_and_none_has_that_of_its_speed():
    """A car at 4 m/s: 0.4 m in a tenth of a second; a car that stands beside it."""
    scorer = FlowScorer()
    boxes = [moment(scorer, i, [(10 + 2 * i, 3, 0.8), (20, -5, 0.8)]) for i in range(4)]
    perfect = named(scorer.scores(tracks_of(boxes), still(4)))
    assert perfect["epe_three_way"] == pytest.approx(0, abs=1e-6)
    assert perfect["flow_foreground_dynamic"] == pytest.approx(0.4, abs=1e-6)
    none = named(scorer.scores(states_at(np.zeros((0, 3)), [], []), still(4)))
    assert none["epe_foreground_dynamic"] == pytest.approx(0.4, abs=1e-6)
    assert none["epe_foreground_static"] == none["epe_background_static"] == 0
    assert none["epe_three_way"] == pytest.approx(0.4 / 3, abs=1e-6)
    assert none["epe_dynamic_normalised"] == pytest.approx(1.0)
    counts = {s.metric: s.n for s in scorer.scores(tracks_of(boxes), still(4))}
    assert counts["epe_foreground_dynamic"] == counts["epe_foreground_static"] == 3 * len(BODY)


def test_points_of_a_turning_car_move_with_it():
    scorer = FlowScorer()
    boxes = [moment(scorer, i, [(12, 0, 0.8)], turns_deg=[30 * i]) for i in range(2)]
    turn = turned(np.deg2rad(30))[:3, :3]
    flow_m = np.linalg.norm(BODY @ turn.T - BODY, axis=-1) / 5
    none = named(scorer.scores(states_at(np.zeros((0, 3)), [], []), still(2)))
    assert none["epe_foreground_dynamic"] == pytest.approx(flow_m[flow_m >= 0.05].mean(), rel=1e-5)
    assert named(scorer.scores(tracks_of(boxes), still(2)))["epe_three_way"] < 1e-6


def test_drift_of_the_path_is_not_counted_again():
    """The log's own path goes astray and turns, and its tracks with it."""
    scorer = FlowScorer()
    boxes = [moment(scorer, i, [(10 + 2 * i, 3, 0.8), (20, -5, 0.8)]) for i in range(3)]
    path = np.stack([turned(0.1 * i) for i in range(3)])
    path[:, :3, 3] = [(0.3 * i, -0.5 * i, 0.1) for i in range(3)]
    tracks = tracks_of(boxes)
    tracks.world_T_object[:] = path @ tracks.world_T_object
    assert named(scorer.scores(tracks, path))["epe_three_way"] < 1e-6


def test_a_false_track_on_a_standing_car_errs_there():
    scorer = FlowScorer()
    boxes = [moment(scorer, i, [(10 + 2 * i, 3, 0.8), (20, -5, 0.8)]) for i in range(2)]
    false = tracks_of(boxes, car=1)
    false.world_T_object[1, 0, 3] += 1.0
    figures = named(scorer.scores(false, still(2)))
    assert figures["epe_foreground_static"] == pytest.approx(0.2, abs=1e-6)
    assert figures["epe_foreground_dynamic"] == pytest.approx(0.4, abs=1e-6)


def test_cars_that_leave_far_ones_and_long_gaps_are_left_out():
    scorer = FlowScorer()
    moment(scorer, 0, [(10, 3, 0.8), (36.6, 0, 0.8), (20, -5, 0.8)])
    gone = moment(scorer, 1, [(12, 3, 0.8), (39, 0, 0.8)])
    moment(scorer, 2, [(14, 3, 0.8), (41, 0, 0.8)], seconds=0.8)  # 1.1 s after the one before
    counts = {s.metric: s.n for s in scorer.scores(tracks_of([gone]), still(3))}
    assert counts["epe_foreground_dynamic"] == len(BODY)
    assert "epe_foreground_static" not in counts
    assert "epe_three_way" not in counts


def test_the_means_over_logs_are_by_points():
    logs = []
    for speed, frames in ((4.0, 2), (8.0, 4)):
        scorer = FlowScorer()
        for i in range(frames):
            moment(scorer, i, [(10 + speed / 2 * i, 3, 0.8), (20, -5, 0.8)])
        logs.append(scorer.scores(states_at(np.zeros((0, 3)), [], []), still(frames)))
    pooled = named(merge_scores(logs))
    assert pooled["epe_foreground_dynamic"] == pytest.approx((0.4 + 3 * 0.8) / 4, abs=1e-6)
    assert pooled["epe_three_way"] == pytest.approx((0.4 + 3 * 0.8) / 12, abs=1e-6)
    assert pooled["epe_dynamic_normalised"] == pytest.approx(1.0)


def test_no_two_frames_tell_no_flow():
    scorer = FlowScorer()
    assert scorer.scores(tracks_of([moment(scorer, 0, [(10, 3, 0.8)])]), still(1)) == []
