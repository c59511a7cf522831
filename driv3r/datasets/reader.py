"""What every reader shares: the protocol, records of what the tables promise, lazy frames.

A reader resolves all tables of a scene in `read` and opens image and LiDAR files only when a frame
is indexed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, overload, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from driv3r.datasets.depth_images import read_annotated
from driv3r.datasets.images import read_file, read_image
from driv3r.errors import DatasetError, GeometryError, UnsafePathError
from driv3r.geometry.lenses import COUNTS
from driv3r.geometry.transforms import from_quaternion, invert
from driv3r.types import (
    Camera,
    Frame,
    LensModel,
    Repair,
    Rig,
    RollingShutter,
    Scene,
    Sweep,
    Transform,
    View,
)

Row = dict[str, Any]
PART = "#"  # between a file and the place in it, in a view's path
FARTHEST_M = 2e7  # of a pose: UTM's northings and distances from the Earth's centre are below
REACH_M = 1000.0  # of a LiDAR; a point beyond it is in another unit or no point
UNIT_SLACK = 0.05  # of a quaternion's length, for one that is rounded to two digits
CAR_M = 50.0  # how far from the ego origin a sensor may be; millimetres and centimetres are farther
FOCAL_SHARES = (0.05, 100.0)  # of the larger side of an image: 169 to 0.6 degrees across


@runtime_checkable
class Reader(Protocol):
    """A dataset's scenes by split, and each scene by its id.

    A class attribute `card` (datasets.cards.DatasetCard) tells of the dataset, and may be left out.
    Frames and boxes are read from another thread than `read` was called in, one at a time: what can
    be used in one thread only, such as an SQLite connection, must allow for that.
    """

    def scenes(self, split: str) -> tuple[str, ...]:
        """Scene ids of a split; ConfigError names the known splits when it is unknown."""
        ...

    def read(self, scene_id: str) -> Scene:
        """One scene with lazy frames; DatasetError where its tables do not hold together."""
        ...


@dataclass(frozen=True)
class Root:
    """A dataset's top folder, absolute; `follow_links`: files that links in it lead out to, too."""

    path: Path
    follow_links: bool = False

    def resolve_inside(self, relative: str) -> Path:
        """The file that a table names, by the table's own name where that is plain.

        Raises UnsafePathError if it lies outside: by `..`, by an absolute name or, unless
        `follow_links`, by a link.
        """
        try:
            target = (self.path / relative).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # link loops, NUL bytes
            raise UnsafePathError(
                f"{relative!r} is no usable path below {self.path}: {error}"
            ) from error
        plain = ".." not in Path(relative).parts and not Path(relative).is_absolute()
        inside = target.is_relative_to(self.path)
        if plain and (inside or self.follow_links):
            return self.path / relative
        if inside:
            return target
        remedy = (
            "allow links that lead outside with --follow-links" if plain else "repair the table"
        )
        raise UnsafePathError(
            f"the tables name {relative!r}, which leads to {target}, outside of {self.path}; "
            f"{remedy}, or put the file below the root"
        )


@dataclass(frozen=True, eq=False)
class Datum:
    """One file that a sensor wrote, as the tables give it.

    `part` is its place in a file that holds the data of many moments, such as a byte offset or a
    row; `shutter` is a camera's, and so is `annotated`, a file of depth.
    """

    path: Path
    time_us: int
    world_T_sensor: Transform
    part: str = ""
    shutter: RollingShutter | None = None
    annotated: Path | None = None


@dataclass(frozen=True, eq=False)
class FrameSources:
    """One frame as the tables give it: a datum, or why there is none, for each camera in rig order.

    `lidar` is None where no sweep is expected. `sample` is what a dataset's annotations call it.
    """

    time_us: int
    world_T_ego: Transform
    cameras: tuple[Datum | Repair, ...]
    lidar: Datum | Repair | None
    is_keyframe: bool
    sample: str = ""


ReadImage = Callable[[Datum, Camera], UInt8[np.ndarray, "h w 3"]]
Points = Float[np.ndarray, "_ 3"]
ReadPoints = Callable[[Datum], Points | tuple[Points, Points]]  # of the LiDAR, and of others


def read_stored(datum: Datum, camera: Camera) -> UInt8[np.ndarray, "h w 3"]:
    """A camera's image as it lies there; DatasetError where it is broken or of another size."""
    return read_image(datum.path, camera.size_hw)


