"""What Argoverse's own library (av2 0.3.6) reads in the tests' tiny log, as golden numbers.

In an environment of this project's with av2 (of its dependencies only universal-pathlib and
pathlib-abc are needed: install the three with --no-deps), from the checkout's top folder:
    PYTHONPATH=. python tests/tools/write_argoverse2_golden.py
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from tests.datasets import tiny_argoverse2 as tiny

AT = 2  # the sweep that is read, with each camera's exposure next to it
OUT = Path(__file__).parents[1] / "goldens" / "argoverse2" / "official.json"


def read_officially(log: Path) -> dict:
    """Points, boxes and projections, in the log's city and images."""
    from av2.geometry.camera.pinhole_camera import PinholeCamera
    from av2.structures.cuboid import CuboidList
    from av2.utils.io import read_city_SE3_ego, read_lidar_sweep

    sweep_ns = tiny.sweep_times_ns()[AT]
    city_SE3_ego = read_city_SE3_ego(log)
    points = read_lidar_sweep(log / f"sensors/lidar/{sweep_ns}.feather").astype(np.float64)
    cuboids = [
        cuboid.transform(city_SE3_ego[sweep_ns])
        for cuboid in CuboidList.from_feather(log / "annotations.feather").cuboids
        if cuboid.timestamp_ns == sweep_ns
    ]
    views = {}
    for name in tiny.SIZES:
        camera = PinholeCamera.from_feather(log, name)
        exposed = city_SE3_ego[tiny.exposure_times_ns(name)[2 * AT]]
        uv, points_cam, inside = camera.project_ego_to_img_motion_compensated(
            points, exposed, city_SE3_ego[sweep_ns]
        )
        views[name] = {
            "uv": uv.tolist(),
            "points_cam": points_cam[:, :3].tolist(),
            "inside": inside.tolist(),
        }
    return {
        "points_city": city_SE3_ego[sweep_ns].transform_point_cloud(points).tolist(),
        "city_T_box": [cuboid.dst_SE3_object.transform_matrix.tolist() for cuboid in cuboids],
        "lwh_m": [cuboid.dims_lwh_m.tolist() for cuboid in cuboids],
        "views": views,
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        golden = read_officially(tiny.write(Path(folder)) / "val" / tiny.LOG)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden, indent=1) + "\n")
