"""Calibrations that OpenCV's FileStorage wrote: of one camera, or of a stereo pair.

One camera: camera_matrix, distortion_coefficients, image_width, image_height (OpenCV's calibration
sample; fisheye_model: 1 for a fisheye). A pair: M1, D1, M2, D2, and R, T, which map the first
camera's points to the second (cv2.stereoCalibrate).
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from driv3r.datasets.folder.rig_file import RigCamera, RigFile, make_rigid
from driv3r.datasets.images import read_file
from driv3r.datasets.rig_formats.options import ImportOptions, describe_place, place_first
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.lenses import COUNTS
from driv3r.geometry.transforms import invert, make_transform
from driv3r.types import Transform

MATRIX = ("camera_matrix", "cameraMatrix", "K", "M1", "cameraMatrix1", "K1")
LENS = ("distortion_coefficients", "distCoeffs", "dist_coeffs", "D", "D1", "distCoeffs1")
SECOND_MATRIX, SECOND_LENS = ("M2", "cameraMatrix2", "K2"), ("D2", "distCoeffs2")


def read(path: Path, options: ImportOptions) -> tuple[RigFile, str]:
    """The camera, or the two cameras `left` and `right`, of a YAML, XML or JSON file.

    Raises DatasetError where matrices or the image's size are missing, ConfigError where a pair's
    unit of length (that of its calibration board) is not told.
    """
    read_file(path)
    try:
        storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    except (cv2.error, SystemError) as error:
        raise DatasetError(f"{path} is no file of OpenCV's FileStorage: {error}") from error
    if not storage.isOpened():
        raise DatasetError(f"{path} is no file of OpenCV's FileStorage")
    size_hw = _read_size(storage, path)
    is_fisheye = _read_number(storage, "fisheye_model") == 1
    ego_T_cam = place_first(options, "OpenCV")
    pair = _find(storage, SECOND_MATRIX)
    first = _make_camera(
        "left" if pair is not None else "front",
        _need(storage, MATRIX, path),
        _find(storage, LENS),
        size_hw,
        ego_T_cam,
        is_fisheye,
    )
    if pair is None:
        return RigFile((first,)), describe_place(options)
    if options.metres_per_unit is None:
        raise ConfigError(
            f"{path} holds T in the unit of the calibration board's squares; give "
            "--metres-per-unit (1 for metres, 0.001 for millimetres)"
        )
    turn, shift = _need(storage, ("R",), path), _need(storage, ("T",), path)
    second_T_first = make_transform(turn, shift.reshape(-1)[:3] * options.metres_per_unit)
    place = ego_T_cam @ invert(make_rigid(second_T_first, f"{path}: R"))
    second = _make_camera("right", pair, _find(storage, SECOND_LENS), size_hw, place, is_fisheye)
    return RigFile((first, second)), describe_place(options)


def _find(storage: Any, names: tuple[str, ...]) -> np.ndarray | None:
    """The first of some matrices that the file holds."""
    for name in names:
        node = storage.getNode(name)
        matrix = None if node.empty() or not node.isMap() else node.mat()
        if matrix is not None:
            return matrix.astype(np.float64)
    return None


def _need(storage: Any, names: tuple[str, ...], path: Path) -> np.ndarray:
    matrix = _find(storage, names)
    if matrix is None:
        raise DatasetError(f"{path} holds no matrix {' or '.join(names)}")
    return matrix


def _read_number(storage: Any, name: str) -> float | None:
    node = storage.getNode(name)
    return node.real() if node.isReal() or node.isInt() else None


def _read_size(storage: Any, path: Path) -> tuple[int, int]:
    width, height = (_read_number(storage, f"image_{side}") for side in ("width", "height"))
    if not width or not height:
        raise DatasetError(
            f"{path} holds no image_width and image_height; add them, as numbers of pixels"
        )
    return int(height), int(width)


def _make_camera(
    name: str,
    K: np.ndarray,
    distortion: np.ndarray | None,
    size_hw: tuple[int, int],
    ego_T_cam: Transform,
    is_fisheye: bool,
) -> RigCamera:
    flat = () if distortion is None else tuple(distortion.reshape(-1).tolist())
    if is_fisheye:
        if len(flat) != 4:
            raise DatasetError(f"the fisheye {name} has {len(flat)} coefficients, expected 4")
        return RigCamera(name, size_hw, K, ego_T_cam, "opencv_fisheye", flat)
    counts = COUNTS["brown_conrady"]
    if len(flat) not in counts:
        raise DatasetError(
            f"camera {name} has {len(flat)} distortion coefficients, expected OpenCV's "
            f"{', '.join(map(str, counts))}"
        )
    lens = "opencv" if any(flat) else "pinhole"
    return RigCamera(name, size_hw, K, ego_T_cam, lens, flat if any(flat) else ())
