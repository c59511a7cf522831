"""Faults of ZOD's folders."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.errors import UnsafePathError
from tests.datasets import tiny_zod as tiny
from tests.datasets.json_files import edit
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.matrix_kitti import loop
from tests.faults.rows import ReaderFault
from tests.faults.subjects import ZOD, ZOD_BOXES

AT, LAST = 1, tiny.FRAMES - 1  # the moment that is harmed
LOST, BLIND = {"lost": ((AT, "camera_front"),)}, {"lost": ((AT, "lidar"),)}
CALIBRATION, MOTION = f"{tiny.FOLDER}/calibration.json", f"{tiny.FOLDER}/ego_motion.json"
row, box = partial(ReaderFault, ZOD), partial(ReaderFault, ZOD_BOXES)
image = partial(to_file, lambda root: tiny.image_files(root)[AT])
cloud = partial(to_file, lambda root: tiny.lidar_files(root)[AT])
last_image = partial(to_file, lambda root: tiny.image_files(root)[LAST])
calibration = partial(to_file, lambda root: root / CALIBRATION)
motion = partial(to_file, lambda root: root / MOTION)


def front(key: str, value: Any) -> Harm:
    """Another value of the front camera's calibration."""
    return lambda root: edit(root / CALIBRATION, "FC", key, value=value)


def labels(*keys: Any, value: Any) -> Harm:
    """Another value in the keyframe's boxes."""
    return lambda root: edit(tiny.label_file(root), *keys, value=value)


def poses(key: str, change: Callable[[Any], Any]) -> Harm:
    return lambda root: edit(root / MOTION, key, value=change(tiny.poses()[key]))


def points(changed: np.ndarray) -> Harm:
    return cloud(lambda path: tiny.write_points(path, changed))


def without_z(path: Path) -> None:
    np.save(path, np.zeros(5, [("x", "<f4"), ("y", "<f4")]))


def pickled(path: Path) -> None:
    np.save(path, np.array([{"x": 1}], object), allow_pickle=True)


def moved(matrix: list[list[float]], scale: float) -> list[list[float]]:
    made = np.array(matrix)
    made[:3, 3] *= scale
    return made.tolist()


def broken(index: int, value: float) -> Callable[[Any], Any]:
    """The poses with another first number in one of them."""

    def change(given: Any) -> Any:
        given[index][0][0] = value
        return given

    return change


def holed() -> np.ndarray:
    made = tiny.POINTS + np.float32(AT) / 8
    made[1, 1] = np.nan
    return made


def renamed(path: Path) -> None:
    path.rename(path.with_name(f"{tiny.ID}_{AT:06d}{path.suffix}"))


def copied(path: Path) -> None:
    """Another image of the same time, from another car."""
    twin = path.with_name(path.name.replace(tiny.CAR, "quebec"))
    twin.write_bytes(path.read_bytes())


