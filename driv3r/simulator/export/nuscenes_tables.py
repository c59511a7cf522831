"""The thirteen nuScenes v1.0 tables of generated logs, as plain records with stable tokens."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from driv3r.geometry.transforms import to_quaternion
from driv3r.types import Camera, Rig

CATEGORIES = (
    "vehicle.car",
    "vehicle.truck",
    "vehicle.bus.rigid",
    "vehicle.motorcycle",
    "vehicle.bicycle",
    "human.pedestrian.adult",
)
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "pedestrian.moving",
    "pedestrian.standing",
    "cycle.with_rider",
)
VISIBILITIES = ("v0-40", "v40-60", "v60-80", "v80-100")
TABLES = [
    "category",
    "attribute",
    "visibility",
    "instance",
    "sensor",
    "calibrated_sensor",
    "ego_pose",
    "log",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
    "map",
]


def token_of(*parts: object) -> str:
    """A stable 32-digit token for a record."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def attribute_of(category: str, speed_mps: float, parked: bool) -> str:
    """The nuScenes attribute of a thing at a speed."""
    moves = speed_mps > 0.3
    if parked:
        return "vehicle.parked"
    if category in ("vehicle.bicycle", "vehicle.motorcycle"):
        return "cycle.with_rider"
    kind = "vehicle" if category.startswith("vehicle") else "pedestrian"
    still = "stopped" if kind == "vehicle" else "standing"
    return f"{kind}.{'moving' if moves else still}"


def fixed_tables(rig: Rig) -> dict[str, list[dict]]:
    """Tables that all logs share: taxonomy and sensors."""
    tables: dict[str, list[dict]] = {name: [] for name in TABLES}
    for name in CATEGORIES:
        tables["category"].append(
            {"token": token_of("category", name), "name": name, "description": name, "index": 0}
        )
    for name in ATTRIBUTES:
        tables["attribute"].append(
            {"token": token_of("attribute", name), "name": name, "description": name}
        )
    for i, level in enumerate(VISIBILITIES, 1):
        tables["visibility"].append({"token": str(i), "level": level, "description": level})
    channels = [(c.name, "camera") for c in rig.cameras] + [("LIDAR_TOP", "lidar")]
    for channel, modality in channels:
        tables["sensor"].append(
            {"token": token_of("sensor", channel), "channel": channel, "modality": modality}
        )
    return tables


def calibration_records(log: str, rig: Rig) -> list[dict]:
    """calibrated_sensor rows of one log. nuScenes counts pixel centres as integers: K less 0.5."""
    rows = []
    for camera in rig.cameras:
        K = camera.K.copy()
        K[:2, 2] -= 0.5
        rows.append(_calibration(log, camera.name, camera.ego_T_cam, K.tolist()))
    if rig.ego_T_lidar is not None:
        rows.append(_calibration(log, "LIDAR_TOP", rig.ego_T_lidar, []))
    return rows


def _calibration(log: str, channel: str, ego_T_sensor: np.ndarray, intrinsic: list) -> dict:
    return {
        "token": token_of("calibrated_sensor", log, channel),
        "sensor_token": token_of("sensor", channel),
        "translation": ego_T_sensor[:3, 3].tolist(),
        "rotation": to_quaternion(ego_T_sensor).tolist(),
        "camera_intrinsic": intrinsic,
    }


def pose_record(token: str, time_us: int, world_T_ego: np.ndarray) -> dict:
    """One ego_pose row; nuScenes gives it the token of its sample_data."""
    return {
        "token": token,
        "timestamp": time_us,
        "rotation": to_quaternion(world_T_ego).tolist(),
        "translation": world_T_ego[:3, 3].tolist(),
    }


def data_record(
    log: str, channel: str, time_us: int, filename: str, sample: str, camera: Camera | None
) -> dict:
    """One sample_data row, yet without its neighbours in time."""
    token = token_of("sample_data", log, channel, time_us)
    return {
        "token": token,
        "sample_token": sample,
        "ego_pose_token": token,
        "calibrated_sensor_token": token_of("calibrated_sensor", log, channel),
        "timestamp": time_us,
        "fileformat": "jpg" if camera else "pcd",
        "is_key_frame": filename.startswith("samples/"),
        "height": camera.size_hw[0] if camera else 0,
        "width": camera.size_hw[1] if camera else 0,
        "filename": filename,
        "prev": "",
        "next": "",
    }


def chain(rows: Sequence[dict]) -> None:
    """Link rows that follow each other in time."""
    for before, after in zip(rows[:-1], rows[1:], strict=True):
        before["next"], after["prev"] = after["token"], before["token"]


def write_tables(tables: dict[str, list[dict]], folder: Path) -> None:
    """Write every table as JSON, the scene table last so that a kill leaves no usable half."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(TABLES, key=lambda table: table == "scene"):
        partial = folder / f"{name}.json.partial"
        partial.write_text(json.dumps(tables[name], indent=1))
        partial.replace(folder / f"{name}.json")
