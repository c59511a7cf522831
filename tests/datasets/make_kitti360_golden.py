"""Writes tests/goldens/kitti360scripts.json: what the authors' scripts say of the tests' drive.

`PYTHONPATH=. python -m tests.datasets.make_kitti360_golden`, where kitti360scripts 1.0.0 is
installed (`pip install --no-deps kitti360scripts`).
"""

import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml
from kitti360scripts.helpers import project  # pyright: ignore[reportMissingImports]

from tests.datasets import tiny_kitti360 as tiny

POINTS_CAM = [[1.0, 0.5, 4.0], [-3.0, 1.0, 2.0], [0.2, -2.0, 1.0], [5.0, 0.0, 0.5]]


def main() -> None:
    project.yaml = SimpleNamespace(load=yaml.safe_load)  # PyYAML 6 wants to be told the loader
    with tempfile.TemporaryDirectory() as folder:
        root = tiny.write_drive(Path(folder))
        for name in ("image_02", "image_03"):
            tiny.write_yaml(root / "calibration" / f"{name}.yaml", name, tiny.UNTILTED)
        cameras = [project.CameraPerspective(str(root), tiny.DRIVE, i) for i in (0, 1)]
        cameras += [project.CameraFisheye(str(root), tiny.DRIVE, i) for i in (2, 3)]
        u, v, _ = cameras[2].cam2image(np.array(POINTS_CAM).T)
    golden = {
        "world_T_cam": [
            [c.cam2world[float(i)].tolist() for i in tiny.GOLDEN_FRAMES] for c in cameras
        ],
        "points_cam": POINTS_CAM,
        "fisheye_uv": np.stack([u, v], axis=1).tolist(),
    }
    path = Path(__file__).parents[1] / "goldens" / "kitti360scripts.json"
    path.write_text(json.dumps({"made_by": __doc__, **golden}, indent=1) + "\n")


if __name__ == "__main__":
    main()
