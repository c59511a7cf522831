"""rig.yaml: the cameras, LiDAR and road of one's own car, as a file of strict keys."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from jaxtyping import Float

from driv3r.config import build_config, read_yaml
from driv3r.datasets.folder.unknown import (
    UNKNOWN,
    Unknown,
    assume_K,
    assume_place,
    fov_deg_of,
)
from driv3r.datasets.reader import CAR_M, check_place, make_camera
from driv3r.errors import DatasetError, GeometryError
from driv3r.geometry.lenses import COUNTS
from driv3r.geometry.pinholes import looked_at
from driv3r.geometry.transforms import from_quaternion, make_transform
from driv3r.settings import PLAIN_NAME
from driv3r.types import Camera, LensModel, Rig, Transform

LENSES: dict[str, tuple[LensModel, str]] = {  # name -> the model, and its coefficients in order
    "pinhole": ("brown_conrady", "none"),
    "opencv": ("brown_conrady", "k1, k2, p1, p2[, k3[, k4, k5, k6[, s1, s2, s3, s4[, tx, ty]]]]"),
    "opencv_fisheye": ("kannala_brandt", "k1, k2, k3, k4"),
    "mei": ("mei", "xi, k1, k2, p1, p2"),
    "f_theta": ("f_theta", "the radius over fx as a polynomial of the angle, from its first power"),
    "double_sphere": ("double_sphere", "xi, alpha"),
}
WIDE_LENSES = tuple(name for name, (model, _) in LENSES.items() if model != "brown_conrady")
ROTATION_SLACK = 1e-3  # of R^T R from the identity: matrices that are written with 4 digits
LARGEST_PX, LARGEST = 100_000, 1e7  # of an image's side; of any number of a calibration
UNIT_SLACK = 0.01  # of a quaternion's length
PixelCentre = Literal["integer", "half"]
PLACE = (
    "4 rows of 4 finite numbers, the last 0, 0, 0, 1, a mapping of translation_m and "
    "quaternion_wxyz (or quaternion_xyzw), or of a single camera: unknown"
)


@dataclass(frozen=True)
class Recording:
    """How the files of a log are read: times in names, frames of several cameras, LiDAR columns.

    `frame_rate_hz` says that names hold frame numbers. Frames are made around the exposures of
    `reference_camera` (the first of the rig, unless told) from the nearest of the others, if within
    `group_within_ms` (half the reference camera's own interval, unless told).
    """

    time_unit: Literal["us", "ns", "ms", "s"] = "us"
    frame_rate_hz: float | None = None
    reference_camera: str | None = None
    group_within_ms: float | None = None
    lidar_columns: tuple[str, ...] = ("x", "y", "z", "intensity")
    lidar_dtype: Literal["float32", "float64"] = "float32"


@dataclass(frozen=True)
class _CameraKeys:
    name: str
    size_wh: tuple[int, int]
    ego_T_cam: Any
    intrinsics: Literal["unknown"] | None = None
    fov_deg: float | None = None
    camera_height_m: float | None = None
    K: tuple[tuple[float, float, float], ...] | None = None
    fx: float | None = None
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    lens: str = "pinhole"
    distortion: tuple[float, ...] = ()
    rectified_fov_deg: float | None = None


@dataclass(frozen=True)
class _RigKeys:
    cameras: tuple[_CameraKeys, ...]
    pixel_centre: PixelCentre | None = None
    ego_T_lidar: Any = None
    ground_z_m: float = 0.0
    recording: Recording = field(default_factory=Recording)


@dataclass(frozen=True, eq=False)
class RigCamera:
    """A camera as its file has it: `ego_T_cam` is finite, but perhaps no rigid transform.

    `K` belongs to pixel centres at whole numbers, as OpenCV has them. `lens` is one of LENSES;
    `rectified_fov_deg` is how much is looked at of one that is no pinhole (None: at most 110). What
    is `unknown` of it is assumed (see `datasets.folder.unknown`).
    """

    name: str
    size_hw: tuple[int, int]
    K: Float[np.ndarray, "3 3"]
    ego_T_cam: Transform
    lens: str = "pinhole"
    distortion: tuple[float, ...] = ()
    rectified_fov_deg: float | None = None
    unknown: tuple[Unknown, ...] = ()


@dataclass(frozen=True, eq=False)
class RigFile:
    """A rig file's content, in shape but not yet checked for sense."""

    cameras: tuple[RigCamera, ...]
    ego_T_lidar: Transform | None = None
    ground_z_m: float = 0.0
    recording: Recording = Recording()


def read_rig_file(path: Path) -> RigFile:
    """Parse a rig.yaml; ConfigError on unknown, missing or ill-typed keys, DatasetError on values
    that can be no camera.
    """
    if not path.is_file():
        raise DatasetError(
            f"no rig file at {path}; write one (docs/how-to/own-rig.md), or make one from another "
            "calibration with `driv3r rig from`"
        )
    try:
        keys = build_config(read_yaml(path), _RigKeys, str(path))
    except OverflowError as error:
        raise DatasetError(f"{path} holds a number that is too large: {error}") from error
    if not abs(keys.ground_z_m) <= CAR_M:
        raise DatasetError(
            f"{path}: ground_z_m is {keys.ground_z_m}, expected the road's height in the ego frame "
            f"in metres, {CAR_M:g} at most"
        )
    cameras = tuple(
        _parse_camera(each, keys, f"{path}: camera {each.name}") for each in keys.cameras
    )
    names = [camera.name for camera in cameras]
    _check_names(names, keys.recording, path)
    lost = [camera.name for camera in cameras if "ego_T_cam" in camera.unknown]
    if lost and len(cameras) > 1:
        raise DatasetError(
            f"{path}: ego_T_cam of {', '.join(lost)} is unknown, which only a single camera's may "
            f"be; measure where the {len(cameras)} cameras are (driv3r rig from makes the file of "
            "a calibration), or leave all but one out"
        )
    lidar = keys.ego_T_lidar
    ego_T_lidar = None if lidar is None else parse_transform(lidar, f"{path}: ego_T_lidar")
    return RigFile(cameras, ego_T_lidar, keys.ground_z_m, keys.recording)


def _check_names(names: list[str], recording: Recording, path: Path) -> None:
    strange = [name for name in names if not PLAIN_NAME.fullmatch(name)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if not names or strange or twice:
        raise DatasetError(
            f"{path} names the cameras {names}; expected at least one, each another plain name of "
            "letters, digits, '_', '-' and '.', as its folder of images has"
        )
    reference = recording.reference_camera
    if reference is not None and reference not in names:
        raise DatasetError(
            f"{path}: reference_camera is {reference!r}, expected one of {', '.join(names)}"
        )
    for key in ("frame_rate_hz", "group_within_ms"):
        value = getattr(recording, key)
        if value is not None and not 0 < value < 1e6:
            raise DatasetError(f"{path}: {key} is {value}, expected a positive number")


def _parse_camera(keys: _CameraKeys, rig: _RigKeys, where: str) -> RigCamera:
    _check_lens(keys, where)
    if not all(1 <= side <= LARGEST_PX for side in keys.size_wh):
        raise DatasetError(
            f"{where} has size_wh {list(keys.size_wh)}, expected a width and height of 1 to "
            f"{LARGEST_PX} pixels"
        )
    size_hw = (keys.size_wh[1], keys.size_wh[0])
    unknown = _list_unknown(keys, where)
    if "intrinsics" in unknown:
        K = assume_K(size_hw, keys.fov_deg, where)
    else:
        K = _parse_K(keys, rig.pixel_centre, where)
    if "ego_T_cam" in unknown:
        ego_T_cam = assume_place(keys.camera_height_m, rig.ground_z_m, where)
    else:
        ego_T_cam = parse_transform(keys.ego_T_cam, f"{where}: ego_T_cam")
    lens = keys.lens, keys.distortion, keys.rectified_fov_deg
    return RigCamera(keys.name, size_hw, K, ego_T_cam, *lens, unknown)


def _list_unknown(keys: _CameraKeys, where: str) -> tuple[Unknown, ...]:
    """What a camera's file says is unknown; DatasetError where other keys contradict it."""
    told: dict[Unknown, Any] = {"intrinsics": keys.intrinsics, "ego_T_cam": keys.ego_T_cam}
    unknown: tuple[Unknown, ...] = tuple(n for n, value in told.items() if isinstance(value, str))
    if keys.ego_T_cam != UNKNOWN and "ego_T_cam" in unknown:
        raise DatasetError(f"{where}: ego_T_cam is {keys.ego_T_cam!r}, expected {PLACE}")
    for name, hint in {"intrinsics": "fov_deg", "ego_T_cam": "camera_height_m"}.items():
        if getattr(keys, hint) is not None and name not in unknown:
            raise DatasetError(
                f"{where} gives {hint}, which is for a camera whose {name} "
                f"{'are' if name == 'intrinsics' else 'is'} unknown; leave it out"
            )
    if "intrinsics" in unknown:
        _check_no_intrinsics(keys, where)
    return unknown


def _check_no_intrinsics(keys: _CameraKeys, where: str) -> None:
    given = [name for name in ("K", "fx", "fy", "cx", "cy") if getattr(keys, name) is not None]
    given += ["lens"] * (keys.lens != "pinhole")
    if given:
        raise DatasetError(
            f"{where} says intrinsics: unknown, and gives {', '.join(given)}; expected one or the "
            "other: all intrinsics, or none (fov_deg may tell the angle across)"
        )


def _parse_K(keys: _CameraKeys, pixel_centre: PixelCentre | None, where: str) -> np.ndarray:
    """K of pixel centres at whole numbers."""
    singles = {name: getattr(keys, name) for name in ("fx", "fy", "cx", "cy")}
    given = [name for name, value in singles.items() if value is not None]
    if (keys.K is None) == (not given) or (given and len(given) < 4):
        raise DatasetError(
            f"{where} gives {', '.join((['K'] if keys.K else []) + given) or 'no intrinsics'}; "
            "expected either K (3 rows of 3) or all of fx, fy, cx, cy, in pixels, or intrinsics: "
            "unknown"
        )
    if pixel_centre is None:
        raise DatasetError(
            f"{where} gives intrinsics, but the file no pixel_centre; expected integer (the first "
            "pixel's centre is (0, 0): OpenCV, Kalibr, ROS) or half ((0.5, 0.5): COLMAP)"
        )
    if keys.K is not None:
        K = np.array(keys.K, np.float64)
        if K.shape != (3, 3):
            raise DatasetError(f"{where}: K has {len(keys.K)} rows, expected 3")
    else:
        fx, fy, cx, cy = singles.values()
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
    K[:2, 2] -= 0.5 if pixel_centre == "half" else 0.0
    if not (np.abs(K) <= LARGEST).all():
        raise DatasetError(f"{where} has K {K.tolist()}, expected finite numbers in pixels")
    return K


def _check_lens(keys: _CameraKeys, where: str) -> None:
    if keys.lens not in LENSES:
        raise DatasetError(
            f"{where} has the lens {keys.lens!r}, which is not supported; known: "
            f"{', '.join(LENSES)}. Undistort its images to a pinhole, and give that one's K"
        )
    model, told = LENSES[keys.lens]
    counts = (0,) if keys.lens == "pinhole" else [count for count in COUNTS[model] if count]
    if len(keys.distortion) not in counts:
        raise DatasetError(
            f"{where} has {len(keys.distortion)} distortion coefficients, expected "
            f"{' or '.join(map(str, counts))} of the lens {keys.lens} ({told})"
        )
    if keys.rectified_fov_deg is not None and model == "brown_conrady":
        raise DatasetError(
            f"{where}: only wide lenses ({', '.join(WIDE_LENSES)}) have rectified_fov_deg; leave "
            "it out"
        )


def parse_transform(value: Any, where: str) -> Transform:
    """A finite 4x4 of a matrix in rows, or of translation_m with quaternion_wxyz or _xyzw.

    Raises DatasetError on other shapes, and on quaternions that are not of length 1.
    """
    if isinstance(value, dict):
        return _parse_quaternion(value, where)
    try:
        matrix = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: expected 4 rows of 4 numbers, got {value!r}") from error
    bottom = matrix.shape == (4, 4) and np.allclose(matrix[3], [0, 0, 0, 1])
    if not bottom or not (np.abs(matrix) <= LARGEST).all():
        raise DatasetError(
            f"{where}: expected 4 rows of 4 finite numbers, the last 0, 0, 0, 1, or a mapping of "
            f"translation_m and quaternion_wxyz (or quaternion_xyzw); got {value!r}"
        )
    return matrix


def _parse_quaternion(value: dict[str, Any], where: str) -> Transform:
    orders = {"quaternion_wxyz": [0, 1, 2, 3], "quaternion_xyzw": [3, 0, 1, 2]}
    named = [key for key in orders if key in value]
    if set(value) != {"translation_m", *named} or len(named) != 1:
        raise DatasetError(
            f"{where} has the keys {', '.join(map(str, value))}; expected translation_m and one of "
            f"{', '.join(orders)}"
        )
    try:
        quaternion = np.array(value[named[0]], np.float64)
        place_m = np.array(value["translation_m"], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: expected numbers, got {value!r}") from error
    shapes = (
        quaternion.shape == (4,) and place_m.shape == (3,) and (np.abs(place_m) <= LARGEST).all()
    )
    if not shapes or not abs(np.linalg.norm(quaternion) - 1) < UNIT_SLACK:
        raise DatasetError(
            f"{where}: {value!r}; expected 3 metres and a quaternion of 4 numbers and length 1"
        )
    try:
        return from_quaternion(quaternion[orders[named[0]]], place_m)
    except GeometryError as error:
        raise DatasetError(f"{where}: {error}") from error


def make_rigid(matrix: Transform, where: str) -> Transform:
    """The rotation nearest to a written one; DatasetError where it is none.

    Orthogonal polar factor by SVD (Higham 1986), so that rounded digits do no harm.
    """
    rotation = matrix[:3, :3]
    off = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if off > ROTATION_SLACK or np.linalg.det(rotation) < 0:
        raise DatasetError(
            f"{where} has no rotation: R^T R is {off:.3g} off the identity, det R is "
            f"{np.linalg.det(rotation):.3g}, expected 0 and 1; `driv3r rig check` tells more"
        )
    u, _, vt = np.linalg.svd(rotation)
    return make_transform(u @ vt, matrix[:3, 3])


def make_rig(file: RigFile) -> Rig:
    """The rig that files are read with; DatasetError names what can be no calibration."""
    cameras = tuple(_make_camera(camera) for camera in file.cameras)
    lidar = file.ego_T_lidar
    ego_T_lidar = None if lidar is None else make_rigid(lidar, "ego_T_lidar")
    if ego_T_lidar is not None:
        check_place("the LiDAR", ego_T_lidar)
    return Rig(cameras, ego_T_lidar, file.ground_z_m)


def _make_camera(camera: RigCamera) -> Camera:
    ego_T_cam = make_rigid(camera.ego_T_cam, f"ego_T_cam of camera {camera.name}")
    made = make_camera(
        camera.name,
        camera.K,
        camera.size_hw,
        ego_T_cam,
        camera.distortion,
        LENSES[camera.lens][0],
        camera.rectified_fov_deg,
    )
    try:
        looked_at(made)
    except GeometryError as error:
        raise DatasetError(f"rectified_fov_deg: {error}") from error
    return made


def write_rig_file(path: Path, file: RigFile, notes: str = "") -> None:
    """Write a rig.yaml that `read_rig_file` reads back; `notes` go before it as comments."""
    content: dict[str, Any] = {
        "pixel_centre": "integer",
        "ground_z_m": float(file.ground_z_m),
        "cameras": [_describe(camera, file.ground_z_m) for camera in file.cameras],
    }
    if file.ego_T_lidar is not None:
        content["ego_T_lidar"] = file.ego_T_lidar.tolist()
    if file.recording != Recording():
        told = vars(file.recording).items()
        content["recording"] = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in told
            if value != getattr(Recording(), key)
        }
    head = "".join(f"# {line}\n" for line in notes.splitlines())
    path.write_text(head + yaml.safe_dump(content, sort_keys=False, default_flow_style=None))


def _describe(camera: RigCamera, ground_z_m: float) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": camera.name,
        "size_wh": [camera.size_hw[1], camera.size_hw[0]],
        "K": camera.K.tolist(),
        "lens": camera.lens,
        "ego_T_cam": camera.ego_T_cam.tolist(),
    }
    if "intrinsics" in camera.unknown:
        del entry["K"]
        entry |= {"intrinsics": UNKNOWN, "fov_deg": fov_deg_of(camera.K, camera.size_hw)}
    if "ego_T_cam" in camera.unknown:
        height_m = float(camera.ego_T_cam[2, 3]) - ground_z_m
        entry |= {"ego_T_cam": UNKNOWN, "camera_height_m": height_m}
    if camera.distortion:
        entry["distortion"] = [float(k) for k in camera.distortion]
    if camera.rectified_fov_deg is not None:
        entry["rectified_fov_deg"] = camera.rectified_fov_deg
    return entry
