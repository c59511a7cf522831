"""The static map against accumulated LiDAR, ground and what stands on it apart."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import minimum_filter
from scipy.spatial import KDTree

from driv3r.evaluation.metrics.motion import STANDS_MPS, find_inside, label_motion
from driv3r.geometry.lidar import measure_spacing
from driv3r.geometry.sampling import spread_rows
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes, Score, StaticMap, Sweep, Transform

PROTOCOL, SUBJECT = "map", "fusion"
NEAREST_M, RANGE_M = 3.0, 40.0  # of a LiDAR point from its sensor: not the own car, and not far
MOVER_MARGIN_M = 0.3
THRESHOLDS_M = (0.2, 0.5, 1.0)
GROUND_M = 0.3  # so high above the lowest point around is still ground
CELL_M, AROUND_CELLS = 1.0, 5
BEHIND_M = 0.5  # a voxel so far behind a return may be the surface's own
MOST_VOXELS, MOST_SWEEPS = 60_000, 20
THIN_M = 0.1
GHOST_M = 0.2
PLANE_POINTS, PLANE_REACH_M, FLATNESS = 10, 1.5, 0.05
CARD = {
    "protocol": PROTOCOL,
    "truth": f"LiDAR points {NEAREST_M:g} to {RANGE_M:g} m from the sensor without those in boxes "
    "that move or of which that is unknown, placed by the log's own path, so that its drift, which "
    "ego motion is scored by, is not counted again",
    "voxels": "those in sight of a sweep: in the direction of a return and not behind it",
    "distance": "to the plane through the LiDAR points around the nearest, where they are flat; "
    "to the nearest point elsewhere",
    "ground": f"within {GROUND_M:g} m above the lowest LiDAR point of {AROUND_CELLS:g} x "
    f"{AROUND_CELLS:g} m around",
    "movers_removed": "share of the LiDAR points on moving objects, above the ground, that have no "
    f"voxel within {GHOST_M:g} m",
    "f_score_<d>": "harmonic mean of the shares of voxels, and of LiDAR points, within d (m)",
}


@dataclass(frozen=True, eq=False)
class _Scan:
    """One sweep in the ego frame: where it saw, and which of its points stand still."""

    frame: int
    points_ego: Float[np.ndarray, "n 3"]
    still: Bool[np.ndarray, "n"]
    moves: Bool[np.ndarray, "n"]
    origin_ego: Float[np.ndarray, "3"]
    spacing_rad: float


class MapScorer:
    """Collects a log's sweeps; `scores` compares a static map with them."""

    def __init__(self) -> None:
        self._scans: list[_Scan] = []

    def add(self, frame: int, world_T_ego: Transform, sweep: Sweep, boxes: Boxes | None) -> None:
        """One sweep, and the boxes of its frame in the same world as the ego pose."""
        ego_T_lidar = invert(world_T_ego) @ sweep.world_T_lidar
        points = sweep.points_lidar[_thin(sweep.points_lidar, THIN_M)].astype(np.float64)
        range_m = np.linalg.norm(points, axis=-1)
        points, range_m = points[range_m >= NEAREST_M], range_m[range_m >= NEAREST_M]
        still, moves = range_m <= RANGE_M, np.zeros(len(points), bool)
        if boxes is not None:
            points_world = apply(sweep.world_T_lidar, points)
            moves = label_motion(points_world, boxes)[0] & still
            for i in np.flatnonzero(~(boxes.speed_mps < STANDS_MPS)):
                box = boxes.world_T_box[i], boxes.size_m[i], MOVER_MARGIN_M
                still &= ~find_inside(points_world, *box)
        spacing_rad = max(measure_spacing(sweep.points_lidar))
        points_ego = apply(ego_T_lidar, points)
        scan = _Scan(frame, points_ego, still, moves, ego_T_lidar[:3, 3], spacing_rad)
        self._scans.append(scan)

    def scores(self, static: StaticMap, world_T_ego: Float[np.ndarray, "t 4 4"]) -> list[Score]:
        """Every figure; none where there was no sweep. `world_T_ego` is the log's own path."""
        if not self._scans:
            return []
        truth, moving = (
            np.concatenate(
                [apply(world_T_ego[s.frame], s.points_ego[getattr(s, of)]) for s in self._scans]
            )
            for of in ("still", "moves")
        )
        truth = truth[_thin(truth, THIN_M)]
        if not len(truth):
            return []
        ground, every = GroundHeight(truth), static.points_world
        voxels = every[spread_rows(len(every), MOST_VOXELS)]
        seen = self._find_seen(voxels, world_T_ego)
        figures = {"in_sight": (float(seen.sum() / max(len(seen), 1)), "", len(seen))}
        voxels = voxels[seen]
        off_m, missing_m = surface_distance(truth, voxels), _nearest(every, truth)
        truth_low, voxel_low = ground.is_ground(truth), ground.is_ground(voxels)
        figures |= _compare("ground", off_m[voxel_low], missing_m[truth_low])
        figures |= _compare("off_ground", off_m[~voxel_low], missing_m[~truth_low])
        above = moving[~ground.is_ground(moving)]
        removed = float((_nearest(every, above) > GHOST_M).sum() / max(len(above), 1))
        figures["movers_removed"] = (removed, "", len(above))
        return [
            Score(metric, value, unit, n, PROTOCOL, SUBJECT, "metric")
            for metric, (value, unit, n) in figures.items()
            if n
        ]

    def _find_seen(
        self, voxels: Float[np.ndarray, "n 3"], world_T_ego: Float[np.ndarray, "t 4 4"]
    ) -> Bool[np.ndarray, "n"]:
        """Which voxels a sweep tells of: in a return's direction, and not behind it."""
        seen = np.zeros(len(voxels), bool)
        for i in spread_rows(len(self._scans), MOST_SWEEPS):
            scan = self._scans[i]
            rest = np.flatnonzero(~seen)
            rays = apply(invert(world_T_ego[scan.frame]), voxels[rest]) - scan.origin_ego
            range_m = np.linalg.norm(rays, axis=-1)
            near = (range_m <= RANGE_M) & (range_m >= NEAREST_M)
            rest, rays, range_m = rest[near], rays[near], range_m[near]
            returns = scan.points_ego - scan.origin_ego
            return_m = np.linalg.norm(returns, axis=-1)
            tree = KDTree(returns / return_m[:, None], balanced_tree=False)
            gap, nearest = map(np.asarray, tree.query(rays / range_m[:, None]))
            told = gap <= scan.spacing_rad
            behind_m = range_m[told] - return_m[nearest[told]]
            seen[rest[told]] |= behind_m <= BEHIND_M
        return seen


