"""Motion of a camera rig from known points seen again by its cameras."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.geometry.transforms import apply, from_rotvec, invert, to_rotvec
from driv3r.types import Rig, Transform

NOISE_PX = 0.5  # of a tracked feature, against which depth errors are weighed
NEAREST_M = 0.1
MIN_POINTS = 6  # of one camera, for a hypothesis of its own
EFFECTIVE_SAMPLE_FRACTION = 0.5  # weight of a point relative to the motion prior


@dataclass(frozen=True, eq=False)
class RigObservations:
    """n points of one ego frame, each seen by one camera then and at another time.

    `xy` is where that camera sees it at the other time, in undistorted image coordinates at z = 1.
    `sigma` is the relative error of the depth along the viewing ray of then.
    """

    points_src: Float[np.ndarray, "n 3"]
    xy: Float[np.ndarray, "n 2"]
    camera: Int[np.ndarray, "n"]
    sigma: Float[np.ndarray, "n"]

    def of_camera(self, index: int) -> "RigObservations":
        """Those of one camera."""
        rows = self.camera == index
        return RigObservations(
            self.points_src[rows], self.xy[rows], self.camera[rows], self.sigma[rows]
        )


def ransac_hypotheses(
    rig: Rig, seen: RigObservations, reprojection_px: float, seed: int
) -> list[Transform]:
    """dst_T_src as each camera alone has it: EPnP within OpenCV's seeded RANSAC."""
    cv2.setRNGSeed(seed)
    hypotheses = []
    for index, camera in enumerate(rig.cameras):
        rows = seen.camera == index
        if np.count_nonzero(rows) < MIN_POINTS:
            continue
        found, rotvec, translation, _ = cv2.solvePnPRansac(
            np.ascontiguousarray(seen.points_src[rows]),
            np.ascontiguousarray(seen.xy[rows]),
            np.eye(3),
            np.zeros(4),
            iterationsCount=100,
            reprojectionError=float(reprojection_px / camera.K[0, 0]),
            flags=cv2.SOLVEPNP_EPNP,
        )
        if found and np.isfinite(rotvec).all() and np.isfinite(translation).all():
            cam_T_src = from_rotvec(rotvec[:, 0], translation[:, 0])
            hypotheses.append(camera.ego_T_cam @ cam_T_src)
    return hypotheses


def refine_motion(
    rig: Rig,
    seen: RigObservations,
    dst_T_src: Transform,
    reprojection_px: float,
    steps: int = 15,
    information: Float[np.ndarray, "6 6"] | None = None,
) -> Transform:
    """The dst_T_src near the given one with the least robust reprojection error of the whole rig.

    Gauss-Newton on the whitened errors under Cauchy weights of scale NOISE_PX, over points within
    three times `reprojection_px`. Returned as given where fewer than three points are.
    `information` (rad, m; inverse covariance of the given motion, on its left) makes it the MAP
    estimate; as depth errors correlate, a point then counts as EFFECTIVE_SAMPLE_FRACTION of one.
    """
    src_T_given = invert(dst_T_src)
    for _ in range(steps):
        sums = normal_equations(rig, seen, dst_T_src, reprojection_px)
        if sums is None:
            break
        normal, slope = sums
        if information is not None:
            residual = dst_T_src @ src_T_given
            prior_information = information * (NOISE_PX**2 / EFFECTIVE_SAMPLE_FRACTION)
            normal = normal + prior_information
            slope = slope + prior_information @ np.concatenate(
                [to_rotvec(residual), residual[:3, 3]]
            )
        damping = 1e-9 * np.trace(normal) * np.eye(6)
        step = -np.linalg.solve(normal + damping, slope)
        dst_T_src = from_rotvec(step[:3], step[3:]) @ dst_T_src
        if np.abs(step).max() < 1e-7:
            break
    return dst_T_src


def information_matrix(
    rig: Rig, seen: RigObservations, dst_T_src: Transform, reprojection_px: float
) -> Float[np.ndarray, "6 6"]:
    """Inverse covariance (rad, m) of a motion by its observations, in effective samples."""
    sums = normal_equations(rig, seen, dst_T_src, reprojection_px)
    return np.zeros((6, 6)) if sums is None else sums[0] * (EFFECTIVE_SAMPLE_FRACTION / NOISE_PX**2)


