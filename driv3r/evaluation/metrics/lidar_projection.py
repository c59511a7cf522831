"""LiDAR returns as seen by a camera: the truth that depth is scored against."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.errors import ScoringError
from driv3r.evaluation.metrics.protocol import GARG_CROP, DepthProtocol
from driv3r.geometry.cameras import project, unproject
from driv3r.geometry.lidar import measure_spacing
from driv3r.geometry.rolling_shutter import project_rolling
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Camera, RollingShutter, Sweep, Transform

NEAREST = 4.0  # a return closer to the lens than a quarter of its range is the own car: kept small


@dataclass(frozen=True, eq=False)
class ViewTruth:
    """Truth points of one image: pixel positions in an image of `size_hw`, and depth_m.

    `lost` says how many returns of the sweep each filter took; together they are the sweep. Of
    images whose lines are read one after the other depth is of each line's time, and `rolled_cam`
    are the points in the camera's frame at the exposure's own; None where both are one.
    """

    uv: Float[np.ndarray, "n 2"]
    depth_m: Float[np.ndarray, "n"]
    size_hw: tuple[int, int]
    lost: dict[str, int]
    rolled_cam: Float[np.ndarray, "n 3"] | None = None

    def lift(self, camera: Camera) -> Float[np.ndarray, "n 3"]:
        """The points in the camera's frame at the exposure's time."""
        if self.rolled_cam is not None:
            return self.rolled_cam
        return unproject(camera, self.uv) * self.depth_m[:, None]


def project_sweep(
    sweep: Sweep,
    camera: Camera,
    world_T_cam: Transform,
    protocol: DepthProtocol,
    shutter: RollingShutter | None = None,
) -> ViewTruth:
    """Place the sweep by its own pose, see it from the camera's own, keep what the protocol keeps.

    `camera` and `shutter` must be of the prediction's pixels (`datasets.preprocess`). Raises
    ScoringError on a pose that is not finite.
    """
    cam_T_lidar = _relate(sweep, camera, world_T_cam)
    finite = np.isfinite(sweep.points_lidar).all(-1)
    points_lidar = np.where(finite[:, None], sweep.points_lidar, 0.0).astype(float)
    points_cam = apply(cam_T_lidar, points_lidar)
    uv, depth_m, inside = project_rolling(camera, points_cam, shutter)
    seen = inside & finite
    hidden = np.zeros(len(uv), bool)
    if protocol.occlusion_filter:
        nearness = np.linalg.norm(points_lidar[seen], axis=-1) / depth_m[seen]
        reach_rad = np.multiply(_spacing_of(sweep), protocol.parallax_reach)
        reach_px = reach_rad * camera.K[[0, 1], [0, 1]]
        hidden[seen] = find_hidden(
            uv[seen], depth_m[seen], nearness, reach_px, protocol.parallax_margin
        )
    rolled_cam = None if shutter is None else points_cam
    unusable = {"not finite": ~finite}
    return _choose(uv, depth_m, unusable, inside, hidden, camera, protocol, rolled_cam)


def project_annotated(
    points_cam: Float[np.ndarray, "n 3"], camera: Camera, protocol: DepthProtocol
) -> ViewTruth:
    """Points that an image is annotated with, seen by the camera that the prediction is of."""
    uv, depth_m, inside = project(camera, points_cam)
    return _choose(uv, depth_m, {}, inside, np.zeros(len(uv), bool), camera, protocol)


def _choose(
    uv: Float[np.ndarray, "n 2"],
    depth_m: Float[np.ndarray, "n"],
    unusable: dict[str, Bool[np.ndarray, "n"]],
    inside: Bool[np.ndarray, "n"],
    hidden: Bool[np.ndarray, "n"],
    camera: Camera,
    protocol: DepthProtocol,
    rolled_cam: Float[np.ndarray, "n 3"] | None = None,
) -> ViewTruth:
    """The points that a protocol takes, and how many its filters took."""
    reasons = unusable | {
        "behind": depth_m <= 1e-3,
        "outside lens model": np.isnan(uv).any(axis=-1),
        "outside image": ~inside,
        "out of range": (depth_m < protocol.min_m) | (depth_m > protocol.max_m),
        "outside crop": ~_in_crop(uv, camera.size_hw, protocol),
        "hidden (parallax)": hidden,
    }
    kept, lost = _keep(reasons, len(uv))
    rolled_cam = None if rolled_cam is None else rolled_cam[kept]
    return ViewTruth(uv[kept], depth_m[kept], camera.size_hw, lost, rolled_cam)


@lru_cache(maxsize=4)
def _spacing_of(sweep: Sweep) -> tuple[float, float]:
    """`measure_spacing`, once for all cameras that see a sweep."""
    return measure_spacing(sweep.own_points)


def find_hidden(
    uv: Float[np.ndarray, "n 2"],
    depth_m: Float[np.ndarray, "n"],
    nearness: Float[np.ndarray, "n"],
    reach_px: Float[np.ndarray, "2"],
    margin: float,
) -> Bool[np.ndarray, "n"]:
    """Which points lie clearly behind another that covers their pixel.

    Each return stands for a patch of surface as large as the gap to its neighbours: `nearness` (its
    range from the LiDAR over its depth, capped) times `reach_px`, half a width and height. A patch
    no larger never meets the next ring on the road, which is rightly much nearer or farther.
    """
    hidden = np.zeros(len(uv), bool)
    place, radius = uv / reach_px, np.minimum(nearness, NEAREST)  # here every patch is a square
    for near, far in _list_near(place, radius):
        covered = (np.abs(place[near] - place[far]) <= radius[near, None]).all(axis=-1)
        hidden[far[covered & (depth_m[near] < depth_m[far] * (1 - margin))]] = True
    return hidden


def _list_near(
    place: Float[np.ndarray, "n 2"], radius: Float[np.ndarray, "n"]
) -> Iterator[tuple[Int[np.ndarray, "p"], Int[np.ndarray, "p"]]]:
    """Pairs of points of which the second may lie within the first's radius, by cells of a grid."""
    if len(place) == 0:
        return
    row, column = np.floor(place - place.min(axis=0)).astype(np.int64).T
    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    number = row * columns + column
    order = np.argsort(number, kind="stable")
    start = np.append(0, np.cumsum(np.bincount(number, minlength=rows * columns)))
    reach = np.ceil(radius).astype(np.int64)
    first, last = np.maximum(column - reach, 0), np.minimum(column + reach, columns - 1)
    for step in range(-int(reach.max()), int(reach.max()) + 1):
        near = np.flatnonzero((np.abs(step) <= reach) & (row + step >= 0) & (row + step < rows))
        beside = (row[near] + step) * columns
        low, high = start[beside + first[near]], start[beside + last[near] + 1]
        count = high - low
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        yield np.repeat(near, count), order[np.repeat(low, count) + within]


