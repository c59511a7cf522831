"""Whole sizes of things from their silhouettes, where depth is too inexact to measure sides by.

What errs by metres along the ray makes everything as long as its error. Across the ray, and
upright, an image tells a size as exactly as its range: what is lacking is taken from what kinds of
things on a street are like.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Kind:
    """Length, width and height (m) of a kind of thing, their standard deviations, its top speed."""

    size_m: tuple[float, float, float]
    spread_m: tuple[float, float, float]
    most_mps: float


# Means of nuScenes' annotated boxes, which detectors are given as anchors (Zhu et al., "Class-
# balanced Grouping and Sampling", 2019); two-wheelers with their riders' heights.
KINDS = (
    Kind((0.73, 0.67, 1.77), (0.2, 0.15, 0.2), 4.0),  # pedestrian
    Kind((1.85, 0.70, 1.70), (0.25, 0.15, 0.25), 15.0),  # cyclist, motorcyclist
    Kind((4.63, 1.97, 1.74), (0.5, 0.2, 0.25), 60.0),  # car
    Kind((6.93, 2.51, 2.84), (1.5, 0.3, 0.5), 40.0),  # truck
    Kind((10.5, 2.94, 3.47), (1.5, 0.3, 0.4), 40.0),  # bus
)
ERROR_M, ERROR_SHARE = 0.25, 0.15  # of a silhouette's sides: segments' edges, and their range
MOST_FRAMES = 3.0  # that count: the error of a range stays alike while a thing is seen


def silhouette(
    points: Float[np.ndarray, "n 3"], away: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "2"]:
    """Width across the ray and height (m) of points in an object's axes; `away` is the ray there.

    By the 5th and 95th percentiles, stretched as if what is seen were even.
    """
    across = np.array([-1.0, 1.0]) * _on_ground(away)[::-1]
    sides = np.stack([points[:, :2] @ across, points[:, 2]], axis=-1)
    low, high = np.percentile(sides, [5, 95], axis=0)
    return (high - low) / 0.9


def estimate_size(
    seen_m: Float[np.ndarray, "k 2"], away: Float[np.ndarray, "k 3"]
) -> tuple[Float[np.ndarray, "3"], Kind]:
    """The most probable size and kind of a thing from its silhouettes.

    `away` are the rays to it in its own axes.

    A box L by W, seen at an angle a to its heading, is L |sin a| + W |cos a| wide. Of every kind
    that is one linear measurement of a Gaussian; the kind that explains it best tells the rest.
    """
    flat = _on_ground(away)
    A = np.zeros((2 * len(away), 3))
    A[::2, 0], A[::2, 1], A[1::2, 2] = np.abs(flat[:, 1]), np.abs(flat[:, 0]), 1.0
    measured = seen_m.reshape(-1)
    sigma = ERROR_M + ERROR_SHARE * measured
    weight = min(1.0, MOST_FRAMES / len(away)) / sigma**2
    found, least = (np.array(KINDS[0].size_m), KINDS[0]), np.inf
    for kind in KINDS:
        mean, spread = np.array(kind.size_m), np.array(kind.spread_m)
        information = np.diag(1 / spread**2) + A.T @ (weight[:, None] * A)
        off = measured - A @ mean
        shift = np.linalg.solve(information, A.T @ (weight * off))
        # Minus twice the log evidence, less what all kinds share.
        cost = float(weight @ off**2 - shift @ information @ shift)
        cost += float(np.linalg.slogdet(information)[1] + 2 * np.log(spread).sum())
        if cost < least:
            found, least = (mean + shift, kind), cost
    return found


def middle_behind(
    size_m: Float[np.ndarray, "3"], away: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "k 3"]:
    """From the mean place of what is seen of a box to its middle, in the box's axes.

    Of a box L by W, w wide across the ray, the two sides that are seen lie in the mean L W / (2 w)
    before its middle: each side counts by its own share of w.
    """
    flat = _on_ground(away)
    wide_m = size_m[0] * np.abs(flat[:, 1]) + size_m[1] * np.abs(flat[:, 0])
    out = np.zeros((len(away), 3))
    out[:, :2] = flat * (size_m[0] * size_m[1] / (2 * wide_m))[:, None]
    return out


def _on_ground(away: Float[np.ndarray, "*k 3"]) -> Float[np.ndarray, "*k 2"]:
    """Unit vectors of rays seen from above."""
    flat = away[..., :2]
    return flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-6)
