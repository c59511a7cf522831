"""Kalibr's camera chain (camchain.yaml): https://github.com/ethz-asl/kalibr/wiki/yaml-formats."""

from pathlib import Path
from typing import Any

import numpy as np

from driv3r.config import read_yaml
from driv3r.datasets.folder.rig_file import RigCamera, RigFile, make_rigid, parse_transform
from driv3r.datasets.rig_formats.options import ImportOptions, describe_place, place_first
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert

# camera_model and distortion_model -> our lens, and how many of the intrinsics are coefficients of
# it: they come before fx, fy, cx, cy, and before the coefficients of the distortion.
LENSES: dict[tuple[str, ...], tuple[str, int]] = {
    ("pinhole", "radtan"): ("opencv", 0),
    ("pinhole", "equidistant"): ("opencv_fisheye", 0),
    ("pinhole", "none"): ("pinhole", 0),
    ("omni", "radtan"): ("mei", 1),
    ("omni", "none"): ("mei", 1),
    ("ds", "none"): ("double_sphere", 2),
}
UNBENT = (0.0,) * 4  # of `mei` without a distortion


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
    kind = tuple(str(_take(entry, key, where)) for key in ("camera_model", "distortion_model"))
    if kind not in LENSES:
        known = ", ".join("-".join(pair) for pair in LENSES)
        raise DatasetError(
            f"{where} is {'-'.join(kind)}, expected one of {known}; calibrate with one of those "
            "(Kalibr's --models), or undistort the images"
        )
    lens, count = LENSES[kind]
    try:
        intrinsics = tuple(map(float, _take(entry, "intrinsics", where)))
        fx, fy, cx, cy = intrinsics[count:]
        width, height = map(int, _take(entry, "resolution", where))
        distortion = tuple(map(float, entry.get("distortion_coeffs") or ()))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: intrinsics or resolution are not numbers: {error}") from error
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    bent = distortion if kind[1] != "none" else UNBENT if lens == "mei" else ()
    used = (*intrinsics[:count], *bent)
    return RigCamera(name, (height, width), K, ego_T_cam.copy(), lens, used)
