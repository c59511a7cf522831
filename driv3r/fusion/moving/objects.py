"""Tracks as rigid objects: heading, whole box, accumulated shape, a state at every frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int64, UInt8

from driv3r.fusion.frames import FusionConfig
from driv3r.fusion.moving.detections import Detection
from driv3r.fusion.moving.kalman import Gaussian
from driv3r.fusion.moving.sizes import estimate_size, middle_behind, silhouette
from driv3r.fusion.moving.tracker import smooth_track
from driv3r.geometry.sampling import spread_rows
from driv3r.geometry.transforms import invert
from driv3r.types import MovingObjects

LEAST_FRAMES = 2  # in which a part is seen within the whole
PART_SLACK_M, PART_SHARE = 0.3, 0.8  # of a box's sides; of a part's frames
EXACT_M = 0.2  # of a detection's depth, from which on its own sides are taken
MEASURED_M = 0.5  # of depth, up to which sides along the ray are measured at all
TURNS_ABOVE_MPS = 1.0  # slower velocities tell no heading
VEHICLE_M = np.array([4.3, 1.8, 1.4])  # the least whole size of what is wider than a person
TRUCK_M = np.array([8.5, 2.4, 2.8])
LARGEST_M = np.array([13.0, 3.0, 4.2])  # a bus
TRUCK_WIDE_M, TRUCK_TALL_M = 2.1, 2.2  # seen sides that no car has
CYCLIST_M = np.array([1.7, 0.6, 1.6])
PERSON_M = np.array([0.6, 0.6, 1.6])
WIDE_M, LONG_M, TALL_M = 1.3, 1.1, 0.8  # seen sides from which a thing is taken for a vehicle


@dataclass(frozen=True, eq=False)
class RigidObject:
    """One track's states and shape."""

    frames: list[int]
    observed: list[bool]
    world_T_object: Float[np.ndarray, "m 4 4"]
    states: list[Gaussian]
    size_m: Float[np.ndarray, "3"]
    points_object: Float[np.ndarray, "p 3"]
    rgb: UInt8[np.ndarray, "p 3"]
    most_mps: float

    @property
    def is_possible(self) -> bool:
        """Whether a thing of its size can be as fast, within the speed's own error.

        What is faster than anything of its size is a piece of something.
        """
        slowest = [np.linalg.norm(s.velocity[:2]) - _speed_sigma(s) for s in self.states]
        return float(np.median(slowest)) <= self.most_mps


def find_objects(
    tracks: Iterable[list[Detection]], time_us: Int64[np.ndarray, "t"], config: FusionConfig
) -> list[RigidObject]:
    """Tracks as objects in the given order, with a state at every frame of their span.

    `time_us` is that of the log's frames. What goes along within another's box is a part of it,
    and no object.
    """
    objects = [_make_object(track, time_us, config) for track in tracks]
    by_size = sorted(objects, key=lambda o: float(np.prod(o.size_m)), reverse=True)
    parts = {
        id(small)
        for i, small in enumerate(by_size)
        if any(_holds(large, small) for large in by_size[:i])
    }
    return [each for each in objects if id(each) not in parts]


def _holds(large: RigidObject, small: RigidObject) -> bool:
    """Whether one object's middle lies within another's box in nearly all of its frames."""
    row = {frame: i for i, frame in enumerate(large.frames)}
    both = [(row[frame], i) for i, frame in enumerate(small.frames) if frame in row]
    if len(both) < LEAST_FRAMES:
        return False
    rows, own = np.array(both).T
    object_T_world = invert(large.world_T_object[rows])
    world = small.world_T_object[own, :3, 3]
    place = np.einsum("nij,nj->ni", object_T_world[:, :3, :3], world) + object_T_world[:, :3, 3]
    inside = (np.abs(place) <= large.size_m / 2 + PART_SLACK_M).all(-1)
    return int(inside.sum()) >= PART_SHARE * len(small.frames)


