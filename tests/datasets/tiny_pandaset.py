"""A PandaSet folder of one short sequence with a known rig."""

import gzip
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from driv3r.datasets.pandaset.reader import CAMERAS, SIZE_HW
from driv3r.geometry.transforms import apply, from_rotvec, to_quaternion
from driv3r.types import Transform
from tests.datasets.json_files import write_json

MOMENTS = 4
SPEED_MPS = 10.0
START_US = 1_557_539_956_500_022
CAMERA_LEAD_US = dict(zip(CAMERAS, (50_000, 40_000, 20_000, 100_000, 80_000, 60_000), strict=True))
LENS = {"fx": 930.0, "fy": 931.0, "cx": 959.5, "cy": 539.5}
EGO_T_LIDAR = from_rotvec(np.array([0, 0, -np.pi / 2]), np.array([0, 0, 0.33]))
# A camera looking along ego x: its x is -y of ego, its y is -z.
LEVEL = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
POINTS_EGO = np.array([[10.0, 0, 0], [5, 2, 1], [-8, -3, 0.5], [0, 20, 2]])


def ego_T_cam_of(name: str) -> Transform:
    i = CAMERAS.index(name)
    return from_rotvec(np.array([0, 0, -i * np.pi / 3]), np.array([1 - i / 4, 0.1 * i, 2])) @ LEVEL


def world_T_ego_at(time_us: int) -> Transform:
    """The car drives along its x, which points 30 degrees left of the world's."""
    ahead_m = SPEED_MPS * (time_us - START_US) * 1e-6
    turn = from_rotvec(np.array([0, 0, np.pi / 6]), np.array([3.0, -2, 0.5]))
    return turn @ from_rotvec(np.zeros(3), np.array([ahead_m, 0, 0]))


def write_tables(folder: Path, times_us: list[int], ego_T_sensor: Transform) -> None:
    poses = []
    for time_us in times_us:
        world_T_sensor = world_T_ego_at(time_us) @ ego_T_sensor
        heading = dict(zip("wxyz", to_quaternion(world_T_sensor).tolist(), strict=True))
        position = dict(zip("xyz", world_T_sensor[:3, 3].tolist(), strict=True))
        poses.append({"position": position, "heading": heading})
    write_json(folder / "poses.json", poses)
    write_json(folder / "timestamps.json", [time_us / 1e6 for time_us in times_us])


def write_pickle(path: Path, content: Any, protocol: int = 3) -> None:
    """As PandaSet's makers did: before pandas 3, names of columns were plain objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pd.DataFrame):
        content.columns = pd.Index(content.columns, dtype=object)
    data = pickle.dumps(content, protocol=protocol)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def make_cloud(time_us: int) -> pd.DataFrame:
    """POINTS_EGO in the world, and one point of the forward LiDAR."""
    points_world = apply(world_T_ego_at(time_us), np.concatenate([POINTS_EGO, [[99.0, 9, 9]]]))
    cloud = pd.DataFrame(points_world, columns=list("xyz"))
    return cloud.assign(i=7.0, t=time_us * 1e-6, d=[0] * len(POINTS_EGO) + [1])


def make_cuboids() -> pd.DataFrame:
    """A car that both LiDARs saw, its forward twin, and a pedestrian."""
    rows: list[tuple[Any, ...]] = [
        ("a", "Car", 0.5, True, (10.0, 5, 1), (1.9, 4.6, 1.6), 0),
        ("b", "Car", 0.5, True, (10.1, 5, 1), (1.9, 4.6, 1.6), 1),
        ("c", "Pedestrian", -1.0, False, (3.0, 2, 1), (0.6, 0.7, 1.8), -1),
    ]
    table: dict[str, Any] = {
        name: pd.Series([row[i] for row in rows], dtype=object if i < 2 else None)
        for i, name in enumerate(("uuid", "label", "yaw", "stationary"))
    }
    for i, of in ((4, "position"), (5, "dimensions")):
        table |= {f"{of}.{axis}": [row[i][j] for row in rows] for j, axis in enumerate("xyz")}
    return pd.DataFrame(table | {"cuboids.sensor_id": [row[6] for row in rows]})


def write(
    root: Path, moments: int = MOMENTS, size_hw: tuple[int, int] = SIZE_HW, lens: dict = LENS
) -> Path:
    """Moments of six cameras and a LiDAR; the car drives 10 m/s along x."""
    times_us = [START_US + 100_000 * i for i in range(moments)]
    image = cv2.imencode(".jpg", np.full((*size_hw, 3), 90, np.uint8))[1].tobytes()
    for name in CAMERAS:
        folder = root / "002" / "camera" / name
        exposed_us = [time_us - CAMERA_LEAD_US[name] for time_us in times_us]
        write_tables(folder, exposed_us, ego_T_cam_of(name))
        write_json(folder / "intrinsics.json", lens)
        for i in range(moments):
            (folder / f"{i:02d}.jpg").write_bytes(image)
    write_tables(root / "002" / "lidar", times_us, EGO_T_LIDAR)
    for i, time_us in enumerate(times_us):
        write_pickle(root / "002" / "lidar" / f"{i:02d}.pkl.gz", make_cloud(time_us))
        write_pickle(root / f"002/annotations/cuboids/{i:02d}.pkl.gz", make_cuboids())
    return root
