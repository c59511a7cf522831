"""The KITTI reader against small logs with a known rig, and against what pykitti says of one."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from driv3r import process
from driv3r.datasets import open_dataset
from driv3r.datasets.kitti.oxts import make_oxts_poses
from driv3r.datasets.kitti.splits import EIGEN
from driv3r.datasets.preprocess import prepare_rig
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.evaluation.metrics.lidar_projection import project_annotated
from driv3r.evaluation.metrics.protocol import PROTOCOLS
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Scene
from tests.datasets import tiny_kitti as tiny

GOLDEN = Path(__file__).parents[1] / "goldens" / "pykitti.json"
RECT0_T_VELO = np.block([[tiny.R_RECT, np.zeros((3, 1))], [0, 0, 0, 1]]) @ tiny.CAM0_T_VELO


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_raw(tmp_path_factory.mktemp("kitti") / "raw")


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "root")


@pytest.fixture(scope="module")
def drive(pristine: Path) -> Scene:
    return open_dataset("kitti", pristine).read(tiny.DRIVE)


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    return tiny.write_sequence(tmp_path / "odometry")


def test_a_drive_holds_what_was_written(drive: Scene) -> None:
    assert drive.repairs == ()
    assert [camera.name for camera in drive.rig.cameras] == ["image_02", "image_03"]
    np.testing.assert_array_equal(
        drive.time_us, tiny.START_US + tiny.LIDAR_LATE_US + tiny.STEP_US * np.arange(tiny.MOMENTS)
    )
    assert drive.rig.ground_z_m == -0.93
    # The documented heights over the road: cameras 1.65 m, Velodyne 1.73 m.
    assert drive.rig.ego_T_lidar is not None
    assert drive.rig.ego_T_lidar[2, 3] + 0.93 == pytest.approx(1.73, abs=0.01)
    for camera in drive.rig.cameras:
        assert camera.ego_T_cam[2, 3] + 0.93 == pytest.approx(1.65, abs=0.02)
        np.testing.assert_allclose(camera.ego_T_cam[:3, 2], [1, 0, 0], atol=0.02)  # ahead
        np.testing.assert_allclose(camera.ego_T_cam[:3, 1], [0, 0, -1], atol=0.02)  # down
    frame = drive.frames[2]
    assert frame.repairs == ()
    assert frame.sweep is not None
    np.testing.assert_allclose(frame.sweep.points_lidar, tiny.POINTS_VELO, atol=1e-5)
    left, right = frame.views
    assert left is not None
    assert right is not None
    assert right.time_us - left.time_us == tiny.RIGHT_LATE_US
    assert frame.time_us - left.time_us == tiny.LIDAR_LATE_US
    assert left.path == f"{tiny.DATE}/{tiny.DRIVE}/image_02/data/0000000002.png"


def test_each_sensor_is_where_the_car_was_at_its_time(drive: Scene) -> None:
    heading = np.array([np.cos(tiny.YAW_RAD), np.sin(tiny.YAW_RAD), 0])
    for i, frame in enumerate(drive.frames):
        lidar_s = (i * tiny.STEP_US + tiny.LIDAR_LATE_US) * 1e-6
        expected = tiny.SPEED_MPS * lidar_s * heading
        np.testing.assert_allclose(frame.world_T_ego[:3, 3], expected, atol=1e-5)
        for camera, view in zip(drive.rig.cameras, frame.views, strict=True):
            assert view is not None
            world_T_ego = view.world_T_cam @ invert(camera.ego_T_cam)
            expected = tiny.SPEED_MPS * (view.time_us - tiny.START_US) * 1e-6 * heading
            np.testing.assert_allclose(world_T_ego[:3, 3], expected, atol=1e-5)


def test_points_are_seen_where_the_development_kit_projects_them(drive: Scene) -> None:
    """x = P_rect R_rect (R | T) X, pixels counted from the first one's centre."""
    ahead = tiny.POINTS_VELO[tiny.POINTS_VELO[:, 0] > 4]
    for number, camera in zip((2, 3), drive.rig.cameras, strict=True):
        x = tiny.P[number] @ RECT0_T_VELO @ np.column_stack([ahead, np.ones(len(ahead))]).T
        assert drive.rig.ego_T_lidar is not None
        cam_T_lidar = invert(camera.ego_T_cam) @ drive.rig.ego_T_lidar
        uv, depth_m, _ = project(camera, apply(cam_T_lidar, ahead))
        np.testing.assert_allclose(uv - 0.5, (x[:2] / x[2]).T, atol=1e-4)
        np.testing.assert_allclose(depth_m, x[2], atol=1e-6)


