"""Tracks as rigid objects: heading, whole box, accumulated shape, a state at every frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, UInt8

from driv3r.fusion.frames import FusionConfig
from driv3r.fusion.moving.detections import Detection
from driv3r.fusion.moving.kalman import Gaussian
from driv3r.fusion.moving.tracker import smooth_track
from driv3r.geometry.sampling import spread_rows
from driv3r.types import MovingObjects

TURNS_ABOVE_MPS = 1.0  # slower velocities tell no heading
VEHICLE_M = np.array([4.3, 1.8, 1.4])  # the least whole size of what is wider than a person
TRUCK_M = np.array([8.5, 2.4, 2.8])
LARGEST_M = np.array([13.0, 3.0, 4.2])  # a bus
TRUCK_WIDE_M, TRUCK_TALL_M = 2.1, 2.2  # seen sides that no car has
CYCLIST_M = np.array([1.7, 0.6, 1.6])
PERSON_M = np.array([0.6, 0.6, 1.6])
WIDE_M, LONG_M, TALL_M = 1.3, 1.1, 0.8  # seen sides from which a thing is taken for a vehicle


@dataclass(frozen=True, eq=False)
class _Object:
    """One track's states and shape."""

    frames: list[int]
    observed: list[bool]
    world_T_object: Float[np.ndarray, "m 4 4"]
    states: list[Gaussian]
    size_m: Float[np.ndarray, "3"]
    points_object: Float[np.ndarray, "p 3"]
    rgb: UInt8[np.ndarray, "p 3"]


def make_objects(
    tracks: Iterable[list[Detection]], time_us: Int64[np.ndarray, "t"], config: FusionConfig
) -> MovingObjects:
    """Tracks as objects in the given order, with a state at every frame of their span.

    `time_us` is that of the log's frames.
    """
    return _gather([_make_object(track, time_us, config) for track in tracks], time_us)


def _make_object(
    track: list[Detection], time_us: Int64[np.ndarray, "t"], config: FusionConfig
) -> _Object:
    frames = list(range(track[0].frame, track[-1].frame + 1))
    states = smooth_track(track, [int(time_us[f]) * 1e-6 for f in frames], config)
    at_seen = smooth_track(track, [d.time_us * 1e-6 for d in track], config)
    forward = _find_headings(states)
    forward_seen = _find_headings(at_seen)
    # Each frame's points around that frame's own measured middle: depth errs for all of them alike.
    parts = [
        (d.points_world - d.center_world) @ _axes(ahead)
        for d, ahead in zip(track, forward_seen, strict=True)
    ]
    low, high = _measure_extent(parts, track, forward_seen)
    middle = (low + high) / 2
    axes = [_axes(ahead) for ahead in forward]
    world_T_object = np.tile(np.eye(4), (len(frames), 1, 1))
    for i, (state, rotation) in enumerate(zip(states, axes, strict=True)):
        world_T_object[i, :3, :3] = rotation
        world_T_object[i, :3, 3] = state.place + rotation @ middle
    points = np.concatenate(parts) - middle
    rgb = np.concatenate([d.points_rgb for d in track])
    inside = (np.abs(points) <= (high - low) / 2 + 0.2).all(-1)
    points, rgb = points[inside], rgb[inside]
    kept = spread_rows(len(points), config.max_points)
    seen = {d.frame for d in track}
    return _Object(
        frames,
        [frame in seen for frame in frames],
        world_T_object,
        states,
        high - low,
        points[kept].astype(np.float32),
        rgb[kept],
    )


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


def _measure_extent(
    parts: list[np.ndarray],
    track: Sequence[Detection],
    forward: Sequence[Float[np.ndarray, "3"]],
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Low and high corner of the whole object around the detections' middle, in its own axes.

    The median over frames of the seen extent, grown to the least size of its kind on the side that
    is turned away from the cameras.
    """
    ends = np.array([np.percentile(part, [5, 95], axis=0) for part in parts])
    low, high = np.median(ends[:, 0], axis=0), np.median(ends[:, 1], axis=0)
    seen_m = high - low
    least_m = _least_size(seen_m)
    away = np.mean(
        [d.ray_world @ _axes(ahead) for d, ahead in zip(track, forward, strict=True)], axis=0
    )
    missing = np.maximum(least_m - seen_m, 0.0)
    missing[2] = 0.0
    share = np.clip(0.5 + away / max(float(np.abs(away[:2]).max()), 1e-6) / 2, 0.0, 1.0)
    low, high = low - missing * (1 - share), high + missing * share
    # Errors of depth make things long along the ray; nothing on a road is larger than this.
    middle_m, half_m = (low + high) / 2, np.minimum(high - low, LARGEST_M) / 2
    return middle_m - half_m, middle_m + half_m


def _least_size(seen_m: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    if seen_m[1] >= TRUCK_WIDE_M or seen_m[2] >= TRUCK_TALL_M:
        return TRUCK_M
    if seen_m[1] >= WIDE_M or seen_m[0] >= 2.2:
        return VEHICLE_M
    return CYCLIST_M if seen_m[0] >= LONG_M else PERSON_M


def _gather(objects: list[_Object], time_us: Int64[np.ndarray, "t"]) -> MovingObjects:
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
        velocity_sigma_mps=np.array(
            [np.sqrt(np.trace(s.covariance[3:5, 3:5]) / 2) for s in states], np.float64
        ),
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
