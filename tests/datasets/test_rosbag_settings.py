"""driv3r-bag.yaml: what a bag's topics do not tell."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from test_rosbag import read, read_messages, reasons

from driv3r.errors import ConfigError, DatasetError
from tests.datasets import tiny_folder as car
from tests.datasets import tiny_rosbag as tiny


def test_settings_name_cameras_and_complete_the_tree(tmp_path: Path) -> None:
    messages = tiny.without("/tf_static")
    scene = read_messages(
        tmp_path / "root",
        messages,
        cameras=[{"image": tiny.LEFT, "name": "port", "camera_info": "/left/camera_info"}],
        transforms=[
            {
                "parent": "base_link",
                "child": "left_optical",
                "parent_T_child": tiny.base_T(car.LEFT).tolist(),
            }
        ],
        ground_z_m=-0.25,
        group_within_ms=20,
    )
    assert [camera.name for camera in scene.rig.cameras] == ["port"]
    np.testing.assert_allclose(scene.rig.cameras[0].ego_T_cam, tiny.base_T(car.LEFT), atol=1e-12)
    assert scene.rig.ground_z_m == -0.25
    (lidar,) = reasons(scene)
    assert "no fixed transforms lead from base_link to lidar" in lidar


def test_settings_are_strict(tmp_path: Path) -> None:
    tiny.write(tmp_path / "root")
    file = tmp_path / "root" / "driv3r-bag.yaml"
    for content, error, says in (
        ("clocks: log", ConfigError, "unknown key 'clocks'"),
        ("clock: gps", ConfigError, "expected one of"),
        ("cameras: []", DatasetError, "cameras is empty"),
        ("ground_z_m: 300", DatasetError, "ground_z_m is 300"),
        ("group_within_ms: 0", DatasetError, "group_within_ms is 0"),
        ("lidar: /bottom", DatasetError, "no topic of points /bottom. The bag has /front/cam"),
        ("poses: /gnss", DatasetError, "no topic of poses /gnss"),
        ("world_frame: earth", DatasetError, "tells no poses of base_link in earth"),
        ("base_frame: imu", DatasetError, "no fixed transforms lead from imu to front_optical"),
        ("cameras: [{image: /rear}]", DatasetError, "there is no topic of images /rear"),
        ("cameras: [{image: /front/image_raw, name: a/b}]", DatasetError, "would be named a/b"),
    ):
        file.write_text(content)
        with pytest.raises(error, match=says):
            read(tmp_path / "root")


def test_other_settings_are_another_input(tmp_path: Path) -> None:
    one = read_messages(tmp_path / "a", tiny.drive())
    other = read_messages(tmp_path / "b", tiny.drive(), group_within_ms=40)
    again = read_messages(tmp_path / "c", tiny.drive())
    assert one.input_hash == again.input_hash != other.input_hash


def test_several_lidars_are_to_be_chosen_from(tmp_path: Path) -> None:
    more = [dataclasses.replace(each, topic="/rear/points") for each in tiny.drive()
            if each.topic == tiny.LIDAR]  # fmt: skip
    messages = [*tiny.drive(), *more]
    scene = read_messages(tmp_path / "a", messages)
    assert reasons(scene) == [
        "lidar: left out: there are /rear/points, /top/points; name one as lidar in driv3r-bag.yaml"
    ]
    chosen = read_messages(tmp_path / "b", messages, lidar="/rear/points")
    sweep = chosen.frames[1].sweep
    assert sweep is not None
    np.testing.assert_array_equal(sweep.points_lidar, car.points(1))


def test_a_bag_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write(tmp_path / "root")
    monkeypatch.setitem(__import__("sys").modules, "rosbags.rosbag2", None)
    with pytest.raises(ConfigError, match=r"pip install 'driv3r\[rosbag\]'"):
        read(tmp_path / "root")
