"""A camera's pose from points that its pixels see (PnP within RANSAC)."""

import dataclasses
import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.cameras import pixel_grid
from driv3r.geometry.transforms import apply, from_rotvec, invert
from driv3r.types import Transform

FOCALS_TRIED = 21  # over FOCAL_SPAN, in equal ratios
FOCAL_SPAN = (0.5, 3.0)  # of the longer side of the image


@dataclass(frozen=True)
class PnpConfig:
    """Points of more than `min_confidence` count; an inlier projects within `reprojection_px`."""

    min_confidence: float = 0.0
    reprojection_px: float = 5.0
    iterations: int = 100
    min_points: int = 6
    seed: int = 0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value) or value < 0:
                raise ConfigError(f"resection: {name} is {value}; expected a finite number from 0")
        if self.reprojection_px == 0 or self.iterations == 0 or self.min_points < 4:
            raise ConfigError(
                f"resection: {self}; expected reprojection_px and iterations above 0, min_points "
                "of 4 at least"
            )


@dataclass(frozen=True, eq=False)
class PnpResult:
    """Where the camera stands, in the points' unit, and how many points agree.

    `msac_score` counts an inlier the more the nearer it projects: 1 - (error / reprojection_px)^2.
    """

    ref_T_cam: Transform
    inliers: int
    msac_score: float


DEFAULT = PnpConfig()


def solve_pnp(
    points_ref: Float[np.ndarray, "h w 3"],
    K: Float[np.ndarray, "3 3"],
    confidence: Float[np.ndarray, "h w"] | None = None,
    config: PnpConfig = DEFAULT,
) -> PnpResult:
    """Pose of the camera whose pixels see `points_ref`: SQPnP in RANSAC, then Levenberg-Marquardt.

    The same input gives the same answer. GeometryError where fewer than `min_points` are usable or
    agree on a pose.
    """
    usable = np.isfinite(points_ref).all(-1)
    if confidence is not None:
        usable &= confidence > config.min_confidence
    count = int(np.count_nonzero(usable))
    if count < config.min_points:
        raise GeometryError(
            f"{count} of {usable.size} points are finite and above confidence "
            f"{config.min_confidence}; a pose needs {config.min_points}: lower min_confidence"
        )
    h, w = points_ref.shape[:2]
    points = np.ascontiguousarray(points_ref[usable], np.float64)
    uv = np.ascontiguousarray(pixel_grid((h, w))[usable])
    cam_T_ref = _search_pose(points, uv, K.astype(np.float64), config)
    scores, inliers = np.zeros(0), 0
    if cam_T_ref is not None:
        share = _measure_errors(points, uv, K, cam_T_ref) / config.reprojection_px
        scores = 1.0 - share[share < 1.0] ** 2
        inliers = len(scores)
    if cam_T_ref is None or inliers < config.min_points:
        raise GeometryError(
            f"{inliers} of {count} points agree on a pose within {config.reprojection_px} px; "
            f"expected {config.min_points}: points and K do not belong together"
        )
    return PnpResult(invert(cam_T_ref), inliers, float(scores.sum()))


def solve_pnp_unknown_focal(
    points_ref: Float[np.ndarray, "h w 3"],
    principal_px: Float[np.ndarray, "2"],
    confidence: Float[np.ndarray, "h w"] | None = None,
    config: PnpConfig = DEFAULT,
) -> tuple[PnpResult, float]:
    """`solve_pnp` and the focal length in pixels that has most support, out of a fixed few."""
    longer = max(points_ref.shape[:2])
    best: tuple[PnpResult, float] | None = None
    refused: GeometryError | None = None
    for focal_px in np.geomspace(FOCAL_SPAN[0], FOCAL_SPAN[1], FOCALS_TRIED) * longer:
        K = np.array([[focal_px, 0, principal_px[0]], [0, focal_px, principal_px[1]], [0, 0, 1.0]])
        try:
            answer = solve_pnp(points_ref, K, confidence, config)
        except GeometryError as error:
            refused = error
            continue
        if best is None or answer.msac_score > best[0].msac_score:
            best = answer, float(focal_px)
    if best is None:
        raise GeometryError(f"no focal length gives a pose: {refused}") from refused
    return best


def _search_pose(
    points: Float[np.ndarray, "n 3"],
    uv: Float[np.ndarray, "n 2"],
    K: Float[np.ndarray, "3 3"],
    config: PnpConfig,
) -> Transform | None:
    """cam_T_ref of most inliers, refined on these; None where there is none."""
    straight = np.zeros(4)
    cv2.setRNGSeed(config.seed)
    found, rotvec, translation, _ = cv2.solvePnPRansac(
        points,
        uv,
        K,
        straight,
        iterationsCount=config.iterations,
        reprojectionError=config.reprojection_px,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found or not (np.isfinite(rotvec).all() and np.isfinite(translation).all()):
        return None
    cam_T_ref = from_rotvec(rotvec[:, 0], translation[:, 0])
    inliers = _measure_errors(points, uv, K, cam_T_ref) < config.reprojection_px
    if np.count_nonzero(inliers) < config.min_points:
        return None
    rotvec, translation = cv2.solvePnPRefineLM(
        points[inliers], uv[inliers], K, straight, rotvec, translation
    )
    return from_rotvec(rotvec[:, 0], translation[:, 0])


def _measure_errors(
    points: Float[np.ndarray, "n 3"],
    uv: Float[np.ndarray, "n 2"],
    K: Float[np.ndarray, "3 3"],
    cam_T_ref: Transform,
) -> Float[np.ndarray, "n"]:
    """Reprojection errors in pixels, infinite behind the camera."""
    points_cam = apply(cam_T_ref, points)
    ahead = points_cam[:, 2] > 0
    seen = points_cam / np.where(ahead, points_cam[:, 2], 1.0)[:, None] @ K.T
    return np.where(ahead, np.linalg.norm(seen[:, :2] - uv, axis=-1), np.inf)