class GroundHeight:
    """Height of the ground around every place: the lowest LiDAR point of the cells around it."""

    def __init__(self, points: Float[np.ndarray, "n 3"]):
        self._low = np.floor(points[:, :2].min(0) / CELL_M).astype(int)
        shape = np.floor(points[:, :2].max(0) / CELL_M).astype(int) - self._low + 1
        height_m = np.full(shape, np.inf)
        np.minimum.at(height_m, tuple(self._cells(points)), points[:, 2])
        self._height_m = minimum_filter(height_m, AROUND_CELLS, mode="nearest")

    def is_ground(self, points: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, "n"]:
        """Points no more than GROUND_M above the ground; where none is known they are not."""
        cells = self._cells(points)
        limit = np.array(self._height_m.shape)[:, None]
        known = ((cells >= 0) & (cells < limit)).all(0)
        height_m = self._height_m[tuple(np.clip(cells, 0, limit - 1))]
        return known & (points[:, 2] <= height_m + GROUND_M)

    def _cells(self, points: Float[np.ndarray, "n 3"]) -> np.ndarray:
        return np.floor(points[:, :2] / CELL_M).astype(int).T - self._low[:, None]


def surface_distance(
    truth: Float[np.ndarray, "n 3"], points: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m"]:
    """Distance (m) of points from the surface that truth points lie on.

    To the plane through the truth points around the nearest one, if these are flat and the point
    no farther than PLANE_REACH_M from it; else to the nearest point (Chen and Medioni, 1992).
    """
    if not len(points) or len(truth) < PLANE_POINTS:
        return np.full(len(points), np.inf)
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
    flat &= around_m[:, -1] <= PLANE_REACH_M
    to_plane_m = np.abs(((points - mean[which]) * axes[which, :, 0]).sum(-1))
    usable = flat[which] & (distance_m <= PLANE_REACH_M)
    return np.where(usable, np.minimum(to_plane_m, distance_m), distance_m)


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


def _nearest(
    voxels: Float[np.ndarray, "n 3"], points: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "m"]:
    """Distance (m) of every point from the nearest voxel; infinite beyond the last threshold."""
    if not len(voxels) or not len(points):
        return np.full(len(points), np.inf)
    return KDTree(voxels).query(points, distance_upper_bound=max(THRESHOLDS_M) + 1e-6)[0]


def _thin(points: Float[np.ndarray, "n 3"], cell_m: float) -> np.ndarray:
    """Rows of the first point of every cell."""
    return np.unique(np.floor(points / cell_m).astype(np.int64), axis=0, return_index=True)[1]
