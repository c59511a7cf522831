"""A log's LiDAR sweeps with what stands and what moves in them: the truth of a fused world."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from driv3r.evaluation.metrics.motion import (
    BOX_MARGIN_M,
    MOVES_MPS,
    STANDS_MPS,
    find_inside,
    label_motion,
)
from driv3r.geometry.cameras import project
from driv3r.geometry.lidar import measure_spacing
from driv3r.geometry.sampling import spread_rows
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes, Camera, Sweep, Transform

NEAREST_M, RANGE_M = 3.0, 40.0  # of a LiDAR point from its sensor: not the own car, and not far
MOVER_MARGIN_M = 0.3
THIN_M = 0.1

Box = tuple[Transform, Float[np.ndarray, "3"]]  # ego_T_box and size_m


@dataclass(frozen=True, eq=False)
class Scan:
    """One sweep in the ego frame, thinned: what is known of its points, and where it was taken.

    `still` points lie in no box that moves or may move, `moves` ones in a moving box; both within
    RANGE_M. `in_view` ones fall into the image of a camera. `standing` are the boxes that stand,
    None where nobody annotated any.
    """

    frame: int
    points_ego: Float[np.ndarray, "n 3"]
    still: Bool[np.ndarray, "n"]
    moves: Bool[np.ndarray, "n"]
    in_view: Bool[np.ndarray, "n"]
    origin_ego: Float[np.ndarray, "3"]
    spacing_rad: float
    standing: tuple[tuple[str, Box], ...] | None


@dataclass(eq=False)
class Scans:
    """The sweeps of a log, and the instances that move at some annotated time of it."""

    scans: list[Scan] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Scan]:
        return iter(self.scans)

    def sample(self, most: int) -> list[Scan]:
        """At most so many of them, evenly spread."""
        return [self.scans[row] for row in spread_rows(len(self.scans), most)]

    def add(
        self,
        frame: int,
        world_T_ego: Transform,
        sweep: Sweep,
        boxes: Boxes | None,
        views: Sequence[tuple[Camera, Transform]] | None = None,
    ) -> None:
        """One sweep, the boxes of its frame and its cameras with world_T_cam, all in one world.

        Without `views` every point counts as in view. A sweep without a usable point is left out.
        """
        ego_T_lidar = invert(world_T_ego) @ sweep.world_T_lidar
        points = sweep.points_lidar[np.isfinite(sweep.points_lidar).all(-1)]
        points = points[thin(points, THIN_M)].astype(np.float64)
        range_m = np.linalg.norm(points, axis=-1)
        points, range_m = points[range_m >= NEAREST_M], range_m[range_m >= NEAREST_M]
        still, moves = range_m <= RANGE_M, np.zeros(len(points), bool)
        points_world, standing = apply(sweep.world_T_lidar, points), None
        if boxes is not None:
            moves = label_motion(points_world, boxes)[0] & still
            for i in np.flatnonzero(~(boxes.speed_mps < STANDS_MPS)):
                box = boxes.world_T_box[i], boxes.size_m[i], MOVER_MARGIN_M
                still &= ~find_inside(points_world, *box)
            standing = _list_standing(boxes, invert(world_T_ego))
            self.moved |= {boxes.instance[i] for i in np.flatnonzero(boxes.speed_mps > MOVES_MPS)}
        if not len(points):
            return
        self.scans.append(
            Scan(
                frame,
                apply(ego_T_lidar, points),
                still,
                moves,
                np.ones(len(points), bool) if views is None else _in_view(points_world, views),
                ego_T_lidar[:3, 3],
                max(measure_spacing(sweep.own_points)),
                standing,
            )
        )

    def place_still(self, world_T_ego: Float[np.ndarray, "t 4 4"]) -> Float[np.ndarray, "n 3"]:
        """All points that stand at their own time, placed by a path; one a cell of THIN_M."""
        parts = [apply(world_T_ego[scan.frame], scan.points_ego[scan.still]) for scan in self]
        points = np.concatenate([np.zeros((0, 3)), *parts])
        return points[thin(points, THIN_M)]

    def place_moving(self, world_T_ego: Float[np.ndarray, "t 4 4"]) -> Float[np.ndarray, "n 3"]:
        """All points that move at their own time, placed by a path."""
        parts = [apply(world_T_ego[scan.frame], scan.points_ego[scan.moves]) for scan in self]
        return np.concatenate([np.zeros((0, 3)), *parts])

    def place_by_object(
        self, world_T_ego: Float[np.ndarray, "t 4 4"]
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "m 3"]]:
        """Points in view that never move, and those of objects that move at any time of the log.

        So what waits at a light and drives off is of the second kind from its first frame on. Only
        of annotated sweeps.
        """
        never, ever = [np.zeros((0, 3))], [np.zeros((0, 3))]
        for scan in self:
            if scan.standing is None:
                continue
            still, moves = scan.still.copy(), scan.moves.copy()
            within = still | moves
            for instance, (ego_T_box, size_m) in scan.standing:
                if instance in self.moved:
                    wide = find_inside(scan.points_ego, ego_T_box, size_m, MOVER_MARGIN_M)
                    box = find_inside(scan.points_ego, ego_T_box, size_m, BOX_MARGIN_M)
                    still &= ~wide
                    moves |= box & within
            for kind, chosen in ((never, still), (ever, moves)):
                kind.append(apply(world_T_ego[scan.frame], scan.points_ego[chosen & scan.in_view]))
        return np.concatenate(never), np.concatenate(ever)


def thin(points: Float[np.ndarray, "n 3"], cell_m: float) -> np.ndarray:
    """Rows of the first point of every cell."""
    cells = np.floor(points / cell_m).astype(np.int64)
    cells -= cells.min(axis=0, initial=0)
    number = np.ravel_multi_index(tuple(cells.T), tuple(cells.max(axis=0, initial=0) + 1))
    return np.unique(number, return_index=True)[1]


def _list_standing(boxes: Boxes, ego_T_world: Transform) -> tuple[tuple[str, Box], ...]:
    return tuple(
        (boxes.instance[i], (ego_T_world @ boxes.world_T_box[i], boxes.size_m[i]))
        for i in np.flatnonzero(boxes.speed_mps < STANDS_MPS)
    )


def _in_view(
    points_world: Float[np.ndarray, "n 3"], views: Sequence[tuple[Camera, Transform]]
) -> Bool[np.ndarray, "n"]:
    seen = np.zeros(len(points_world), bool)
    for camera, world_T_cam in views:
        rest = np.flatnonzero(~seen)
        seen[rest] = project(camera, apply(invert(world_T_cam), points_world[rest]))[2]
    return seen
