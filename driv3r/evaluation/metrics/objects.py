"""Tracks of moving objects against annotated boxes, each frame seen from the car."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from driv3r.evaluation.metrics.motion import MOVES_MPS, STANDS_MPS, find_inside
from driv3r.evaluation.metrics.tracking import TrackedFrame, clear_mot, hota, identity_f1
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes, MovingObjects, Score, Sweep, Transform

PROTOCOL, SUBJECT = "objects", "fusion"
RANGE_M = 40.0
NO_MATCH_M = 4.0  # similarity falls linearly to 0 at this distance of centres on the ground
MATCH = 0.5  # as near as 2 m
NEAR_STANDING_M = 1.0
FOUND_SHARE = 0.5  # of an object's scored frames in which it has to be matched to be found
BANDS_M = ((0, 20), (20, 40))
KINDS = {"pedestrian": ("pedestrian", "human"), "cyclist": ("cycl", "rider")}  # else vehicle
CARD = {
    "protocol": PROTOCOL,
    "truth": f"annotated boxes faster than {MOVES_MPS} m/s, with a LiDAR point in them, within "
    f"{RANGE_M:g} m of the car; other moving boxes, and those of unknown speed, are ignored: a "
    "state matched with one counts neither way",
    "match": f"centres within {NO_MATCH_M * MATCH:g} m on the ground, in the car's frame of each "
    "moment, so that the path's drift is not counted again; similarity for HOTA is 1 - distance / "
    f"{NO_MATCH_M:g} m",
    "movers_found": f"share of objects matched in {FOUND_SHARE:.0%} of their scored frames or more",
    "tracks_per_mover": "tracks matched with a found object",
    "false_states": "share of states within range that match no moving object",
}


@dataclass(frozen=True, eq=False)
class _Truth:
    """The boxes of a frame in the ego frame; `counted` ones are scored."""

    frame: int
    instance: tuple[str, ...]
    kind: tuple[str, ...]
    center_ego: Float[np.ndarray, "n 3"]
    forward_ego: Float[np.ndarray, "n 3"]
    velocity_ego: Float[np.ndarray, "n 3"]
    counted: Bool[np.ndarray, "n"]
    ignored: Bool[np.ndarray, "n"]
    standing: Boxes


@dataclass(frozen=True, eq=False)
class _States:
    """The states of a frame in the ego frame."""

    track_id: Int[np.ndarray, "m"]
    center_ego: Float[np.ndarray, "m 3"]
    forward_ego: Float[np.ndarray, "m 3"]
    velocity_ego: Float[np.ndarray, "m 3"]


class ObjectScorer:
    """Collects the annotated frames of a log; `scores` compares a log's tracks with them."""

    def __init__(self) -> None:
        self._frames: list[_Truth] = []

    def add(self, frame: int, world_T_ego: Transform, boxes: Boxes, sweep: Sweep) -> None:
        """The boxes of one frame, in the world of the given ego pose.

        Where no box has a known speed nobody knows what moves: nothing is scored.
        """
        if len(boxes.instance) and np.isnan(boxes.speed_mps).all():
            return
        ego_T_world = invert(world_T_ego)
        center_ego = apply(ego_T_world, boxes.world_T_box[:, :3, 3])
        near = np.linalg.norm(center_ego[:, :2], axis=-1) <= RANGE_M
        moving = boxes.speed_mps > MOVES_MPS
        standing = boxes.speed_mps < STANDS_MPS
        points_world = apply(sweep.world_T_lidar, sweep.points_lidar.astype(np.float64))
        seen = np.zeros(len(moving), bool)
        for i in np.flatnonzero(moving & near):
            inside = find_inside(points_world, boxes.world_T_box[i], boxes.size_m[i])
            seen[i] = bool(inside.any())
        counted = moving & near & seen
        self._frames.append(
            _Truth(
                frame,
                boxes.instance,
                tuple(map(kind_of, boxes.label)),
                center_ego,
                (ego_T_world @ boxes.world_T_box)[:, :3, 0],
                boxes.velocity_world_mps @ ego_T_world[:3, :3].T,
                counted,
                ~counted & ~standing,
                _choose(boxes, standing & near, ego_T_world),
            )
        )

    def scores(
        self, objects: MovingObjects, world_T_ego: Float[np.ndarray, "t 4 4"]
    ) -> list[Score]:
        """Every figure; none where no frame was annotated. `world_T_ego` is the log's own path."""
        if not self._frames:
            return []
        instances = {name: i for i, name in enumerate(dict.fromkeys(self._names()))}
        tally = _Tally(instances)
        for truth in self._frames:
            states = _states_of(objects, truth.frame, invert(world_T_ego[truth.frame]))
            tally.add(truth, states)
        return tally.scores(objects)

    def _names(self):
        return (name for truth in self._frames for name in truth.instance)


