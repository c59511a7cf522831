"""Gaussian process correction of a depth map from errors measured at a few pixels.

A network's errors of log depth are smooth on a surface. They are modelled as a Gaussian process in
units of the predicted sigma; errors measured at a few pixels give the posterior mean and variance
at all others (kriging; see Rasmussen & Williams 2006, Gaussian Processes for Machine Learning,
section 2.2).
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

ROUNDS = 3  # of finding outliers
STUDENT = 2.0  # a measurement this many squared noises off counts half


@dataclass(frozen=True)
class ErrorModel:
    """Covariance of errors in units of sigma^2 (of a Laplace distribution, whose variance is 2).

    `global_var` is common to an image, `local_var` decays over `reach` (a share of the image's
    width) and over `depth_reach` of log depth, `nugget` is independent per pixel.
    """

    global_var: float = 0.1
    local_var: float = 1.6
    nugget: float = 0.6
    reach: float = 0.25
    depth_reach: float = 1.2

    @property
    def variance(self) -> float:
        """Of the error of any one pixel."""
        return self.global_var + self.local_var + self.nugget


@dataclass(frozen=True, eq=False)
class PixelSet:
    """Pixels: where (u, v) in shares of the image's width, their log depth and its stated sigma."""

    uv: Float[np.ndarray, "n 2"]
    log_depth: Float[np.ndarray, "n"]
    sigma: Float[np.ndarray, "n"]

    def single(self) -> "PixelSet":
        """The same in single precision."""
        return PixelSet(*(getattr(self, f.name).astype(np.float32) for f in fields(self)))


def gp_regress(
    model: ErrorModel,
    measured: PixelSet,
    error: Float[np.ndarray, "n"],
    noise: Float[np.ndarray, "n"],
    shared_sigma: float,
    queries: PixelSet,
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Posterior mean error of log depth at the query pixels, and the share of variance left.

    `error` was measured with standard deviations `noise`; all measurements share one error of
    standard deviation `shared_sigma`. Outliers lose weight (Student's t, iteratively reweighted).
    """
    smooth = covariance(model, measured, measured) * np.outer(measured.sigma, measured.sigma)
    noise_var = noise**2 + model.nugget * measured.sigma**2
    shared = smooth + shared_sigma**2
    slack = noise_var * (1 + error**2 / (np.diag(shared) + noise_var) / STUDENT)
    for _ in range(ROUNDS):
        residual = slack * np.linalg.solve(shared + np.diag(slack), error)
        slack = noise_var * (1 + residual**2 / noise_var / STUDENT)
    inverse = np.linalg.inv(shared + np.diag(slack))
    # many queries: single precision, which is enough once the inverse is computed
    cross = covariance(model, queries.single(), measured.single()) * measured.sigma.astype(
        np.float32
    )
    explained = np.einsum("mn,mn->m", cross @ inverse.astype(np.float32), cross)
    mean = queries.sigma * (cross @ (inverse @ error).astype(np.float32))
    return mean, np.clip(1 - explained.astype(np.float64) / model.variance, 0.0, 1.0)


def covariance(model: ErrorModel, a: PixelSet, b: PixelSet) -> Float[np.ndarray, "n m"]:
    """Covariance of the errors of different pixels in units of sigma^2, without `nugget`."""
    square = (a.uv**2).sum(1)[:, None] + (b.uv**2).sum(1) - 2 * (a.uv @ b.uv.T)
    distance = np.sqrt(square.clip(min=0)) / model.reach
    distance += np.abs(a.log_depth[:, None] - b.log_depth) / model.depth_reach
    return model.global_var + model.local_var * np.exp(-distance)
