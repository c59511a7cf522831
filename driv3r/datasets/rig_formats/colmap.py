"""A COLMAP model in text: cameras.txt and rigs.txt (COLMAP 3.12 or later), images.txt for names.

https://colmap.github.io/format.html: pixel centres are at +0.5, `sensor_from_rig` as w, x, y, z.
"""

from pathlib import Path

import numpy as np

from driv3r.datasets.folder.rig_file import RigCamera, RigFile
from driv3r.datasets.images import read_file
from driv3r.datasets.reader import make_pose
from driv3r.datasets.rig_formats.options import ImportOptions, describe_place, place_first
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import invert
from driv3r.settings import PLAIN_NAME
from driv3r.types import Transform

# Model -> lens, and where fx, fy, cx, cy and the distortion are among its parameters (-1: 0).
MODELS: dict[str, tuple[str, tuple[int, int, int, int], tuple[int, ...]]] = {
    "SIMPLE_PINHOLE": ("pinhole", (0, 0, 1, 2), ()),
    "PINHOLE": ("pinhole", (0, 1, 2, 3), ()),
    "SIMPLE_RADIAL": ("opencv", (0, 0, 1, 2), (3, -1, -1, -1)),
    "RADIAL": ("opencv", (0, 0, 1, 2), (3, 4, -1, -1)),
    "OPENCV": ("opencv", (0, 1, 2, 3), (4, 5, 6, 7)),
    "FULL_OPENCV": ("opencv", (0, 1, 2, 3), tuple(range(4, 12))),
    "OPENCV_FISHEYE": ("opencv_fisheye", (0, 1, 2, 3), (4, 5, 6, 7)),
}


def read(path: Path, options: ImportOptions) -> tuple[RigFile, str]:
    """The first rig of a model folder; without rigs.txt, its one camera.

    Raises DatasetError on other models or files that do not fit, ConfigError where several cameras
    need a unit of length: a reconstruction has none.
    """
    folder = path if path.is_dir() else path.parent
    lenses = {row[0]: row[1:] for row in _rows(folder / "cameras.txt")}
    places = _read_places(folder, list(lenses))
    if len(places) > 1 and options.metres_per_unit is None:
        raise ConfigError(
            f"{folder} has {len(places)} cameras at distances in COLMAP's own unit of length; give "
            "--metres-per-unit (a known distance between two cameras, over COLMAP's)"
        )
    ego_T_first = place_first(options, "COLMAP")
    names = _read_names(folder)
    cameras = []
    for camera_id, first_T_cam in places.items():
        scaled = first_T_cam.copy()
        scaled[:3, 3] *= options.metres_per_unit or 1.0
        if camera_id not in lenses:
            raise DatasetError(f"{folder}/cameras.txt has no camera {camera_id} of rigs.txt")
        name = names.get(camera_id, f"camera-{camera_id}")
        cameras.append(_make_camera(name, lenses[camera_id], ego_T_first @ scaled, folder))
    return RigFile(tuple(cameras)), describe_place(options)


def _rows(path: Path) -> list[list[str]]:
    lines = read_file(path).decode(errors="replace").splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def _read_places(folder: Path, camera_ids: list[str]) -> dict[str, Transform]:
    """Camera id -> first_T_cam, in COLMAP's unit of length, of the reference camera's rig."""
    path = folder / "rigs.txt"
    if not path.is_file() and len(camera_ids) == 1:
        return {camera_ids[0]: np.eye(4)}
    if not path.is_file():
        raise DatasetError(
            f"{folder} has {len(camera_ids)} cameras and no rigs.txt, which says how they stand to "
            "each other; export a model with a rig (COLMAP 3.12: colmap model_converter)"
        )
    words = _rows(path)[0][2:]
    places: dict[str, Transform] = {}
    if words[0] == "CAMERA":
        places[words[1]] = np.eye(4)
    at = 2
    while at < len(words):
        kind, sensor_id, told = words[at : at + 3]
        at += 3
        if told != "1":
            raise DatasetError(f"{path}: sensor {sensor_id} has no place; calibrate the rig")
        numbers = [float(word) for word in words[at : at + 7]]
        at += 7
        if kind == "CAMERA":
            sensor_T_rig = make_pose(numbers[:4], numbers[4:], f"{path}: camera {sensor_id}")
            places[sensor_id] = invert(sensor_T_rig)
    if words[0] != "CAMERA":
        raise DatasetError(f"{path}: the reference sensor is {words[0]}, expected a CAMERA")
    return places


def _read_names(folder: Path) -> dict[str, str]:
    """Camera id -> the folder of its images, where images.txt tells plain ones."""
    path = folder / "images.txt"
    if not path.is_file():
        return {}
    names: dict[str, set[str]] = {}
    for row in _rows(path):
        if len(row) == 10:  # the lines between hold triples of image points
            names.setdefault(row[8], set()).add(Path(row[9]).parent.name)
    single = {camera_id: each.pop() for camera_id, each in names.items() if len(each) == 1}
    plain = {camera_id: name for camera_id, name in single.items() if PLAIN_NAME.fullmatch(name)}
    return plain if len(set(plain.values())) == len(plain) else {}


def _make_camera(name: str, row: list[str], ego_T_cam: Transform, folder: Path) -> RigCamera:
    model = row[0]
    if model not in MODELS:
        raise DatasetError(
            f"{folder}/cameras.txt: camera {name} is a {model}, expected {', '.join(MODELS)}; "
            "undistort it (colmap image_undistorter)"
        )
    lens, (fx, fy, cx, cy), more = MODELS[model]
    try:
        width, height = int(row[1]), int(row[2])
        values = [*map(float, row[3:]), 0.0]
        K = np.array([[values[fx], 0, values[cx]], [0, values[fy], values[cy]], [0, 0, 1]])
        distortion = tuple(values[i] for i in more)
    except (ValueError, IndexError) as error:
        raise DatasetError(f"{folder}/cameras.txt: camera {name}: {error}") from error
    K[:2, 2] -= 0.5  # to centres at whole numbers
    return RigCamera(name, (height, width), K, ego_T_cam, lens, distortion)
