"""What a depth map errs by, from a few places where that is known.

A network's errors of log depth are smooth: what it has wrong here it has wrong beside, on the same
surface, too. Told as a Gaussian process in units of the stated sigma, the errors measured at a few
pixels give the most probable error at all others, and what is left of its variance (kriging; see
Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, section 2.2).
"""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

ROUNDS = 3  # of finding outliers
STUDENT = 2.0  # a measurement this many squared noises off counts half


@dataclass(frozen=True)
class ErrorModel:
    """How errors go together, in units of sigma^2 (of a Laplace distribution, whose variance is 2).

    A part `everywhere` is the same for all of an image, a part `beside` fades over `reach` (a share
    of the image's width) and over `depth_reach` of log depth, and a part `alone` is each pixel's.
    """

    everywhere: float = 0.1
    beside: float = 1.6
    alone: float = 0.6
    reach: float = 0.25
    depth_reach: float = 1.2

    @property
    def variance(self) -> float:
        """Of the error of any one pixel."""
        return self.everywhere + self.beside + self.alone


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
    common: float,
    asked: PixelSet,
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Most probable error of log depth at the places asked for, and the share of variance left.

    `error` was measured with standard deviations `noise`; all measurements may be off by one number
    of standard deviation `common`. Outliers lose weight (Student's t, by repeated reweighting).
    """
    smooth = covary(model, measured, measured) * np.outer(measured.sigma, measured.sigma)
    own = noise**2 + model.alone * measured.sigma**2
    shared = smooth + common**2
    slack = own * (1 + error**2 / (np.diag(shared) + own) / STUDENT)
    for _ in range(ROUNDS):
        left = slack * np.linalg.solve(shared + np.diag(slack), error)
        slack = own * (1 + left**2 / own / STUDENT)
    inverse = np.linalg.inv(shared + np.diag(slack))
    # many places are asked for: single precision, which is enough once the inverse is there
    towards = covary(model, asked.single(), measured.single()) * measured.sigma.astype(np.float32)
    known = np.einsum("mn,mn->m", towards @ inverse.astype(np.float32), towards)
    mean = asked.sigma * (towards @ (inverse @ error).astype(np.float32))
    return mean, np.clip(1 - known.astype(np.float64) / model.variance, 0.0, 1.0)


def covary(model: ErrorModel, a: PixelSet, b: PixelSet) -> Float[np.ndarray, "n m"]:
    """Covariance of the errors of different pixels in units of sigma^2, without `alone`."""
    square = (a.uv**2).sum(1)[:, None] + (b.uv**2).sum(1) - 2 * (a.uv @ b.uv.T)
    apart = np.sqrt(square.clip(min=0)) / model.reach
    apart += np.abs(a.log_depth[:, None] - b.log_depth) / model.depth_reach
    return model.everywhere + model.beside * np.exp(-apart)