class LazyFrames(Sequence[Frame]):
    """Frames whose files are opened when a frame is indexed; a slice is lazy too."""

    def __init__(
        self,
        root: Path,
        records: Sequence[FrameSources],
        cameras: tuple[Camera, ...],
        read_points: ReadPoints,
        read_camera: ReadImage = read_stored,
    ) -> None:
        self._root, self._records, self._read_camera = root, records, read_camera
        self._cameras, self._read_points = cameras, read_points

    def __len__(self) -> int:
        return len(self._records)

    def sources(self, index: int) -> FrameSources:
        """What the tables say of a frame: no file is opened."""
        return self._records[index]

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyFrames": ...
    def __getitem__(self, index: int | slice) -> "Frame | LazyFrames":
        if isinstance(index, slice):
            given = (self._cameras, self._read_points, self._read_camera)
            return LazyFrames(self._root, self._records[index], *given)
        record = self._records[index]
        repairs: list[Repair] = []
        views = tuple(
            _read_view(self._root, datum, camera, repairs, self._read_camera)
            for datum, camera in zip(record.cameras, self._cameras, strict=True)
        )
        sweep = _read_sweep(record.lidar, self._read_points, repairs)
        return Frame(
            record.time_us, record.world_T_ego, views, sweep, record.is_keyframe, tuple(repairs)
        )


def _read_view(
    root: Path,
    datum: Datum | Repair,
    camera: Camera,
    repairs: list[Repair],
    read_camera: ReadImage,
) -> View | None:
    if isinstance(datum, Repair):
        repairs.append(datum)
        return None
    try:
        image = read_camera(datum, camera)
    except DatasetError as error:
        repairs.append(Repair(camera.name, f"view left out: {error}"))
        return None
    path = datum.path.relative_to(root).as_posix() + (f"{PART}{datum.part}" if datum.part else "")
    annotated = _read_annotated(datum, camera, repairs)
    return View(image, datum.time_us, datum.world_T_sensor, path, datum.shutter, annotated)


def _read_annotated(datum: Datum, camera: Camera, repairs: list[Repair]) -> Points | None:
    if datum.annotated is None:
        return None
    try:
        return read_annotated(datum.annotated, camera)
    except DatasetError as error:
        repairs.append(Repair(camera.name, f"left out of scoring: {error}"))
        return None


def _read_sweep(
    datum: Datum | Repair | None,
    read_points: ReadPoints,
    repairs: list[Repair],
) -> Sweep | None:
    if isinstance(datum, Repair):
        repairs.append(Repair("lidar", datum.reason))
    if not isinstance(datum, Datum):
        return None
    try:
        found = read_points(datum)
        own, others = found if isinstance(found, tuple) else (found, None)
        points = own if others is None else np.concatenate([own, others])
        finite = np.isfinite(points).all(axis=1)
        if not finite.any():
            raise DatasetError(f"no finite point among {len(points)}: {datum.path}")
        if not points[finite].any():  # as a power cut leaves files, or a sparse copy
            raise DatasetError(f"all {len(points)} points are 0, 0, 0: {datum.path}")
        farthest_m = float(np.abs(points[finite]).max())
        if farthest_m >= REACH_M:
            raise DatasetError(
                f"a point lies {farthest_m:g} m off, expected less than {REACH_M:g} m of a LiDAR; "
                f"are they metres, in this sensor's layout? {datum.path}"
            )
    except DatasetError as error:
        repairs.append(Repair("lidar", f"sweep left out: {error}"))
        return None
    if not finite.all():
        dropped = f"{np.sum(~finite)} of {len(points)} points are not finite and were dropped"
        repairs.append(Repair("lidar", f"{dropped}: {datum.path}"))
    own_count = None if others is None else int(finite[: len(own)].sum())
    return Sweep(points[finite], datum.time_us, datum.world_T_sensor, own_count)


def place_ego(
    rig: Rig, cameras: Sequence[Datum | Repair], lidar: Datum | Repair | None
) -> tuple[int, Transform]:
    """Time and world_T_ego of a frame: the LiDAR's, else the first camera's that gave a datum."""
    if isinstance(lidar, Datum) and rig.ego_T_lidar is not None:
        return lidar.time_us, lidar.world_T_sensor @ invert(rig.ego_T_lidar)
    for datum, camera in zip(cameras, rig.cameras, strict=True):
        if isinstance(datum, Datum):
            return datum.time_us, datum.world_T_sensor @ invert(camera.ego_T_cam)
    reasons = "; ".join(f"{gap.where}: {gap.reason}" for gap in cameras if isinstance(gap, Repair))
    raise DatasetError(f"no sensor of a frame has a time and pose: {reasons}")


