"""A ZOD folder of one short sequence: files as Zenseact's devkit writes and reads them.

The calibration is of ZOD's kind; images are a sixtieth as large, so that K is, too.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

LOG, ID, CAR = "sequence_000002", "000002", "romeo"
FOLDER = f"sequences/{ID}"
SIZE_HW = (36, 64)
FRAMES = 4
START = datetime(2022, 6, 23, 9, 46, 51, 984917, UTC)
START_US = int(START.timestamp()) * 1_000_000 + 984_917
STEP_US, LIDAR_LATE_US = 99_500, 21_370
K = [[31.7, 0.0, 31.6, 0.0], [0.0, 31.8, 17.9, 0.0], [0.0, 0.0, 1.0, 0.0]]
DISTORTION = [0.0406, -0.0077, -0.0113, 0.0041]
EGO_T_CAM = [
    [0.0118, -0.0309, 0.999452793, 2.0510],
    [-0.99992, -0.0028, 0.011719, -0.0124],
    [0.0024365, -0.99951858, -0.03093, 1.2889],
    [0.0, 0.0, 0.0, 1.0],
]
EGO_T_LIDAR = [
    [0.0, 1.0, 0.0, 1.2],
    [-1.0, 0.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 1.7],
    [0.0, 0.0, 0.0, 1.0],
]
POINTS = np.array(
    [[1.0, 15.0, -1.2], [-4.0, 20.0, 0.3], [2.5, 8.0, -1.6], [0.3, -30.0, 2.0], [0.5, 1.0, -0.8]],
    np.float32,
)  # x right, y forward; the last is of the own car
OWN = 4


def time_us(frame: int) -> int:
    return START_US + frame * STEP_US


def name(at_us: int, suffix: str) -> str:
    moment = START + timedelta(microseconds=at_us - START_US)
    return f"{ID}_{CAR}_{moment.strftime('%Y-%m-%dT%H:%M:%S.%f')}Z{suffix}"


def world_T_ego(at_us: int) -> np.ndarray:
    """8 m/s ahead and a bit to the left, turning."""
    s = (at_us - START_US) * 1e-6
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("zyx", [0.1 * s, 0.005, -0.01]).as_matrix()
    matrix[:3, 3] = 8.0 * s, 0.4 * s, 0.02 * s
    return matrix


def image(frame: int) -> np.ndarray:
    rough = np.random.default_rng(frame).integers(30, 220, (5, 8, 3)).astype(np.uint8)
    return cv2.resize(rough, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC)


def lidar_files(root: Path) -> list[Path]:
    return sorted((root / FOLDER / "lidar_velodyne").iterdir())


def image_files(root: Path) -> list[Path]:
    return sorted((root / FOLDER / "camera_front_blur").iterdir())


def write_points(path: Path, points: np.ndarray) -> None:
    table = np.zeros(len(points), [
        ("timestamp", "<i8"), ("x", "<f4"), ("y", "<f4"), ("z", "<f4"),
        ("intensity", "u1"), ("diode_index", "u1"),
    ])  # fmt: skip
    table["x"], table["y"], table["z"] = points.T
    np.save(path, table)


def calibration() -> dict[str, Any]:
    front = {
        "extrinsics": rigid(EGO_T_CAM),
        "lidar_extrinsics": EGO_T_LIDAR,
        "intrinsics": K,
        "distortion": DISTORTION,
        "undistortion": [-0.0386, 0.0119, 0.0098, -0.0054],
        "image_dimensions": [SIZE_HW[1], SIZE_HW[0]],
        "field_of_view": [119.5, 66.2],
    }
    return {"FC": front}


def rigid(matrix: list[list[float]]) -> list[list[float]]:
    """Its rotation as digits that are rounded leave it, made one again."""
    u, _, vt = np.linalg.svd(np.array(matrix)[:3, :3])
    made = np.array(matrix)
    made[:3, :3] = u @ vt
    return made.tolist()


def poses() -> dict[str, Any]:
    """At all times of the camera and the LiDAR."""
    times_us = sorted(time_us(i) + late for i in range(FRAMES) for late in (0, LIDAR_LATE_US))
    return {
        "poses": [world_T_ego(each).tolist() for each in times_us],
        "timestamps": [each / 1e6 for each in times_us],
        "velocities": [[8.0, 0.4, 0.0]] * len(times_us),
        "accelerations": [[0.0, 0.0, 9.8]] * len(times_us),
        "angular_rates": [[0.0, 0.0, 0.1]] * len(times_us),
        "origin_lat_lon": [57.7, 11.9],
    }


def label_file(root: Path) -> Path:
    return root / FOLDER / "annotations" / "object_detection.json"


def annotate(kind: str, name: str, place: dict[str, Any] | None = None, **more: Any):
    """An object as the devkit reads it: four pixels around it, and a box if it is `place`d."""
    corners = {"type": "MultiPoint", "coordinates": [[10, 12], [16, 12], [16, 20], [10, 20]]}
    known = {"annotation_uuid": name, "class": kind, "unclear": False, "artificial": "False"}
    return {"geometry": corners, "properties": known | (place or {}) | more}


def placed(center: list[float], wxyz: list[float], size_m: list[float]) -> dict[str, Any]:
    made: dict[str, Any] = {"location_3d": {"type": "Point", "coordinates": center}}
    made |= {f"orientation_3d_q{part}": q for part, q in zip("wxyz", wxyz, strict=True)}
    sides = ("length", "width", "height")
    return made | {f"size_3d_{side}": m for side, m in zip(sides, size_m, strict=True)}


KEYFRAME = 2
QUARTER = [0.5**0.5, 0.0, 0.0, 0.5**0.5]  # the LiDAR's y is forward: so a box that goes ahead does
CAR_BOX = annotate("Vehicle", "a", placed([2.0, 20.0, -0.9], QUARTER, [4.5, 1.9, 1.6]), type="Car")
WALKER_BOX = annotate("Pedestrian", "b", placed([-4.0, 9.0, -0.8], [1, 0, 0, 0], [0.6, 0.7, 1.8]))
SIGN_BOX = annotate("TrafficSign", "c", placed([5.0, 9.0, 1.0], [1, 0, 0, 0], [0.1, 0.7, 0.7]))
FLAT_BOX = annotate("Vehicle", "d", type="Van")  # too far to be drawn in space


def write(root: Path) -> Path:
    folder = root / FOLDER
    for each in ("camera_front_blur", "lidar_velodyne"):
        (folder / each).mkdir(parents=True)
    (folder / "calibration.json").write_text(json.dumps(calibration()))
    (folder / "ego_motion.json").write_text(json.dumps(poses()))
    for i in range(FRAMES):
        file = folder / "camera_front_blur" / name(time_us(i), ".jpg")
        cv2.imwrite(str(file), image(i)[..., ::-1])
        late_us = time_us(i) + LIDAR_LATE_US
        write_points(folder / "lidar_velodyne" / name(late_us, ".npy"), POINTS + np.float32(i) / 8)
    at = START + timedelta(microseconds=KEYFRAME * STEP_US)
    info = {"id": ID, "keyframe_time": at.isoformat(), "start_time": START.isoformat()}
    (folder / "info.json").write_text(json.dumps(info))
    (folder / "annotations").mkdir()
    label_file(root).write_text(json.dumps([CAR_BOX, WALKER_BOX, SIGN_BOX, FLAT_BOX]))
    rows = {"train": [{"id": ID, "start_time": "..."}], "val": [{"id": "000003"}]}
    (root / "trainval-sequences-mini.json").write_text(json.dumps(rows))
    return root
