"""Whole logs of another layout, written as bags and read back."""

from pathlib import Path

import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.types import Scene, Sweep, View
from tests.datasets import tiny_nuscenes
from tests.datasets import tiny_rosbag as tiny
from tests.datasets.bag_of_scene import messages_of

WORLD = Path(__file__).parents[2] / "data" / "nuscenes"  # `make demo` generates it


def given(scene: Scene) -> dict[tuple[str, int], View | Sweep]:
    found: dict[tuple[str, int], View | Sweep] = {}
    for frame in scene.frames:
        for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
            if view is not None:
                found[camera.name, view.time_us] = view
        if frame.sweep is not None:
            found["lidar", frame.sweep.time_us] = frame.sweep
    return found


def check_round_trip(folder: Path, root: Path, scene: Scene) -> None:
    tiny.write_mcap(folder / "log.mcap", messages_of(root, scene), chunk=1_000_000)
    back = open_dataset("rosbag", folder).read("log")
    assert back.repairs == ()
    assert back.rig.ground_z_m == scene.rig.ground_z_m
    cameras = {camera.name: camera for camera in back.rig.cameras}
    assert set(cameras) == {camera.name for camera in scene.rig.cameras}
    for camera in scene.rig.cameras:
        other = cameras[camera.name]
        assert (other.size_hw, other.lens) == (camera.size_hw, camera.lens)
        assert other.distortion == camera.distortion
        np.testing.assert_array_equal(other.K, camera.K)
        np.testing.assert_allclose(other.ego_T_cam, camera.ego_T_cam, atol=1e-12)
    sent, read = given(scene), given(back)
    assert read.keys() == sent.keys()
    for key, datum in sent.items():
        same = read[key]
        if isinstance(datum, Sweep):
            assert isinstance(same, Sweep)
            np.testing.assert_array_equal(same.points_lidar, datum.points_lidar)
            np.testing.assert_allclose(same.world_T_lidar, datum.world_T_lidar, atol=1e-9)
        else:
            assert isinstance(same, View)
            np.testing.assert_array_equal(same.image, datum.image)
            np.testing.assert_allclose(same.world_T_cam, datum.world_T_cam, atol=1e-9)


def test_a_nuscenes_scene_as_a_bag(tmp_path: Path) -> None:
    root = tiny_nuscenes.write(tmp_path / "root")
    scene = open_dataset("nuscenes", root).read(tiny_nuscenes.SCENES[0])
    (tmp_path / "bag").mkdir()
    check_round_trip(tmp_path / "bag", root, scene)


def test_a_generated_log_as_a_bag(tmp_path: Path) -> None:
    if not WORLD.is_dir():
        pytest.skip(f"no generated world at {WORLD}: make demo")
    reader = open_dataset("nuscenes", WORLD)
    check_round_trip(tmp_path, WORLD, reader.read(reader.scenes("val")[0]))