def _make_object(
    track: list[Detection], time_us: Int64[np.ndarray, "t"], config: FusionConfig
) -> RigidObject:
    at_seen = smooth_track(track, [d.time_us * 1e-6 for d in track], config)
    axes_seen = [_axes(ahead) for ahead in _find_headings(at_seen)]
    # Each frame's points around that frame's own measured middle: depth errs for all of them alike.
    parts = [
        (d.points_world - d.center_world) @ rotation
        for d, rotation in zip(track, axes_seen, strict=True)
    ]
    away = np.array([d.ray_world @ rotation for d, rotation in zip(track, axes_seen, strict=True)])
    error_m = np.sqrt([d.ray_world @ d.covariance @ d.ray_world for d in track])
    if np.median(error_m) <= MEASURED_M:
        (size_m, middles), most_mps = complete_boxes(parts, away, error_m), config.max_speed_mps
    else:
        size_m, middles, most_mps = complete_silhouettes(parts, away)
    whole = [
        replace(d, center_world=d.center_world + rotation @ middle)
        for d, rotation, middle in zip(track, axes_seen, middles, strict=True)
    ]
    frames = list(range(track[0].frame, track[-1].frame + 1))
    states = smooth_track(whole, [int(time_us[f]) * 1e-6 for f in frames], config)
    world_T_object = np.tile(np.eye(4), (len(frames), 1, 1))
    for i, (state, ahead) in enumerate(zip(states, _find_headings(states), strict=True)):
        world_T_object[i, :3, :3], world_T_object[i, :3, 3] = _axes(ahead), state.place
    points = np.concatenate([part - middle for part, middle in zip(parts, middles, strict=True)])
    rgb = np.concatenate([d.points_rgb for d in track])
    inside = (np.abs(points) <= size_m / 2 + 0.2).all(-1)
    points, rgb = points[inside], rgb[inside]
    kept = spread_rows(len(points), config.max_points)
    seen = {d.frame for d in track}
    return RigidObject(
        frames,
        [frame in seen for frame in frames],
        world_T_object,
        states,
        size_m,
        points[kept].astype(np.float32),
        rgb[kept],
        most_mps,
    )


def _speed_sigma(state: Gaussian) -> float:
    """Standard deviation of a velocity on the ground, an axis."""
    return float(np.sqrt(np.trace(state.covariance[3:5, 3:5]) / 2))


def _find_headings(states: Sequence[Gaussian]) -> list[Float[np.ndarray, "3"]]:
    """Unit vectors along the velocity on the ground, or that of the nearest time that tells one."""
    flat = np.array([[*state.velocity[:2], 0.0] for state in states])
    speed = np.linalg.norm(flat, axis=-1)
    fast = np.flatnonzero(speed > TURNS_ABOVE_MPS)
    if not len(fast):
        fast = np.array([int(speed.argmax())])
    nearest = [int(fast[np.abs(fast - i).argmin()]) for i in range(len(states))]
    return [flat[i] / max(speed[i], 1e-6) if speed[i] > 1e-6 else np.eye(3)[0] for i in nearest]


