"""How far our reading of a real Argoverse 2 log is from Argoverse's own library's, printed.

The recording needs no images: plain ones are put at times of its poses, in a temporary copy. In an
environment as write_argoverse2_golden.py says, from the checkout's top folder:
    PYTHONPATH=. python tests/tools/compare_argoverse2.py ../shared/data/argoverse2/val/<log>
"""

import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from driv3r.datasets import open_dataset
from driv3r.datasets.argoverse2.log import CAMERAS
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Scene


def place_images(log: Path) -> None:
    """Plain images of every camera, 3 ms apart from the sweep's time on."""
    from av2.utils.io import read_city_SE3_ego

    poses_ns = np.array(sorted(read_city_SE3_ego(log)))
    for number, name in enumerate(CAMERAS):
        size_hw = (2048, 1550) if name == "ring_front_center" else (1550, 2048)
        image = cv2.imencode(".jpg", np.full((*size_hw, 3), 90, np.uint8))[1].tobytes()
        folder = log / "sensors" / "cameras" / name
        folder.mkdir(parents=True)
        for sweep in (log / "sensors" / "lidar").iterdir():
            nearest = np.abs(poses_ns - int(sweep.stem) - 3_000_000 * number).argmin()
            (folder / f"{poses_ns[nearest]}.jpg").write_bytes(image)


def compare(log: Path, scene: Scene) -> dict[str, list[float]]:
    """Numbers, and the greatest differences, of points, boxes and projections by sweep."""
    from av2.geometry.camera.pinhole_camera import PinholeCamera
    from av2.structures.cuboid import CuboidList
    from av2.utils.io import read_city_SE3_ego, read_lidar_sweep

    city_SE3_ego, origin = read_city_SE3_ego(log), np.array(scene.origin_world)
    cuboids = CuboidList.from_feather(log / "annotations.feather").cuboids
    found: dict[str, list[float]] = {}
    for i, path in enumerate(sorted((log / "sensors" / "lidar").iterdir())):
        city_SE3_now = city_SE3_ego[int(path.stem)]
        points = read_lidar_sweep(path).astype(np.float64)
        frame, boxes = scene.frames[i], scene.boxes and scene.boxes(i)
        assert frame.sweep is not None
        assert boxes is not None
        ours = apply(frame.sweep.world_T_lidar, frame.sweep.points_lidar.astype(np.float64))
        gap_m = np.abs(city_SE3_now.transform_point_cloud(points) - ours - origin)
        found.setdefault("points, m", []).extend([len(points), gap_m.max()])
        theirs = np.stack(
            [
                cuboid.transform(city_SE3_now).dst_SE3_object.transform_matrix
                for cuboid in cuboids
                if cuboid.timestamp_ns == int(path.stem)
            ]
        )
        theirs[:, :3, 3] -= origin
        gap = np.abs(theirs - boxes.world_T_box)
        found.setdefault("boxes, m", []).extend([len(theirs), gap.max()])
        for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
            assert view is not None
            uv, _, inside = PinholeCamera.from_feather(
                log, camera.name
            ).project_ego_to_img_motion_compensated(
                points, city_SE3_ego[int(Path(view.path).stem)], city_SE3_now
            )
            own, _, _ = project(camera, apply(invert(view.world_T_cam), ours))
            gap_px = np.abs(own[inside] - 0.5 - uv[inside])
            found.setdefault("projections, px", []).extend([inside.sum(), gap_px.max()])
    return found


if __name__ == "__main__":
    source = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "val" / source.name
        shutil.copytree(source, copy)
        place_images(copy)
        for what, numbers in compare(
            copy, open_dataset("argoverse2", Path(folder)).read(copy.name)
        ).items():
            print(f"{what}: {sum(numbers[::2]):.0f}, {max(numbers[1::2]):.2g} off at most")
