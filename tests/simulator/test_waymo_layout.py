"""Logs written in Waymo's layout read back as their nuScenes folder does, and as truth has it."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial import KDTree

from driv3r.datasets import open_dataset
from driv3r.datasets.waymo.range_images import to_points
from driv3r.datasets.waymo.segment import LaserSetup
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import apply, from_rotvec, to_quaternion
from driv3r.simulator.export.layouts import LAYOUTS
from driv3r.simulator.export.layouts.waymo import make_range_image
from driv3r.types import Scene
from tests.datasets import tiny_nuscenes as tiny

KINDS = {  # of boxes: Waymo's type, where on the road, size (width, length, height), yaw
    "vehicle.car": ("TYPE_VEHICLE", (410.0, 1004.0, 1.0), (1.9, 4.5, 1.6), 2.0),
    "human.pedestrian.adult": ("TYPE_PEDESTRIAN", (390.0, 1010.0, 0.9), (0.7, 0.6, 1.8), -3.0),
    "vehicle.bicycle": ("TYPE_CYCLIST", (404.0, 990.0, 0.8), (0.6, 1.7, 1.6), 0.1),
    "movable_object.barrier": ("TYPE_UNKNOWN", (420.0, 980.0, 0.5), (2.0, 0.5, 1.0), 1.0),
}
SPEED_MPS = 3.0  # of each, along the world's x


def annotate(root: Path) -> None:
    """Every keyframe's boxes; they lean by a degree."""
    samples: list[dict] = []
    tiny.edit(root, "sample", samples.extend)
    named = [{"token": kind, "name": kind, "description": ""} for kind in KINDS]
    instances = [{"token": f"i-{kind}", "category_token": kind} for kind in KINDS]
    start_us = min(sample["timestamp"] for sample in samples)
    rows = []
    for sample in samples:
        ahead_m = SPEED_MPS * (sample["timestamp"] - start_us) * 1e-6
        for kind, (_, (x, y, z), size, yaw_rad) in KINDS.items():
            lean = from_rotvec(np.array([0, np.radians(1), 0]), np.zeros(3))
            turn = from_rotvec(np.array([0, 0, yaw_rad]), np.zeros(3)) @ lean
            rows.append({
                "token": f"{sample['token']}-{kind}",
                "sample_token": sample["token"],
                "instance_token": f"i-{kind}",
                "translation": [x + ahead_m, y, z],
                "size": list(size),
                "rotation": to_quaternion(turn).tolist(),
            })  # fmt: skip
    for table, content in (
        ("category", named), ("instance", instances), ("sample_annotation", rows),
    ):  # fmt: skip
        tiny.edit(root, table, lambda have, content=content: have.extend(content))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[tuple[int, int]]]:
    """A nuScenes folder, the same in Waymo's layout, and what was reported."""
    folder = tmp_path_factory.mktemp("layouts")
    told: list[tuple[int, int]] = []
    annotate(tiny.write(folder / "nuscenes"))
    source = open_dataset("nuscenes", folder / "nuscenes")
    LAYOUTS["waymo"](source, "val", folder / "waymo", lambda *done: told.append(done))
    return folder / "nuscenes", folder / "waymo", told


@pytest.fixture
def pair(logs: tuple[Path, Path, list[tuple[int, int]]]) -> tuple[Scene, Scene]:
    name = tiny.SCENES[0]
    return open_dataset("nuscenes", logs[0]).read(name), open_dataset("waymo", logs[1]).read(name)


def test_all_logs_of_the_split_are_there(
    logs: tuple[Path, Path, list[tuple[int, int]]],
) -> None:
    names = open_dataset("nuscenes", logs[0]).scenes("val")
    assert open_dataset("waymo", logs[1]).scenes("validation") == names
    frames = sum(len(open_dataset("nuscenes", logs[0]).read(name).frames) for name in names)
    assert logs[2] == [(i + 1, frames) for i in range(frames)]


def test_generated_logs_stay_generated(tmp_path: Path) -> None:
    root = tiny.write(tmp_path / "nuscenes")
    (root / "driv3r-world.json").write_text("{}")
    source = open_dataset("nuscenes", root)
    LAYOUTS["waymo"](source, "val", tmp_path / "waymo", lambda *_: None)
    assert open_dataset("waymo", tmp_path / "waymo").read(tiny.SCENES[0]).generated
    with pytest.raises(ConfigError, match="is there already"):
        LAYOUTS["waymo"](source, "val", tmp_path / "waymo", lambda *_: None)