def _axes(forward: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Columns forward, left and up."""
    up = np.array([0.0, 0.0, 1.0])
    return np.stack([forward, np.cross(up, forward), up], axis=-1)


def complete_boxes(
    parts: Sequence[Float[np.ndarray, "_ 3"]],
    away: Float[np.ndarray, "k 3"],
    error_m: Float[np.ndarray, "k"],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "k 3"]]:
    """The size of the whole object, and the middle of its box in each of k detections.

    `parts` are points in the object's axes around each detection's middle, `away` the direction
    from the camera, `error_m` the standard deviation of depth. What is lacking of the size lies on
    the side that is turned away: in each detection by itself where its depth is exact, else as in
    the median of all.
    """
    ends = np.array([np.percentile(part, [5, 95], axis=0) for part in parts])
    low, high = np.median(ends, axis=0)
    size_m = high - low
    size_m[:2] = np.maximum(size_m, _least_size(size_m))[:2]
    # Errors of depth make things long along the ray; nothing on a road is larger than this.
    size_m = np.minimum(size_m, LARGEST_M)
    usual = _middle(np.stack([low, high])[None], size_m, away.mean(0)[None])
    trust = np.minimum(EXACT_M / np.maximum(error_m, 1e-6), 1.0)[:, None] ** 2
    middles = usual + trust * (_middle(ends, size_m, away) - usual)
    middles[:, 2] = usual[:, 2]
    return size_m, middles


def complete_silhouettes(
    parts: Sequence[Float[np.ndarray, "_ 3"]], away: Float[np.ndarray, "k 3"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "k 3"], float]:
    """As `complete_boxes`, and the top speed of what is of such a size.

    Where depth is too inexact for the sides along the ray to be measured. Heights are: a box stands
    as its points do.
    """
    seen_m = np.array([silhouette(part, ray) for part, ray in zip(parts, away, strict=True)])
    size_m, kind = estimate_size(seen_m, away)
    ends = np.array([np.percentile(part[:, 2], [5, 95]) for part in parts])
    middles = middle_behind(size_m, away)
    # Of what is joined of parts the detection's middle is that of one of them; not the mean, which
    # pixels at edges draw far behind.
    middles[:, :2] += np.median([np.median(part[:, :2], axis=0) for part in parts], axis=0)
    middles[:, 2] = np.median(ends.mean(1))
    return size_m, middles, kind.most_mps


def _middle(
    ends: Float[np.ndarray, "k 2 3"], size_m: Float[np.ndarray, "3"], away: Float[np.ndarray, "k 3"]
) -> Float[np.ndarray, "k 3"]:
    """Middles of boxes of a size whose side towards the camera is that of the seen ends."""
    share = away / np.maximum(np.abs(away[:, :2]).max(1, keepdims=True), 1e-6)
    share[:, 2] = 0.0
    lacking_m = size_m - (ends[:, 1] - ends[:, 0])
    return ends.mean(1) + lacking_m * np.clip(share, -1.0, 1.0) / 2


def _least_size(seen_m: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    if seen_m[1] >= TRUCK_WIDE_M or seen_m[2] >= TRUCK_TALL_M:
        return TRUCK_M
    if seen_m[1] >= WIDE_M or seen_m[0] >= 2.2:
        return VEHICLE_M
    return CYCLIST_M if seen_m[0] >= LONG_M else PERSON_M


def gather(objects: Sequence[RigidObject], time_us: Int64[np.ndarray, "t"]) -> MovingObjects:
    """All objects' states by frame and track."""
    rows = sorted((f, k, i) for k, o in enumerate(objects) for i, f in enumerate(o.frames))
    states = [objects[k].states[i] for _, k, i in rows]
    frame = np.array([f for f, _, _ in rows], np.int32)
    return MovingObjects(
        track_id=np.array([k for _, k, _ in rows], np.int64),
        frame=frame,
        time_us=time_us[frame] if len(rows) else np.zeros(0, np.int64),
        world_T_object=np.array([objects[k].world_T_object[i] for _, k, i in rows]).reshape(
            -1, 4, 4
        ),
        velocity_world_mps=np.array([s.velocity for s in states], np.float64).reshape(-1, 3),
        velocity_sigma_mps=np.array([_speed_sigma(s) for s in states], np.float64),
        observed=np.array([objects[k].observed[i] for _, k, i in rows], bool),
        size_m=np.array([o.size_m for o in objects], np.float64).reshape(-1, 3),
        quality=np.array([np.mean(o.observed) for o in objects], np.float64),
        points_object=np.concatenate(
            [np.zeros((0, 3), np.float32), *(o.points_object for o in objects)]
        ),
        points_rgb=np.concatenate([np.zeros((0, 3), np.uint8), *(o.rgb for o in objects)]),
        points_track=np.repeat(
            np.arange(len(objects), dtype=np.int32), [len(o.rgb) for o in objects]
        ),
    )
