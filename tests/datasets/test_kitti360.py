"""The KITTI-360 reader against a small drive, and against what the authors' scripts say of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Scene
from tests.datasets import tiny_kitti360 as tiny

GOLDEN = Path(__file__).parents[1] / "goldens" / "kitti360scripts.json"
PLACED = [i for i in range(tiny.MOMENTS) if i != tiny.STANDING]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_drive(tmp_path_factory.mktemp("kitti360") / "root")


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "root")


@pytest.fixture(scope="module")
def drive(pristine: Path) -> Scene:
    return open_dataset("kitti360", pristine).read(tiny.DRIVE)


def test_a_drive_holds_what_was_written(drive: Scene) -> None:
    names = [camera.name for camera in drive.rig.cameras]
    assert names == ["image_00", "image_01", "image_02", "image_03"]
    assert [camera.lens for camera in drive.rig.cameras] == 2 * ["brown_conrady"] + 2 * ["mei"]
    assert [repair.where for repair in drive.repairs] == ["frames"]
    assert "1 of 6 frames of the drive left out: poses.txt has none" in drive.repairs[0].reason
    np.testing.assert_array_equal(
        drive.time_us, [tiny.START_US + tiny.LIDAR_LATE_US + i * tiny.STEP_US for i in PLACED]
    )
    # 1.55 m below the cameras that look ahead; they look down a bit, the fisheyes aside.
    ahead, _, left, right = (camera.ego_T_cam for camera in drive.rig.cameras)
    assert ahead[2, 3] - drive.rig.ground_z_m == pytest.approx(1.55)
    assert drive.rig.ground_z_m == pytest.approx(-0.90)
    np.testing.assert_allclose(ahead[:3, 2], [0.995, 0.04, -0.1], atol=0.02)
    np.testing.assert_allclose(left[:3, 2], [0.1, 0.995, 0], atol=1e-3)
    np.testing.assert_allclose(right[:3, 2], [0.1, -0.995, 0], atol=1e-3)
    assert drive.rig.ego_T_lidar is not None
    np.testing.assert_allclose(drive.rig.ego_T_lidar[:3, 0], [1, 0, 0], atol=0.02)
    np.testing.assert_allclose(drive.rig.ego_T_lidar[:3, 2], [0, 0, 1], atol=0.02)
    assert drive.rig.ego_T_lidar[2, 3] - drive.rig.ground_z_m == pytest.approx(1.73, abs=0.05)
    frame = drive.frames[1]
    assert frame.repairs == ()
    assert [None if view is None else view.image.shape[:2] for view in frame.views] == (
        2 * [tiny.WIDE_HW] + 2 * [tiny.ROUND_HW]
    )
    assert frame.sweep is not None
    np.testing.assert_allclose(frame.sweep.points_lidar, tiny.POINTS_VELO, atol=1e-5)


def test_the_car_goes_ahead_and_stands_upright(drive: Scene) -> None:
    first, last = drive.frames[0].world_T_ego, drive.frames[-1].world_T_ego
    np.testing.assert_allclose((invert(first) @ last)[:3, 3], [5, 0, 0], atol=1e-6)
    np.testing.assert_allclose(first[:3, 2], [0, 0, 1], atol=1e-9)
    place_m = first[:3, 3] + drive.origin_world
    np.testing.assert_allclose(place_m, [1000, 3000, 115], atol=1e-6)


def test_poses_and_lenses_are_the_authors(root: Path) -> None:
    """Golden numbers: see the command in the file."""
    golden = json.loads(GOLDEN.read_text())
    for name in ("image_02", "image_03"):
        tiny.write_yaml(root / "calibration" / f"{name}.yaml", name, tiny.UNTILTED)
    scene = open_dataset("kitti360", root).read(tiny.DRIVE)
    for v, given in enumerate(golden["world_T_cam"]):
        for number, world_T_cam in zip(tiny.GOLDEN_FRAMES, given, strict=True):
            view = scene.frames[PLACED.index(number)].views[v]
            assert view is not None
            read = view.world_T_cam.copy()
            read[:3, 3] += scene.origin_world
            np.testing.assert_allclose(read, world_T_cam, atol=5e-6)
    uv, _, _ = project(scene.rig.cameras[2], np.array(golden["points_cam"]))
    np.testing.assert_allclose(uv - 0.5, golden["fisheye_uv"], atol=1e-6)


def test_the_lidar_is_placed_by_the_camera(drive: Scene) -> None:
    """As the scripts have it: cam0 to Velodyne before the rectifying turn."""
    assert drive.rig.ego_T_lidar is not None
    rect0_T_velo = invert(drive.rig.cameras[0].ego_T_cam) @ drive.rig.ego_T_lidar
    velo_T_cam0 = np.eye(4)
    velo_T_cam0[:3] = np.array(tiny.VELO_T_CAM0.split(), float).reshape(3, 4)
    turn = np.array(tiny.R_RECT.split(), float).reshape(3, 3)
    points = tiny.POINTS_VELO
    expected = apply(invert(velo_T_cam0), points) @ turn.T
    np.testing.assert_allclose(apply(rect0_T_velo, points), expected, atol=1e-4)


def test_fisheyes_are_looked_at_as_pinholes(drive: Scene) -> None:
    work = prepare_rig(drive.rig, (32, 56))
    images = prepare_images(drive.frames[0], work)
    assert [None if image is None else image.shape for image in images] == 4 * [(32, 56, 3)]
    assert all(camera.lens == "brown_conrady" for camera in work.rig.cameras)


def test_splits(root: Path) -> None:
    reader = open_dataset("kitti360", root)
    assert reader.scenes("all") == reader.scenes("train") == reader.scenes(tiny.DRIVE)
    assert reader.scenes("all") == (tiny.DRIVE,)
    with pytest.raises(DatasetError, match="nothing of split 'test'"):
        reader.scenes("test")
    with pytest.raises(ConfigError, match="unknown split 'val'"):
        reader.scenes("val")
    with pytest.raises(DatasetError, match="no log '0003' in"):
        reader.read("0003")
    with pytest.raises(DatasetError, match="holds no KITTI-360 drive: expected data_2d_raw"):
        open_dataset("kitti360", root / "data_2d_raw")


def test_a_long_stop_parts_a_drive(root: Path) -> None:
    for path in root.rglob("timestamps.txt"):
        lines = path.read_text().splitlines()
        path.write_text(
            "\n".join([*lines[:3], *(line.replace("08:46", "08:48") for line in lines[3:])])
        )
    reader = open_dataset("kitti360", root)
    parts = (f"{tiny.DRIVE}_part1", f"{tiny.DRIVE}_part2")
    assert reader.scenes(tiny.DRIVE) == parts
    scenes = [reader.read(part) for part in parts]
    assert [len(scene.frames) for scene in scenes] == [2, 3]
    assert all(scene.repairs[-1].reason.startswith("1 of 6 frames") for scene in scenes)
    with pytest.raises(DatasetError, match=f"no log '{tiny.DRIVE}' in .*_part1"):
        reader.read(tiny.DRIVE)


def test_what_is_not_there_is_counted(tmp_path: Path) -> None:
    root = tiny.write_drive(tmp_path, (0, 1))
    shutil.rmtree(root / "data_poses")
    shutil.rmtree(root / "data_3d_raw")
    scene = open_dataset("kitti360", root).read(tiny.DRIVE)
    where = [repair.where for repair in scene.repairs]
    assert where == ["image_02", "image_03", "poses", "lidar"]
    assert not scene.poses_known
    assert len(scene.frames) == tiny.MOMENTS
    assert scene.rig.ego_T_lidar is None
    np.testing.assert_allclose(scene.frames[3].world_T_ego, np.eye(4), atol=1e-12)


def test_files_of_a_renamed_drive_keep_their_numbers(root: Path) -> None:
    """Drive 0002 begins at frame 4391: the ones before are another drive."""
    for folder in [*root.rglob("data_*"), *root.rglob("data")]:
        for path in sorted(folder.glob("0*.*"), reverse=True):
            path.rename(folder / f"{int(path.stem) + 40:010d}{path.suffix}")
    poses = root / "data_poses" / tiny.DRIVE / "poses.txt"
    lines = [line.split(" ", 1) for line in poses.read_text().splitlines()]
    poses.write_text("\n".join(f"{int(number) + 40} {rest}" for number, rest in lines))
    scene = open_dataset("kitti360", root).read(tiny.DRIVE)
    assert len(scene.frames) == len(PLACED)
    frame = scene.frames[0]
    assert frame.repairs == ()
    assert frame.views[0] is not None
    assert frame.views[0].path.endswith("image_00/data_rect/0000000040.png")
    assert frame.time_us == tiny.START_US + tiny.LIDAR_LATE_US


def test_boxes_are_of_what_can_move_and_is_near(drive: Scene) -> None:
    assert drive.boxes is not None
    assert [drive.boxes(i) is None for i in range(len(drive.frames))] == [
        not 1 <= number <= 4 for number in PLACED
    ]
    for frame, number in enumerate(PLACED[1:4], 1):
        boxes = drive.boxes(frame)
        assert boxes is not None
        assert boxes.instance == ("car 7", "car 9")
        assert boxes.label == ("car", "car")
        read = boxes.world_T_box.copy()
        read[:, :3, 3] += drive.origin_world
        np.testing.assert_allclose(read, [tiny.PARKED, tiny.driving(number)], atol=1e-6)
        np.testing.assert_allclose(boxes.size_m, [tiny.PARKED_M, tiny.DRIVING_M], atol=1e-6)
        np.testing.assert_array_equal(boxes.velocity_world_mps[0], 0)
        speed_mps = 0.8 / (tiny.STEP_US * 1e-6)
        np.testing.assert_allclose(boxes.velocity_world_mps[1], [speed_mps, 0, 0], atol=1e-3)


def test_boxes_need_a_file_and_poses(root: Path) -> None:
    shutil.move(root / "data_3d_bboxes/train", root / "data_3d_bboxes/train_full")
    assert open_dataset("kitti360", root).read(tiny.DRIVE).boxes is not None
    shutil.rmtree(root / "data_3d_bboxes")
    assert open_dataset("kitti360", root).read(tiny.DRIVE).boxes is None
    tiny.write_boxes(root)
    shutil.rmtree(root / "data_poses")
    assert open_dataset("kitti360", root).read(tiny.DRIVE).boxes is None
