"""A rig's pointmaps, each camera's in a unit of its own, put into the world in metres.

What Driv3R (Fei et al. 2024) aims at with its alignment without optimisation. Poses and intrinsics
are known here, so one scale a camera is all there is to find. A car that drives shows it: between
two frames the camera's known baseline turns the rays to near points more than those to far ones.
Cameras that overlap must agree on the depth of what both see, which ties their scales together.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components

from driv3r.alignment.baseline_scale import fit_baseline
from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.cameras import lift_depth, project, rays_of
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Camera, Transform

POINTS_A_VIEW = 4096  # looked at for overlap; more are no surer, their errors are the same
CORRELATED_PX = 8  # networks err alike within such a distance: this many squared count once
ROUNDS = 20  # of re-weighting
OUTLYING = 2.0  # a clue this many sigmas off counts half
MIN_POINTS = 16
PASSES = 4  # overlap depends on the scales, slightly


@dataclass(frozen=True)
class RigConfig:
    """When a clue counts, with sigmas of the logarithm of scale.

    Baselines surer than `max_sigma` count, overlaps of at least `min_overlap` of an image. None is
    surer than `baseline_sigma` and `overlap_sigma`: a network misplaces whole pointmaps, and errs
    at the border of images. Known places are sure to `place_sigma_m` from frame to frame, so that
    the jitter of a standing car is no baseline.
    """

    max_sigma: float = 0.3
    min_overlap: float = 0.02
    baseline_sigma: float = 0.03
    overlap_sigma: float = 0.03
    place_sigma_m: float = 0.02

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value) or value <= 0:
                raise ConfigError(f"rig: {name} is {value}; expected a finite number above 0")


@dataclass(frozen=True, eq=False)
class RigPoints:
    """t frames of v cameras of one image size.

    `points_first` are in the frame of the same camera at frame 0, in a unit of that camera's own,
    NaN where unknown. `confidence` is 0 where nothing should count: sky, moving things.
    `world_T_cam` (metres) is at each camera's own time.
    """

    points_first: Float[np.ndarray, "t v h w 3"]
    confidence: Float[np.ndarray, "t v h w"]
    K: Float[np.ndarray, "v 3 3"]
    world_T_cam: Float[np.ndarray, "t v 4 4"]

    def pick(self, views: Int[np.ndarray, "n"]) -> "RigPoints":
        """Some of the views."""
        return RigPoints(
            self.points_first[:, views],
            self.confidence[:, views],
            self.K[views],
            self.world_T_cam[:, views],
        )

    def camera(self, view: int) -> Camera:
        """The camera of a view, as a pinhole."""
        h, w = self.confidence.shape[2:]
        return Camera(f"view {view}", self.K[view], (h, w), np.eye(4))

    def cam_T_first(self, frame: int, view: int) -> Transform:
        """From a camera at frame 0 to itself at another frame."""
        return invert(self.world_T_cam[frame, view]) @ self.world_T_cam[0, view]


@dataclass(frozen=True, eq=False)
class RigAlignment:
    """Metres in each camera's unit with the sigma of their logarithm, and what follows of them.

    Depths are NaN where a point is unknown or not ahead of its camera.
    """

    unit_m: Float[np.ndarray, "v"]
    sigma: Float[np.ndarray, "v"]
    depth_m: Float[np.ndarray, "t v h w"]
    points_world: Float[np.ndarray, "t v h w 3"]


@dataclass(frozen=True)
class ScaleConstraint:
    """Log unit of `view`, less that of `other` where there is one: `value` give or take `sigma`."""

    view: int
    other: int | None
    value: float
    sigma: float


DEFAULT = RigConfig()


def align_rig(
    points: RigPoints, config: RigConfig = DEFAULT, others: Sequence[ScaleConstraint] = ()
) -> RigAlignment:
    """One scale a camera from baselines and overlaps, and metric depth and world points by it.

    `others` are clues from elsewhere. Every point lies on its own pixel's ray, at its own camera's
    time. A camera without any usable point gets NaN, and clues to it do not count. GeometryError
    where the unit of another is not seen: the car stands still, or the camera sees no motion and
    overlaps none that does.
    """
    live = np.flatnonzero(_find_usable(points).any((0, 2, 3)))
    rank = {int(view): i for i, view in enumerate(live)}
    known = [
        dataclasses.replace(c, view=rank[c.view], other=None if c.other is None else rank[c.other])
        for c in others
        if c.view in rank and (c.other is None or c.other in rank)
    ]
    log_unit, sigma = _find_units(points.pick(live), config, known)
    unit_m, all_sigma = np.full(len(points.K), np.nan), np.full(len(points.K), np.inf)
    unit_m[live], all_sigma[live] = np.exp(log_unit), sigma
    return _place(points, unit_m, all_sigma)


def _find_units(
    points: RigPoints, config: RigConfig, known: list[ScaleConstraint]
) -> tuple[Float[np.ndarray, "v"], Float[np.ndarray, "v"]]:
    """Log of the metres in each camera's unit, and sigma."""
    views = range(len(points.K))
    constraints = [
        constraint for view in views for constraint in _baseline_constraints(points, view, config)
    ] + known
    baselines = [constraint for constraint in constraints if constraint.other is None]
    if not baselines:
        raise GeometryError(
            "no camera's motion shows the scale of its points (the car stands still, or no point "
            "counts); expected frames some metres apart"
        )
    anywhere = np.median([constraint.value for constraint in baselines])
    own = [
        [constraint.value for constraint in baselines if constraint.view == view] for view in views
    ]
    log_unit = np.array([np.median(values) if values else anywhere for values in own])
    sigma = np.full(len(views), np.inf)
    for _ in range(PASSES):
        overlaps = _overlap_constraints(points, log_unit, config)
        log_unit, sigma = solve_scale_constraints(constraints + overlaps, len(views))
    return log_unit, sigma