def read_json(path: Path) -> Any:
    """The parsed file; DatasetError names it when it is missing or no JSON."""
    try:
        return json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path} is no valid JSON ({error}); fetch or write the file again"
        ) from error


def make_pose(
    wxyz: Sequence[Any], translation: Sequence[Any], where: str
) -> Float[np.ndarray, "4 4"]:
    """dst_T_src from table entries; DatasetError says `where` they are not a rigid transform."""
    try:
        rotation, offset = np.array(wxyz, np.float64), np.array(translation, np.float64)
        if rotation.shape != (4,) or offset.shape != (3,) or not np.isfinite(offset).all():
            raise DatasetError(
                f"{where}: expected 4 + 3 finite numbers, got {wxyz} and {translation}"
            )
        with np.errstate(over="ignore"):
            length = np.linalg.norm(rotation)
        if abs(length - 1) > UNIT_SLACK:
            raise DatasetError(
                f"{where}: the quaternion {wxyz} has length {length:.3g}, expected 1; repair the "
                "rotation (w, x, y, z)"
            )
        if np.abs(offset).max() > FARTHEST_M:
            raise DatasetError(
                f"{where}: the place {translation} is farther off than any on Earth "
                f"({FARTHEST_M:g} m); give it in metres"
            )
        return from_quaternion(rotation, offset)
    except (TypeError, ValueError, OverflowError, GeometryError) as error:
        raise DatasetError(f"{where}: {error}") from error


def check_place(name: str, ego_T_sensor: Transform) -> None:
    """DatasetError where a sensor is farther from the ego origin than a car is long."""
    way_m = float(np.linalg.norm(ego_T_sensor[:3, 3]))
    if way_m > CAR_M:
        raise DatasetError(
            f"{name} lies {way_m:.4g} m from the car's origin, expected {CAR_M:g} m at most; give "
            "the calibration, or the poses that it follows from, in metres"
        )


def make_camera(
    name: str,
    K: Float[np.ndarray, "3 3"],
    size_hw: tuple[int, int],
    ego_T_cam: Transform,
    distortion: tuple[float, ...] = (),
    lens: LensModel = "brown_conrady",
    pinhole_fov_deg: float | None = None,
) -> Camera:
    """A camera from intrinsics whose pixel centres are integers: ours are at +0.5.

    `distortion` is of the `lens` (see `geometry.lenses`), Brown's of zeros is none. Raises
    DatasetError on what no lens can have.
    """
    usable = np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0 and min(size_hw) > 0
    if not usable:
        raise DatasetError(f"camera {name} has no usable K or size: {K.tolist()}, {size_hw} (h, w)")
    _check_lens(name, K, size_hw)
    check_place(f"camera {name}", ego_T_cam)
    if len(distortion) not in COUNTS[lens] or not np.isfinite(distortion).all():
        expected = "OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, tx, ty]]]]"
        if lens != "brown_conrady":
            expected = f"{COUNTS[lens][-1]} coefficients of the lens {lens}"
        raise DatasetError(
            f"camera {name} has distortion {list(distortion)}, expected {expected} as finite "
            "numbers; repair the calibration, or undistort the images and leave it out"
        )
    if lens == "brown_conrady" and not any(distortion):
        distortion = ()
    K = K.astype(np.float64)
    K[:2, 2] += 0.5
    return Camera(name, K, size_hw, ego_T_cam, distortion, lens, pinhole_fov_deg)


def _check_lens(name: str, K: Float[np.ndarray, "3 3"], size_hw: tuple[int, int]) -> None:
    """DatasetError where K is transposed, of another image size, or not in pixels."""
    height, width = size_hw
    least, most = (share * max(size_hw) for share in FOCAL_SHARES)
    for expected, holds in {
        "rows (fx, skew, cx), (0, fy, cy), (0, 0, 1)": np.allclose(
            [*K[2], K[1, 0]], [0, 0, 1, 0], atol=1e-6
        ),
        f"fx and fy of {least:g} to {most:g} pixels": least <= min(K[0, 0], K[1, 1])
        and max(K[0, 0], K[1, 1]) <= most,
        f"cx, cy in the image of {width} x {height}": 0 <= K[0, 2] <= width
        and 0 <= K[1, 2] <= height,
    }.items():
        if not holds:
            raise DatasetError(
                f"camera {name} has K {K.tolist()}, expected {expected}; give the intrinsics in "
                "pixels of the images as they lie there"
            )