FAULTS = (
    row("missing", "the last image", last_image(Path.unlink), "repair",
        "lidar: 1 of 4 sweeps belong to no frame", frames=LAST,
        lost=((LAST, "camera_front"), (LAST, "lidar"))),
    row("missing", "the calibration", calibration(Path.unlink), "error",
        "holds no ZOD log: expected sequences/<id>"),
    row("missing", "the lens's coefficients", front("distortion", None), "error",
        "calibration.json: FC distortion is None, expected finite numbers of shape (4,)"),
    row("missing", "the LiDAR's place", front("lidar_extrinsics", None), "error",
        "calibration.json: FC lidar_extrinsics: expected 4 rows of 4"),
    row("missing", "the poses' times", motion(harms.put(b'{"poses": []}')), "error",
        "ego_motion.json: expected numbers under timestamps and poses"),
    row("truncated", "an image", image(harms.cut(0.6)), "repair",
        "camera_front: view left out: the image is cut short", **LOST),
    row("truncated", "a sweep", cloud(harms.cut(0.7)), "repair",
        "lidar: sweep left out: the point cloud can not be read", **BLIND),
    row("truncated", "the calibration", calibration(harms.cut(0.7)), "error",
        "calibration.json is no valid JSON"),
    row("truncated", "the poses", poses("poses", lambda given: given[:-1]), "error",
        "timestamps of shape (8,) and poses of (7, 4, 4), expected as many"),
    row("wrong type", "a calibration of another layout", calibration(harms.put(b"[]")), "error",
        "calibration.json has no camera FC"),
    row("wrong type", "a lens of 5 coefficients", front("distortion", [0.1] * 5), "error",
        "FC distortion is [0.1, 0.1, 0.1, 0.1, 0.1], expected finite numbers of shape (4,)"),
    row("wrong type", "a name without a time", image(renamed), "error",
        "holds no time, expected <id>_<car>_2022-02-14T13:23:32.140954Z"),
    row("wrong type", "a sweep without z", cloud(without_z), "repair",
        "has the columns x, y, expected x, y, z among them", **BLIND),
    row("wrong type", "poses in words", poses("poses", lambda _: "none"), "error",
        "ego_motion.json: expected numbers under timestamps and poses"),
    row("wrong unit", "points in millimetres", points(1000 * tiny.POINTS), "repair",
        "expected less than 1000 m of a LiDAR", **BLIND),
    row("wrong unit", "the camera's place in millimetres",
        front("extrinsics", moved(tiny.rigid(tiny.EGO_T_CAM), 1000)), "error",
        "camera camera_front lies 2422 m from the car's origin"),
    row("wrong unit", "poses' times in milliseconds",
        poses("timestamps", lambda given: [1000 * each for each in given]), "error",
        "ego_motion.json: timestamps are not all seconds since 1970"),
    row("wrong unit", "poses in millimetres", poses("poses", lambda given: [
            moved(each, 1000) for each in given]), "error", "m/s, expected 100 m/s at most"),
    row("wrong unit", "a focal length in millimetres",
        front("intrinsics", [[0.1, 0, 31.6], [0, 0.1, 17.9], [0, 0, 1]]), "error",
        "camera camera_front has K ...expected fx and fy of"),
    row("out of range", "poses of another day",
        poses("timestamps", lambda given: [each + 86400 for each in given]), "error",
        "none of 4 frames of ...lies between two poses of ego_motion.json"),
    row("out of range", "a camera's rotation of twice the length",
        front("extrinsics", [[0, 0, 2, 2], [-2, 0, 0, 0], [0, -2, 0, 1], [0, 0, 0, 1]]), "error",
        "FC extrinsics has no rotation"),
    row("out of range", "images of another size", front("image_dimensions", [128, 72]), "repair",
        "the image is (36, 64) (h, w), the tables say (72, 128)",
        lost=tuple((i, "camera_front") for i in range(tiny.FRAMES))),
    row("NaN", "the last pose", poses("poses", broken(-1, float("nan"))), "repair",
        "poses: 1 of 8 of ego_motion.json left out: no rigid transforms",
        lost=((LAST, "lidar"),)),
    row("NaN", "a focal length", front("intrinsics", [[float("nan")] * 3] * 3), "error",
        "FC intrinsics is [[nan, nan, nan]"),
    row("NaN", "a point", points(holed()), "repair",
        "1 of 4 points are not finite and were dropped", thinned=AT),
    row("duplicated", "an image's time", image(copied), "error",
        "has two files or rows of"),
    row("duplicated", "a pose", lambda root: (
            poses("poses", lambda given: [*given, given[-1]])(root),
            poses("timestamps", lambda given: [*given, given[-1]])(root)), "same", ""),
    row("unsorted", "the poses", lambda root: (
            poses("poses", lambda given: given[::-1])(root),
            poses("timestamps", lambda given: given[::-1])(root)), "same", ""),
    row("hostile", "a link that leads out of the root",
        lambda root: harms.link_outside(root, root / CALIBRATION), "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a link to itself", image(loop), "error", "is no usable path below",
        UnsafePathError),
    row("hostile", "a sweep of pickled objects", cloud(pickled), "repair",
        "lidar: sweep left out: the point cloud can not be read", **BLIND),
    row("hostile", "an image of 30000 x 30000", image(harms.put(harms.bomb_png())), "repair",
        "the image is (30000, 30000) (h, w)", **LOST),
)  # fmt: skip
FIRST = (0, "properties")
BOX_FAULTS = (
    box("missing", "an object's properties", labels(0, value={}), "error",
        "object_detection.json object 0 has no properties"),
    box("missing", "a box's width", labels(*FIRST, "size_3d_width", value=None), "error",
        "object 0: a box of size [4.5, None, 1.6], expected numbers from 0 to 100 m"),
    box("truncated", "the file", to_file(tiny.label_file, harms.cut(0.6)), "error",
        "object_detection.json is no valid JSON"),
    box("wrong type", "a file of another kind", to_file(tiny.label_file, harms.put(b"{}")),
        "error", "object_detection.json holds a dict, expected a list"),
    box("wrong type", "a place without coordinates", labels(*FIRST, "location_3d", value=[1, 2]),
        "error", "object 0: location_3d has no coordinates"),
    box("wrong type", "the keyframe's time in words",
        lambda root: edit(root / tiny.FOLDER / "info.json", "keyframe_time", value="noon"),
        "error", "info.json: keyframe_time is 'noon', expected a time"),
    box("wrong unit", "a length in millimetres", labels(*FIRST, "size_3d_length", value=4500),
        "error", "object 0: a box of size [4500, 1.9, 1.6]"),
    box("out of range", "a turn of twice the length", labels(*FIRST, "orientation_3d_qw", value=2),
        "error", "object 0: the quaternion ...expected 1"),
    box("NaN", "a place", labels(*FIRST, "location_3d", "coordinates", 0, value=float("nan")),
        "error", "object 0: expected 4 + 3 finite numbers"),
    box("duplicated", "an object", labels(1, "properties", "annotation_uuid", value="a"), "error",
        "object 1 is annotated twice: a"),
)  # fmt: skip
