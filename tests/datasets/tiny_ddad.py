"""A DGP folder of one short scene: cameras and a LiDAR 1 m ahead of ego, which drives 10 m/s."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.datasets.json_files import write_json

SCENE = "000007/scene_abc.json"
CALIBRATION = "000007/calibration/cal.json"
STILL = {"qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0}
POINT_FORMAT = ["INTENSITY", "X", "Y", "Z"]


def offset(x: float) -> dict[str, float]:
    return {"x": x, "y": 0.0, "z": 0.0}


def write(root: Path, cameras: tuple[str, ...] = ("CAMERA_01",), samples: int = 2) -> Path:
    """Write the folder; `data` holds each sample's cameras in order, then its LiDAR."""
    data: list[dict[str, Any]] = []
    rows = []
    for i in range(samples):
        made = [_image(root, i, j, name) for j, name in enumerate(cameras)] + [_cloud(root, i)]
        data += made
        rows.append({"datum_keys": [row["key"] for row in made], "calibration_key": "cal"})
    write_json(root / SCENE, {"data": data, "samples": rows})
    lens = {"fx": 20.0, "fy": 21.0, "cx": 11.5, "cy": 7.5, "skew": 0.0}
    calibration = {
        "names": ["LIDAR", *cameras],
        "intrinsics": [{**lens, "fx": 0.0}] + [lens] * len(cameras),
        "extrinsics": [{"rotation": STILL, "translation": offset(1.0)}]
        + [{"rotation": STILL, "translation": offset(2.0)}] * len(cameras),
    }
    write_json(root / CALIBRATION, calibration)
    write_json(root / "ddad.json", {"scene_splits": {"1": {"filenames": [SCENE]}}})
    return root


def _image(root: Path, sample: int, camera: int, name: str) -> dict[str, Any]:
    file = f"rgb/{sample}.jpg" if camera == 0 else f"rgb/{sample}_{camera}.jpg"
    noise = np.random.default_rng([sample, camera] if camera else sample)
    image = noise.integers(0, 256, (16, 24, 3), np.uint8)
    _place(root, file).write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    size = {"height": 16, "width": 24}
    return _datum(name, sample, "050000", "image", file, 10 * sample + 2.5, size)


def _cloud(root: Path, sample: int) -> dict[str, Any]:
    file = f"points/{sample}.npz"
    np.savez(_place(root, file), data=np.arange(20.0).reshape(5, 4))
    layout = {"point_format": POINT_FORMAT}
    return _datum("LIDAR", sample, "000001", "point_cloud", file, 10 * sample + 1.0, layout)


def _place(root: Path, file: str) -> Path:
    path = root / "000007" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _datum(
    name: str, sample: int, micros: str, kind: str, file: str, x: float, more: dict[str, Any]
) -> dict[str, Any]:
    pose = {"rotation": STILL, "translation": offset(x)}
    identity = {"name": name, "timestamp": f"2020-01-01T00:00:0{sample}.{micros}Z"}
    content = {"filename": file, "pose": pose} | more
    return {"key": f"{name}{sample}", "id": identity, "datum": {kind: content}}
