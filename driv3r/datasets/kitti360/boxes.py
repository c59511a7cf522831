"""KITTI-360's boxes of what can move: data_3d_bboxes/train/<drive>.xml.

The fields' meaning and the numbers of classes are as in the authors' kitti360scripts
(helpers/annotation.py, labels.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float, Int64

from driv3r.datasets.boxes import LARGEST_M, with_velocities
from driv3r.datasets.reader import FARTHEST_M
from driv3r.datasets.xml_files import read_children
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import make_transform
from driv3r.types import Boxes, BoxesOf, Transform

# Of semanticId, which in these files is what the scripts call kittiId.
CLASSES = {
    13: "car",
    14: "truck",
    15: "trailer",
    16: "caravan",
    17: "motorcycle",
    18: "bicycle",
    19: "person",
    20: "rider",
    33: "train",
    34: "bus",
    36: "unknown vehicle",
}
REACH_M = 100.0  # of a box from the car; the files tell standing objects of the whole drive
STANDS = -1  # the timestamp of what stands throughout
SHEAR = 0.05  # of a box's axes, by their cosines; they are drawn by hand


@dataclass(frozen=True, eq=False)
class Box:
    """One object: throughout if it stands, else in the frame of a number."""

    instance: str
    label: str
    number: int | None
    world_T_box: Transform
    size_m: Float[np.ndarray, "3"]


class Annotations:
    """Boxes by frame; the file is read when first asked for.

    A frame is annotated whose number lies in any object's window (start_frame to end_frame, some
    200 m of the way): windows tell what was annotated together, not where an object is seen. Of
    several boxes of one object, as where windows overlap, the first counts. `numbers` and
    `places_world` are the frames' own; the dataset's world is `origin_world` off the log's.
    """

    def __init__(
        self,
        path: Path,
        numbers: Sequence[int],
        places_world: Float[np.ndarray, "t 3"],
        time_us: Int64[np.ndarray, "t"],
        origin_world: tuple[float, float, float],
    ) -> None:
        self._path, self._numbers, self._time_us = path, numbers, time_us
        self._places_world, self._origin_world = places_world, origin_world

    def boxes(self, frame: int) -> Boxes | None:
        """The boxes of a frame in the world of its log, None where it is not annotated.

        Raises DatasetError where the file is broken.
        """
        return self._boxes(frame)

    @cached_property
    def _all(self) -> tuple[list[Box], set[tuple[int, int]]]:
        """All objects that can move, and all windows."""
        found, windows = list[Box](), set[tuple[int, int]]()
        for element in read_children(self._path):
            if element.find("transform") is None:
                continue
            where = f"{self._path} {element.tag}"
            first, last = (_whole(element, f"{end}_frame", where) for end in ("start", "end"))
            windows.add((first, last))
            label = CLASSES.get(_whole(element, "semanticId", where))
            if label is not None:
                found.append(_read_box(element, label, where))
        return found, windows

    @cached_property
    def _boxes(self) -> BoxesOf:
        annotated = [
            frame
            for frame, number in enumerate(self._numbers)
            if any(first <= number <= last for first, last in self._all[1])
        ]
        return with_velocities(self._read, annotated, self._time_us)

    def _read(self, frame: int) -> Boxes:
        held: dict[str, Box] = {}
        for box in self._all[0]:
            away_m = np.linalg.norm(box.world_T_box[:3, 3] - self._places_world[frame])
            if box.number in (None, self._numbers[frame]) and away_m <= REACH_M:
                held.setdefault(box.instance, box)
        chosen = list(held.values())
        world_T_box = np.array([box.world_T_box for box in chosen]).reshape(-1, 4, 4)
        world_T_box[:, :3, 3] -= self._origin_world
        stands = np.array([box.number is None for box in chosen], bool)
        return Boxes(
            tuple(held),
            tuple(box.label for box in chosen),
            world_T_box,
            np.array([box.size_m for box in chosen]).reshape(-1, 3),
            np.tile(np.where(stands, 0.0, np.nan)[:, None], 3),
        )


def _read_box(element: Element, label: str, where: str) -> Box:
    """A cuboid of any size in the object's frame, which `transform` turns, stretches and places."""
    matrix, corners = _matrix(element, "transform", where), _matrix(element, "vertices", where)
    if matrix.shape != (4, 4) or corners.shape[1:] != (3,) or not len(corners):
        raise DatasetError(
            f"{where}: transform is of {matrix.shape} and vertices of {corners.shape}, expected 4 "
            "x 4 and n x 3; fetch the file again"
        )
    least, most = corners.min(axis=0), corners.max(axis=0)
    stretch = np.linalg.norm(matrix[:3, :3], axis=0)
    size_m = stretch * (most - least)
    if not ((size_m > 0) & (size_m <= LARGEST_M)).all():
        raise DatasetError(
            f"{where}: a box of size {size_m.tolist()}, expected 0 to {LARGEST_M:g} m a side"
        )
    axes = matrix[:3, :3] / stretch
    if np.linalg.det(axes) < 0:  # mirrored, which a cuboid does not show
        axes[:, 1] *= -1
    off = float(np.abs(axes.T @ axes - np.eye(3)).max())
    center = matrix[:3, :3] @ ((least + most) / 2) + matrix[:3, 3]
    if off > SHEAR or np.abs(center).max() > FARTHEST_M:
        raise DatasetError(
            f"{where}: transform {matrix.tolist()} is no box's: its axes are {off:.3g} off right "
            f"angles, expected {SHEAR:g} at most, and its centre is at {center.tolist()} m"
        )
    u, _, vt = np.linalg.svd(axes)
    time, number = _whole(element, "timestamp", where), _whole(element, "instanceId", where)
    at = None if time == STANDS else time
    return Box(f"{label} {number}", label, at, make_transform(u @ vt, center), size_m)


def _whole(element: Element, name: str, where: str) -> int:
    text = element.findtext(name)
    try:
        return int(text or "")
    except ValueError as error:
        raise DatasetError(f"{where}: {name} is {text!r}, expected a whole number") from error


def _matrix(element: Element, name: str, where: str) -> Float[np.ndarray, "r c"]:
    """A matrix as OpenCV writes it: rows, cols, dt and data."""
    told = element.find(name)
    if told is None:
        raise DatasetError(f"{where} has no {name}; fetch the file again")
    rows, columns = (_whole(told, key, f"{where} {name}") for key in ("rows", "cols"))
    try:
        numbers = np.array((told.findtext("data") or "").split(), np.float64)
    except ValueError as error:
        raise DatasetError(f"{where}: {name}: {error}; expected numbers") from error
    if rows < 1 or len(numbers) != rows * columns or not np.isfinite(numbers).all():
        raise DatasetError(
            f"{where}: {name} has {len(numbers)} numbers, expected {rows} x {columns} finite ones; "
            "fetch the file again"
        )
    return numbers.reshape(rows, columns)
