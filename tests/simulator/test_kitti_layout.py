"""A world's logs, written as KITTI raw drives, are read back as the nuScenes folder has them."""

from pathlib import Path

import numpy as np
import pytest
from pyquaternion import Quaternion

from driv3r.datasets import open_dataset
from driv3r.datasets.reader import Reader
from driv3r.datasets.scenes import GENERATED
from driv3r.errors import ConfigError
from driv3r.geometry.transforms import apply, invert
from driv3r.simulator.export.layouts import LAYOUTS
from driv3r.types import Scene
from tests.datasets import tiny_nuscenes

KEYFRAMES = tiny_nuscenes.KEYFRAMES
SCENES = tiny_nuscenes.SCENES
DRIVES = ("2020_09_13_drive_0003_sync", "2020_09_13_drive_0012_sync")


def annotate(root: Path) -> None:
    """A car in all keyframes, one that is away in between, and a pedestrian who grows."""
    rows = []
    for scene in SCENES:
        for who, label, frames in (("a", 0, (0, 1, 2)), ("b", 0, (0, 2)), ("c", 1, (1, 2))):
            for i in frames:
                turn = Quaternion(axis=(0.1, 0.2, 1.0), radians=0.7 * i + label)
                rows.append(
                    {
                        "token": f"{scene}/{who}{i}",
                        "sample_token": f"{scene}/sample{i}",
                        "instance_token": f"{scene}/{who}",
                        "translation": [410.0 + 4 * i, 1003.0 + 5 * "abc".index(who), 0.8],
                        "size": [1.9, 4.5 - 3.7 * label, 1.7 + 0.1 * i * label],
                        "rotation": list(turn.elements),
                    }
                )
    tables = {
        "sample_annotation": rows,
        "category": [{"token": "0", "name": "vehicle.car"}, {"token": "1", "name": "a <b> & c"}],
        "instance": [
            {"token": f"{scene}/{who}", "category_token": str(int(who == "c"))}
            for scene in SCENES
            for who in "abc"
        ],
    }
    tiny_nuscenes.save(root, tables)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tiny_nuscenes.write(tmp_path_factory.mktemp("world") / "nuscenes")
    annotate(root)
    (root / GENERATED).write_text("{}")
    return root


@pytest.fixture(scope="module")
def told() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def kitti(world: Path, told: list[tuple[int, int]]) -> Path:
    root = world.parent / "kitti"
    LAYOUTS["kitti"](open_dataset("nuscenes", world), "val", root, lambda *done: told.append(done))
    return root


@pytest.fixture(scope="module", params=zip(SCENES, DRIVES, strict=True), ids=SCENES)
def pair(request: pytest.FixtureRequest, world: Path, kitti: Path) -> tuple[Scene, Scene]:
    log, drive = request.param
    return open_dataset("nuscenes", world).read(log), open_dataset("kitti", kitti).read(drive)


def test_progress_is_told_by_frame(kitti: Path, told: list[tuple[int, int]]) -> None:
    assert open_dataset("kitti", kitti).scenes("all") == DRIVES
    assert told == [(i + 1, 2 * KEYFRAMES) for i in range(2 * KEYFRAMES)]


def test_the_rig_is_read_back(pair: tuple[Scene, Scene]) -> None:
    log, drive = pair
    assert drive.repairs == ()
    assert drive.generated
    np.testing.assert_array_equal(drive.time_us, log.time_us)
    assert len(drive.rig.cameras) == len(log.rig.cameras) == 2
    # The road lies as far below every sensor.
    up = np.eye(4)
    up[2, 3] = log.rig.ground_z_m - drive.rig.ground_z_m
    for given, read in zip(log.rig.cameras, drive.rig.cameras, strict=True):
        np.testing.assert_allclose(up @ read.ego_T_cam, given.ego_T_cam, atol=1e-9)
        np.testing.assert_allclose(read.K, given.K, atol=1e-9)
        assert read.size_hw == given.size_hw


def test_frames_are_read_back(pair: tuple[Scene, Scene]) -> None:
    """Images and points to the bit, poses to a micrometre, from the first one's place."""
    log, drive = pair
    start_m = None
    for given, read in zip(log.frames, drive.frames, strict=True):
        assert read.repairs == ()
        for a, b in zip(given.views, read.views, strict=True):
            assert a is not None
            assert b is not None
            assert b.time_us == a.time_us
            np.testing.assert_array_equal(b.image, a.image)
            if start_m is None:
                start_m = a.world_T_cam[:3, 3] - b.world_T_cam[:3, 3]
            moved = b.world_T_cam.copy()
            moved[:3, 3] += start_m
            np.testing.assert_allclose(moved, a.world_T_cam, atol=1e-6)
        assert given.sweep is not None
        assert read.sweep is not None
        assert read.sweep.time_us == given.sweep.time_us
        # KITTI's LiDAR looks along x where nuScenes' does along y: the same numbers, turned.
        assert read.sweep.world_T_lidar[:3, 0] @ read.world_T_ego[:3, 0] > 0.99
        x, y, z = read.sweep.points_lidar.T
        np.testing.assert_array_equal(np.stack([-y, x, z], axis=1), given.sweep.points_lidar)
        points_world = apply(read.sweep.world_T_lidar, read.sweep.points_lidar.astype(float))
        expected = apply(given.sweep.world_T_lidar, given.sweep.points_lidar.astype(float))
        np.testing.assert_allclose(points_world + start_m, expected, atol=1e-6)