def test_boxes_stand_on_their_feet_and_know_their_way(drive: Scene) -> None:
    assert drive.boxes is not None
    boxes = drive.boxes(2)
    assert boxes is not None
    assert (boxes.label, boxes.instance) == (("Car", "Pedestrian"), ("0", "1"))
    np.testing.assert_array_equal(boxes.size_m, [[4.2, 1.7, 1.5], [0.8, 0.6, 1.8]])
    sweep = drive.frames[2].sweep
    assert sweep is not None
    velo_T_box = invert(sweep.world_T_lidar) @ boxes.world_T_box
    np.testing.assert_allclose(velo_T_box[0, :3, 3], [12, 3, -1.7 + 0.75], atol=1e-9)
    np.testing.assert_allclose(velo_T_box[0, :3, 0], [np.cos(0.3), np.sin(0.3), 0], atol=1e-9)
    # The car keeps its distance, so that it drives as fast as the ego car.
    assert boxes.speed_mps[0] == pytest.approx(tiny.SPEED_MPS, abs=1e-3)
    first = drive.boxes(0)
    assert first is not None
    assert first.label == ("Car",)


def test_poses_and_calibration_are_pykittis(drive: Scene) -> None:
    """Golden numbers: see the command in the file."""
    golden = json.loads(GOLDEN.read_text())
    packets = [[float(v) for v in tiny.packet(i).split()[:6]] for i in range(tiny.MOMENTS)]
    np.testing.assert_allclose(make_oxts_poses(np.array(packets)), golden["T_w_imu"], atol=1e-9)
    ego_T_velo = drive.rig.ego_T_lidar
    assert ego_T_velo is not None
    np.testing.assert_allclose(invert(ego_T_velo), golden["T_velo_imu"], atol=1e-6)
    for number, camera in zip((2, 3), drive.rig.cameras, strict=True):
        np.testing.assert_allclose(
            invert(camera.ego_T_cam), golden[f"T_cam{number}_imu"], atol=1e-6
        )
        pixel_centre = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
        np.testing.assert_allclose(camera.K, golden[f"K_cam{number}"] + pixel_centre, atol=1e-9)


def test_poses_far_north_and_turned_are_pykittis() -> None:
    golden = json.loads(GOLDEN.read_text())
    poses = make_oxts_poses(np.array(golden["packets"]))
    np.testing.assert_allclose(poses, golden["packets_T_w_imu"], atol=1e-7)


def test_splits(root: Path, drive: Scene) -> None:
    reader = open_dataset("kitti", root)
    assert reader.scenes("all") == reader.scenes(tiny.DRIVE) == (tiny.DRIVE,)
    assert reader.scenes("eigen_train") == (tiny.DRIVE,)
    with pytest.raises(DatasetError, match="nothing of split 'eigen_test'.*--split all"):
        reader.scenes("eigen_test")
    with pytest.raises(DatasetError, match="nothing of split 'train' .00, 01, 02, .*"):
        reader.scenes("train")  # the other layout's
    with pytest.raises(ConfigError, match="unknown split 'val'; known are all, eigen_train"):
        reader.scenes("val")
    with pytest.raises(DatasetError, match="no drive '2011'"):
        reader.read("2011")
    assert (len(EIGEN["eigen_train"]), len(EIGEN["eigen_test"])) == (33, 28)
    assert not set(EIGEN["eigen_train"]) & set(EIGEN["eigen_test"])


def test_a_root_is_one_of_the_two_layouts(root: Path, tmp_path: Path) -> None:
    tiny.write_sequence(root)
    with pytest.raises(DatasetError, match="both raw drives and sequences"):
        open_dataset("kitti", root)
    with pytest.raises(DatasetError, match="neither raw drives .* nor sequences"):
        open_dataset("kitti", root / tiny.DATE)
    (tmp_path / "sequences").mkdir()
    with pytest.raises(DatasetError, match="holds no sequence such as 00"):
        open_dataset("kitti", tmp_path)


