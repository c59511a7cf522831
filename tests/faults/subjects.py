"""The tiny datasets of the matrix, and what is read of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driv3r.datasets import open_dataset
from driv3r.types import Scene, Sweep, View
from tests.datasets import (
    tiny_argoverse2,
    tiny_ddad,
    tiny_kitti,
    tiny_kitti360,
    tiny_nuscenes,
    tiny_pandaset,
    tiny_rosbag,
    tiny_waymo,
    tiny_zod,
)

NUSCENES, SWEEPS, DDAD = "nuScenes", "nuScenes with sweeps", "DDAD (DGP)"
PANDASET, BOXES = "PandaSet", "PandaSet's boxes"
KITTI, KITTI_BOXES, KITTI_ODOMETRY = "KITTI", "KITTI's tracklets", "KITTI odometry"
KITTI360, KITTI360_BOXES = "KITTI-360", "KITTI-360's boxes"
WAYMO_V1, WAYMO_V2 = "Waymo v1 (TFRecord)", "Waymo v2 (Parquet)"
ARGOVERSE2, ARGOVERSE2_BOXES = "Argoverse 2", "Argoverse 2's boxes"
ROSBAG, ZOD, ZOD_BOXES = "ROS 2 bags", "ZOD", "ZOD's boxes"
SMALL_HW = (54, 96)  # PandaSet's images are 1080 x 1920: the tests take a twentieth of it
PANDASET_MOMENTS = 7  # so many that one wrong pose does not move a camera on the car
SMALL_LENS = {"fx": 46.5, "fy": 46.5, "cx": 47.5, "cy": 26.5}
Given = dict[tuple[int, str], View | Sweep]


@dataclass(frozen=True)
class Subject:
    """A reader, the folder that it is tried on, and the scene that is read of it."""

    name: str
    dataset: str
    write: Callable[[Path], Path]
    scene: str
    sweeps: bool = False
    boxes: bool = False


def _write_ddad(root: Path) -> Path:
    return tiny_ddad.write(root, ("CAMERA_01", "CAMERA_05"), 3)


def _write_pandaset(root: Path) -> Path:
    return tiny_pandaset.write(root, PANDASET_MOMENTS, SMALL_HW, SMALL_LENS)


def _write_sequence(root: Path) -> Path:
    return tiny_kitti.write_sequence(root, (2, 3))


def _write_kitti360(root: Path) -> Path:
    return tiny_kitti360.write_drive(root, standing=None)


SUBJECTS = (
    Subject(NUSCENES, "nuscenes", tiny_nuscenes.write, tiny_nuscenes.SCENES[0]),
    Subject(SWEEPS, "nuscenes", tiny_nuscenes.write, tiny_nuscenes.SCENES[0], sweeps=True),
    Subject(DDAD, "ddad", _write_ddad, "000007"),
    Subject(PANDASET, "pandaset", _write_pandaset, "002"),
    Subject(BOXES, "pandaset", _write_pandaset, "002", boxes=True),
    Subject(KITTI, "kitti", tiny_kitti.write_raw, tiny_kitti.DRIVE),
    Subject(KITTI_BOXES, "kitti", tiny_kitti.write_raw, tiny_kitti.DRIVE, boxes=True),
    Subject(KITTI_ODOMETRY, "kitti", _write_sequence, tiny_kitti.SEQUENCE),
    Subject(KITTI360, "kitti360", _write_kitti360, tiny_kitti360.DRIVE),
    Subject(KITTI360_BOXES, "kitti360", _write_kitti360, tiny_kitti360.DRIVE, boxes=True),
    Subject(WAYMO_V1, "waymo", tiny_waymo.write_v1, tiny_waymo.SEGMENT),
    Subject(WAYMO_V2, "waymo", tiny_waymo.write_v2, tiny_waymo.SEGMENT),
    Subject(ARGOVERSE2, "argoverse2", tiny_argoverse2.write, tiny_argoverse2.LOG),
    Subject(ARGOVERSE2_BOXES, "argoverse2", tiny_argoverse2.write, tiny_argoverse2.LOG, boxes=True),
    Subject(ROSBAG, "rosbag", tiny_rosbag.write, "drive"),
    Subject(ZOD, "zod", tiny_zod.write, tiny_zod.LOG),
    Subject(ZOD_BOXES, "zod", tiny_zod.write, tiny_zod.LOG, boxes=True),
)


@dataclass(frozen=True, eq=False)
class Reading:
    """A scene, everything that its sensors gave by (frame, sensor), and all repairs as text."""

    scene: Scene
    given: Given
    repairs: tuple[str, ...]


def read_everything(subject: Subject, root: Path) -> Reading:
    """Open a dataset, list its scenes, and read one scene with every frame (and its boxes)."""
    reader = open_dataset(subject.dataset, root, sweeps=subject.sweeps)
    assert subject.scene in reader.scenes("all")
    scene = reader.read(subject.scene)
    given: Given = {}
    repairs, annotated = list(scene.repairs), 0
    for i, frame in enumerate(scene.frames):
        repairs += frame.repairs
        for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
            if view is not None:
                given[i, camera.name] = view
        if frame.sweep is not None:
            given[i, "lidar"] = frame.sweep
        if subject.boxes:
            assert scene.boxes is not None
            boxes = scene.boxes(i)
            annotated += boxes is not None
            assert boxes is None or np.isfinite(boxes.world_T_box).all()
        elif scene.boxes is not None and subject.dataset == "waymo":
            scene.boxes(i)
    assert annotated or not subject.boxes
    return Reading(scene, given, tuple(f"{each.where}: {each.reason}" for each in repairs))


def same(a: View | Sweep, b: View | Sweep) -> bool:
    """Whether two data are of one time, place and content."""
    if isinstance(a, Sweep) or isinstance(b, Sweep):
        return (
            isinstance(a, Sweep)
            and isinstance(b, Sweep)
            and a.time_us == b.time_us
            and np.allclose(a.world_T_lidar, b.world_T_lidar, atol=1e-6)
            and np.array_equal(a.points_lidar, b.points_lidar)
        )
    return (
        a.time_us == b.time_us
        and np.allclose(a.world_T_cam, b.world_T_cam, atol=1e-6)
        and np.array_equal(a.image, b.image)
    )


def thinner(a: View | Sweep, b: View | Sweep) -> bool:
    """Whether a sweep has some of another's points and no others."""
    assert isinstance(a, Sweep)
    assert isinstance(b, Sweep)
    kept = {tuple(point) for point in a.points_lidar.tolist()}
    whole = {tuple(point) for point in b.points_lidar.tolist()}
    return 0 < len(a.points_lidar) < len(b.points_lidar) and kept <= whole
