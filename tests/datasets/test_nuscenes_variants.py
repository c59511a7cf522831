"""nuScenes-like folders: layouts of points, lenses, LiDARs and version folders of other names."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_nuscenes as tiny
from tiny_nuscenes import read

from driv3r.datasets import open_dataset
from driv3r.datasets.nuscenes.layouts import read_points
from driv3r.errors import DatasetError
from driv3r.geometry.cameras import project
from driv3r.simulator.rendering.lidar import make_beams
from driv3r.types import Frame


def widen(points: np.ndarray, floats: int) -> np.ndarray:
    """x, y, z, intensity[, ring[, time since the sweep's start[, elongation]]]."""
    n = len(points)
    more = np.c_[np.linspace(0, 0.05, n), np.linspace(0, 1, n)]
    return np.c_[points, more].astype("<f4")[:, :floats]


def first_frame(root: Path, points: np.ndarray) -> Frame:
    points.astype("<f4").tofile(tiny.keyframe_file(root, "LIDAR_TOP"))
    return read(root).frames[0]


@pytest.mark.parametrize("floats", [4, 6, 7])
def test_other_floats_a_point_are_refused(root: Path, floats: int) -> None:
    rng = np.random.default_rng(floats)
    columns = rng.normal(0, 10, (100, 3)), rng.integers(0, 256, 100), rng.integers(0, 32, 100)
    frame = first_frame(root, widen(np.column_stack(columns), floats))
    assert frame.sweep is None
    (repair,) = frame.repairs
    assert repair.where == "lidar"
    assert "not of 5 float32 a point" in repair.reason


@pytest.mark.parametrize("floats", [4, 6, 7])
def test_a_real_sweep_in_another_layout_is_refused(
    recordings: Path, tmp_path: Path, floats: int
) -> None:
    (source,) = (recordings / "nuscenes_one_sample/samples/LIDAR_TOP").iterdir()
    real = np.fromfile(source, "<f4").reshape(-1, 5)
    assert read_points(source).shape == (34688, 3)
    for count in (34685, 1005, 5):
        path = tmp_path / "sweep.pcd.bin"
        widen(real[:count], floats).tofile(path)
        with pytest.raises(DatasetError, match="not of 5 float32"):
            read_points(path)


def test_what_the_world_and_t4_write_is_read(root: Path) -> None:
    """The world's own rings and its intensities' bounds; T4 datasets write ring -1."""
    ring = make_beams(1.0).ring
    xyz = np.random.default_rng(0).normal(0, 20, (len(ring), 3))
    for rings in (ring, -np.ones(len(ring))):
        frame = first_frame(root, np.c_[xyz, np.linspace(0, 255, len(ring)), rings])
        assert frame.repairs == ()
        assert frame.sweep is not None
        np.testing.assert_array_equal(frame.sweep.points_lidar, xyz.astype(np.float32))


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        (3, 256.0, "intensity (the first 256, expected 0 to 255)"),
        (3, -1.0, "intensity (the first -1"),
        (4, 2.5, "ring (the first 2.5, expected a whole number of -1 to 255)"),
        (4, 300.0, "ring (the first 300"),
        (0, -4000.0, "a point lies 4000 m off"),  # millimetres
    ],
)
def test_impossible_columns_are_refused(root: Path, column: int, value: float, reason: str) -> None:
    points = np.zeros((50, 5))
    points[7, column] = value
    frame = first_frame(root, points)
    assert frame.sweep is None
    assert [reason in repair.reason for repair in frame.repairs] == [True]


def distort_front(root: Path, coefficients: Any) -> None:
    def change(rows: list) -> None:
        for row in rows:
            front = "CAM_FRONT" in row["token"]
            row["camera_distortion"] = coefficients if front else []

    tiny.edit(root, "calibrated_sensor", change)


@pytest.mark.parametrize(
    "coefficients",
    [
        [-0.3, 0.09, 0.001, -0.002],
        [-0.3, 0.09, 0.001, -0.002, 0.01],
        [0.4, 0.05, 0.001, -0.002, 0.01, 0.7, 0.2, 0.03],
    ],
)
def test_camera_distortion_is_opencvs(root: Path, coefficients: list[float]) -> None:
    distort_front(root, coefficients)
    front, back = read(root).rig.cameras
    assert front.distortion == tuple(coefficients)
    assert back.distortion == ()
    points_cam = np.random.default_rng(1).uniform([-0.6, -0.4, 1], [0.6, 0.4, 1], (50, 3))
    K = np.array([[30.0, 0, 23.5], [0, 31.0, 15.5], [0, 0, 1]])  # as the tables give it
    zero = np.zeros(3)
    theirs, _ = cv2.projectPoints(points_cam, zero, zero, K, np.array(coefficients))
    uv, _, _ = project(front, points_cam)
    np.testing.assert_allclose(uv, theirs[:, 0] + 0.5, atol=1e-9)
    assert np.abs(uv - project(back, points_cam)[0]).max() > 0.5


@pytest.mark.parametrize("coefficients", [[], None, [0.0] * 5])
def test_no_distortion_is_a_pinhole(root: Path, coefficients: Any) -> None:
    distort_front(root, coefficients)
    assert [camera.distortion for camera in read(root).rig.cameras] == [(), ()]


