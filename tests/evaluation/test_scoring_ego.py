"""Ego figures against evo and against what must not change them; motion masks against loops."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import ScoringError
from driv3r.evaluation.merge import merge_scores
from driv3r.evaluation.metrics.ego import score_ego
from driv3r.evaluation.metrics.motion import score_motion
from driv3r.geometry.transforms import from_rotvec
from driv3r.types import Score


def wander(seed: int, n: int = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    step = from_rotvec(rng.normal(0, 0.08, (n, 3)), rng.normal((1.5, 0, 0), 0.3, (n, 3)))
    path = [from_rotvec(rng.normal(0, 1, 3), rng.normal(0, 50, 3))]
    for last_T_next in step[1:]:
        path.append(path[-1] @ last_T_next)
    return np.stack(path)


def disturb(path: np.ndarray, seed: int, scale=1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = from_rotvec(rng.normal(0, 0.02, (len(path), 3)), rng.normal(0, 0.2, (len(path), 3)))
    out = from_rotvec(rng.normal(0, 1, 3), rng.normal(0, 20, 3)) @ path @ noise
    out[:, :3, 3] *= scale
    return out


def times(path) -> np.ndarray:
    return 1_600_000_000_000_000 + 500_000 * np.arange(len(path))


def figures(true, predicted) -> dict:
    scored = score_ego(true, predicted, times(true), "us")
    assert all(np.isfinite(s.value) for s in scored.scores)
    return {(s.metric, s.scaling): s.value for s in scored.scores}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("alignment", "with_scale"), [("se3", False), ("sim3", True)])
def test_figures_are_evos(seed, alignment, with_scale):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = pytest.importorskip("evo.core.metrics")
        from evo.core.trajectory import PosePath3D

    true = wander(seed)
    predicted = disturb(true, seed + 100, scale=0.7)
    ours = figures(true, predicted)
    reference = PosePath3D(poses_se3=list(true))
    estimate = PosePath3D(poses_se3=list(predicted))
    _, _, scale = estimate.align(reference, correct_scale=with_scale)
    relations = metrics.PoseRelation
    expected = {}
    for name, metric in {
        "ate_rmse": metrics.APE(relations.translation_part),
        "rpe_translation": metrics.RPE(relations.translation_part, 1, metrics.Unit.frames),
        "rpe_rotation": metrics.RPE(relations.rotation_angle_deg, 1, metrics.Unit.frames),
    }.items():
        metric.process_data((reference, estimate))
        expected[name] = metric.get_statistic(metrics.StatisticsType.rmse)
        if name == "rpe_translation":
            expected["rpe_percent"] = 100 * np.sum(metric.error) / reference.path_length
    for name, value in expected.items():
        assert ours[name, alignment] == pytest.approx(value, rel=1e-6), name
    assert ours["path_length", "none"] == pytest.approx(reference.path_length)
    if with_scale:
        assert ours["scale", "sim3"] == pytest.approx(scale)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_where_the_world_begins_does_not_matter(seed):
    true = wander(seed)
    predicted = disturb(true, seed + 1)
    elsewhere = from_rotvec(np.array([0.3, -1, 2]), np.array([300.0, -20, 5])) @ predicted
    assert figures(true, elsewhere) == pytest.approx(figures(true, predicted), rel=1e-6)


def test_the_truth_scores_zero_and_a_scale_error_shows_only_under_se3():
    true = wander(5)
    for (metric, _), value in figures(true, true).items():
        if metric not in ("scale", "path_length", "step"):
            assert value == pytest.approx(0, abs=1e-5)
    larger = true.copy()
    larger[:, :3, 3] *= 1.25
    ours = figures(true, larger)
    assert ours["scale", "sim3"] == pytest.approx(0.8)
    assert ours["ate_rmse", "sim3"] == pytest.approx(0, abs=1e-9)
    assert ours["ate_rmse", "se3"] > 1
    assert ours["rpe_percent", "se3"] == pytest.approx(25)
    assert ours["step", "none"] == 0.5


def test_a_straight_path_is_scored():
    true = np.tile(np.eye(4), (41, 1, 1))
    true[:, 0, 3] = np.linspace(0, 200, 41)
    predicted = true.copy()
    predicted[:, 0, 3] *= 1.1
    ours = figures(true, predicted)
    assert ours["ate_rmse", "sim3"] == pytest.approx(0, abs=1e-9)
    # Centred positions x differ by x / 10; evenly spaced ones spread by step sqrt((n^2 - 1) / 12).
    assert ours["ate_rmse", "se3"] == pytest.approx(0.1 * 5 * np.sqrt((41**2 - 1) / 12))


def test_a_standing_car_has_no_scale_and_says_so():
    rng = np.random.default_rng(0)
    true = np.tile(from_rotvec(np.array([0.0, 0.0, 0.3]), np.array([5.0, 2.0, 0.0])), (10, 1, 1))
    predicted = true.copy()
    predicted[:, :3, 3] += rng.normal(0, 0.01, (10, 3))
    scored = score_ego(true, predicted, times(true), "us")
    names = {(s.metric, s.scaling) for s in scored.scores}
    assert ("ate_rmse", "se3") in names
    assert all(np.isfinite(s.value) for s in scored.scores)
    assert set(scored.omitted) == {"sim3", "rpe_percent"}
    assert not any(scaling == "sim3" or metric == "rpe_percent" for metric, scaling in names)


def test_a_prediction_that_stands_while_the_car_drives_keeps_its_rigid_figures():
    true = wander(1)
    scored = score_ego(true, np.tile(np.eye(4), (len(true), 1, 1)), times(true), "us")
    assert {s.scaling for s in scored.scores} == {"none", "se3"}
    assert "scale" in scored.omitted["sim3"]


def test_a_single_frame_is_no_motion():
    scored = score_ego(wander(1)[:1], wander(2)[:1], np.array([5]), "us")
    assert [s.metric for s in scored.scores] == ["path_length"]
    assert "one frame" in scored.omitted["ate, rpe"]


def test_poses_that_do_not_pair_up_are_refused():
    true = wander(1)
    with pytest.raises(ScoringError, match="as many of each"):
        score_ego(true, true[:-1], times(true), "us")
    with pytest.raises(ScoringError, match="as many of each"):
        score_ego(true[:0], true[:0], times(true)[:0], "us")
    with pytest.raises(ScoringError, match="increase"):
        score_ego(true, true, times(true)[::-1], "us")
    broken = true.copy()
    broken[3, 0, 3] = np.nan
    with pytest.raises(ScoringError, match=r"\[3\]"):
        score_ego(true, broken, times(true), "us")


def test_motion_figures_against_a_loop_over_thresholds():
    rng = np.random.default_rng(0)
    truth = rng.random((20, 30)) < 0.2
    probability = np.round(np.clip(0.6 * truth + rng.normal(0.3, 0.2, truth.shape), 0, 1), 1)
    ours = {s.metric: s.value for s in score_motion(probability, truth, "us")}
    said = probability >= 0.5
    assert ours["iou"] == (said & truth).sum() / (said | truth).sum()
    assert ours["precision"] == truth[said].mean()
    assert ours["recall"] == said[truth].mean()
    area, recall = 0.0, 0.0
    for threshold in sorted(set(probability.flat), reverse=True):
        at = probability >= threshold
        area += (at[truth].mean() - recall) * truth[at].mean()
        recall = at[truth].mean()
    assert ours["average_precision"] == pytest.approx(area)
    assert ours["unpredicted"] == 0


def test_motion_without_movers_or_prediction_has_no_hollow_figures():
    still = np.zeros((2, 3), bool)
    assert {s.metric for s in score_motion(np.zeros((2, 3)), still, "us")} == {"unpredicted"}
    (unknown,) = score_motion(np.full((2, 3), np.nan), ~still, "us")
    assert (unknown.metric, unknown.value, unknown.n) == ("unpredicted", 1.0, 6)


def test_frames_without_a_motion_are_left_out_of_everything():
    """By hand: a straight drive of 1 m steps, each found one 0.1 m short, the third not found."""
    true = np.tile(np.eye(4), (6, 1, 1))
    true[:, 0, 3] = np.arange(6.0)
    predicted = true.copy()
    predicted[:, 0, 3] = np.cumsum([0.0, 0.9, 0.9, 50.0, 0.9, 0.9])
    found = np.array([True, True, True, False, True, True])
    result = score_ego(true, predicted, times(true), "x", found)
    values = {(s.metric, s.scaling): s for s in result.scores}
    assert values["rpe_percent", "se3"].value == pytest.approx(10.0)
    assert values["rpe_percent", "se3"].n == 4
    assert values["rpe_translation", "se3"].value == pytest.approx(0.1)
    assert values["path_length", "none"].value == pytest.approx(4.0)
    assert values["ate_rmse", "se3"].n == 5
    assert result.omitted["extrapolated"] == "1 of 6 frames have no motion estimate"
    none = score_ego(true, predicted, times(true), "x", np.array([True] + [False] * 5))
    assert {s.metric for s in none.scores} == {"path_length", "step"}


def test_poses_that_are_all_the_identity_are_no_truth():
    """A dataset without ego poses: a drive of 50 m is no error of 50 m."""
    nothing, drive = np.tile(np.eye(4), (6, 1, 1)), np.tile(np.eye(4), (6, 1, 1))
    drive[:, 0, 3] = np.arange(6.0) * 10
    result = score_ego(nothing, drive, times(drive), "x")
    assert result.scores == []
    assert "no ego poses" in result.omitted["ate, rpe"]


def test_one_log_without_a_figure_does_not_blank_the_datasets():
    def log(value: float) -> list[Score]:
        return [Score("ate_rmse", value, "m", 3, "ego", "x", "se3")]

    (merged,) = merge_scores([log(1.0), log(math.nan), log(2.0)])
    assert (merged.value, merged.n) == (1.5, 6)
    (nothing,) = merge_scores([log(math.nan)])
    assert math.isnan(nothing.value)