class _Tally:
    """Counts over the frames of one log."""

    def __init__(self, instances: dict[str, int]):
        self.instances = instances
        self.frames: list[TrackedFrame] = []
        self.truths: list[tuple[_Truth, np.ndarray]] = []
        self.states: list[_States] = []

    def add(self, truth: _Truth, states: _States) -> None:
        rows = np.flatnonzero(truth.counted | truth.ignored)
        similarity = _similarity(truth.center_ego[rows], states.center_ego)
        first, second = linear_sum_assignment(
            np.where(similarity >= MATCH, similarity, 0.0), maximize=True
        )
        good = similarity[first, second] >= MATCH
        to_ignore = second[good & truth.ignored[rows[first]]]
        kept = np.setdiff1d(np.arange(len(states.track_id)), to_ignore)
        counted = truth.counted[rows]
        true_id = np.array([self.instances[truth.instance[i]] for i in rows[counted]], int)
        states = _States(
            states.track_id[kept],
            states.center_ego[kept],
            states.forward_ego[kept],
            states.velocity_ego[kept],
        )
        self.frames.append(TrackedFrame(true_id, states.track_id, similarity[counted][:, kept]))
        self.truths.append((truth, rows[counted]))
        self.states.append(states)

    def scores(self, objects: MovingObjects) -> list[Score]:
        clear = clear_mot(self.frames, MATCH)
        false = [
            np.setdiff1d(np.arange(len(states.track_id)), columns)
            for states, (_, columns) in zip(self.states, clear.pairs, strict=True)
        ]
        on_standing = sum(
            int(_find_on(states.center_ego[rows], truth.standing).sum())
            for states, rows, (truth, _) in zip(self.states, false, self.truths, strict=True)
        )
        states = sum(len(s.track_id) for s in self.states)
        _, lengths = np.unique(objects.track_id, return_counts=True)
        found, per_mover = self._count_found(clear.pairs)
        figures: dict[str, tuple[float, str, int]] = {
            "mota": (clear.mota, "", clear.true),
            "idf1": (identity_f1(self.frames, MATCH), "", clear.true),
            "hota": (hota(self.frames), "", clear.true),
            "movers_found": _ratio(sum(found), len(found)),
            "tracks_per_mover": _ratio(sum(per_mover), len(per_mover)),
            "false_states": _ratio(clear.false, states),
            "states_on_standing": _ratio(on_standing, states),
            "single_state_tracks": _ratio(int((lengths == 1).sum()), len(lengths)),
            "identity_switches": (float(clear.switches), "", clear.true),
            **self._recalls(clear.pairs),
            **self._errors(clear.pairs),
        }
        return [
            Score(metric, float(value), unit, n, PROTOCOL, SUBJECT, "none")
            for metric, (value, unit, n) in figures.items()
            if n
        ]

    def _count_found(self, pairs) -> tuple[list[bool], list[int]]:
        """Of each object whether it was found, and of the found ones how many tracks they had."""
        seen: dict[int, int] = {}
        tracks: dict[int, list[int]] = {}
        for frame, (rows, columns) in zip(self.frames, pairs, strict=True):
            for true in frame.true_id.tolist():
                seen[true] = seen.get(true, 0) + 1
            for true, track in zip(frame.true_id[rows], frame.track_id[columns], strict=True):
                tracks.setdefault(int(true), []).append(int(track))
        found = {true: len(tracks.get(true, ())) >= FOUND_SHARE * n for true, n in seen.items()}
        return list(found.values()), [len(set(tracks[t])) for t, ok in found.items() if ok]

    def _recalls(self, pairs) -> dict[str, tuple[float, str, int]]:
        """Share of true boxes matched: in all, by kind and by distance."""
        matched, kinds, distances = [], [], []
        for (truth, rows), (hits, _) in zip(self.truths, pairs, strict=True):
            matched.append(np.isin(np.arange(len(rows)), hits))
            kinds += [truth.kind[i] for i in rows]
            distances.append(np.linalg.norm(truth.center_ego[rows, :2], axis=-1))
        hit, kind, distance_m = np.concatenate(matched), np.array(kinds), np.concatenate(distances)
        figures = {"recall": _ratio(int(hit.sum()), len(hit))}
        for name in ("vehicle", *KINDS):
            of_kind = hit[kind == name]
            figures[f"recall_{name}"] = _ratio(int(of_kind.sum()), len(of_kind))
        for low, high in BANDS_M:
            inside = hit[(distance_m >= low) & (distance_m < high)]
            figures[f"recall_{low}_{high}_m"] = _ratio(int(inside.sum()), len(inside))
        return figures

    def _errors(self, pairs) -> dict[str, tuple[float, str, int]]:
        """Median errors of the matched states."""
        off_m, off_mps, off_deg = [], [], []
        for (truth, rows), states, (hits, columns) in zip(
            self.truths, self.states, pairs, strict=True
        ):
            true = rows[hits]
            off_m.append(truth.center_ego[true, :2] - states.center_ego[columns, :2])
            off_mps.append(truth.velocity_ego[true, :2] - states.velocity_ego[columns, :2])
            cosine = (truth.forward_ego[true] * states.forward_ego[columns]).sum(-1)
            off_deg.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        lengths_m, lengths_mps = (
            np.linalg.norm(np.concatenate(off), axis=-1) for off in (off_m, off_mps)
        )
        return {
            "center_error": _median(lengths_m, "m"),
            "velocity_error": _median(lengths_mps, "m/s"),
            "heading_error": _median(np.concatenate(off_deg), "deg"),
        }


