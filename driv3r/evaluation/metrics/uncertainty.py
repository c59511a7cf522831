"""Does a stated sigma tell the truth about the error?"""

import math

import numpy as np
from jaxtyping import Float

SIGMA_METRICS = {"coverage_50": "", "coverage_90": "", "ause": ""}


def sigma_figures(
    truth_m: Float[np.ndarray, "n"],
    predicted_m: Float[np.ndarray, "n"],
    sigma: Float[np.ndarray, "n"],
) -> dict[str, float]:
    """Coverage of the central 50 % and 90 % of a Laplace of scale `sigma` on log depth, and AUSE.

    A central share q of a Laplace reaches to -sigma ln(1 - q). AUSE (Ilg et al., ECCV 2018) is the
    mean gap between the abs_rel of the k surest points and of the k truly best, over every k. A
    sigma of NaN covers nothing and counts as least sure.
    """
    off_log = np.abs(np.log(predicted_m) - np.log(truth_m))
    off_rel = np.abs(predicted_m - truth_m) / truth_m
    kept = np.arange(1, len(off_rel) + 1)
    by_sigma = np.cumsum(off_rel[np.argsort(sigma, kind="stable")]) / kept
    by_error = np.cumsum(np.sort(off_rel)) / kept
    return {
        "coverage_50": float(np.mean(off_log <= -sigma * math.log(0.5))),
        "coverage_90": float(np.mean(off_log <= -sigma * math.log(0.1))),
        "ause": float(np.mean(by_sigma - by_error)),
    }
