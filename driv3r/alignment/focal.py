"""Focal length of a camera from points in its own frame (DUSt3R, Wang et al. 2024, section 3.3).

Both ways take one focal length for u and v, and a known principal point.
"""

import numpy as np
from jaxtyping import Float

from driv3r.errors import GeometryError
from driv3r.geometry.cameras import pixel_grid

CLOSEST_PX = 1e-8  # a residual of zero would weigh infinitely


def vote_focal(
    points_cam: Float[np.ndarray, "h w 3"], principal_px: Float[np.ndarray, "2"]
) -> float:
    """Focal length in pixels as the median of what every pixel's u and v say of it.

    The lower of the two middle votes, as torch's nanmedian has it. GeometryError where no point
    lies ahead of the camera.
    """
    offset_px, slope = _pair_offsets(points_cam, principal_px)
    usable = slope != 0
    votes = np.sort(offset_px[usable] / slope[usable])
    if len(votes) == 0:
        raise GeometryError("every point lies on the optical axis: the focal length is not seen")
    return _accept(float(votes[(len(votes) - 1) // 2]))


def fit_focal(
    points_cam: Float[np.ndarray, "h w 3"],
    principal_px: Float[np.ndarray, "2"],
    weight: Float[np.ndarray, "h w"] | None = None,
    rounds: int = 10,
) -> float:
    """Focal length in pixels that minimises sum w |uv - f xy/z|, by Weiszfeld's iteration.

    Starts at the least-squares answer and re-weights `rounds` times. GeometryError where no point
    lies ahead of the camera.
    """
    offset_px, slope = _pair_offsets(points_cam, principal_px)
    given = np.ones(points_cam.shape[:2]) if weight is None else weight
    given = given[_find_ahead(points_cam)].astype(np.float64)
    across = given * (offset_px * slope).sum(-1)
    along = given * (slope**2).sum(-1)
    if along.sum() <= 0:
        raise GeometryError("no weight off the optical axis: the focal length is not seen")
    focal_px = across.sum() / along.sum()
    for _ in range(rounds):
        distance_px = np.linalg.norm(offset_px - focal_px * slope, axis=-1)
        closeness = 1.0 / np.maximum(distance_px, CLOSEST_PX)
        focal_px = (closeness * across).sum() / (closeness * along).sum()
    return _accept(float(focal_px))


def _find_ahead(points_cam: Float[np.ndarray, "h w 3"]) -> np.ndarray:
    return np.isfinite(points_cam).all(-1) & (points_cam[..., 2] > 0)


def _pair_offsets(
    points_cam: Float[np.ndarray, "h w 3"], principal_px: Float[np.ndarray, "2"]
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2"]]:
    """Pixels from the principal point, and (x, y) / z, of the points ahead."""
    ahead = _find_ahead(points_cam)
    if not ahead.any():
        raise GeometryError(
            f"none of {ahead.size} points is finite and ahead of the camera; expected points in "
            "the camera's own frame"
        )
    points = points_cam[ahead].astype(np.float64)
    h, w = points_cam.shape[:2]
    return pixel_grid((h, w))[ahead] - principal_px, points[:, :2] / points[:, 2:]


def _accept(focal_px: float) -> float:
    if not focal_px > 0:
        raise GeometryError(
            f"the focal length comes out as {focal_px} px; expected points in the camera's own "
            "frame, x right and y down"
        )
    return focal_px