def test_grey_cameras_serve_where_only_they_are(tmp_path: Path) -> None:
    scene = open_dataset("kitti", tiny.write_raw(tmp_path, (0, 1))).read(tiny.DRIVE)
    assert [camera.name for camera in scene.rig.cameras] == ["image_00", "image_01"]
    left, right = scene.rig.cameras
    left_T_right = invert(left.ego_T_cam) @ right.ego_T_cam
    np.testing.assert_allclose(left_T_right[:3, 3], [tiny.BASELINE_M, 0, 0], atol=1e-6)
    view = scene.frames[0].views[0]
    assert view is not None
    assert (view.image == view.image[..., :1]).all()
    assert view.image.shape == (*tiny.SIZE_HW, 3)


def test_a_lone_colour_camera_is_a_counted_repair(tmp_path: Path) -> None:
    scene = open_dataset("kitti", tiny.write_raw(tmp_path, (0, 2))).read(tiny.DRIVE)
    assert [camera.name for camera in scene.rig.cameras] == ["image_02"]
    assert [repair.where for repair in scene.repairs] == ["image_03"]


def test_a_rig_of_more_cameras_may_look_anywhere(root: Path) -> None:
    """P_rect holds a rotation then: what it projects stays the same."""
    turn = np.array([[np.cos(1.0), 0, -np.sin(1.0)], [0, 1, 0], [np.sin(1.0), 0, np.cos(1.0)]])
    K = tiny.P[0][:, :3]
    P = K @ np.column_stack([turn, [0.3, -0.2, 0.1]])
    path = root / tiny.DATE / "calib_cam_to_cam.txt"
    path.write_text(
        path.read_text()
        + f"S_rect_04: {tiny.SIZE_HW[1]} {tiny.SIZE_HW[0]}\nP_rect_04: {tiny.numbers(P)}\n"
    )
    drive = root / tiny.DATE / tiny.DRIVE
    shutil.copytree(drive / "image_02", drive / "image_04")
    scene = open_dataset("kitti", root).read(tiny.DRIVE)
    camera = scene.rig.cameras[2]
    assert camera.name == "image_04"
    np.testing.assert_allclose(camera.K, K + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-6)
    left_T_cam = invert(scene.rig.cameras[0].ego_T_cam) @ camera.ego_T_cam
    np.testing.assert_allclose(left_T_cam[:3, :3], turn.T, atol=1e-6)


def test_lost_sweeps_have_empty_times(root: Path) -> None:
    """As 2011_09_26_drive_0009 has it."""
    folder = root / tiny.DATE / tiny.DRIVE / "velodyne_points"
    lines = (folder / "timestamps.txt").read_text().splitlines()
    lines[3] = ""
    (folder / "timestamps.txt").write_text("\n".join(lines) + "\n")
    (folder / "data" / "0000000003.bin").unlink()
    scene = open_dataset("kitti", root).read(tiny.DRIVE)
    assert len(scene.frames) == tiny.MOMENTS
    frame = scene.frames[3]
    assert frame.sweep is None
    assert [repair.where for repair in frame.repairs] == ["lidar"]
    assert frame.time_us == tiny.START_US + 3 * tiny.STEP_US
    last = scene.frames[4].sweep
    assert last is not None
    assert last.time_us == tiny.START_US + 4 * tiny.STEP_US + tiny.LIDAR_LATE_US


def test_a_broken_packet_is_bridged(root: Path, drive: Scene) -> None:
    (root / tiny.DATE / tiny.DRIVE / "oxts/data/0000000002.txt").write_text("nothing\n")
    scene = open_dataset("kitti", root).read(tiny.DRIVE)
    assert [repair.where for repair in scene.repairs] == ["oxts"]
    np.testing.assert_allclose(scene.frames[2].world_T_ego, drive.frames[2].world_T_ego, atol=1e-6)


def test_without_packets_no_pose_is_known(root: Path) -> None:
    shutil.rmtree(root / tiny.DATE / tiny.DRIVE / "oxts")
    scene = open_dataset("kitti", root).read(tiny.DRIVE)
    assert not scene.poses_known
    assert scene.boxes is None
    np.testing.assert_allclose(scene.frames[3].world_T_ego, np.eye(4), atol=1e-12)


