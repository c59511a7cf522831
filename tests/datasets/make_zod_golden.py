"""Writes tests/goldens/zod.json: what Zenseact's devkit says of the tests' sequence.

`PYTHONPATH=. python -m tests.datasets.make_zod_golden`, where zod 0.8.0 is installed with
'dataclass-wizard<0.31' and OpenCV.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from zod.constants import Camera, Lidar  # pyright: ignore[reportMissingImports]
from zod.data_classes.calibration import Calibration  # pyright: ignore[reportMissingImports]
from zod.data_classes.ego_motion import EgoMotion  # pyright: ignore[reportMissingImports]
from zod.data_classes.sensor import LidarData  # pyright: ignore[reportMissingImports]
from zod.utils.geometry import project_3d_to_2d_kannala  # pyright: ignore[reportMissingImports]
from zod.utils.utils import parse_datetime_from_filename  # pyright: ignore[reportMissingImports]

from tests.datasets import tiny_zod as tiny

POINTS_CAM = [[1.0, 0.5, 4.0], [-3.0, 1.0, 2.0], [0.2, -0.6, 1.0], [6.0, -1.0, 40.0]]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = tiny.write(Path(folder))
        log = root / tiny.FOLDER
        calibration = Calibration.from_json_path(str(log / "calibration.json"))
        motion = EgoMotion.from_json_path(str(log / "ego_motion.json"))
        camera, lidar = calibration.cameras[Camera.FRONT], calibration.lidars[Lidar.VELODYNE]
        times_s = [
            [parse_datetime_from_filename(str(path)).timestamp() for path in files]
            for files in (tiny.image_files(root), tiny.lidar_files(root))
        ]
        cam, velo = (motion.get_poses(np.array(each)) for each in times_s)
        points = LidarData.from_npy(str(tiny.lidar_files(root)[0])).points
    uv = project_3d_to_2d_kannala(np.array(POINTS_CAM), camera.intrinsics, camera.distortion)
    golden = {
        "times_us": [[round(each * 1e6) for each in row] for row in times_s],
        "world_T_cam": (cam @ camera.extrinsics.transform).tolist(),
        "world_T_lidar": (velo @ lidar.extrinsics.transform).tolist(),
        "points_lidar": points.tolist(),
        "points_cam": POINTS_CAM,
        "uv": uv.tolist(),
    }
    path = Path(__file__).parents[1] / "goldens" / "zod.json"
    path.write_text(json.dumps({"made_by": __doc__, **golden}, indent=1) + "\n")


if __name__ == "__main__":
    main()