def test_boxes_are_read_back(pair: tuple[Scene, Scene]) -> None:
    log, drive = pair
    assert log.boxes is not None
    assert drive.boxes is not None
    names: dict[str, str] = {}  # a track's in KITTI by its instance in nuScenes
    for i, (given, read) in enumerate(zip(log.frames, drive.frames, strict=True)):
        a, b = log.boxes(i), drive.boxes(i)
        assert a is not None
        assert b is not None
        assert len(a.label) == len(b.label)
        assert given.sweep is not None
        assert read.sweep is not None
        for j, label in enumerate(a.label):
            place_m = apply(invert(given.sweep.world_T_lidar), a.world_T_box[j, :3, 3])
            places_m = apply(invert(read.sweep.world_T_lidar), b.world_T_box[:, :3, 3])
            turned_m = np.stack([-places_m[:, 1], places_m[:, 0], places_m[:, 2]], axis=1)
            k = int(np.linalg.norm(turned_m - place_m, axis=1).argmin())
            np.testing.assert_allclose(turned_m[k], place_m, atol=1e-6)
            assert b.label[k] == label
            np.testing.assert_array_equal(b.size_m[k], a.size_m[j])
            np.testing.assert_allclose(
                b.world_T_box[k, :3, :3], a.world_T_box[j, :3, :3], atol=1e-9
            )
            known = names.setdefault(b.instance[k], a.instance[j])
            assert known == a.instance[j]
    # The car that was away is another after it, as is the pedestrian of another size.
    assert sorted(names.values()) == sorted(f"{log.id}/{who}" for who in "abbcc")


def test_a_drive_that_is_there_is_not_written_over(kitti: Path, world: Path) -> None:
    with pytest.raises(ConfigError, match="drive_0003_sync is there already"):
        LAYOUTS["kitti"](open_dataset("nuscenes", world), "val", kitti, lambda *done: None)


def test_a_log_of_another_rig_gets_another_day(tmp_path: Path) -> None:
    """A day has one calibration."""
    rigs = [tiny_nuscenes.RIG, tiny_nuscenes.RIG | {"CAM_FRONT": tiny_nuscenes.RIG["CAM_BACK"]}]
    readers = [
        open_dataset("nuscenes", tiny_nuscenes.write(tmp_path / str(i), rig))
        for i, rig in enumerate(rigs)
    ]

    class Both(Reader):
        def scenes(self, split: str) -> tuple[str, ...]:
            return tiny_nuscenes.SCENES

        def read(self, scene_id: str) -> Scene:
            return readers[tiny_nuscenes.SCENES.index(scene_id)].read(scene_id)

    LAYOUTS["kitti"](Both(), "all", tmp_path / "kitti", lambda *done: None)
    drives = open_dataset("kitti", tmp_path / "kitti").scenes("all")
    assert drives == ("2020_09_13_drive_0003_sync", "2020_09_14_drive_0012_sync")
    for log, drive, reader in zip(tiny_nuscenes.SCENES, drives, readers, strict=True):
        given = reader.read(log)
        read = open_dataset("kitti", tmp_path / "kitti").read(drive)
        assert not read.generated
        for a, b in zip(given.rig.cameras, read.rig.cameras, strict=True):
            b_T_b = invert(read.rig.cameras[0].ego_T_cam) @ b.ego_T_cam
            a_T_a = invert(given.rig.cameras[0].ego_T_cam) @ a.ego_T_cam
            np.testing.assert_allclose(b_T_b, a_T_a, atol=1e-9)


def test_lost_images_and_lenses_that_bend(tmp_path: Path) -> None:
    root = tiny_nuscenes.write(tmp_path / "nuscenes")
    tiny_nuscenes.keyframe_file(root, "CAM_FRONT", number=1).unlink()
    LAYOUTS["kitti"](open_dataset("nuscenes", root), "val", tmp_path / "kitti", lambda *done: None)
    scene = open_dataset("kitti", tmp_path / "kitti").read("2020_09_13_drive_0003_sync")
    assert [view is None for view in scene.frames[1].views] == [True, False]
    assert scene.frames[0].repairs == scene.frames[2].repairs == ()

    bent = {"camera_distortion": [0.1, 0.0, 0.0, 0.0, 0.0]}
    tiny_nuscenes.edit(root, "calibrated_sensor", lambda rows: [row.update(bent) for row in rows])
    with pytest.raises(ConfigError, match=r"lenses that bend \(CAM_FRONT"):
        LAYOUTS["kitti"](open_dataset("nuscenes", root), "val", tmp_path / "x", lambda *done: None)
