"""The metres in a pointmap's unit, from a known motion."""

import math

import numpy as np
from jaxtyping import Float

from driv3r.alignment.similarity import weighted_median
from driv3r.types import Transform

ROUNDS = 20  # of re-weighting
SMALLEST_RAD = 1e-9  # a typical error of zero would leave no weight


def fit_baseline(
    points_ref: Float[np.ndarray, "n 3"],
    rays_cam: Float[np.ndarray, "n 3"],
    cam_T_ref: Transform,
    weight: Float[np.ndarray, "n"],
) -> tuple[float, float]:
    """Log of the metres in the points' unit, and its sigma (infinite where it is not seen).

    Points must lie on the rays that see them: ray x (R point + q t) = 0, linear in q, the units in
    a metre. Noise is in the points and not in t, so that q, unlike its inverse, has no bias. A
    small turn is found along with q, for a network's points may be turned. Least squares of angles
    under Cauchy weights; sigma takes all points for independent.
    """
    size = np.linalg.norm(points_ref, axis=-1, keepdims=True)
    seen = points_ref / size @ cam_T_ref[:3, :3].T
    rays = rays_cam / np.linalg.norm(rays_cam, axis=-1, keepdims=True)
    by_turn = (rays * seen).sum(-1)[:, None, None] * np.eye(3) - seen[:, :, None] * rays[:, None]
    by_units = np.cross(rays, cam_T_ref[:3, 3] / size)
    design = np.concatenate([by_turn, by_units[..., None]], -1)
    error = np.cross(rays, seen)
    current, answer, normal, typical = weight, np.zeros(4), np.eye(4), 0.0
    for _ in range(ROUNDS):
        normal = np.einsum("n,nki,nkj->ij", current, design, design)
        normal += 1e-12 * np.trace(normal) * np.eye(4)
        answer = -np.linalg.solve(normal, np.einsum("n,nki,nk->i", current, design, error))
        angle = np.linalg.norm(error + design @ answer, axis=-1)
        typical = max(weighted_median(angle, weight), SMALLEST_RAD)
        current = weight / (1.0 + (angle / typical) ** 2)
    if not answer[3] > 0:
        return 0.0, math.inf
    variance = typical**2 * current.mean() * np.linalg.inv(normal)[3, 3]
    return float(-np.log(answer[3])), float(np.sqrt(variance) / answer[3])
