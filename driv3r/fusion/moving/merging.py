"""Tracks that are parts of one thing: a truck's cab and its load, joined."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from jaxtyping import Float

from driv3r.fusion.moving.detections import Detection

LEAST_FRAMES = 2  # in which both are seen
SHIFT_M, SHIFT_SHARE = 0.35, 0.25  # by which their offset may vary: metres, and of their way
GAP_M = 0.7  # between their boxes; cars beside each other are further apart
LONGEST_M = 16.0  # of what is joined
Track = list[Detection]


def merge_tracks(tracks: Sequence[Track]) -> list[Track]:
    """Tracks with those joined that keep their place beside each other; the longest are first.

    The larger part tells the place of the whole; where only the other is seen, their mean offset
    does.
    """
    merged = [list(track) for track in tracks]
    while (pair := _find_pair(merged)) is not None:
        i, j, offset_m = pair
        merged[i] = _join(merged[i], merged[j], offset_m)
        del merged[j]
    return merged


def _find_pair(tracks: Sequence[Track]) -> tuple[int, int, Float[np.ndarray, "3"]] | None:
    """Two tracks that are one thing, the larger first, and the way from it to the other."""
    for i, j in combinations(range(len(tracks)), 2):
        large, small = (i, j) if _volume(tracks[i]) >= _volume(tracks[j]) else (j, i)
        offset_m = _find_offset(tracks[large], tracks[small])
        if offset_m is not None:
            return large, small, offset_m
    return None


def _find_offset(large: Track, small: Track) -> Float[np.ndarray, "3"] | None:
    """The way from one track's middles to the other's, where it stays alike and is short."""
    at = {detection.frame: detection for detection in large}
    pairs = [(at[other.frame], other) for other in small if other.frame in at]
    if len(pairs) < LEAST_FRAMES:
        return None
    offsets = np.array([b.center_world - a.center_world for a, b in pairs])
    size = np.array([(a.size_m + b.size_m) / 2 for a, b in pairs])
    gap_m = np.linalg.norm(np.maximum(np.abs(offsets) - size, 0.0), axis=-1)
    spread_m = np.linalg.norm(offsets - np.median(offsets, axis=0), axis=-1)
    extent_m = np.linalg.norm(np.abs(offsets) + size, axis=-1)
    moved_m = np.linalg.norm(pairs[-1][0].center_world - pairs[0][0].center_world)
    alike = spread_m.max() <= min(SHIFT_M, SHIFT_SHARE * float(moved_m))
    if alike and np.median(gap_m) <= GAP_M and extent_m.max() <= LONGEST_M:
        return np.median(offsets, axis=0)
    return None


def _join(large: Track, small: Track, offset_m: Float[np.ndarray, "3"]) -> Track:
    other = {detection.frame: detection for detection in small}
    joined = [
        replace(d, also=(*d.also, other[d.frame])) if d.frame in other else d for d in large
    ]  # fmt: skip
    known = {detection.frame for detection in large}
    alone = [d for d in small if d.frame not in known]
    moved = [replace(d, center_world=d.center_world - offset_m) for d in alone]
    return sorted([*joined, *moved], key=lambda d: d.frame)


def _volume(track: Track) -> float:
    """How large a thing is seen, over how many frames."""
    return float(sum(np.linalg.norm(detection.size_m) for detection in track))
