"""Writes a log of a dataset as a folder of one's own: images, rig.yaml, poses, LiDAR.

python tests/tools/write_folder.py ddad ../shared/data/ddad_dgp scene_01 /tmp/own-ddad
    python tests/tools/write_folder.py argoverse ../shared/data/argoverse2/val 7fab2350... /tmp/av2
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from driv3r.datasets import open_dataset
from driv3r.datasets.folder import RigFile, write_rig_file
from driv3r.datasets.folder.rig_file import RigCamera
from driv3r.datasets.rig_formats.nuscenes import describe_rig
from driv3r.geometry.transforms import from_quaternion, invert, to_quaternion
from driv3r.types import Scene


def write_folder(scene: Scene, root: Path, out: Path) -> Path:
    """One log below `out`, of the scene's id; `root` is where its images lie."""
    log = out / scene.id
    (log / "lidar").mkdir(parents=True)
    poses: dict[int, np.ndarray] = {}
    for frame in scene.frames:
        for view, camera in zip(frame.views, scene.rig.cameras, strict=True):
            if view is None:
                continue
            file = log / "images" / camera.name / f"{view.time_us}{Path(view.path).suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / view.path, file)
            poses[view.time_us] = view.world_T_cam @ invert(camera.ego_T_cam)
        if frame.sweep is not None and scene.rig.ego_T_lidar is not None:
            np.save(log / f"lidar/{frame.sweep.time_us}.npy", frame.sweep.points_lidar)
            poses[frame.sweep.time_us] = frame.sweep.world_T_lidar @ invert(scene.rig.ego_T_lidar)
    rows = ["time_us,x,y,z,qw,qx,qy,qz"]
    for time_us, world_T_ego in sorted(poses.items()):
        numbers = [*world_T_ego[:3, 3], *to_quaternion(world_T_ego)]
        rows.append(",".join([str(time_us), *(f"{value:.9f}" for value in numbers)]))
    (log / "poses.csv").write_text("\n".join(rows))
    write_rig_file(log / "rig.yaml", describe_rig(scene.rig), f"of scene {scene.id}")
    return log


def write_argoverse(log: Path, out: Path) -> Path:
    """An Argoverse 2 log's rig and sweeps (in its ego frame, the rear axle); needs pyarrow.

    Its road lies a wheel's radius, 0.33 m, below the axle.
    """
    import pandas

    tables = [
        log / f"calibration/{name}.feather" for name in ("intrinsics", "egovehicle_SE3_sensor")
    ]
    lenses, places = (pandas.read_feather(table).set_index("sensor_name") for table in tables)
    cameras = []
    for name, lens in lenses.iterrows():
        K = np.array([[lens.fx_px, 0, lens.cx_px], [0, lens.fy_px, lens.cy_px], [0, 0, 1]])
        row, size_hw = places.loc[name], (int(lens.height_px), int(lens.width_px))
        wxyz, xyz_m = row[["qw", "qx", "qy", "qz"]], row[["tx_m", "ty_m", "tz_m"]]
        ego_T_cam = from_quaternion(wxyz.to_numpy(float), xyz_m.to_numpy(float))
        distortion = (lens.k1, lens.k2, 0.0, 0.0, lens.k3)
        cameras.append(RigCamera(str(name), size_hw, K, ego_T_cam, "opencv", distortion))
    (out / log.name / "lidar").mkdir(parents=True)
    for sweep in sorted((log / "sensors/lidar").iterdir()):
        points = pandas.read_feather(sweep)[["x", "y", "z"]].to_numpy(np.float32)
        np.save(out / log.name / "lidar" / f"{int(sweep.stem) // 1000}.npy", points)
    rig = RigFile(tuple(cameras), np.eye(4), -0.33)
    write_rig_file(out / log.name / "rig.yaml", rig, f"of Argoverse 2 log {log.name}")
    return out / log.name


def main() -> None:
    """Write the log that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="a reader's name, or argoverse")
    parser.add_argument("root", type=Path)
    parser.add_argument("scene")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    if given.dataset == "argoverse":
        print(write_argoverse(given.root / given.scene, given.out))
        return
    scene = open_dataset(given.dataset, given.root).read(given.scene)
    print(write_folder(scene, given.root, given.out))


if __name__ == "__main__":
    main()