def test_without_sweeps_the_cameras_place_the_frames(root: Path) -> None:
    shutil.rmtree(root / tiny.DATE / tiny.DRIVE / "velodyne_points")
    scene = open_dataset("kitti", root).read(tiny.DRIVE)
    assert scene.rig.ego_T_lidar is None
    assert [repair.where for repair in scene.repairs] == ["lidar"]
    assert scene.frames[1].time_us == tiny.START_US + tiny.STEP_US
    assert scene.frames[1].sweep is None
    assert scene.boxes is not None


def test_packets_ten_times_as_often_give_the_same_poses(root: Path, drive: Scene) -> None:
    """A stream of its own, as unsynced recordings have it."""
    folder = root / tiny.DATE / tiny.DRIVE / "oxts"
    shutil.rmtree(folder)
    late_us = np.arange(-2, 44) * tiny.STEP_US // 10
    for i, late in enumerate(late_us):
        tiny.write(folder / f"data/{i:010d}.txt", tiny.packet(float(late) / tiny.STEP_US))
    lines = [
        f"{tiny.START + tiny.timedelta(microseconds=int(late)):%Y-%m-%d %H:%M:%S.%f}000\n"
        for late in late_us
    ]
    tiny.write(folder / "timestamps.txt", "".join(lines))
    scene = open_dataset("kitti", root).read(tiny.DRIVE)
    moved = invert(drive.frames[0].world_T_ego) @ drive.frames[3].world_T_ego
    again = invert(scene.frames[0].world_T_ego) @ scene.frames[3].world_T_ego
    np.testing.assert_allclose(again, moved, atol=1e-5)


def test_links_are_followed_when_allowed(root: Path, tmp_path: Path) -> None:
    drive = root / tiny.DATE / tiny.DRIVE
    drive.rename(tmp_path / "disk")
    drive.symlink_to(tmp_path / "disk")
    with pytest.raises(UnsafePathError, match="--follow-links"):
        open_dataset("kitti", root).read(tiny.DRIVE)
    frame = open_dataset("kitti", root, follow_links=True).read(tiny.DRIVE).frames[1]
    assert frame.repairs == ()


def test_a_sequence_holds_what_was_written(sequences: Path) -> None:
    scene = open_dataset("kitti", sequences).read("00")
    assert scene.repairs == ()
    assert scene.poses_known
    assert scene.rig.ground_z_m == -1.65
    np.testing.assert_array_equal(scene.time_us, tiny.STEP_US * np.arange(tiny.MOMENTS))
    frame = scene.frames[3]
    assert frame.repairs == ()
    # Ahead is x, and the right is -y: the third turn is 0.03 to the right.
    np.testing.assert_allclose(frame.world_T_ego[:3, 3], [3, 0, 0], atol=1e-9)
    np.testing.assert_allclose(
        frame.world_T_ego[:3, 0], [np.cos(0.03), -np.sin(0.03), 0], atol=1e-8
    )
    assert frame.sweep is not None
    assert frame.sweep.time_us == frame.time_us
    ahead = tiny.POINTS_VELO[tiny.POINTS_VELO[:, 0] > 4]
    for number, camera in zip((2, 3), scene.rig.cameras, strict=True):
        # Tr maps the Velodyne's points to the rectified camera 0.
        x = tiny.P[number] @ tiny.CAM0_T_VELO @ np.column_stack([ahead, np.ones(len(ahead))]).T
        assert scene.rig.ego_T_lidar is not None
        cam_T_lidar = invert(camera.ego_T_cam) @ scene.rig.ego_T_lidar
        uv, _, _ = project(camera, apply(cam_T_lidar, ahead))
        np.testing.assert_allclose(uv - 0.5, (x[:2] / x[2]).T, atol=1e-4)


