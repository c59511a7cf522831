"""Tracks against true objects: CLEAR MOT, identity F1 and HOTA over frames of similarities.

CLEAR MOT: Bernardin and Stiefelhagen, 2008. IDF1: Ristani et al., ECCV workshops 2016. HOTA:
Luiten et al., IJCV 2021.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

ALPHAS = np.arange(0.05, 0.99, 0.05)  # HOTA's thresholds of similarity
_KEPT = 1000.0  # CLEAR MOT holds on to a pair of the frame before, whatever else is nearer
_EPS = np.finfo(float).eps


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """The objects of one frame: ids from 0 on, each once, and similarities of 0 to 1."""

    true_id: Int[np.ndarray, "n"]
    track_id: Int[np.ndarray, "m"]
    similarity: Float[np.ndarray, "n m"]


@dataclass(frozen=True, eq=False)
class ClearMot:
    """Counts of CLEAR MOT, and of every frame its matched rows and columns."""

    true: int
    missed: int
    false: int
    switches: int
    similarity: float  # of the matched pairs, summed
    pairs: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def matched(self) -> int:
        """How many true boxes have a track."""
        return self.true - self.missed

    @property
    def mota(self) -> float:
        """1 - (missed + false + switches) / true; may be below 0; NaN without a true box."""
        errors = self.missed + self.false + self.switches
        return 1 - errors / self.true if self.true else float("nan")


def clear_mot(frames: Sequence[TrackedFrame], threshold: float = 0.5) -> ClearMot:
    """Match each frame, keeping the pairs of the frame before, and count what goes wrong."""
    last_of: dict[int, int] = {}  # the track that an object was matched with last
    before: dict[int, int] = {}
    counts, summed, pairs = np.zeros(4, int), 0.0, []
    for frame in frames:
        kept = np.array([before.get(i, -1) for i in frame.true_id.tolist()])
        score = frame.similarity + _KEPT * (kept[:, None] == frame.track_id[None])
        score = np.where(frame.similarity >= threshold - _EPS, score, 0.0)
        rows, columns = linear_sum_assignment(score, maximize=True)
        good = score[rows, columns] > _EPS
        rows, columns = rows[good], columns[good]
        found = dict(
            zip(frame.true_id[rows].tolist(), frame.track_id[columns].tolist(), strict=True)
        )
        switches = sum(last_of.get(true, track) != track for true, track in found.items())
        last_of |= found
        if frame.similarity.size:  # a frame of nothing to match breaks no pair
            before = found
        n, m, k = len(frame.true_id), len(frame.track_id), len(rows)
        counts += (n, n - k, m - k, switches)
        summed += float(frame.similarity[rows, columns].sum())
        pairs.append((rows, columns))
    true, missed, false, switched = counts.tolist()
    return ClearMot(true, missed, false, switched, summed, tuple(pairs))


def identity_f1(frames: Sequence[TrackedFrame], threshold: float = 0.5) -> float:
    """IDF1: each object is paired with one track for the whole log; NaN of empty frames."""
    shape = _count_ids(frames)
    together, in_true, in_track = np.zeros(shape), np.zeros(shape[0]), np.zeros(shape[1])
    for frame in frames:
        rows, columns = np.nonzero(frame.similarity >= threshold)
        together[frame.true_id[rows], frame.track_id[columns]] += 1
        in_true[frame.true_id] += 1
        in_track[frame.track_id] += 1
    rows, columns = linear_sum_assignment(together, maximize=True)
    total = in_true.sum() + in_track.sum()
    return float(2 * together[rows, columns].sum() / total) if total else float("nan")


def hota(frames: Sequence[TrackedFrame]) -> float:
    """HOTA, the mean over thresholds of similarity; NaN of frames without an object or track."""
    shape = _count_ids(frames)
    in_true, in_track, potential = np.zeros(shape[0]), np.zeros(shape[1]), np.zeros(shape)
    for frame in frames:
        s = frame.similarity
        whole = s.sum(0)[None] + s.sum(1)[:, None] - s
        share = np.divide(s, whole, out=np.zeros_like(s), where=whole > _EPS)
        potential[frame.true_id[:, None], frame.track_id[None]] += share
        in_true[frame.true_id] += 1
        in_track[frame.track_id] += 1
    if not in_true.sum() + in_track.sum():
        return float("nan")
    either = in_true[:, None] + in_track[None]
    alignment = potential / np.maximum(either - potential, _EPS)
    together = np.zeros((len(ALPHAS), *shape))
    for frame in frames:
        index = np.ix_(frame.true_id, frame.track_id)
        score = alignment[index] * frame.similarity
        rows, columns = linear_sum_assignment(score, maximize=True)
        near = frame.similarity[rows, columns] >= ALPHAS[:, None] - _EPS
        together[:, frame.true_id[rows], frame.track_id[columns]] += near
    hits = together.sum((1, 2))
    association = together / np.maximum(1, either - together)
    accuracy = (together * association).sum((1, 2)) / np.maximum(1, hits)
    detection = hits / np.maximum(1, in_true.sum() + in_track.sum() - hits)
    return float(np.sqrt(detection * accuracy).mean())


def _count_ids(frames: Sequence[TrackedFrame]) -> tuple[int, int]:
    return (
        1 + max((int(f.true_id.max()) for f in frames if len(f.true_id)), default=-1),
        1 + max((int(f.track_id.max()) for f in frames if len(f.track_id)), default=-1),
    )