def normal_equations(
    rig: Rig, seen: RigObservations, dst_T_src: Transform, reprojection_px: float
) -> tuple[Float[np.ndarray, "6 6"], Float[np.ndarray, "6"]] | None:
    """Normal matrix and slope of the robust errors; None of fewer than three points."""
    error_px, jacobian = linearise(rig, seen, dst_T_src)
    length_px = np.linalg.norm(error_px, axis=-1)
    near = length_px < 3 * reprojection_px
    if np.count_nonzero(near) < 3:
        return None
    weight = 1.0 / (1.0 + (length_px[near] / NOISE_PX) ** 2)
    J = jacobian[near]
    normal = np.einsum("n,nki,nkj->ij", weight, J, J)
    return normal, np.einsum("n,nki,nk->i", weight, J, error_px[near])


def find_inliers(
    rig: Rig, seen: RigObservations, dst_T_src: Transform, reprojection_px: float
) -> Bool[np.ndarray, "n"]:
    """RigObservations whose whitened error stays below `reprojection_px`."""
    error_px, _ = linearise(rig, seen, dst_T_src)
    return np.linalg.norm(error_px, axis=-1) < reprojection_px


def linearise(
    rig: Rig, seen: RigObservations, dst_T_src: Transform
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2 6"]]:
    """Whitened reprojection errors in pixels, and how they turn and move with the ego frame.

    A wrong depth shifts a point along its epipolar line alone, so errors in that direction are
    divided by what `sigma` explains of them; errors across it count in full. A point that is not
    ahead of its camera has an infinite error.
    """
    ego_T_cam = np.stack([camera.ego_T_cam for camera in rig.cameras])
    cam_T_ego = invert(ego_T_cam)[seen.camera]
    focal_px = np.array([[c.K[0, 0], c.K[1, 1]] for c in rig.cameras])[seen.camera]
    points_ego = apply(dst_T_src, seen.points_src)
    points_cam = np.einsum("nij,nj->ni", cam_T_ego[:, :3, :3], points_ego) + cam_T_ego[:, :3, 3]
    ahead = points_cam[:, 2] > NEAREST_M
    z = np.where(ahead, points_cam[:, 2], 1.0)
    error_px = (points_cam[:, :2] / z[:, None] - seen.xy) * focal_px
    pixel_by_ego = _differentiate_projection(points_cam, z, focal_px) @ cam_T_ego[:, :3, :3]
    by_turn = -pixel_by_ego @ _cross_matrices(points_ego)
    rays_ego = (seen.points_src - ego_T_cam[seen.camera, :3, 3]) @ dst_T_src[:3, :3].T
    shift_px = np.einsum("nki,ni->nk", pixel_by_ego, rays_ego) * seen.sigma[:, None]
    whiten = _whiten(shift_px)
    error_px = np.einsum("nij,nj->ni", whiten, error_px)
    jacobian = whiten @ np.concatenate([by_turn, pixel_by_ego], -1)
    return np.where(ahead[:, None], error_px, np.inf), jacobian


def _differentiate_projection(points_cam, z, focal_px) -> Float[np.ndarray, "n 2 3"]:
    out = np.zeros((len(z), 2, 3))
    out[:, 0, 0] = out[:, 1, 1] = 1.0 / z
    out[:, :, 2] = -points_cam[:, :2] / z[:, None] ** 2
    return out * focal_px[:, :, None]


def _cross_matrices(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3 3"]:
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)


def _whiten(shift_px: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2 2"]:
    """NOISE_PX times the inverse root of NOISE_PX^2 I + shift shift^T."""
    square = np.maximum((shift_px**2).sum(-1), 1e-12)
    shrink = (NOISE_PX / np.sqrt(NOISE_PX**2 + square) - 1.0) / square
    return np.eye(2) + shrink[:, None, None] * shift_px[:, :, None] * shift_px[:, None, :]