def kind_of(label: str) -> str:
    """pedestrian, cyclist or vehicle, of any dataset's label."""
    label = label.lower()
    return next((k for k, words in KINDS.items() if any(w in label for w in words)), "vehicle")


def _choose(boxes: Boxes, chosen: Bool[np.ndarray, "n"], ego_T_world: Transform) -> Boxes:
    """Some boxes, in the ego frame."""
    instance, label = (
        tuple(name for name, keep in zip(of, chosen, strict=True) if keep)
        for of in (boxes.instance, boxes.label)
    )
    ego_T_box = ego_T_world @ boxes.world_T_box[chosen]
    velocity_mps = boxes.velocity_world_mps[chosen]
    return Boxes(instance, label, ego_T_box, boxes.size_m[chosen], velocity_mps)


def _states_of(objects: MovingObjects, frame: int, ego_T_world: Transform) -> _States:
    rows = np.flatnonzero(objects.frame == frame)
    ego_T_object = ego_T_world @ objects.world_T_object[rows]
    rows = rows[near := np.linalg.norm(ego_T_object[:, :2, 3], axis=-1) <= RANGE_M]
    return _States(
        objects.track_id[rows],
        ego_T_object[near, :3, 3],
        ego_T_object[near, :3, 0],
        objects.velocity_world_mps[rows] @ ego_T_world[:3, :3].T,
    )


def _similarity(
    true: Float[np.ndarray, "n 3"], found: Float[np.ndarray, "m 3"]
) -> Float[np.ndarray, "n m"]:
    distance_m = np.linalg.norm(true[:, None, :2] - found[None, :, :2], axis=-1)
    return np.maximum(1 - distance_m / NO_MATCH_M, 0.0)


def _find_on(center_ego: Float[np.ndarray, "m 3"], standing: Boxes) -> Bool[np.ndarray, "m"]:
    """Which states lie on a standing box."""
    on = np.zeros(len(center_ego), bool)
    for ego_T_box, size_m in zip(standing.world_T_box, standing.size_m, strict=True):
        on |= find_inside(center_ego, ego_T_box, size_m, NEAR_STANDING_M)
    return on


def _ratio(part: int, whole: int) -> tuple[float, str, int]:
    return (part / whole if whole else float("nan")), "", whole


def _median(values: Float[np.ndarray, "n"], unit: str) -> tuple[float, str, int]:
    known = values[np.isfinite(values)]
    return (float(np.median(known)) if len(known) else float("nan")), unit, len(known)