def test_times_poses_and_images_are_the_same(
    logs: tuple[Path, Path, list[tuple[int, int]]], pair: tuple[Scene, Scene]
) -> None:
    first, second = pair
    assert second.repairs == ()
    assert not second.generated
    np.testing.assert_array_equal(first.time_us, second.time_us)
    names = {"CAM_FRONT": "FRONT", "CAM_BACK": "REAR"}
    cameras = {camera.name: i for i, camera in enumerate(second.rig.cameras)}
    for k, camera in enumerate(first.rig.cameras):
        other = second.rig.cameras[cameras[names[camera.name]]]
        np.testing.assert_allclose(other.K, camera.K, atol=1e-9)
        np.testing.assert_allclose(other.ego_T_cam, camera.ego_T_cam, atol=1e-12)
        for a, b in zip(first.frames, second.frames, strict=True):
            view, again = a.views[k], b.views[cameras[names[camera.name]]]
            assert view is not None
            assert again is not None
            assert again.time_us == view.time_us
            assert again.shutter is None
            np.testing.assert_allclose(again.world_T_cam, view.world_T_cam, atol=1e-9)
            np.testing.assert_allclose(b.world_T_ego, a.world_T_ego, atol=1e-9)
            file, _, row = again.path.partition("#")
            table = pq.read_table(logs[1] / file)
            jpeg = table.column("[CameraImageComponent].image")[int(row)].as_py()
            assert jpeg == (logs[0] / view.path).read_bytes()


def test_points_and_boxes_come_back(pair: tuple[Scene, Scene]) -> None:
    first, second = pair
    assert first.boxes is not None
    assert second.boxes is not None
    for i, (a, b) in enumerate(zip(first.frames, second.frames, strict=True)):
        assert a.sweep is not None
        assert b.sweep is not None
        assert len(b.sweep.points_lidar) == len(a.sweep.points_lidar)
        world = [apply(s.world_T_lidar, s.points_lidar.astype(float)) for s in (a.sweep, b.sweep)]
        assert KDTree(world[1]).query(world[0])[0].max() < 1e-4  # about 1000 m from the origin
        boxes, others = first.boxes(i), second.boxes(i)
        assert boxes is not None
        assert others is not None
        assert others.instance == boxes.instance
        assert others.label == tuple(KINDS[label][0] for label in boxes.label)
        np.testing.assert_allclose(others.size_m, boxes.size_m)
        place, again = boxes.world_T_box[:, :3, 3], others.world_T_box[:, :3, 3]
        np.testing.assert_allclose(again, place, atol=1e-9)
        ahead = np.sum(boxes.world_T_box[:, :3, 0] * others.world_T_box[:, :3, 0], axis=1)
        assert ahead.min() > np.cos(np.radians(2))  # leaning boxes lose that
        np.testing.assert_allclose(others.velocity_world_mps, boxes.velocity_world_mps, atol=1e-9)


def test_points_of_one_direction_get_pixels_of_their_own() -> None:
    """A sweep that no range image has room for: all on one ray, and all in one place."""
    place = from_rotvec(np.array([0, 0, 2.5]), np.array([1, 0, 2.0]))
    laser = LaserSetup(place, np.linspace(-0.3, 0.1, 64), (-0.3, 0.1))
    world_T_vehicle = from_rotvec(np.array([0.02, -0.01, 2]), np.array([300.0, -400, 20]))
    ray = np.outer(np.linspace(3, 80, 50), [0.8, -0.6, -0.05])
    points_vehicle = np.concatenate([ray, np.repeat(ray[:1], 30, axis=0), -ray])
    points_world = apply(world_T_vehicle, points_vehicle)
    image = make_range_image(points_world, world_T_vehicle, laser)
    points = to_points(image, laser, world_T_vehicle)
    assert len(points) == len(points_vehicle)
    assert KDTree(points).query(points_vehicle)[0].max() < 4e-5
    assert KDTree(points_vehicle).query(points)[0].max() < 4e-5


def test_what_waymo_can_not_hold_is_refused(
    logs: tuple[Path, Path, list[tuple[int, int]]], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="come from a WaymoReader, expected"):
        LAYOUTS["waymo"](open_dataset("waymo", logs[1]), "all", tmp_path, lambda *_: None)
    root = tiny.write(tmp_path / "root")

    def rename(rows: list) -> None:
        for row in rows:
            row["channel"] = row["channel"].replace("CAM_BACK", "CAM_ROOF")

    tiny.edit(root, "sensor", rename)
    with pytest.raises(DatasetError, match="Waymo has no camera for CAM_ROOF"):
        LAYOUTS["waymo"](open_dataset("nuscenes", root), "val", tmp_path / "out", lambda *_: None)
