"""A nuScenes folder of two short scenes (12 Hz cameras, 20 Hz LiDAR, 2 Hz keyframes)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pyquaternion import Quaternion

from driv3r.datasets import open_dataset
from driv3r.types import Scene

SCENES = ("scene-0003", "scene-0012")  # both official scenes of val
SIZE_HW = (32, 48)
KEYFRAMES = 3
START_US = 1_600_000_000_000_000
# channel: (ego_T_sensor as wxyz, translation, first exposure in us, period in us)
Sensor = tuple[tuple[float, ...], tuple[float, ...], int, float]
RIG: dict[str, Sensor] = {
    "CAM_BACK": ((0.5, -0.5, -0.5, 0.5), (0.0, 0.1, 1.5), 20_000, 500_000 / 6),
    "CAM_FRONT": ((0.5, -0.5, 0.5, -0.5), (1.7, 0.0, 1.5), -15_000, 500_000 / 6),
    "LIDAR_TOP": ((0.7, 0.0, 0.0, -0.714), (0.9, 0.0, 1.8), 0, 50_000),
}
Tables = dict[str, list[dict[str, Any]]]


def write(root: Path, rig: dict[str, Sensor] = RIG) -> Path:
    """Write the folder of a car with a rig, and give its root."""
    tables: Tables = {
        "sensor": [
            {
                "token": f"sensor_{c}",
                "channel": c,
                "modality": "camera" if c[:3] == "CAM" else "lidar",
            }
            for c in rig
        ],
        "map": [{"token": "map", "filename": "maps/m.png", "log_tokens": ["log"]}],
        "log": [{"token": "log", "location": "nowhere"}],
    }
    empty = ("category", "attribute", "visibility", "instance", "sample_annotation")
    filled = ("calibrated_sensor", "ego_pose", "scene", "sample", "sample_data")
    tables |= {name: [] for name in (*empty, *filled)}
    (root / "maps").mkdir(parents=True)
    (root / "maps" / "m.png").touch()
    for number, scene in enumerate(SCENES):
        _write_scene(root, tables, scene, START_US + number * 10**9, rig)
    save(root, tables)
    return root


def _write_scene(
    root: Path, tables: Tables, scene: str, start_us: int, rig: dict[str, Sensor]
) -> None:
    samples = [f"{scene}/sample{i}" for i in range(KEYFRAMES)]
    tables["scene"].append(
        {
            "token": scene + "/token",
            "name": scene,
            "nbr_samples": KEYFRAMES,
            "first_sample_token": samples[0],
            "last_sample_token": samples[-1],
            "log_token": "log",
        }
    )
    tables["sample"] += _chained(
        [
            {"token": s, "timestamp": start_us + i * 500_000, "scene_token": scene + "/token"}
            for i, s in enumerate(samples)
        ]
    )
    for channel, (wxyz, translation, first_us, period_us) in rig.items():
        camera = channel.startswith("CAM")
        calibration = {
            "token": f"{scene}/{channel}",
            "sensor_token": f"sensor_{channel}",
            "translation": list(translation),
            "rotation": list(Quaternion(wxyz).normalised.elements),
            "camera_intrinsic": [[30.0, 0, 23.5], [0, 31.0, 15.5], [0, 0, 1]] if camera else [],
        }
        tables["calibrated_sensor"].append(calibration)
        each = round(500_000 / period_us)
        rows = []
        for i in range(each * (KEYFRAMES - 1) + 1):
            time_us = start_us + first_us + round(i * period_us)
            rows.append(_datum(root, scene, channel, time_us, i % each == 0))
            rows[-1]["sample_token"] = samples[(i + each // 2) // each]
            tables["ego_pose"].append(ego_pose(rows[-1]["token"], time_us, start_us))
        tables["sample_data"] += _chained(rows)


def ego_pose(token: str, time_us: int, start_us: int) -> dict[str, Any]:
    """The row of a car that drives 8 m/s and turns."""
    s = (time_us - start_us) * 1e-6
    turn = Quaternion(axis=(0, 0, 1), radians=0.2 * s) * Quaternion(axis=(0, 1, 0), radians=0.01)
    place = [400 + 8 * s, 1000 + s * s, 0.0]
    row = {"token": token, "timestamp": time_us, "translation": place}
    return row | {"rotation": list(turn.elements)}


def _datum(root: Path, scene: str, channel: str, time_us: int, key: bool) -> dict[str, Any]:
    camera = channel.startswith("CAM")
    ending = "jpg" if camera else "pcd.bin"
    name = f"{'samples' if key else 'sweeps'}/{channel}/{scene}__{channel}__{time_us}.{ending}"
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(time_us)
    if camera:
        image = noise.integers(0, 256, (*SIZE_HW, 3), np.uint8)
        path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    else:
        intensity, ring = noise.integers(0, 256, 100), noise.integers(0, 32, 100)
        np.c_[noise.normal(0, 10, (100, 3)), intensity, ring].astype("<f4").tofile(path)
    return {
        "token": f"{scene}/{channel}/{time_us}",
        "ego_pose_token": f"{scene}/{channel}/{time_us}",
        "calibrated_sensor_token": f"{scene}/{channel}",
        "timestamp": time_us,
        "is_key_frame": key,
        "filename": name,
        "fileformat": ending[:3],
        "height": SIZE_HW[0] if camera else 0,
        "width": SIZE_HW[1] if camera else 0,
    }


def _chained(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tokens = ["", *(row["token"] for row in rows), ""]
    for row, before, after in zip(rows, tokens, tokens[2:], strict=False):
        row |= {"prev": before, "next": after}
    return rows


def save(root: Path, tables: Tables, version: str = "v1.0-trainval") -> None:
    (root / version).mkdir(exist_ok=True)
    for name, rows in tables.items():
        (root / version / f"{name}.json").write_text(json.dumps(rows))


def edit(root: Path, table: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the rows of one table in place."""
    path = root / "v1.0-trainval" / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def keyframe_file(root: Path, channel: str, scene: str = SCENES[0], number: int = 0) -> Path:
    return sorted((root / "samples" / channel).glob(f"{scene}*"))[number]


def read(root: Path, scene: str = SCENES[0], sweeps: bool = False, **options: Any) -> Scene:
    return open_dataset("nuscenes", root, sweeps=sweeps, **options).read(scene)


def rig_with(**first_us: int) -> dict[str, Sensor]:
    """The rig with other first exposures, sensors named `LIDAR_*` beyond it like its LiDAR."""
    rig = dict(RIG)
    for channel, us in first_us.items():
        wxyz, translation, _, period_us = RIG.get(channel, RIG["LIDAR_TOP"])
        rig[channel] = (wxyz, translation, us, period_us)
    return rig