def _relate(sweep: Sweep, camera: Camera, world_T_cam: Transform) -> Transform:
    """cam_T_lidar through the world, each sensor by its own pose at its own time."""
    if not (np.isfinite(world_T_cam).all() and np.isfinite(sweep.world_T_lidar).all()):
        raise ScoringError(
            f"pose of camera {camera.name!r} or of the sweep at {sweep.time_us} us is not finite; "
            "leave this image out or repair its pose in the reader"
        )
    # Composed before it meets the points: world coordinates are too large for float32.
    return invert(world_T_cam.astype(float)) @ sweep.world_T_lidar.astype(float)


def _in_crop(
    uv: Float[np.ndarray, "n 2"], size_hw: tuple[int, int], protocol: DepthProtocol
) -> Bool[np.ndarray, "n"]:
    if protocol.crop == "none":
        return np.ones(len(uv), bool)
    top, bottom, left, right = GARG_CROP
    (h, w), (u, v) = size_hw, uv.T
    return (v >= top * h) & (v < bottom * h) & (u >= left * w) & (u < right * w)


def _keep(
    reasons: dict[str, Bool[np.ndarray, "n"]], n: int
) -> tuple[Bool[np.ndarray, "n"], dict[str, int]]:
    """Points that no filter takes, and how many each took: a point is counted by the first."""
    kept, lost = np.ones(n, bool), {}
    for reason, taken in reasons.items():
        lost[reason] = int((kept & taken).sum())
        kept &= ~taken
    return kept, lost
