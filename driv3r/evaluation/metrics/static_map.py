"""The static map against accumulated LiDAR, ground and what stands on it apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt, minimum_filter
from scipy.spatial import KDTree

from driv3r.evaluation.metrics.scans import NEAREST_M, RANGE_M, Scan, Scans, thin
from driv3r.geometry.sampling import spread_rows
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Score, StaticMap

PROTOCOL, SUBJECT = "map", "fusion"
THRESHOLDS_M = (0.2, 0.5, 1.0)
FARTHEST_M = max(THRESHOLDS_M) + 1e-6  # beyond it a distance changes no figure
GROUND_M = 0.3  # so high above the lowest point around is still ground
CELL_M, AROUND_CELLS, GAP_M = 1.0, 5, 10.0
BEHIND_M = 0.5  # a voxel so far behind a return may be the surface's own
MOST_VOXELS, MOST_SWEEPS = 60_000, 20
GHOST_M = 0.2
PLANE_POINTS, PLANE_REACH_M, FLATNESS = 10, 1.5, 0.05
LEVEL_CELL_M, LEVEL_REACH_M, UPRIGHT = 1.0, 6.0, 0.97
CARD = {
    "protocol": PROTOCOL,
    "truth": f"LiDAR points {NEAREST_M:g} to {RANGE_M:g} m from the sensor without those in boxes "
    "that move or of which that is unknown, placed by the log's own path, so that its drift, which "
    "ego motion is scored by, is not counted again",
    "voxels": "those in sight of a sweep: in the direction of a return and not behind it",
    "distance": "to the plane through the LiDAR points around the nearest, where they are flat; "
    "to the nearest point elsewhere. Also to a level plane through one point a metre within "
    f"{LEVEL_REACH_M:g} m: on roads and ceilings the rings of a sweep lie metres apart",
    "ground": f"within {GROUND_M:g} m above the lowest LiDAR point of {AROUND_CELLS:g} x "
    f"{AROUND_CELLS:g} m around; of the nearest such place, up to {GAP_M:g} m off, without any",
    "movers_removed": "share of the LiDAR points on moving objects, above the ground, that have no "
    f"voxel within {GHOST_M:g} m",
    "normal_consistency": "mean |cos| of the angle between a voxel's normal and that of the plane "
    "through the LiDAR points around the nearest, where both are known",
    "f_score_<d>": "harmonic mean of the shares of voxels, and of LiDAR points, within d (m)",
}


def score_map(
    scans: Scans, static: StaticMap, world_T_ego: Float[np.ndarray, "t 4 4"]
) -> list[Score]:
    """Every figure; none where there was no sweep. `world_T_ego` is the log's own path."""
    truth = scans.place_still(world_T_ego)
    if not len(truth):
        return []
    ground, every = GroundHeight(truth), static.points_world
    chosen = static.take(spread_rows(len(every), MOST_VOXELS))
    seen = _find_seen(scans, chosen.points_world, world_T_ego)
    figures = {"in_sight": (float(seen.sum() / max(len(seen), 1)), "", len(seen))}
    chosen = chosen.take(seen)
    surface = find_surface(truth, chosen.points_world)
    missing_m = distance_to_nearest(every, truth, FARTHEST_M)
    truth_low, low = ground.is_ground(truth), ground.is_ground(chosen.points_world)
    cosine = np.abs((chosen.normals_world * surface.normal).sum(-1))
    off_m = np.minimum(surface.distance_m, _to_level(truth, chosen.points_world))
    off_m[low] = np.minimum(off_m[low], _to_level(truth[truth_low], chosen.points_world[low]))
    for name, of_truth, of_map in (
        ("ground", truth_low, low),
        ("off_ground", ~truth_low, ~low),
    ):
        figures |= _compare(name, off_m[of_map], missing_m[of_truth])
        known = cosine[of_map][np.isfinite(cosine[of_map])]
        if len(known):
            figures[f"{name}_normal_consistency"] = (float(known.mean()), "", len(known))
    moving = scans.place_moving(world_T_ego)
    above = moving[~ground.is_ground(moving)]
    removed = float(
        (distance_to_nearest(every, above, FARTHEST_M) > GHOST_M).sum() / max(len(above), 1)
    )
    figures["movers_removed"] = (removed, "", len(above))
    return [
        Score(metric, value, unit, n, PROTOCOL, SUBJECT, "metric")
        for metric, (value, unit, n) in figures.items()
        if n
    ]


def _find_seen(
    scans: Scans, voxels: Float[np.ndarray, "n 3"], world_T_ego: Float[np.ndarray, "t 4 4"]
) -> Bool[np.ndarray, "n"]:
    """Which voxels a sweep tells of: in a return's direction, and not behind it."""
    seen = np.zeros(len(voxels), bool)
    for scan in scans.sample(MOST_SWEEPS):
        rest = np.flatnonzero(~seen)
        rays = apply(invert(world_T_ego[scan.frame]), voxels[rest]) - scan.origin_ego
        rows, gap, behind_m = compare_with_returns(scan, rays)
        told = (gap <= scan.spacing_rad) & (behind_m <= BEHIND_M)
        seen[rest[rows[told]]] = True
    return seen