@pytest.mark.parametrize(
    ("coefficients", "reason"),
    [
        ([0.1, 0.2, 0.3], "expected OpenCV's k1, k2, p1, p2"),
        ([0.1] * 6, "expected OpenCV's"),
        ([0.1, 0.2, float("nan"), 0.0], "finite"),
        (["much"] * 4, "no list of numbers"),
        (0.5, "no list of numbers"),
    ],
)
def test_other_distortion_is_refused(root: Path, coefficients: Any, reason: str) -> None:
    distort_front(root, coefficients)
    with pytest.raises(DatasetError, match=reason):
        read(root)


def test_another_distortion_in_the_scene_is_left_out(root: Path) -> None:
    def add(rows: list) -> None:
        row = next(r for r in rows if r["token"] == f"{tiny.SCENES[0]}/CAM_FRONT")
        rows.append(row | {"token": "bent", "camera_distortion": [0.1, 0, 0, 0, 0]})

    def use(rows: list) -> None:
        mine = [r for r in rows if r["token"].startswith(f"{tiny.SCENES[0]}/CAM_FRONT")]
        mine[6]["calibrated_sensor_token"] = "bent"

    tiny.edit(root, "calibrated_sensor", add)
    tiny.edit(root, "sample_data", use)
    frame = read(root).frames[1]
    assert frame.views[0] is None
    assert "differs" in frame.repairs[0].reason


@pytest.mark.parametrize("sweeps", [False, True])
def test_a_lone_lidar_may_have_any_name(root: Path, pristine: Path, sweeps: bool) -> None:
    def rename(rows: list) -> None:
        for row in rows:
            row["channel"] = row["channel"].replace("LIDAR_TOP", "LIDAR_ROOF")

    tiny.edit(root, "sensor", rename)
    scene, whole = read(root, sweeps=sweeps), read(pristine, sweeps=sweeps)
    assert scene.repairs == ()
    for frame, expected in zip(scene.frames, whole.frames, strict=True):
        assert frame.repairs == ()
        assert frame.time_us == expected.time_us
        assert frame.sweep is not None
        assert expected.sweep is not None
        np.testing.assert_array_equal(frame.sweep.points_lidar, expected.sweep.points_lidar)


@pytest.mark.parametrize(
    ("others", "chosen_us"),
    [
        ({"LIDAR_A": 5_000, "LIDAR_CONCAT": 10_000}, 0),  # beside LIDAR_TOP
        ({"LIDAR_TOP": None, "LIDAR_A": 5_000, "LIDAR_CONCAT": 10_000}, 10_000),
        ({"LIDAR_TOP": None, "LIDAR_A": 5_000, "LIDAR_B": 10_000}, 5_000),
    ],
)
def test_of_several_lidars_one_is_chosen(tmp_path: Path, others: dict, chosen_us: int) -> None:
    rig = tiny.rig_with(**{name: us for name, us in others.items() if us is not None})
    rig = {name: sensor for name, sensor in rig.items() if others.get(name, 0) is not None}
    scene = read(tiny.write(tmp_path / "root", rig))
    assert [frame.time_us - tiny.START_US for frame in scene.frames] == [
        chosen_us + 500_000 * i for i in range(3)
    ]
    assert all(frame.sweep is not None for frame in scene.frames)
    said = [(repair.where, "LIDAR_B" in repair.reason) for repair in scene.repairs]
    assert said == ([("LIDAR_A", True)] if "LIDAR_B" in others else [])


@pytest.mark.parametrize("sweeps", [False, True])
def test_a_scene_without_lidar_says_so(tmp_path: Path, sweeps: bool) -> None:
    rig = {name: sensor for name, sensor in tiny.RIG.items() if "LIDAR" not in name}
    scene = read(tiny.write(tmp_path / "root", rig), sweeps=sweeps)
    assert scene.rig.ego_T_lidar is None
    assert [repair.where for repair in scene.repairs] == ["lidar"]
    assert "no sweep is read" in scene.repairs[0].reason
    assert all(frame.sweep is None and frame.repairs == () for frame in scene.frames)


def test_folders_that_hold_no_tables_are_passed_by(root: Path) -> None:
    tables = root / "v1.0-trainval"
    (root / "v1.0-trainval01_blobs" / "samples").mkdir(parents=True)
    (root / "v1.0-test").mkdir()
    shutil.copytree(tables, root / "v1.0-mini_old")
    (root / "v1.0-mini_old" / "sensor.json").unlink()
    reader = open_dataset("nuscenes", root)
    assert reader.scenes("all") == tiny.SCENES
    assert reader.scenes("val") == tiny.SCENES
    assert reader.read(tiny.SCENES[1]).frames[0].repairs == ()
    shutil.copytree(tables, root / "v1.0-ours")
    assert open_dataset("nuscenes", root).scenes("all") == tiny.SCENES
    shutil.rmtree(tables)
    assert open_dataset("nuscenes", root).scenes("val") == tiny.SCENES  # of v1.0-ours


def test_an_official_folder_that_lacks_a_table_is_named(root: Path) -> None:
    shutil.copytree(root / "v1.0-trainval", root / "v1.0-mini")
    (root / "v1.0-mini" / "sensor.json").unlink()
    with pytest.raises(DatasetError, match=r"missing: .*v1\.0-mini/sensor\.json"):
        open_dataset("nuscenes", root).scenes("all")
    shutil.rmtree(root / "v1.0-mini")
    for table in (root / "v1.0-trainval").iterdir():
        table.unlink()
    with pytest.raises(DatasetError, match="no nuScenes root"):
        open_dataset("nuscenes", root)
