"""Kriging against the precision form of a joint Gaussian, and against sampled errors."""

import numpy as np
import pytest

from driv3r.tracking.gp_depth_correction import ErrorModel, PixelSet, covariance, gp_regress

MODEL = ErrorModel(global_var=0.2, local_var=1.5, nugget=0.3)


def scatter(rng: np.random.Generator, n: int, sigma: float | None = None) -> PixelSet:
    uv = rng.uniform((0, 0), (1, 0.57), (n, 2))
    own = rng.uniform(0.05, 0.3, n) if sigma is None else np.full(n, sigma)
    return PixelSet(uv, rng.normal(2.5, 0.6, n), own)


def as_one(a: PixelSet, b: PixelSet) -> PixelSet:
    return PixelSet(
        np.concatenate([a.uv, b.uv]),
        np.concatenate([a.log_depth, b.log_depth]),
        np.concatenate([a.sigma, b.sigma]),
    )


def test_agrees_with_the_precision_of_the_joint_gaussian():
    """Conditioning by blocks of the inverse, which shares no line with the gain form."""
    rng = np.random.default_rng(0)
    n, m, shared_sigma = 12, 7, 0.05
    measured, asked = scatter(rng, n), scatter(rng, m)
    noise = np.full(n, 10.0)  # so much that nothing is an outlier and weights stay
    error = rng.normal(0, 0.01, n)
    both = as_one(measured, asked)
    joint = covariance(MODEL, both, both) * np.outer(both.sigma, both.sigma)
    joint[:n, :n] += np.diag(noise**2 + MODEL.nugget * measured.sigma**2) + shared_sigma**2
    precision = np.linalg.inv(joint)
    mean = -np.linalg.solve(precision[n:, n:], precision[n:, :n] @ error)
    variance = np.diag(np.linalg.inv(precision[n:, n:])) / asked.sigma**2 + MODEL.nugget
    got, left = gp_regress(MODEL, measured, error, noise, shared_sigma, asked)
    np.testing.assert_allclose(got, mean, rtol=2e-3, atol=1e-7)
    np.testing.assert_allclose(left, variance / MODEL.variance, rtol=1e-5)


def test_sampled_errors_come_out_smaller_by_what_is_stated():
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(60):
        measured, asked = scatter(rng, 40, 0.2), scatter(rng, 30, 0.2)
        both = as_one(measured, asked)
        cov = covariance(MODEL, both, both) * 0.04 + np.diag(np.full(70, MODEL.nugget * 0.04))
        truth = rng.multivariate_normal(np.zeros(70), cov)
        noise = np.full(40, 0.03)
        error = truth[:40] + rng.normal(0, noise)
        got, left = gp_regress(MODEL, measured, error, noise, 0.0, asked)
        ratios.append(np.mean((truth[40:] - got) ** 2) / np.mean(left * MODEL.variance * 0.04))
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.15)
    assert np.mean(left) < 0.6


def test_a_wrong_measurement_among_many_does_little():
    rng = np.random.default_rng(2)
    measured, asked = scatter(rng, 60, 0.2), scatter(rng, 20, 0.2)
    error, noise = np.full(60, 0.1), np.full(60, 0.03)
    clean, _ = gp_regress(MODEL, measured, error, noise, 0.0, asked)
    wild = error.copy()
    wild[7] = -1.4
    moved, _ = gp_regress(MODEL, measured, wild, noise, 0.0, asked)
    assert np.abs(moved - clean).max() < 0.03
    assert 0.06 < clean.min() <= clean.max() < 0.11  # towards 0 where nothing is near


def test_what_all_are_off_by_together_is_not_believed():
    rng = np.random.default_rng(3)
    measured, asked = scatter(rng, 60, 0.1), scatter(rng, 20, 0.1)
    error, noise = np.full(60, 0.1), np.full(60, 0.01)
    free, _ = gp_regress(MODEL, measured, error, noise, 0.0, asked)
    doubted, _ = gp_regress(MODEL, measured, error, noise, 0.5, asked)
    assert np.abs(doubted).mean() < 0.3 * np.abs(free).mean()