def compare_with_returns(
    scan: Scan, rays: Float[np.ndarray, "n 3"]
) -> tuple[Int[np.ndarray, "m"], Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Rows of the rays of NEAREST_M to RANGE_M, and the return nearest in direction to each.

    `rays` go from the sensor to a place, in the ego frame. Of each row the length of the difference
    of the unit vectors to the place and to the return, and how far the place lies behind it (m).
    """
    range_m = np.linalg.norm(rays, axis=-1)
    rows = np.flatnonzero((range_m <= RANGE_M) & (range_m >= NEAREST_M))
    rays, range_m = rays[rows], range_m[rows]
    returns = scan.points_ego - scan.origin_ego
    return_m = np.linalg.norm(returns, axis=-1)
    tree = KDTree(returns / return_m[:, None], balanced_tree=False)
    gap, nearest = map(np.asarray, tree.query(rays / range_m[:, None]))
    return rows, gap, range_m - return_m[nearest]


class GroundHeight:
    """Height of the ground around every place: the lowest LiDAR point of the cells around it.

    Between the rings of a sweep it is that of the nearest cell that has one, within GAP_M.
    """

    def __init__(self, points: Float[np.ndarray, "n 3"]):
        self._low = np.floor(points[:, :2].min(0) / CELL_M).astype(int)
        shape = np.floor(points[:, :2].max(0) / CELL_M).astype(int) - self._low + 1
        height_m = np.full(shape, np.inf)
        np.minimum.at(height_m, tuple(self._cells(points)), points[:, 2])
        lowest_m = minimum_filter(height_m, AROUND_CELLS, mode="nearest")
        found: Any = distance_transform_edt(np.isinf(lowest_m), return_indices=True)
        gap, nearest = found
        self._height_m = np.where(gap * CELL_M <= GAP_M, lowest_m[tuple(nearest)], np.inf)

    def is_ground(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
        """Points no more than GROUND_M above the ground; where none is known they are not."""
        cells = self._cells(points)
        limit = np.array(self._height_m.shape)[:, None]
        known = ((cells >= 0) & (cells < limit)).all(0)
        height_m = self._height_m[tuple(np.clip(cells, 0, limit - 1))]
        return known & np.isfinite(height_m) & (points[:, 2] <= height_m + GROUND_M)

    def _cells(self, points: Float[np.ndarray, "n 3"]) -> np.ndarray:
        return np.floor(points[:, :2] / CELL_M).astype(int).T - self._low[:, None]


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface that truth points lie on, at the one nearest to each of m points.

    `normal` is that of its plane, of either sign; NaN where it is not flat or too far.
    `distance_m` is that to the plane, or to the nearest point where there is none.
    """

    distance_m: Float[np.ndarray, "m"]
    normal: Float[np.ndarray, "m 3"]


def _to_level(
    truth: Float[np.ndarray, "n 3"], points: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m"]:
    """Distance (m) from a road or ceiling between the rings of a sweep, infinite without one."""
    level = find_surface(truth[thin(truth, LEVEL_CELL_M)], points, LEVEL_REACH_M)
    return np.where(np.abs(level.normal[:, 2]) > UPRIGHT, level.distance_m, np.inf)


def find_surface(
    truth: Float[np.ndarray, "n 3"],
    points: Float[np.ndarray, "m 3"],
    reach_m: float = PLANE_REACH_M,
) -> Surface:
    """The surface around the truth points nearest to other points (Chen and Medioni, 1992).

    Its plane is that of the PLANE_POINTS truth points around the nearest one, if these are flat and
    within `reach_m`. Fewer truth points tell no surface: all distances are infinite.
    """
    if not len(points) or len(truth) < PLANE_POINTS:
        return Surface(np.full(len(points), np.inf), np.full((len(points), 3), np.nan))
    tree = KDTree(truth)
    distance_m, nearest = tree.query(points)
    wanted, which = np.unique(nearest, return_inverse=True)
    around_m, neighbours = tree.query(truth[wanted], k=PLANE_POINTS)
    patch = truth[neighbours]
    mean = patch.mean(1)
    centred = patch - mean[:, None]
    variance, axes = np.linalg.eigh(np.einsum("npi,npj->nij", centred, centred))
    # A line of points (one ring of the LiDAR) tells no plane: two axes must be spread.
    flat = (variance[:, 0] <= FLATNESS * variance[:, 1]) & (
        variance[:, 1] >= FLATNESS * variance[:, 2]
    )
    flat &= around_m[:, -1] <= reach_m
    normal = axes[which, :, 0]
    to_plane_m = np.abs(((points - mean[which]) * normal).sum(-1))
    usable = flat[which] & (distance_m <= reach_m)
    return Surface(
        np.where(usable, np.minimum(to_plane_m, distance_m), distance_m),
        np.where(usable[:, None], normal, np.nan),
    )


def _compare(
    name: str, off_m: Float[np.ndarray, "n"], missing_m: Float[np.ndarray, "m"]
) -> dict[str, tuple[float, str, int]]:
    """Figures of voxels' distances from the truth and of the truth's from the voxels."""
    n, m = len(off_m), len(missing_m)
    if not n or not m:
        return {}
    figures: dict[str, tuple[float, str, int]] = {
        f"{name}_error_median": (float(np.median(off_m)), "m", n),
        f"{name}_error_mean": (float(np.minimum(off_m, RANGE_M).mean()), "m", n),
        f"{name}_over_1_m": (float((off_m > 1).mean()), "", n),
    }
    for limit_m in THRESHOLDS_M:
        precision, recall = float((off_m <= limit_m).mean()), float((missing_m <= limit_m).mean())
        f_score = 2 * precision * recall / max(precision + recall, 1e-12)
        figures[f"{name}_f_score_{limit_m:g}"] = (f_score, "", n)
        figures[f"{name}_completeness_{limit_m:g}"] = (recall, "", m)
    return figures


def distance_to_nearest(
    of: Float[np.ndarray, "n 3"], points: Float[np.ndarray, "m 3"], limit_m: float = np.inf
) -> Float[np.ndarray, "m"]:
    """Distance (m) of points from the nearest of others; infinite without one nearer than that."""
    if not len(of) or not len(points):
        return np.full(len(points), np.inf)
    return KDTree(of).query(points, distance_upper_bound=limit_m)[0]
