"""A small folder dataset: two cameras, poses of a car that drives along x, a sweep a frame."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

SIZE_HW = (32, 56)
STEP_US, START_US = 100_000, 1_600_000_000_000_000
SPEED_MPS = 5.0
FRONT = [[0, 0, 1, 1.5], [-1, 0, 0, 0], [0, -1, 0, 1.6], [0, 0, 0, 1]]
LEFT = [[1, 0, 0, 1.0], [0, 0, 1, 0.8], [0, -1, 0, 1.6], [0, 0, 0, 1]]
LIDAR = {"translation_m": [1.0, 0.0, 1.8], "quaternion_wxyz": [1, 0, 0, 0]}


def camera(name: str, ego_T_cam: Any, **others: Any) -> dict[str, Any]:
    keys = {"name": name, "size_wh": [SIZE_HW[1], SIZE_HW[0]], "ego_T_cam": ego_T_cam}
    return keys | {"fx": 30.0, "fy": 30.0, "cx": 27.5, "cy": 15.5} | others


def rig() -> dict[str, Any]:
    cameras = [camera("front", FRONT), camera("left", LEFT)]
    return {"pixel_centre": "integer", "cameras": cameras, "ego_T_lidar": LIDAR}


def write_rig(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def image(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (*SIZE_HW, 3)).astype(np.uint8)


def points(number: int) -> np.ndarray:
    return np.random.default_rng(number).uniform(-20, 20, (50, 3)).astype(np.float32)


def place_m(time_us: int) -> float:
    return SPEED_MPS * (time_us - START_US) * 1e-6


def write(log: Path, frames: int = 4, late_us: int = 7000) -> Path:
    """The left camera and the LiDAR are `late_us` later than the front one."""
    for folder in ("images/front", "images/left", "lidar"):
        (log / folder).mkdir(parents=True)
    write_rig(log / "rig.yaml", rig())
    for i in range(frames):
        time_us = START_US + i * STEP_US
        cv2.imwrite(str(log / f"images/front/{time_us}.png"), image(i)[..., ::-1])
        cv2.imwrite(
            str(log / f"images/left/left_{time_us + late_us}.png"), image(100 + i)[..., ::-1]
        )
        np.save(log / f"lidar/{time_us + late_us}.npy", points(i))
    times = range(START_US - 50_000, START_US + frames * STEP_US + 100_000, 50_000)
    rows = [f"{t},{place_m(t):.9f},0,0,1,0,0,0" for t in times]
    (log / "poses.csv").write_text("\n".join(["time_us,x,y,z,qw,qx,qy,qz", *rows]))
    return log
