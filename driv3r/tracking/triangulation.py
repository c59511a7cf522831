"""Depth of tracked features by triangulation, and a landmark map of the triangulated points."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Float

from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.tracking.feature_tracker import TrackerFrame, join_rows, sample_cells
from driv3r.tracking.rig_pnp import RigObservations
from driv3r.types import Camera, Transform

NEAREST_M = 0.05


@dataclass(frozen=True)
class TriangulationConfig:
    """Noise model and gates of triangulated depths and landmarks.

    A track has noise `noise_px`, and counts if its epipolar error is below `miss_px` and it moves
    by more than `min_px` per e-fold of depth; `floor` is the relative error of surface and motion.
    Depths more than `max_factor` times off are wrong tracks.

    Landmarks are kept while their noise, which grows by `noise_growth` per second, is below
    `max_noise`; at most `max_landmarks`, newest first. A landmark is reobserved where the predicted
    depth is within `chi_gate` standard deviations and `max_log_error` in log depth, else occluded.
    Per cell (`cells` along the image's width) the one of least noise counts.
    """

    noise_px: float = 1.0
    miss_px: float = 1.5
    min_px: float = 1.0
    floor: float = 0.03
    max_factor: float = 4.5
    noise_growth: float = 1.69
    max_noise: float = 0.2
    max_landmarks: int = 20000
    chi_gate: float = 2.5
    max_log_error: float = 0.3
    cells: int = 28


@dataclass(frozen=True, eq=False)
class DepthErrors:
    """Errors of log depth in one camera and their noise; points are where the stated depth is.

    `sigma` is the stated one.
    """

    points_cam: Float[np.ndarray, "n 3"]
    sigma: Float[np.ndarray, "n"]
    error: Float[np.ndarray, "n"]
    noise: Float[np.ndarray, "n"]

    def take(self, rows: np.ndarray) -> "DepthErrors":
        """Some of them, by index or mask."""
        return DepthErrors(*(getattr(self, field.name)[rows] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of the still world in the ego frame, and the noise of their log depth."""

    points_ego: Float[np.ndarray, "n 3"]
    noise: Float[np.ndarray, "n"]


NO_LANDMARKS = Landmarks(np.zeros((0, 3)), np.zeros(0))


def triangulate(
    camera: Camera, seen: RigObservations, prev_T_curr: Transform, config: TriangulationConfig
) -> DepthErrors:
    """Log of triangulated over stated depth of one camera's features, as its last image shows them.

    A feature at some factor times its stated depth is seen at xy: linear in that factor, solved by
    least squares.
    """
    last_T_cam = invert(camera.ego_T_cam) @ prev_T_curr @ camera.ego_T_cam
    points_cam = apply(invert(camera.ego_T_cam), seen.points_src)
    turned, shift_m = points_cam @ last_T_cam[:3, :3].T, last_T_cam[:3, 3]
    by_factor = turned[:, :2] - seen.xy * turned[:, 2:]
    constant = shift_m[:2] - seen.xy * shift_m[2]
    square = np.maximum((by_factor**2).sum(1), 1e-12)
    factor = -(by_factor * constant).sum(1) / square
    good = (factor < config.max_factor) & (factor > 1 / config.max_factor)
    factor = np.where(good, factor, 1.0)
    there = turned * factor[:, None] + shift_m
    z = np.maximum(there[:, 2:], NEAREST_M)
    focal_px = np.array([camera.K[0, 0], camera.K[1, 1]])
    miss_px = np.linalg.norm((there[:, :2] / z - seen.xy) * focal_px, axis=1)
    # d(x / z) / d(log factor), where x and z grow by `turned`
    along = (turned[:, :2] * z - there[:, :2] * turned[:, 2:]) / z**2 * factor[:, None]
    moves_px = np.linalg.norm(along * focal_px, axis=1)
    good &= (miss_px < config.miss_px) & (moves_px > config.min_px) & (there[:, 2] > NEAREST_M)
    noise = np.hypot(config.noise_px / np.maximum(moves_px, 1e-9), config.floor)
    return DepthErrors(points_cam, seen.sigma, np.log(factor), noise).take(good)


def reobserve(
    camera: Camera, landmarks: Landmarks, now: TrackerFrame, view: int, config: TriangulationConfig
) -> DepthErrors:
    """Depth errors of the present prediction measured by landmarks."""
    points_cam = apply(invert(camera.ego_T_cam), landmarks.points_ego)
    uv, z, inside = project(camera, points_cam)
    points_cam, noise, uv, z = points_cam[inside], landmarks.noise[inside], uv[inside], z[inside]
    depth_m, sigma, motion = (
        sample_cells(x[view], uv, camera.size_hw).astype(np.float64)
        for x in (now.depth_m, now.sigma, now.motion)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.log(z / depth_m)
        near = np.abs(error) < np.minimum(
            config.chi_gate * np.hypot(np.sqrt(2) * sigma, noise), config.max_log_error
        )
    seen = near & (motion < 0.5)
    at_stated = points_cam * np.where(seen, depth_m / z, 1.0)[:, None]
    return DepthErrors(at_stated, sigma, error, noise).take(seen)


def best_per_cell(camera: Camera, parts: Sequence[DepthErrors], cells: int) -> DepthErrors:
    """The measurement of least noise per cell, in a fixed order."""
    joined = join_rows(parts)
    uv, _, _ = project(camera, joined.points_cam)
    column, row = np.floor(uv / camera.size_hw[1] * cells).astype(int).T
    order = np.argsort(joined.noise, kind="stable")
    _, first = np.unique((row * cells + column)[order], return_index=True)
    return joined.take(np.sort(order[first]))


def triangulated_landmarks(camera: Camera, measured: DepthErrors) -> Landmarks:
    """Triangulated points as landmarks."""
    points_cam = measured.points_cam * np.exp(measured.error)[:, None]
    return Landmarks(apply(camera.ego_T_cam, points_cam), measured.noise)


def propagate(
    landmarks: Landmarks, prev_T_curr: Transform, dt_s: float, config: TriangulationConfig
) -> Landmarks:
    """Landmarks of the last frame in this one's ego frame."""
    noise = landmarks.noise * config.noise_growth**dt_s
    return Landmarks(apply(invert(prev_T_curr), landmarks.points_ego), noise)


def prune(parts: Sequence[Landmarks], config: TriangulationConfig) -> Landmarks:
    """Landmarks of low noise, earlier parts first, up to the maximum."""
    joined = join_rows(parts)
    keep = np.flatnonzero(joined.noise < config.max_noise)[: config.max_landmarks]
    return Landmarks(joined.points_ego[keep], joined.noise[keep])