def solve_scale_constraints(
    constraints: list[ScaleConstraint], views: int
) -> tuple[Float[np.ndarray, "{views}"], Float[np.ndarray, "{views}"]]:
    """Log units that fit the clues best, and their sigma: least squares under Cauchy weights.

    GeometryError where a view is tied to no baseline, not even through others.
    """
    design, value = (
        np.zeros((len(constraints), views + 1)),
        np.array([constraint.value for constraint in constraints]),
    )
    links = np.zeros((views + 1, views + 1))
    for row, constraint in zip(design, constraints, strict=True):
        other = (
            views if constraint.other is None else constraint.other
        )  # the last column is the metre
        row[constraint.view], row[other] = 1.0, -1.0
        links[constraint.view, other] = 1.0
    _, part = connected_components(links, directed=False)
    unconstrained = np.flatnonzero(part[:-1] != part[-1]).tolist()
    if unconstrained:
        raise GeometryError(
            f"nothing ties the scale of views {unconstrained} to metres: they show no motion and "
            "overlap no view that does; expected frames some metres apart"
        )
    design, inverse_sigma = (
        design[:, :-1],
        1.0 / np.array([constraint.sigma for constraint in constraints]),
    )
    weight, log_unit, normal = inverse_sigma**2, np.zeros(views), np.eye(views)
    for _ in range(ROUNDS):
        normal = design.T @ (weight[:, None] * design)
        log_unit = np.linalg.solve(normal, design.T @ (weight * value))
        residual = (value - design @ log_unit) * inverse_sigma
        weight = inverse_sigma**2 / (1.0 + (residual / OUTLYING) ** 2)
    return log_unit, np.sqrt(np.diag(np.linalg.inv(normal)))


def _baseline_constraints(points: RigPoints, view: int, config: RigConfig) -> list[ScaleConstraint]:
    """A clue from each later frame of a view that shows its motion well enough."""
    usable = _find_usable(points)[:, view]
    rays = rays_of(points.camera(view))
    constraints = []
    for frame in range(1, len(usable)):
        stride = _choose_stride(usable[frame])
        rows = np.flatnonzero(usable[frame])[::stride]
        if len(rows) < MIN_POINTS:
            continue
        cam_T_first = points.cam_T_first(frame, view)
        moved_m = float(np.linalg.norm(cam_T_first[:3, 3]))
        value, sigma = fit_baseline(
            points.points_first[frame, view].reshape(-1, 3)[rows].astype(np.float64),
            rays.reshape(-1, 3)[rows],
            cam_T_first,
            points.confidence[frame, view].ravel()[rows].astype(np.float64),
        )
        sigma *= max(1.0, CORRELATED_PX / math.sqrt(stride))
        if moved_m > 0:
            sigma = math.hypot(config.baseline_sigma, sigma, config.place_sigma_m / moved_m)
        if sigma <= config.max_sigma:
            constraints.append(ScaleConstraint(view, None, value, sigma))
    return constraints


