"""What of the moving things was kept out of the static map, and what of the rest is in it.

PR, RR and F1: ERASOR, Lim et al., RA-L 2021. SA, DA, AA and HA: Zhang et al., ITSC 2023, and their
DynamicMap benchmark. Occupancy IoU as of Occ3D, Tian et al., NeurIPS 2023, within sensed space.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from driv3r.evaluation.metrics.scans import THIN_M, Scans, thin
from driv3r.evaluation.metrics.static_map import (
    BEHIND_M,
    GROUND_M,
    MOST_SWEEPS,
    MOST_VOXELS,
    GroundHeight,
    compare_with_returns,
    distance_to_nearest,
    find_surface,
)
from driv3r.geometry.sampling import spread_rows
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Score, StaticMap

PROTOCOL, SUBJECT = "removal", "fusion"
VOXEL_M = 0.2  # of ERASOR's comparison and of the occupancy
REACH_M = VOXEL_M * 3**0.5 / 2  # ERASOR's reach: half the diagonal of a voxel
CARD = {
    "protocol": PROTOCOL,
    "truth": "LiDAR points 3 to 40 m from the sensor that fall into the image of a camera at their "
    "own time (a map from cameras can know no others), placed by the log's own path. Dynamic: in "
    "the box of an object that moves at any annotated time of the log, from its first frame on, "
    f"and over {GROUND_M:g} m above the lowest LiDAR point around, for boxes hold some road. "
    "Static: outside the boxes of such objects and of those of unknown speed",
    "pr, rr, f1": f"ERASOR on {VOXEL_M:g} m voxels, of truth points thinned to one a cell of "
    f"{THIN_M:g} m: the truth's voxel, by the middle of its points "
    "(static where one of them is), is preserved if the map's nearest surface point is within "
    f"{REACH_M:.3f} m and of the same kind. pr: share of static voxels preserved; rr: 1 - that of "
    "dynamic ones; f1: their harmonic mean. A point of the map is of the kind of the nearest truth "
    "point, as maps that are subsets of the truth have it",
    "sa, da, aa, ha": "DynamicMap, point by point as accumulated: a truth point is kept if the "
    f"map's nearest surface point is within {REACH_M:.3f} m, half the diagonal of a voxel (the "
    "benchmark's 0.05 m is for maps that keep the points themselves). sa: share of static points "
    "kept; da: of dynamic points not kept; aa: their geometric mean; ha: their harmonic mean",
    "occupancy_iou": f"{VOXEL_M:g} m voxels of the truth that hold a static point and are kept, "
    "over those, the missed ones and the map's false ones. False: over "
    f"{REACH_M:.3f} m from the static surface, and of the dynamic kind or crossed by a LiDAR ray "
    f"that returns over {BEHIND_M:g} m behind; what no ray crosses is not judged",
    "over logs": "rates by what they count; f1, aa and ha are of the rates of all logs",
}


@dataclass(frozen=True, eq=False)
class Truth:
    """Points that stand and points of moving objects."""

    static: Float[np.ndarray, "n 3"]
    dynamic: Float[np.ndarray, "m 3"]


def score_removal(
    scans: Scans, static: StaticMap, world_T_ego: Float[np.ndarray, "t 4 4"]
) -> list[Score]:
    """Every figure, as shares of 1; none without static truth. `world_T_ego` is the log's own path.

    Without a dynamic point there are only `pr`, `sa` and `occupancy_iou`. `n` is a rate's
    denominator.
    """
    still, moving = scans.place_by_object(world_T_ego)
    if not len(still):
        return []
    ground = GroundHeight(still)
    truth = Truth(still, moving[~ground.is_ground(moving)])
    thinned = Truth(*(of[thin(of, THIN_M)] for of in (truth.static, truth.dynamic)))
    points = static.points_world
    figures = compare_voxels(points, thinned) | compare_points(points, truth)
    figures["occupancy_iou"] = _compare_occupancy(scans, points, thinned, world_T_ego)
    figures |= {
        name: (value, sum(figures[rate][1] for rate in of))
        for name, of in DERIVED.items()
        if (value := derive(name, {rate: figures[rate][0] for rate in of if rate in figures}))
        is not None
    }
    return [Score(name, v, "", n, PROTOCOL, SUBJECT, "none") for name, (v, n) in figures.items()]


DERIVED = {"f1": ("pr", "rr"), "aa": ("sa", "da"), "ha": ("sa", "da")}


def derive(name: str, rates: dict[str, float]) -> float | None:
    """`f1`, `aa` or `ha` of the rates that it is made of; None where one is not known."""
    known = [rates[rate] for rate in DERIVED[name] if rate in rates]
    if len(known) < 2:
        return None
    a, b = known
    if name == "aa":
        return (a * b) ** 0.5
    return 2 * a * b / (a + b) if a + b else 0.0


def compare_voxels(points: Float[np.ndarray, "n 3"], truth: Truth) -> dict[str, tuple[float, int]]:
    """ERASOR's `pr` and `rr`, and how many voxels each rests on; without dynamic ones no `rr`.

    `points` are the map's. Voxels of VOXEL_M; the reach is REACH_M.
    """
    static, dynamic = voxelise(truth)
    kind = _is_dynamic(points, truth)
    figures = {}
    for name, voxels, wanted in (("pr", static, False), ("rr", dynamic, True)):
        if not len(voxels):
            continue
        kept = np.zeros(len(voxels), bool)
        if len(points):
            distance_m, nearest = KDTree(points).query(voxels)
            kept = (distance_m < REACH_M) & (kind[nearest] == wanted)
        share = float(kept.mean())
        figures[name] = (1 - share if wanted else share, len(voxels))
    return figures


def compare_points(points: Float[np.ndarray, "n 3"], truth: Truth) -> dict[str, tuple[float, int]]:
    """DynamicMap's `sa` and `da`, and how many truth points each rests on."""
    figures = {}
    for name, of_truth in (("sa", truth.static), ("da", truth.dynamic)):
        if len(of_truth):
            share = float((distance_to_nearest(points, of_truth) <= REACH_M).mean())
            figures[name] = (1 - share if name == "da" else share, len(of_truth))
    return figures


