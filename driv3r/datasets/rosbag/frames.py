"""The tree of frames in /tf and /tf_static: where sensors sit on the car, and where the car was.

REP 105: map is the parent of odom, odom of base_link; a child has one parent.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Int64

from driv3r.datasets.folder.poses import PosePath
from driv3r.datasets.reader import FARTHEST_M, UNIT_SLACK
from driv3r.datasets.rosbag.bag import Message
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import angle_rad, from_quaternion, invert
from driv3r.types import Repair, Transform

BASES, FOOTPRINT = ("base_link", "base_footprint"), "base_footprint"
WORLDS = ("map", "odom", "world")  # of several that are above the car, the first
STILL_M, STILL_RAD = 1e-4, 1e-4  # within which a transform that is sent again stays
BACKWARDS_US = 200_000  # messages come a bit out of order; a log played twice goes back farther
Row = tuple[int, tuple[float, ...]]  # time (us); x, y, z, qw, qx, qy, qz


def plain_frame(name: str) -> str:
    """A frame's name without the slash that ROS 1 put before it."""
    return name.removeprefix("/")


def row_of(time_us: int, place: Message, turn: Message) -> Row:
    """A transform's or pose's row from its messages."""
    return time_us, (place.x, place.y, place.z, turn.w, turn.x, turn.y, turn.z)


def make_path(rows: list[Row], what: str, repairs: list[Repair]) -> PosePath:
    """dst_T_src at increasing times from rows in the log's order.

    Rows that are no pose are left out and counted, of equal times the first is taken. Raises
    DatasetError where none is left, or times go back by more than 0.2 s.
    """
    times_us = np.array([time_us for time_us, _ in rows], np.int64)
    numbers = np.array([each for _, each in rows], np.float64).reshape(-1, 7)
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.linalg.norm(numbers[:, 3:], axis=1)
        usable = np.isfinite(numbers).all(axis=1) & (np.abs(length - 1) <= UNIT_SLACK)
        usable &= np.abs(numbers[:, :3]).max(axis=1) <= FARTHEST_M
    if not usable.any():
        raise DatasetError(
            f"{what}: none of {len(rows)} is a pose, the first is x, y, z, qw, qx, qy, qz "
            f"{numbers[0].tolist()}; expected finite metres and a quaternion of length 1"
        )
    if not usable.all():
        lost = f"{np.sum(~usable)} of {len(rows)} left out: not finite, or no unit quaternion"
        repairs.append(Repair(what, lost))
    times_us, numbers = times_us[usable], numbers[usable]
    check_forward(times_us, what)
    times_us, first = np.unique(times_us, return_index=True)
    return PosePath(times_us, from_quaternion(numbers[first, 3:], numbers[first, :3]))


def check_forward(times_us: Int64[np.ndarray, "n"], what: str) -> None:
    """DatasetError where times in the log's order go back by more than 0.2 s."""
    back = np.flatnonzero(np.diff(times_us) < -BACKWARDS_US)
    if len(back):
        i = int(back[0])
        raise DatasetError(
            f"{what}: the header's time {times_us[i]} us is followed by {times_us[i + 1]} us, "
            "expected an order that is right to 0.2 s; was a bag played twice while it was "
            "recorded? Cut the log there, or set clock: log in driv3r-bag.yaml"
        )


@dataclass(frozen=True, eq=False)
class ChainPoses:
    """world_T_ego as a product of transforms, each fixed or with times of its own."""

    parts: tuple[PosePath | Transform, ...]

    def at(
        self, time_us: Int64[np.ndarray, "m"]
    ) -> tuple[Float[np.ndarray, "m 4 4"], Bool[np.ndarray, "m"]]:
        """Interpolated poses, and whether all parts are known at each time."""
        world_T_ego, known = np.tile(np.eye(4), (len(time_us), 1, 1)), np.ones(len(time_us), bool)
        for part in self.parts:
            if isinstance(part, PosePath):
                place, inside = part.at(time_us)
                world_T_ego, known = world_T_ego @ place, known & inside
            else:
                world_T_ego = world_T_ego @ part
        return world_T_ego, known


