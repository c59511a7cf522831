"""Placing a local pointmap in a scene by a robust weighted similarity.

What SLAM3R (Liu et al. 2025) leaves to its second network, in closed form: pixels whose points are
known both in the local frame and in the scene say how the one lies in the other.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.transforms import apply
from driv3r.geometry.umeyama import align_umeyama
from driv3r.types import Transform

MIN_POINTS = 3
EXACT = 1e-12  # of the coordinates: a residual below needs no more rounds


@dataclass(frozen=True)
class RegisterConfig:
    """Rounds of re-weighting; a point `cutoff` typical residuals off counts half."""

    rounds: int = 20
    cutoff: float = 1.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ConfigError(f"registration: {name} is {value}; expected a number above 0")


@dataclass(frozen=True, eq=False)
class Registration:
    """points_ref = ref_T_local applied to scale * points_local.

    `residual` is the median distance of the points used, by weight, in the unit of `ref`.
    """

    scale: float
    ref_T_local: Transform
    residual: float

    def move(self, points_local: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3"]:
        """Points of the local frame, in the reference frame."""
        return apply(self.ref_T_local, self.scale * points_local)


DEFAULT = RegisterConfig()


def register_points(
    points_ref: Float[np.ndarray, "*b 3"],
    points_local: Float[np.ndarray, "*b 3"],
    confidence: Float[np.ndarray, "*b"],
    config: RegisterConfig = DEFAULT,
) -> Registration:
    """Similarity between corresponding points, weighted by confidence and by how well they agree.

    Iteratively re-weighted least squares with Cauchy weights, whose scale is the median residual of
    the round before. Points that are not finite in both frames, or without positive confidence, are
    left out. GeometryError where fewer than 3 remain or all of them are one place.
    """
    usable = _find_usable(points_ref, points_local, confidence)
    ref, local = points_ref[usable].astype(np.float64), points_local[usable].astype(np.float64)
    given = confidence[usable].astype(np.float64)
    if len(ref) < MIN_POINTS:
        raise GeometryError(
            f"{len(ref)} of {usable.size} points are known in both frames; a similarity needs "
            f"{MIN_POINTS}: choose windows that overlap"
        )
    scale, ref_T_local = fit_similarity(ref, local, given)
    for _ in range(config.rounds):
        distance = _measure(ref, local, scale, ref_T_local)
        typical = weighted_median(distance, given)
        if typical <= EXACT * float(np.abs(ref).max()):
            break
        weight = given / (1.0 + (distance / (config.cutoff * typical)) ** 2)
        scale, ref_T_local = fit_similarity(ref, local, weight)
    residual = weighted_median(_measure(ref, local, scale, ref_T_local), given)
    return Registration(scale, ref_T_local, residual)


def fit_similarity(
    points_dst: Float[np.ndarray, "n 3"],
    points_src: Float[np.ndarray, "n 3"],
    weight: Float[np.ndarray, "n"],
) -> tuple[float, Transform]:
    """Scale s and rigid dst_T_src that minimise sum w |dst - (s R src + t)|^2.

    Umeyama (PAMI 1991) with weights. GeometryError as `align_umeyama`, and without any weight.
    """
    total = float(weight.sum())
    if not total > 0:
        raise GeometryError(f"weights of {len(weight)} points add up to {total}; expected above 0")
    share = weight / total
    mean_dst, mean_src = share @ points_dst, share @ points_src
    root = np.sqrt(share * len(share))[:, None]
    dst, src = root * (points_dst - mean_dst), root * (points_src - mean_src)
    if (dst**2).sum(1).mean() < 1e-12:
        raise GeometryError("the reference points are one place: no similarity leads there")
    # Each point with its mirror image: the plain fit then keeps these means and covariances.
    scale, turned = align_umeyama(
        np.concatenate([dst, -dst]), np.concatenate([src, -src]), with_scale=True
    )
    turned[:3, 3] = mean_dst - scale * turned[:3, :3] @ mean_src
    return scale, turned


def _measure(ref, local, scale: float, ref_T_local: Transform) -> Float[np.ndarray, "n"]:
    return np.linalg.norm(ref - apply(ref_T_local, scale * local), axis=-1)


def weighted_median(values: Float[np.ndarray, "n"], weight: Float[np.ndarray, "n"]) -> float:
    """The lowest value that half of the weight does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(reached, 0.5 * reached[-1])]])


def _find_usable(points_ref, points_local, confidence) -> Bool[np.ndarray, "*b"]:
    finite = np.isfinite(points_ref).all(-1) & np.isfinite(points_local).all(-1)
    return finite & np.isfinite(confidence) & (confidence > 0)
