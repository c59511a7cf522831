"""The PandaSet reader against a small sequence with a known rig, and broken copies of it."""

import gzip
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.pandaset import CAMERAS, PandaSetReader
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.geometry.transforms import apply
from driv3r.types import Frame
from tests.datasets import tiny_pandaset
from tests.datasets.json_files import edit, write_json
from tests.datasets.tiny_pandaset import (
    CAMERA_LEAD_US,
    EGO_T_LIDAR,
    MOMENTS,
    POINTS_EGO,
    START_US,
    ego_T_cam_of,
    make_cloud,
    make_cuboids,
    world_T_ego_at,
    write_pickle,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_pandaset.write(tmp_path / "root")


def first_frame(root: Path) -> Frame:
    return open_dataset("pandaset", root).read("002").frames[0]


def test_a_scene_holds_what_was_written(root: Path) -> None:
    scene = open_dataset("pandaset", root, sweeps=True).read("002")
    assert scene.repairs == ()
    assert [camera.name for camera in scene.rig.cameras] == list(CAMERAS)
    np.testing.assert_array_equal(scene.time_us, START_US + 100_000 * np.arange(MOMENTS))
    assert scene.rig.ego_T_lidar is not None
    np.testing.assert_allclose(scene.rig.ego_T_lidar, EGO_T_LIDAR, atol=1e-12)
    for camera in scene.rig.cameras:
        np.testing.assert_array_equal(camera.K, [[930, 0, 960], [0, 931, 540], [0, 0, 1]])
        assert (camera.size_hw, camera.distortion) == ((1080, 1920), ())
        np.testing.assert_allclose(camera.ego_T_cam, ego_T_cam_of(camera.name), atol=1e-6)
    frame = scene.frames[2]
    assert frame.repairs == ()
    np.testing.assert_allclose(frame.world_T_ego, world_T_ego_at(frame.time_us), atol=1e-9)
    for name, view in zip(CAMERAS, frame.views, strict=True):
        assert view is not None
        assert view.time_us == frame.time_us - CAMERA_LEAD_US[name]
        world_T_cam = world_T_ego_at(view.time_us) @ ego_T_cam_of(name)
        np.testing.assert_allclose(view.world_T_cam, world_T_cam, atol=1e-9)
    assert frame.sweep is not None
    assert frame.sweep.time_us == frame.time_us
    points_ego = apply(EGO_T_LIDAR, frame.sweep.points_lidar)
    np.testing.assert_allclose(points_ego, POINTS_EGO, atol=1e-5)


def test_splits(root: Path) -> None:
    reader = open_dataset("pandaset", root)
    assert reader.scenes("all") == reader.scenes("002") == ("002",)
    with pytest.raises(ConfigError, match="take all, or one sequence of 002"):
        reader.scenes("val")
    with pytest.raises(DatasetError, match="no sequence '003'.*002"):
        reader.read("003")
    with pytest.raises(DatasetError, match="folders such as 001"):
        open_dataset("pandaset", root / "002")


def test_a_lone_pose_far_off_does_not_move_the_rig(root: Path) -> None:
    edit(root / "002/camera/front_camera/poses.json", 2, "position", "x", value=500.0)
    front = open_dataset("pandaset", root).read("002").rig.cameras[0]
    np.testing.assert_allclose(front.ego_T_cam, ego_T_cam_of("front_camera"), atol=1e-6)


def test_cuboids_leave_out_the_forward_lidars_twins(root: Path) -> None:
    reader = PandaSetReader(root)
    cuboids = reader.read_cuboids("002", 1)
    assert (cuboids.label, cuboids.uuid) == (("Car", "Pedestrian"), ("a", "c"))
    np.testing.assert_array_equal(cuboids.center_world, [[10, 5, 1], [3, 2, 1]])
    np.testing.assert_array_equal(cuboids.size_m, [[1.9, 4.6, 1.6], [0.6, 0.7, 1.8]])
    np.testing.assert_array_equal(cuboids.yaw_rad, [0.5, -1])
    np.testing.assert_array_equal(cuboids.is_stationary, [True, False])
    with pytest.raises(DatasetError, match=r"missing.*09\.pkl\.gz"):
        reader.read_cuboids("002", 9)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_plain_pickles_of_any_protocol_are_read(root: Path, protocol: int) -> None:
    (root / "002/lidar/00.pkl.gz").unlink()
    write_pickle(root / "002/lidar/00.pkl", make_cloud(START_US), protocol)
    sweep = first_frame(root).sweep
    assert sweep is not None
    np.testing.assert_allclose(apply(EGO_T_LIDAR, sweep.points_lidar), POINTS_EGO, atol=1e-5)


class Harm:
    """Makes a folder when it is unpickled without a check."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused(root: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    cloud = make_cloud(START_US).astype({"i": object})
    cloud.loc[0, "i"] = Harm(made)
    write_pickle(root / "002/lidar/00.pkl.gz", cloud)
    frame = first_frame(root)
    assert frame.sweep is None
    assert [repair.where for repair in frame.repairs] == ["lidar"]
    assert f"{os.mkdir.__module__}.mkdir" in frame.repairs[0].reason
    write_pickle(root / "002/annotations/cuboids/00.pkl.gz", Harm(made))
    with pytest.raises(DatasetError, match=r"asks for \w+\.mkdir.*it was not run.*00\.pkl\.gz"):
        PandaSetReader(root).read_cuboids("002", 0)
    assert not made.exists()


def test_a_broken_cloud_is_left_out(root: Path) -> None:
    path = root / "002/lidar/00.pkl.gz"
    whole = path.read_bytes()
    cut = gzip.compress(gzip.decompress(whole)[:-40])
    texts = make_cloud(START_US)
    texts["x"] = pd.Series(["far"] * len(texts), dtype=object)
    broken: list[tuple[Any, str]] = [
        (whole[:100], "inflated"),
        (cut, "can not be read"),
        (b"", "can not be read"),
        (make_cloud(START_US).drop(columns="z"), "lacks z"),
        ([1, 2], "got a list"),
        (texts, "not all numbers"),
        (make_cloud(START_US).assign(d=1), "no finite point"),
        (None, "missing"),
    ]
    for content, reason in broken:
        if content is None:
            path.unlink()
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_pickle(path, content)
        frame = first_frame(root)
        assert frame.sweep is None
        assert [repair.where for repair in frame.repairs] == ["lidar"]
        assert reason in frame.repairs[0].reason


def test_lost_images_and_broken_poses_cost_one_view(root: Path) -> None:
    camera = root / "002" / "camera"
    (camera / "front_camera" / "00.jpg").unlink()
    cut = camera / "left_camera" / "00.jpg"
    cut.write_bytes(cut.read_bytes()[:-50])
    small = cv2.imencode(".jpg", np.full((54, 96, 3), 90, np.uint8))[1].tobytes()
    (camera / "right_camera" / "00.jpg").write_bytes(small)
    heading = dict.fromkeys("wxyz", 0.0)
    edit(camera / "back_camera" / "poses.json", 0, "heading", value=heading)
    edit(camera / "front_left_camera" / "poses.json", 0, value={})
    frame = first_frame(root)
    reasons = {repair.where: repair.reason for repair in frame.repairs}
    given = dict(zip(CAMERAS, frame.views, strict=True))
    assert [name for name in CAMERAS if given[name] is not None] == ["front_right_camera"]
    for name, reason in (
        ("front_camera", "missing"),
        ("left_camera", "cut short"),
        ("right_camera", "(54, 96)"),
        ("back_camera", "quaternion"),
        ("front_left_camera", "expected a heading"),
    ):
        assert reason in reasons[name]


def test_a_sweep_without_pose_leaves_the_first_cameras(root: Path) -> None:
    edit(root / "002/lidar/poses.json", 1, "heading", "w", value="up")
    scene = open_dataset("pandaset", root).read("002")
    frame = scene.frames[1]
    assert frame.sweep is None
    assert [repair.where for repair in frame.repairs] == ["lidar"]
    assert frame.time_us == START_US + 100_000 - CAMERA_LEAD_US["front_camera"]
    np.testing.assert_allclose(frame.world_T_ego, world_T_ego_at(frame.time_us), atol=1e-6)


def test_a_camera_without_folder_is_a_counted_repair(root: Path) -> None:
    (root / "002/camera/back_camera").rename(root / "elsewhere")
    scene = open_dataset("pandaset", root).read("002")
    assert len(scene.rig.cameras) == len(scene.frames[0].views) == 5
    assert [repair.where for repair in scene.repairs] == ["back_camera"]


def test_files_outside_are_refused(root: Path, tmp_path: Path) -> None:
    image = root / "002/camera/front_camera/00.jpg"
    image.rename(tmp_path / "outside.jpg")
    image.symlink_to(tmp_path / "outside.jpg")
    with pytest.raises(UnsafePathError):
        open_dataset("pandaset", root).read("002")


def test_links_are_followed_when_allowed(root: Path, tmp_path: Path) -> None:
    expected = open_dataset("pandaset", root).read("002")
    (root / "002").rename(tmp_path / "disk")
    (root / "002").symlink_to(tmp_path / "disk")
    with pytest.raises(UnsafePathError, match="--follow-links"):
        open_dataset("pandaset", root).read("002")
    scene = open_dataset("pandaset", root, follow_links=True).read("002")
    assert scene.input_hash == expected.input_hash
    frame = scene.frames[2]
    assert frame.repairs == ()
    assert [view.path for view in frame.views if view is not None] == [
        f"002/camera/{name}/02.jpg" for name in CAMERAS
    ]


def test_a_log_far_away_lies_near_its_own_origin(root: Path) -> None:
    """Poses, points and boxes alike, which PandaSet gives in the world."""
    near, boxes = open_dataset("pandaset", root).read("002"), PandaSetReader(root)
    places = boxes.read_cuboids("002", 1).center_world
    offset = np.array([448_000.0, 5_411_000.0, 0.0])
    for path in root.rglob("poses.json"):
        for i in range(MOMENTS):
            x, y = (json.loads(path.read_text())[i]["position"][axis] for axis in "xy")
            edit(path, i, "position", "x", value=x + offset[0])
            edit(path, i, "position", "y", value=y + offset[1])
    cloud = make_cloud(START_US + 100_000)
    write_pickle(root / "002/lidar/01.pkl.gz", cloud.assign(x=cloud.x + 448e3, y=cloud.y + 5411e3))
    table = make_cuboids()
    table["position.x"] += offset[0]
    table["position.y"] += offset[1]
    write_pickle(root / "002/annotations/cuboids/01.pkl.gz", table)
    far = open_dataset("pandaset", root).read("002")
    assert near.origin_world == (0.0, 0.0, 0.0)
    assert far.origin_world == (450_000.0, 5_410_000.0, 0.0)
    shift = offset - far.origin_world
    frame, expected = far.frames[1], near.frames[1]
    np.testing.assert_allclose(
        frame.world_T_ego[:3, 3], expected.world_T_ego[:3, 3] + shift, atol=1e-8
    )
    for view, other in zip(frame.views, expected.views, strict=True):
        assert view is not None
        assert other is not None
        np.testing.assert_allclose(
            view.world_T_cam[:3, 3], other.world_T_cam[:3, 3] + shift, atol=1e-8
        )
    assert frame.sweep is not None
    points_ego = apply(EGO_T_LIDAR, frame.sweep.points_lidar)
    np.testing.assert_allclose(points_ego, POINTS_EGO, atol=1e-5)
    moved = PandaSetReader(root).read_cuboids("002", 1).center_world
    np.testing.assert_allclose(moved, places + shift, atol=1e-8)


def test_a_copy_is_the_same_input_and_a_lost_file_another(root: Path, tmp_path: Path) -> None:
    scene = open_dataset("pandaset", root).read("002")
    assert scene.rig.ground_z_m == 0.0
    assert not scene.generated
    copy = shutil.copytree(root, tmp_path / "copy")
    (copy / "driv3r-world.json").write_text("{}")
    again = open_dataset("pandaset", copy).read("002")
    assert again.generated
    assert again.input_hash == scene.input_hash
    (copy / "002/lidar/03.pkl.gz").unlink()
    assert open_dataset("pandaset", copy).read("002").input_hash != scene.input_hash


def test_impossible_speeds_are_refused(root: Path) -> None:
    edit(root / "002/lidar/poses.json", 2, "position", "x", value=50.0)
    with pytest.raises(DatasetError, match="frames 1 and 2 of scene 002 .* wrong unit"):
        open_dataset("pandaset", root).read("002")


FRONT = "002/camera/front_camera"
BROKEN: list[tuple[str, tuple, Any, str]] = [
    (f"{FRONT}/timestamps.json", (0,), "noon", "'noon' is no time"),
    (f"{FRONT}/timestamps.json", (0,), float("nan"), "nan is no time"),
    (f"{FRONT}/timestamps.json", (0,), START_US / 1e3, "is no time in seconds"),
    (f"{FRONT}/intrinsics.json", ("fx",), 0.0, "no usable K"),
    (f"{FRONT}/intrinsics.json", ("fx",), "wide", "expected numbers fx"),
    ("002/lidar/timestamps.json", (1,), START_US / 1e6, "backwards"),
]


@pytest.mark.parametrize(("file", "keys", "value", "reason"), BROKEN)
def test_broken_tables_are_named(
    root: Path, file: str, keys: tuple, value: Any, reason: str
) -> None:
    edit(root / file, *keys, value=value)
    with pytest.raises(DatasetError, match=reason):
        open_dataset("pandaset", root).read("002")


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (f"{FRONT}/poses.json", [], "4 timestamps and 0 poses, expected 4"),
        (f"{FRONT}/poses.json", {}, "expected a list, got a dict"),
        (f"{FRONT}/poses.json", [{}] * MOMENTS, "front_camera has 0 usable poses"),
        ("002/lidar/poses.json", [{}] * MOMENTS, "the LiDAR 0"),
        (f"{FRONT}/intrinsics.json", [], "expected numbers fx"),
    ],
)
def test_replaced_tables_are_named(root: Path, file: str, content: Any, reason: str) -> None:
    write_json(root / file, content)
    with pytest.raises(DatasetError, match=re.escape(reason)):
        open_dataset("pandaset", root).read("002")