def _overlap_constraints(
    points: RigPoints, log_unit: Float[np.ndarray, "v"], config: RigConfig
) -> list[ScaleConstraint]:
    """A clue from each pair of views that see the same points.

    Both directions and all frames of a pair make one clue, for they share the network's error at
    that border; what one view hides from the other cancels between the directions.
    """
    placed = _place(points, np.exp(log_unit), np.zeros(len(log_unit)))
    usable = _find_usable(points) & np.isfinite(placed.depth_m)
    found: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for frame, view, other in np.ndindex(*usable.shape[:2], usable.shape[1]):
        ratio = np.zeros(0)
        if view != other:
            ratio = _compare_depth(points, placed, usable[frame], (frame, view, other))
        stride = _choose_stride(usable[frame, view])
        if len(ratio) * stride < max(config.min_overlap * usable[0, 0].size, MIN_POINTS):
            continue
        middle = float(np.median(ratio))
        spread = float(np.median(np.abs(ratio - middle)))
        independent = max(len(ratio) * min(1.0, stride / CORRELATED_PX**2), 1.0)
        sigma = math.hypot(config.overlap_sigma, spread / math.sqrt(independent))
        now = float(log_unit[view] - log_unit[other])
        one, two = min(view, other), max(view, other)
        value = now - middle if view == one else middle - now
        found.setdefault((one, two), []).append((value, sigma))
    means = {pair: np.mean(values, axis=0) for pair, values in found.items()}
    return [ScaleConstraint(*pair, float(mean[0]), float(mean[1])) for pair, mean in means.items()]


def _compare_depth(
    points: RigPoints,
    placed: RigAlignment,
    usable: Bool[np.ndarray, "v h w"],
    place: tuple[int, int, int],
) -> Float[np.ndarray, "n"]:
    """Log ratios of the depth of one view's points in another view to that view's own."""
    frame, view, other = place
    stride = _choose_stride(usable[view])
    found = placed.points_world[frame, view][usable[view]][::stride]
    cam_T_world = invert(points.world_T_cam[frame, other])
    uv, depth_m, inside = project(points.camera(other), apply(cam_T_world, found))
    column, row = uv[inside].astype(int).T
    kept = usable[other][row, column]
    return np.log(depth_m[inside][kept] / placed.depth_m[frame, other][row, column][kept])


def _find_usable(points: RigPoints) -> Bool[np.ndarray, "t v h w"]:
    finite = np.isfinite(points.points_first).all(-1) & np.isfinite(points.confidence)
    return finite & (points.confidence > 0) & (points.points_first != 0).any(-1)


def _choose_stride(usable: Bool[np.ndarray, "h w"]) -> int:
    return 1 + int(np.count_nonzero(usable)) // POINTS_A_VIEW


def _place(
    points: RigPoints, unit_m: Float[np.ndarray, "v"], sigma: Float[np.ndarray, "v"]
) -> RigAlignment:
    """Depth in each camera's own frame and world points on its own rays."""
    depth_m = np.full(points.confidence.shape, np.nan)
    points_world = np.full(points.points_first.shape, np.nan)
    for view in range(len(unit_m)):
        camera = points.camera(view)
        for frame in range(len(depth_m)):
            points_first_m = unit_m[view] * points.points_first[frame, view].astype(np.float64)
            z = apply(points.cam_T_first(frame, view), points_first_m)[..., 2]
            depth_m[frame, view] = np.where(z > 0, z, np.nan)
            points_world[frame, view] = lift_depth(
                camera, depth_m[frame, view], points.world_T_cam[frame, view]
            )
    return RigAlignment(unit_m, sigma, depth_m, points_world)