def test_sequences_of_the_test_have_no_poses(tmp_path: Path) -> None:
    tiny.write_sequence(tmp_path, (0, 1), "11")
    tiny.write_sequence(tmp_path, (0, 1), "03")
    (tmp_path / "poses/03.txt").unlink()
    shutil.rmtree(tmp_path / "sequences/11/velodyne")
    reader = open_dataset("kitti", tmp_path)
    assert (reader.scenes("train"), reader.scenes("test")) == (("03",), ("11",))
    unknown, lost = reader.read("11"), reader.read("03")
    assert not unknown.poses_known
    assert unknown.repairs == ()
    assert unknown.rig.ego_T_lidar is None
    assert [camera.name for camera in unknown.rig.cameras] == ["image_0", "image_1"]
    assert not lost.poses_known
    assert [repair.where for repair in lost.repairs] == ["poses"]


def test_a_broken_pose_costs_its_frame(sequences: Path) -> None:
    path = sequences / "poses/00.txt"
    lines = path.read_text().splitlines()
    lines[2] = tiny.numbers(2 * tiny.world_T_cam0(2)[:3])
    path.write_text("\n".join(lines))
    scene = open_dataset("kitti", sequences).read("00")
    assert len(scene.frames) == tiny.MOMENTS - 1
    assert [repair.where for repair in scene.repairs] == ["poses", "frames"]
    np.testing.assert_allclose(scene.frames[2].world_T_ego[:3, 3], [3, 0, 0], atol=1e-9)


@pytest.mark.parametrize("top", [tiny.DATE, "train", "data_depth_annotated/val"])
def test_annotated_depth_is_a_truth_of_its_own(root: Path, top: str) -> None:
    """A road, known in closed form; where the images are half as large, too."""
    depth_m = tiny.write_annotated(root, top)
    scene = open_dataset("kitti", root).read(tiny.DRIVE)
    annotated = [
        [view is not None and view.annotated_cam is not None for view in frame.views]
        for frame in scene.frames
    ]
    assert annotated == [[i == 1, False] for i in range(tiny.MOMENTS)]
    view = scene.frames[1].views[0]
    assert view is not None
    points = view.annotated_cam
    assert points is not None
    assert len(points) == (depth_m > 0).sum()
    np.testing.assert_allclose(points[:, 1], 1.65, rtol=0.02)  # of 1/256 m, in the distance
    camera = prepare_rig(scene.rig, (tiny.SIZE_HW[0] // 2, tiny.SIZE_HW[1] // 2)).rig.cameras[0]
    truth = project_annotated(points, camera, PROTOCOLS["kitti-annotated"])
    below = (truth.uv[:, 1] - camera.K[1, 2]) / camera.K[1, 1]
    np.testing.assert_allclose(truth.depth_m, 1.65 / below, rtol=0.02)
    assert truth.depth_m.max() <= 80
    assert sum(truth.lost.values()) + len(truth.uv) == len(points)


def test_a_run_is_scored_against_annotated_depth_alone(root: Path, tmp_path: Path) -> None:
    depth_m = tiny.write_annotated(root, "train")
    options = {"protocol": "kitti-annotated", "refine": "none", "inline": True}
    run = process("kitti", root, tiny.DRIVE, tmp_path / "out", **options)
    scores = [s for s in run.scores if s.protocol == "kitti-annotated" and s.camera == "all"]
    assert {s.images for s in scores} == {1}
    ground = {
        s.metric: s.value for s in scores if (s.subject, s.scaling) == ("ground-plane", "metric")
    }
    assert ground["abs_rel"] < 0.1  # the map is of a road as far below as the reader says
    assert 100 < scores[0].n <= (depth_m > 0).sum()
    (log,) = run.logs
    assert "11 sweeps" in log.cards["kitti-annotated"]["truth"]


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "annotated depth is cut short"),
        (lambda path: cv2.imwrite(str(path), np.zeros((4, 5), np.uint16)), r"is \(4, 5\) \(h, w\)"),
        (lambda path: cv2.imwrite(str(path), np.zeros((4, 5, 3), np.uint8)), "no PNG of 16 bits"),
    ],
)
def test_broken_annotated_depth_is_counted(root: Path, harm, says: str) -> None:
    tiny.write_annotated(root, "train")
    (path,) = root.glob("train/**/*.png")
    harm(path)
    frame = open_dataset("kitti", root).read(tiny.DRIVE).frames[1]
    (repair,) = frame.repairs
    assert repair.where == "image_02"
    assert re.search(says, repair.reason)
    view = frame.views[0]
    assert view is not None
    assert view.annotated_cam is None
