"""Kalibr's camera chain (camchain.yaml): https://github.com/ethz-asl/kalibr/wiki/yaml-formats."""

from pathlib import Path
from typing import Any

import numpy as np

from driv3r.config import read_yaml
from driv3r.datasets.folder.rig_file import RigCamera, RigFile, make_rigid, parse_transform
from driv3r.datasets.rig_formats.options import ImportOptions, describe_place, place_first
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert

LENSES = {"radtan": "opencv", "equidistant": "opencv_fisheye", "none": "pinhole"}


def read(path: Path, options: ImportOptions) -> tuple[RigFile, str]:
    """Cameras cam0, cam1, ...; each is placed by T_cn_cnm1, which maps the one before's points.

    Raises DatasetError on models that are not supported or a chain with a gap.
    """
    content = read_yaml(path)
    names = sorted(
        (key for key in content if str(key).startswith("cam")), key=lambda key: (len(key), key)
    ) if isinstance(content, dict) else []  # fmt: skip
    if not names:
        raise DatasetError(f"{path} has no cam0, cam1, ...; give Kalibr's camchain.yaml")
    cameras, ego_T_cam = [], place_first(options, "Kalibr")
    for i, name in enumerate(names):
        entry = content[name]
        if i:
            where = f"{path}: {name} T_cn_cnm1"
            chain = parse_transform(_take(entry, "T_cn_cnm1", where), where)
            ego_T_cam = ego_T_cam @ invert(make_rigid(chain, where))
        cameras.append(_make_camera(name, entry, ego_T_cam, f"{path}: {name}"))
    return RigFile(tuple(cameras)), describe_place(options)


def _take(entry: Any, key: str, where: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise DatasetError(f"{where}: there is no {key}; calibrate the cameras together")
    return entry[key]


def _make_camera(name: str, entry: Any, ego_T_cam: np.ndarray, where: str) -> RigCamera:
    model = _take(entry, "camera_model", where)
    lens = _take(entry, "distortion_model", where)
    if model != "pinhole" or lens not in LENSES:
        raise DatasetError(
            f"{where} is {model} with {lens}, expected pinhole with {', '.join(LENSES)}; calibrate "
            "with one of those (Kalibr's --models), or undistort the images"
        )
    try:
        fx, fy, cx, cy = map(float, _take(entry, "intrinsics", where))
        width, height = map(int, _take(entry, "resolution", where))
        distortion = tuple(map(float, entry.get("distortion_coeffs") or ()))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: intrinsics or resolution are not numbers: {error}") from error
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    used = distortion if lens != "none" else ()
    return RigCamera(name, (height, width), K, ego_T_cam.copy(), LENSES[lens], used)
