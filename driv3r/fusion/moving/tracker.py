"""Detections of a log as tracks: Kalman filters, optimal assignment, starts from three frames."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy.optimize import linear_sum_assignment

from driv3r.fusion.frames import FusionConfig
from driv3r.fusion.moving.detections import Detection
from driv3r.fusion.moving.kalman import (
    Gaussian,
    Measurement,
    predict,
    smooth,
    start,
    surprise,
    update,
)

GATE = 14.2  # 99.7 % of a chi-squared with 3 degrees of freedom
COLOUR_STEP, SIZE_STEP = 25.0, 0.6  # standard deviations of mean colour, and of log size
CLUTTER = 9.0  # cost of leaving a detection alone rather than in a track
_FORBIDDEN = 1e6


@dataclass(eq=False)
class Track:
    """Detections of one thing in order of time, and its filtered state after the last."""

    detections: list[Detection]
    state: Gaussian

    def take(self, detection: Detection, config: FusionConfig) -> None:
        """Go on with a later detection."""
        seen = measure(detection)
        self.state = update(predict(self.state, seen.time_s, config.accel_mps2), seen)
        self.detections.append(detection)


@dataclass(eq=False)
class _Live:
    """What the tracker holds while it walks through the frames."""

    tracks: list[Track] = field(default_factory=list)
    ended: list[Track] = field(default_factory=list)


def measure(detection: Detection) -> Measurement:
    """The detection's middle as a measurement."""
    return Measurement(detection.time_us * 1e-6, detection.center_world, detection.covariance)


def link_tracks(detections: Sequence[Detection], config: FusionConfig) -> list[list[Detection]]:
    """Tracks of two detections or more in order of appearance; each detection is in one at most.

    Forward in time, tracks take their detections by optimal assignment; what is left starts a track
    where three frames (or two, at the log's end or where nothing else fits) agree.
    """
    by_frame: dict[int, list[Detection]] = defaultdict(list)
    for detection in detections:
        by_frame[detection.frame].append(detection)
    frames = sorted(by_frame)
    free: dict[int, list[Detection]] = {}
    live = _Live()
    for i, frame in enumerate(frames):
        left = _extend(live, by_frame[frame], frame, config)
        free[frame] = left
        recent = [free[f] for f in frames[max(i - 2, 0) : i + 1]]
        for chain in _start_chains(recent, config):
            for detection in chain:
                free[detection.frame].remove(detection)
            live.tracks.append(_track_of(chain, config))
    pairs = [
        chain
        for before, after in zip(frames, frames[1:], strict=False)
        for chain in _pair_up(free[before], free[after], config)
    ]
    tracks = [track.detections for track in (*live.ended, *live.tracks)] + pairs
    return sorted(tracks, key=lambda t: (t[0].frame, t[0].center_world.tolist()))


def _extend(
    live: _Live, found: list[Detection], frame: int, config: FusionConfig
) -> list[Detection]:
    """Give the tracks their detections; what is left over of those that surely move.

    Those that may move come second, to tracks that have none, and start none (ByteTrack: Zhang et
    al., ECCV 2022).
    """
    oldest = frame - 1 - config.max_gap_frames
    live.ended += [track for track in live.tracks if track.detections[-1].frame < oldest]
    live.tracks = [track for track in live.tracks if track.detections[-1].frame >= oldest]
    sure = [d for d in found if d.motion >= config.high_confidence]
    waiting, left = _assign(live.tracks, sure, config)
    _assign(waiting, [d for d in found if d.motion < config.high_confidence], config)
    return left


def _assign(
    tracks: list[Track], found: list[Detection], config: FusionConfig
) -> tuple[list[Track], list[Detection]]:
    """Give tracks the detections that suit them best; the tracks without, and what is left over."""
    cost = np.array(
        [[_cost(track, detection, config) for detection in found] for track in tracks]
    ).reshape(len(tracks), len(found))
    rows, columns = linear_sum_assignment(np.minimum(cost, _FORBIDDEN))
    pairs = [(r, c) for r, c in zip(rows, columns, strict=True) if cost[r, c] < CLUTTER]
    for row, column in pairs:
        tracks[row].take(found[column], config)
    served, taken = {row for row, _ in pairs}, {column for _, column in pairs}
    return (
        [track for row, track in enumerate(tracks) if row not in served],
        [detection for column, detection in enumerate(found) if column not in taken],
    )