def voxelise(truth: Truth) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "m 3"]]:
    """Middles of the points of every voxel of VOXEL_M, of static and of only dynamic voxels."""
    points = np.concatenate([truth.static, truth.dynamic])
    index = np.floor(points / VOXEL_M).astype(np.int64)
    _, which, count = np.unique(index, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    middle = np.stack([np.bincount(which, axis) for axis in points.T], axis=-1) / count[:, None]
    is_static = np.zeros(len(count), bool)
    is_static[which[: len(truth.static)]] = True
    return middle[is_static], middle[~is_static]


def _is_dynamic(points: Float[np.ndarray, "n 3"], truth: Truth) -> Bool[np.ndarray, "n"]:
    """Which points of the map are nearest to a dynamic point of the truth."""
    return distance_to_nearest(truth.dynamic, points) < distance_to_nearest(truth.static, points)


def _compare_occupancy(
    scans: Scans,
    points: Float[np.ndarray, "n 3"],
    truth: Truth,
    world_T_ego: Float[np.ndarray, "t 4 4"],
) -> tuple[float, int]:
    """IoU, and the size of the union in voxels. Of a large map an even sample is looked at."""
    static, _ = voxelise(truth)
    hit = int((distance_to_nearest(points, static) <= REACH_M).sum())
    sample = points[spread_rows(len(points), MOST_VOXELS)]
    sample = sample[find_surface(truth.static, sample).distance_m > REACH_M]
    false = (
        _is_dynamic(sample, truth) & (distance_to_nearest(truth.dynamic, sample) <= REACH_M)
    ) | (_find_crossed(scans, sample, world_T_ego))
    false_voxels = round(int(false.sum()) * max(len(points) / MOST_VOXELS, 1.0))
    union = len(static) + false_voxels
    return hit / union, union


def _find_crossed(
    scans: Scans, points: Float[np.ndarray, "n 3"], world_T_ego: Float[np.ndarray, "t 4 4"]
) -> Bool[np.ndarray, "n"]:
    """Which points have a ray within half a voxel that goes on for over BEHIND_M."""
    crossed = np.zeros(len(points), bool)
    for scan in scans.sample(MOST_SWEEPS):
        rest = np.flatnonzero(~crossed)
        rays = apply(invert(world_T_ego[scan.frame]), points[rest]) - scan.origin_ego
        rows, gap, behind_m = compare_with_returns(scan, rays)
        aside_m = gap * np.linalg.norm(rays[rows], axis=-1)
        free = (aside_m <= VOXEL_M / 2) & (behind_m < -BEHIND_M)
        crossed[rest[rows[free]]] = True
    return crossed
