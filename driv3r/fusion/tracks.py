"""Clusters of successive frames as tracks: constant velocity, gates, optimal assignment."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.optimize import linear_sum_assignment

from driv3r.fusion.clusters import Cluster
from driv3r.fusion.evidence import FusionConfig

Track = list[Cluster]
_FORBIDDEN = 1e6  # far above any sum of real costs, so that most pairs are made


def link_tracks(clusters: Sequence[Cluster], config: FusionConfig) -> list[Track]:
    """Tracks in order of appearance, from clusters in order of frames."""
    tracks: list[Track] = []
    groups = [list(group) for _, group in groupby(clusters, key=lambda cluster: cluster.frame)]
    for found, following in zip(groups, [*groups[1:], []], strict=False):
        live = [track for track in tracks if _is_live(track, found[0].frame, config)]
        pairs = _assign(live, found, following, config)
        for row, cluster in enumerate(found):
            if row in pairs:
                live[pairs[row]].append(cluster)
            else:
                tracks.append([cluster])
    return tracks


def fit_velocity(states: Sequence[Cluster]) -> Float[np.ndarray, "3"]:
    """Slope of the least-squares line through the centres over time, m/s; zero of a single one."""
    seconds = _seconds(states, states[0].time_us)
    centers = np.stack([state.center_world for state in states])
    if len(states) == 1:
        return np.zeros(3)
    lever = seconds - seconds.mean()
    return lever @ (centers - centers[0]) / (lever @ lever)


def fit_velocities(track: Track, window_s: float) -> list[Float[np.ndarray, "3"]]:
    """At each state, the velocity of the states within the window and of both neighbours.

    NaN of a track that is a single state: nothing tells how fast it is.
    """
    if len(track) == 1:
        return [np.full(3, np.nan)]
    velocities = []
    for i, state in enumerate(track):
        near = np.abs(_seconds(track, state.time_us)) <= window_s
        near[max(i - 1, 0) : i + 2] = True
        velocities.append(fit_velocity([track[k] for k in np.flatnonzero(near)]))
    return velocities


def _is_live(track: Track, frame: int, config: FusionConfig) -> bool:
    """A velocity that only one step vouches for is not trusted across missed frames."""
    missed = frame - track[-1].frame - 1
    return missed <= (config.max_gap_frames if len(track) > 2 else 0)


def _assign(
    live: Sequence[Track],
    found: Sequence[Cluster],
    following: Sequence[Cluster],
    config: FusionConfig,
) -> dict[int, int]:
    """Row of `found` to row of `live`, at the least summed cost among the allowed pairs."""
    if not live:
        return {}
    last = [track[-1] for track in live]
    dt_s = _dt_s(last, found)
    step = _steps(last, found)
    velocity = np.stack([_current_velocity(track, config) for track in live])
    surprise_m = np.linalg.norm(step - velocity[:, None] * dt_s[..., None], axis=-1)
    # A track's first step says nothing of its velocity: the step is judged by the one after it.
    new = np.array([len(track) == 1 for track in live])[:, None]
    surprise_m = np.where(new, _judge_first_steps(step, dt_s, found, following), surprise_m)
    size, last_size = _stack(found, "size_m")[None], _stack(last, "size_m")[:, None]
    allowed = (
        (dt_s > 0)
        & (np.linalg.norm(step, axis=-1) <= config.max_speed_mps * dt_s + config.gate_m)
        # The velocity is a mean over the past, half a step old: a * gap^2, not half of it.
        & (surprise_m <= config.gate_m + config.max_accel_mps2 * dt_s**2)
        & _sizes_agree(size, last_size, config.max_size_ratio)
    )
    cost = np.where(allowed, surprise_m + np.linalg.norm(size - last_size, axis=-1), _FORBIDDEN)
    rows, columns = linear_sum_assignment(cost)
    return {int(c): int(r) for r, c in zip(rows, columns, strict=True) if allowed[r, c]}


def _judge_first_steps(
    step: Float[np.ndarray, "t f 3"],
    dt_s: Float[np.ndarray, "t f"],
    found: Sequence[Cluster],
    following: Sequence[Cluster],
) -> Float[np.ndarray, "t f"]:
    """How far (m) the nearest cluster of the following frame is from where the step leads.

    A tenth of the step's length is added: in a queue of equal cars, which all steps from car to car
    explain, the shortest is taken. Without a better explanation the thing stood still.
    """
    length_m = np.linalg.norm(step, axis=-1)
    if not following:
        return length_m
    dt_after_s = _dt_s(found, following)
    velocity = step / np.maximum(dt_s, 1e-6)[..., None]
    onward = velocity[:, :, None] * dt_after_s[None, ..., None]
    missed_m = np.linalg.norm(onward - _steps(found, following)[None], axis=-1).min(-1)
    return np.minimum(length_m, missed_m + 0.1 * length_m)


def _current_velocity(track: Track, config: FusionConfig) -> Float[np.ndarray, "3"]:
    recent = -_seconds(track, track[-1].time_us) <= config.velocity_window_s
    recent[-2:] = True
    return fit_velocity([track[k] for k in np.flatnonzero(recent)])


def _sizes_agree(
    a: Float[np.ndarray, "1 f 3"], b: Float[np.ndarray, "t 1 3"], ratio: float
) -> Bool[np.ndarray, "t f"]:
    long, short = np.linalg.norm(a, axis=-1), np.linalg.norm(b, axis=-1)
    return np.asarray(np.maximum(long, short) <= ratio * np.minimum(long, short))


def _seconds(states: Sequence[Cluster], start_us: int) -> Float[np.ndarray, "n"]:
    times_us: Int64[np.ndarray, "n"] = np.array([state.time_us for state in states], np.int64)
    return (times_us - start_us) * 1e-6


def _dt_s(before: Sequence[Cluster], after: Sequence[Cluster]) -> Float[np.ndarray, "b a"]:
    start_us = before[0].time_us
    return _seconds(after, start_us)[None] - _seconds(before, start_us)[:, None]


def _steps(before: Sequence[Cluster], after: Sequence[Cluster]) -> Float[np.ndarray, "b a 3"]:
    return _stack(after, "center_world")[None] - _stack(before, "center_world")[:, None]


def _stack(states: Sequence[Cluster], name: str) -> Float[np.ndarray, "n 3"]:
    return np.stack([getattr(state, name) for state in states])
