"""Closed-form alignment of point sets."""

import numpy as np
from jaxtyping import Float

from driv3r.errors import GeometryError


def align_umeyama(
    points_dst: Float[np.ndarray, "n 3"], points_src: Float[np.ndarray, "n 3"], with_scale: bool
) -> tuple[float, Float[np.ndarray, "4 4"]]:
    """Scale s and rigid dst_T_src that minimise sum |dst - (s R src + t)|^2.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns",
    PAMI 1991, eqs. 34-43. On a straight or single-point path the rotation about the path is not
    determined; the smallest one is returned (the SVD's completion), which the residual does not
    depend on. Raises GeometryError on no points, non-finite ones, or scale from a single place.
    """
    if len(points_dst) == 0 or not (
        np.isfinite(points_dst).all() and np.isfinite(points_src).all()
    ):
        raise GeometryError(f"need at least one pair of finite points, got {len(points_dst)} pairs")
    mean_dst, mean_src = points_dst.mean(0), points_src.mean(0)
    centred_dst, centred_src = points_dst - mean_dst, points_src - mean_src
    u, singular, vt = np.linalg.svd(centred_dst.T @ centred_src / len(points_dst))
    sign = np.ones(3)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        sign[2] = -1.0
    rotation = u @ np.diag(sign) @ vt
    scale = 1.0
    if with_scale:
        variance = float((centred_src**2).sum(1).mean())
        if variance < 1e-12:
            raise GeometryError("scale of a path that never leaves one place is not determined")
        scale = float((singular * sign).sum() / variance)
    dst_T_src = np.eye(4)
    dst_T_src[:3, :3] = rotation
    dst_T_src[:3, 3] = mean_dst - scale * rotation @ mean_src
    return scale, dst_T_src