@dataclass(eq=False)
class FrameTree:
    """Transforms by child and parent, made into poses when they are asked for."""

    where: str
    repairs: list[Repair]
    rows: dict[str, dict[str, list[Row]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    given: dict[str, tuple[str, Transform]] = field(default_factory=dict)  # by the settings
    _made: dict[str, tuple[str, PosePath | Transform]] = field(default_factory=dict)

    def add(self, parent: str, child: str, row: Row) -> None:
        """Take a transform of a message."""
        self.rows[plain_frame(child)][plain_frame(parent)].append(row)

    def frames(self) -> list[str]:
        """All names of frames."""
        parents = {parent for each in self.rows.values() for parent in each}
        parents |= {parent for parent, _ in self.given.values()}
        return sorted({*self.rows, *self.given, *parents})

    def climb(self, frame: str) -> list[tuple[str, PosePath | Transform]]:
        """Each ancestor of a frame, with ancestor_T_child, from its parent on.

        Raises DatasetError on a loop, and where a frame has two parents.
        """
        chain: list[tuple[str, PosePath | Transform]] = []
        met = [frame]
        while (step := self._step(met[-1])) is not None:
            chain.append(step)
            if step[0] in met:
                raise DatasetError(
                    f"{self.where}: the frames {' > '.join([*met, step[0]])} are each other's "
                    "parents, a loop; expected a tree. Repair what sends these transforms"
                )
            met.append(step[0])
        return chain

    def _step(self, child: str) -> tuple[str, PosePath | Transform] | None:
        if child in self.given:
            return self.given[child]
        if child in self._made or child not in self.rows:
            return self._made.get(child)
        parents = self.rows[child]
        if len(parents) > 1:
            raise DatasetError(
                f"{self.where}: the frame {child} has the parents {', '.join(sorted(parents))}, "
                "expected one (REP 105); name the right one under transforms in driv3r-bag.yaml, "
                "or the topic of poses"
            )
        ((parent, rows),) = parents.items()
        path = make_path(rows, f"the transform {parent} to {child}", self.repairs)
        off = invert(path.world_T_ego[0]) @ path.world_T_ego
        still = (np.linalg.norm(off[:, :3, 3], axis=1) <= STILL_M) & (angle_rad(off) <= STILL_RAD)
        made = parent, path.world_T_ego[0] if still.all() else path
        self._made[child] = made
        return made

    def rigid(self, dst: str, src: str) -> Transform:
        """dst_T_src through transforms that do not move.

        Raises DatasetError where there is no way, or only one that moves.
        """
        (up, moving_dst), (down, moving_src) = self._fixed_above(dst), self._fixed_above(src)
        shared = next((name for name in up if name in down), None)
        if shared is not None:
            return invert(up[shared]) @ down[shared]
        moves = [each for each in (moving_dst, moving_src) if each]
        reason = f"; {' and '.join(moves)} moves" if moves else ""
        raise DatasetError(
            f"{self.where}: no fixed transforms lead from {dst} to {src}{reason}. Known frames: "
            f"{', '.join(self.frames()[:30]) or 'none'}. Record /tf_static with the log, or give "
            "the transform under transforms in driv3r-bag.yaml"
        )

    def _fixed_above(self, frame: str) -> tuple[dict[str, Transform], str]:
        """ancestor_T_frame of the ancestors that a frame is fixed to, and what then moves."""
        found, at = {frame: np.eye(4)}, frame
        for parent, parent_T_child in self.climb(frame):
            if isinstance(parent_T_child, PosePath):
                return found, f"the transform {parent} to {at}"
            found[parent] = parent_T_child @ found[at]
            at = parent
        return found, ""

    def poses(self, world: str, base: str) -> ChainPoses | None:
        """world_T_base, None where the world is no ancestor of the base."""
        parts: list[PosePath | Transform] = []
        for parent, parent_T_child in self.climb(base):
            parts.insert(0, parent_T_child)
            if parent == world:
                return ChainPoses(tuple(parts))
        return None
