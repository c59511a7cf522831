"""Depth metrics, sampling and scalings against closed forms and slow, plain loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import ScoringError
from driv3r.evaluation.metrics.depth import (
    METRICS,
    SCALINGS,
    DepthScorer,
    depth_figures,
    floor_depth,
    lower_median,
    merge_logs,
    sample_depth,
)
from driv3r.evaluation.metrics.lidar_projection import ViewTruth
from driv3r.evaluation.metrics.protocol import PROTOCOLS
from driv3r.evaluation.metrics.uncertainty import sigma_figures

PROTOCOL = PROTOCOLS["nuscenes"]
CAMERAS = ("front", "left", "back")


def flat_truth(depth_m, size_hw=(8, 10)) -> ViewTruth:
    """Truth on pixel centres in reading order."""
    depth_m = np.asarray(depth_m, float)
    v, u = np.divmod(np.arange(len(depth_m)), size_hw[1])
    return ViewTruth(np.stack([u + 0.5, v + 0.5], -1), depth_m, size_hw, {"behind": 3})


def on_pixels(depth_m, size_hw=(8, 10)) -> np.ndarray:
    image = np.full(size_hw, np.nan)
    image.flat[: len(depth_m)] = depth_m
    return image


def figure(scores, metric="abs_rel", scaling="metric", camera="all"):
    (score,) = (s for s in scores if (s.metric, s.scaling, s.camera) == (metric, scaling, camera))
    return score


def test_figures_of_two_points_by_hand():
    figures = depth_figures(np.array([10.0, 20.0]), np.array([12.0, 15.0]))
    logs = [math.log(1.2), math.log(0.75)]
    assert figures == pytest.approx(
        {
            "abs_rel": (0.2 + 0.25) / 2,
            "sq_rel": (4 / 10 + 25 / 20) / 2,
            "rmse": math.sqrt((4 + 25) / 2),
            "rmse_log": math.sqrt((logs[0] ** 2 + logs[1] ** 2) / 2),
            "silog": 100 * (logs[0] - logs[1]) / 2,
            "delta1": 0.5,  # 1.2 is within 1.25, 1.33 is not
            "delta2": 1.0,
            "delta3": 1.0,
        }
    )


def brute(truth, predicted, scale):
    """abs_rel, rmse, delta1 of one image, a point at a time."""
    clamped = [min(max(scale * p, 0.1), 80.0) for p in predicted]
    pairs = list(zip(truth, clamped, strict=True))
    abs_rel = sum(abs(p - g) / g for g, p in pairs) / len(pairs)
    rmse = math.sqrt(sum((p - g) ** 2 for g, p in pairs) / len(pairs))
    return abs_rel, rmse, sum(max(p / g, g / p) < 1.25 for g, p in pairs) / len(pairs)


def make_log(seed=0, frames=3):
    rng = np.random.default_rng(seed)
    keys = [(t, v) for t in range(frames) for v in range(3)]
    truth = {k: rng.uniform(2, 79, rng.integers(1, 80)) for k in keys}
    return truth, {k: g * rng.uniform(0.5, 2.5, len(g)) for k, g in truth.items()}


def test_every_scaling_against_plain_loops_and_torch_medians():
    truth, predicted = make_log()
    scorer = DepthScorer(PROTOCOL, CAMERAS, "us")
    for (t, v), g in truth.items():
        scorer.add(t, v, flat_truth(g), on_pixels(predicted[t, v]))

    def ratio(keys):
        g, p = (torch.tensor(np.concatenate([d[k] for k in keys])) for d in (truth, predicted))
        return float(torch.median(g) / torch.median(p))

    scales = {
        "metric": dict.fromkeys(truth, 1.0),
        "per_log": dict.fromkeys(truth, ratio(list(truth))),
        "per_frame": {k: ratio([o for o in truth if o[0] == k[0]]) for k in truth},
        "per_view": {k: ratio([k]) for k in truth},
    }
    scores = scorer.scores()
    for scaling in SCALINGS:
        for camera, keys in {"all": list(truth), "left": [k for k in truth if k[1] == 1]}.items():
            images = [brute(truth[k], predicted[k], scales[scaling][k]) for k in keys]
            for metric, of_images in zip(("abs_rel", "rmse", "delta1"), zip(*images), strict=True):  # noqa: B905
                score = figure(scores, metric, scaling, camera)
                assert score.value == pytest.approx(np.mean(of_images), rel=1e-5)
                assert score.n == sum(len(truth[k]) for k in keys)
    assert len(scores) == len(SCALINGS) * len(METRICS) * (1 + len(CAMERAS))


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_the_median_is_torchs(n):
    values = np.random.default_rng(n).normal(size=n)
    assert lower_median(values) == float(torch.median(torch.tensor(values)))


def test_scale_errors_of_cameras_and_frames_show_where_they_should():
    rng = np.random.default_rng(3)
    of_camera = np.array([1.1, 0.9, 1.1])
    scorer = DepthScorer(PROTOCOL, CAMERAS, "us")
    for t in range(20):
        of_frame = 1.05 if t % 2 else 0.95
        for v in range(3):
            g = rng.uniform(4, 60, 80)
            noisy = g * of_camera[v] * of_frame * rng.normal(1, 0.02, 80)
            scorer.add(t, v, flat_truth(g), on_pixels(noisy))
    values = {scaling: figure(scorer.scores(), scaling=scaling).value for scaling in SCALINGS}
    assert values["metric"] == pytest.approx(0.10, abs=0.02)
    assert values["per_log"] > 0.08
    assert 0.06 < values["per_frame"] < 0.12
    assert values["per_view"] < 0.03


@settings(max_examples=30, deadline=None)
@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.integers(0, 10**6))
def test_sampling_is_exact_on_a_slanted_plane(slant_x, slant_y, seed):
    # n . (ray * depth) = 1 is inverse depth n . ray, affine in the pixel.
    def depth_at(u, v):
        return 1 / (0.05 + 0.001 * (slant_x * (u - 20) + slant_y * (v - 15)))

    v, u = np.mgrid[:30, :40] + 0.5
    uv = np.random.default_rng(seed).uniform((0.5, 0.5), (39.5, 29.5), (50, 2))
    np.testing.assert_allclose(sample_depth(depth_at(u, v), uv), depth_at(*uv.T), rtol=1e-10)


def test_sampling_beside_holes_borders_and_the_sky():
    depth_m = np.full((3, 4), 10.0)
    depth_m[1, 1], depth_m[0, 3], depth_m[2, 3] = np.nan, 0.0, np.inf
    cases = {
        (0.5, 0.5): 10.0,
        (0.0, 0.0): 10.0,
        (2.5, 1.5): 10.0,  # on a pixel's centre its neighbours take no part
        (2.0, 1.5): np.nan,
        (1.4, 1.2): np.nan,
        (3.5, 0.5): np.nan,  # zero is no depth
        (3.5, 3.0): np.inf,
        (3.0, 2.5): 20.0,
        (4.0, 1.5): 10.0,
        (4.1, 1.5): np.nan,
        (np.nan, 1.0): np.nan,
    }
    np.testing.assert_allclose(sample_depth(depth_m, np.array(list(cases))), list(cases.values()))


def test_points_without_prediction_are_counted_and_infinite_ones_clamped():
    scorer = DepthScorer(PROTOCOL, CAMERAS, "us")
    figures = scorer.add(0, 0, flat_truth([10.0, 10, 10, 10]), on_pixels([10.0, np.nan, 0, np.inf]))
    assert figures["abs_rel"] == pytest.approx((0 + 7) / 2)  # infinity clamps to 80 m
    assert scorer.add(0, 1, flat_truth([10.0] * 5), None) == {}
    assert scorer.add(2, 2, flat_truth([]), on_pixels([])) == {}
    assert scorer.lost == {"behind": 9, "no prediction": 7}
    assert figure(scorer.scores()).n == 2
    assert {s.camera for s in scorer.scores()} == {"all", "front"}
    assert all(math.isfinite(s.value) for s in scorer.scores())
    abs_rel = scorer.per_view()["abs_rel"]
    assert abs_rel.shape == (2, 3)
    assert np.isfinite(abs_rel).tolist() == [[True, False, False], [False, False, False]]


def test_a_protocol_from_zero_metres_stays_finite():
    scorer = DepthScorer(PROTOCOLS["ddad"], CAMERAS, "us")
    figures = scorer.add(0, 0, flat_truth([10.0, 150]), on_pixels([1e-30, 150.0]))
    assert all(math.isfinite(value) for value in figures.values())
    assert all(math.isfinite(s.value) for s in scorer.scores())


def test_logs_merge_by_images_not_by_logs():
    truth, predicted = make_log(1, frames=4)
    whole = DepthScorer(PROTOCOL, CAMERAS, "us")
    parts = [DepthScorer(PROTOCOL, CAMERAS, "us") for _ in range(2)]
    for (t, v), g in truth.items():
        for scorer in (whole, parts[t == 3]):
            scorer.add(t, v, flat_truth(g), on_pixels(predicted[t, v]))
    merged = merge_logs([part.table() for part in parts])
    for score in whole.scores():
        if score.scaling != "per_log":  # that one rightly differs: a log has its own scale
            same = figure(merged, score.metric, score.scaling, score.camera)
            assert (same.value, same.n) == pytest.approx((score.value, score.n))
    with pytest.raises(ScoringError, match="one protocol"):
        merge_logs([parts[0].table(), DepthScorer(PROTOCOL, CAMERAS, "them").table()])
    with pytest.raises(ScoringError, match="one protocol"):
        merge_logs([])


def test_what_does_not_fit_is_refused():
    scorer = DepthScorer(PROTOCOL, CAMERAS, "us")
    scorer.add(0, 0, flat_truth([10.0]), on_pixels([10.0]))
    with pytest.raises(ScoringError, match="added before"):
        scorer.add(0, 0, flat_truth([10.0]), on_pixels([10.0]))
    with pytest.raises(ScoringError, match="knows views 0-2"):
        scorer.add(0, 3, flat_truth([10.0]), None)
    with pytest.raises(ScoringError, match="crop_resize"):
        scorer.add(0, 1, flat_truth([10.0]), np.ones((4, 5)))
    with pytest.raises(ScoringError, match="under this protocol"):
        scorer.add(0, 1, flat_truth([90.0]), on_pixels([10.0]))


def test_the_floor_is_the_truth_where_points_are_apart_and_their_mean_where_they_share_a_pixel():
    uv = np.array([[1.5, 1.5], [6.2, 2.2], [6.8, 2.9]])
    floor = floor_depth(ViewTruth(uv, np.array([5.0, 10.0, 30.0]), (8, 10), {}))
    assert floor[1, 1] == 5
    assert floor[2, 6] == pytest.approx(2 / (1 / 10 + 1 / 30))
    assert floor[7, 0] == 5  # nearest filled pixel
    assert floor[0, 9] == floor[2, 6]
    assert np.isnan(floor_depth(ViewTruth(np.zeros((0, 2)), np.zeros(0), (2, 2), {}))).all()


def test_sigma_that_is_true_covers_what_it_says_and_ranks_the_errors():
    rng = np.random.default_rng(0)
    truth_m, sigma = np.full(20_000, 20.0), rng.uniform(0.01, 0.2, 20_000)
    predicted_m = truth_m * np.exp(rng.laplace(0, sigma))
    figures = sigma_figures(truth_m, predicted_m, sigma)
    assert figures["coverage_50"] == pytest.approx(0.5, abs=0.02)
    assert figures["coverage_90"] == pytest.approx(0.9, abs=0.02)
    by_error = sigma_figures(truth_m, predicted_m, np.abs(predicted_m - truth_m))
    assert by_error["ause"] == pytest.approx(0.0, abs=1e-12)
    assert 0 < figures["ause"] < sigma_figures(truth_m, predicted_m, rng.permutation(sigma))["ause"]


def test_ause_by_hand_and_through_the_scorer():
    # Ranked by sigma the errors come .3, .1: means .3, .2; ranked by error .1, .2. Gaps .2 and 0.
    scorer = DepthScorer(PROTOCOL, CAMERAS, "us")
    figures = scorer.add(
        0, 0, flat_truth([10.0, 10.0]), on_pixels([13.0, 11.0]), on_pixels([0.01, 1.0])
    )
    assert figures["ause"] == pytest.approx(0.1)
    assert figures["coverage_90"] == 0.5
    assert figure(scorer.scores(), "ause").value == pytest.approx(0.1)