def _cost(track: Track, detection: Detection, config: FusionConfig) -> float:
    """Half the surprise of a detection in a track, with what it looks like."""
    seen = measure(detection)
    if seen.time_s <= track.state.time_s:
        return _FORBIDDEN
    squared = surprise(predict(track.state, seen.time_s, config.accel_mps2), seen)
    if squared > GATE:
        return _FORBIDDEN
    return 0.5 * squared + _unlikeness(track.detections[-1], detection)


def _unlikeness(a: Detection, b: Detection) -> float:
    """Half the squared difference of mean colours and sizes, in standard deviations."""
    colour = np.linalg.norm(a.rgb - b.rgb) / COLOUR_STEP
    size = np.log((np.linalg.norm(a.size_m) + 0.3) / (np.linalg.norm(b.size_m) + 0.3)) / SIZE_STEP
    return 0.5 * min(float(colour**2 + size**2), 12.0)


def _start_chains(recent: list[list[Detection]], config: FusionConfig) -> list[list[Detection]]:
    """Chains through the last three frames, the most consistent first, disjoint."""
    if len(recent) < 3:
        return []
    rated = []
    for first, second in product(recent[0], recent[1]):
        step = _start_pair(first, second, config)
        if step is None:
            continue
        for third in recent[2]:
            cost = _cost(step[0], third, config)
            total = step[1] + cost
            if total < CLUTTER:
                rated.append((total, [first, second, third]))
    return _disjoint(rated)


def _pair_up(
    before: list[Detection], after: list[Detection], config: FusionConfig
) -> list[list[Detection]]:
    """What is left of two frames in pairs, the most alike first."""
    rated = []
    for first, second in product(before, after):
        step = _start_pair(first, second, config)
        if step is not None and step[1] < CLUTTER / 2:
            rated.append((step[1], [first, second]))
    chains = _disjoint(rated)
    for chain in chains:
        before.remove(chain[0])
        after.remove(chain[1])
    return chains


def _start_pair(
    first: Detection, second: Detection, config: FusionConfig
) -> tuple[Track, float] | None:
    """A track of two detections and its cost; None where no thing on a street makes the step."""
    dt_s = (second.time_us - first.time_us) * 1e-6
    step_m = float(np.linalg.norm(second.center_world - first.center_world))
    if dt_s <= 0 or step_m > config.max_speed_mps * dt_s:
        return None
    track = Track([first], start(measure(first)))
    cost = _cost(track, second, config)
    if cost >= CLUTTER:
        return None
    track.take(second, config)
    return track, cost


def _track_of(chain: list[Detection], config: FusionConfig) -> Track:
    track = Track(chain[:1], start(measure(chain[0])))
    for detection in chain[1:]:
        track.take(detection, config)
    return track


def _disjoint(rated: list[tuple[float, list[Detection]]]) -> list[list[Detection]]:
    used: set[int] = set()
    chains = []
    for _, chain in sorted(rated, key=lambda pair: pair[0]):
        if not used & set(map(id, chain)):
            used |= set(map(id, chain))
            chains.append(chain)
    return chains


def smooth_track(
    track: Sequence[Detection], at_s: Sequence[float], config: FusionConfig
) -> list[Gaussian]:
    """The track's smoothed states at given times."""
    return smooth([measure(detection) for detection in track], at_s, config.accel_mps2)


def is_moving(track: Sequence[Detection], config: FusionConfig) -> bool:
    """Whether the track's own way is beyond what errors of depth make of a thing that stands.

    The error of a depth stays alike while a thing is seen, so that many detections tell its place
    along the ray no better than one: the way between the ends is held against their own errors.
    """
    first, last = track[0], track[-1]
    way = last.center_world - first.center_world
    duration_s = (last.time_us - first.time_us) * 1e-6
    covariance = first.covariance + last.covariance
    squared = float(way @ np.linalg.solve(covariance, way))
    way_m = max(float(np.linalg.norm(way)), 1e-9)
    sigma_m = float(np.sqrt(way @ covariance @ way)) / way_m
    fast = way_m - config.min_travel_sigmas * sigma_m >= config.min_speed_mps * duration_s
    return fast and squared >= config.min_travel_sigmas**2
