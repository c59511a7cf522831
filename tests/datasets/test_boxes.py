"""Annotated boxes of both readers that have them: against the devkit, and against closed forms."""

import json

import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.boxes import with_velocities
from driv3r.datasets.nuscenes.boxes import Annotations
from driv3r.errors import DatasetError
from driv3r.types import Boxes


def row(x, names=("a",), velocity=np.nan):
    world_T_box = np.tile(np.eye(4), (len(names), 1, 1))
    world_T_box[:, 0, 3] = x
    n = len(names)
    return Boxes(names, names, world_T_box, np.ones((n, 3)), np.full((n, 3), velocity))


def test_velocity_is_the_way_between_the_neighbours_over_the_time():
    runs = {0: row(0.0), 2: row(1.0), 4: row(4.0), 6: row(4.0, ("b",))}
    time_us = np.arange(0, 7 * 250_000, 250_000, dtype=np.int64)
    boxes = with_velocities(runs.__getitem__, list(runs), time_us)
    speed = [boxes(frame).velocity_world_mps[0, 0] for frame in (0, 2, 4)]
    assert speed == [2.0, 4.0, 6.0]
    assert np.isnan(boxes(6).velocity_world_mps).all()  # seen once
    assert boxes(1) is None


def test_velocities_that_are_known_stay_and_far_neighbours_tell_nothing():
    boxes = with_velocities({0: row(0.0, velocity=0.0), 1: row(9.0)}.__getitem__, [0, 1],
                            np.array([0, 500_000]))  # fmt: skip
    assert boxes(0).velocity_world_mps[0, 0] == 0.0
    far = with_velocities({0: row(0.0), 1: row(9.0)}.__getitem__, [0, 1], np.array([0, 9_000_000]))
    assert np.isnan(far(0).velocity_world_mps).all()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    from driv3r.simulator.export.nuscenes_writer import WorldConfig, write_world

    root = tmp_path_factory.mktemp("boxes") / "nuscenes"
    recipe = WorldConfig(
        split="val", seeds=(3,), keyframes=3, size_hw=(64, 112), camera_hz=2, lidar_hz=20
    )
    write_world(root, recipe)
    return root


def test_nuscenes_boxes_are_the_devkits(world):
    from nuscenes.nuscenes import NuScenes

    devkit = NuScenes("v1.0-trainval", str(world), verbose=False)
    scene = open_dataset("nuscenes", world).read(devkit.scene[0]["name"])
    first = devkit.get("sample", devkit.scene[0]["first_sample_token"])
    sample = devkit.get("sample", first["next"])
    boxes = scene.boxes(1)
    assert len(boxes.instance) == len(sample["anns"]) > 0
    for token in sample["anns"]:
        annotation, box = devkit.get("sample_annotation", token), devkit.get_box(token)
        i = boxes.instance.index(annotation["instance_token"])
        np.testing.assert_allclose(boxes.world_T_box[i, :3, 3] + scene.origin_world, box.center)
        np.testing.assert_allclose(boxes.world_T_box[i, :3, :3], box.rotation_matrix, atol=1e-9)
        np.testing.assert_allclose(boxes.size_m[i], box.wlh[[1, 0, 2]])
        assert boxes.label[i] == annotation["category_name"]
        velocity = devkit.box_velocity(token)
        np.testing.assert_allclose(boxes.velocity_world_mps[i], velocity, atol=1e-6)


def test_frames_between_keyframes_have_no_boxes(world):
    reader = open_dataset("nuscenes", world, sweeps=True)
    scene = reader.read(reader.scenes("val")[0])
    annotated = [scene.boxes(i) is not None for i in range(len(scene.frames))]
    assert annotated == scene.is_keyframe.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [1, 2]}, "three numbers"),
        ({"size": [1, 2000, 1]}, "give metres"),
        ({"rotation": [0, 0, 0, 0]}, "quaternion"),
        ({"translation": ["x", 0, 0]}, "could not convert"),
        ({"instance_token": 5}, "no text"),
        ({"size": None, "drop": "size"}, "lacks size"),
    ],
)
def test_broken_annotations_say_so(tmp_path, change, message):
    annotation = {
        "sample_token": "s", "instance_token": "i", "translation": [0, 0, 0], "size": [1, 2, 1],
        "rotation": [1, 0, 0, 0],
    } | change  # fmt: skip
    annotation.pop(annotation.pop("drop", ""), None)
    (tmp_path / "sample_annotation.json").write_text(json.dumps([annotation]))
    (tmp_path / "instance.json").write_text(json.dumps([{"token": "i", "category_token": "c"}]))
    (tmp_path / "category.json").write_text(json.dumps([{"token": "c", "name": "car"}]))
    with pytest.raises(DatasetError, match=message):
        Annotations(tmp_path).boxes("s", (0.0, 0.0, 0.0))


def test_an_instance_annotated_twice_is_refused(tmp_path):
    annotation = {
        "sample_token": "s", "instance_token": "i", "translation": [0, 0, 0], "size": [1, 2, 1],
        "rotation": [1, 0, 0, 0],
    }  # fmt: skip
    (tmp_path / "sample_annotation.json").write_text(json.dumps([annotation] * 2))
    for table in ("instance", "category"):
        (tmp_path / f"{table}.json").write_text("[]")
    with pytest.raises(DatasetError, match="twice"):
        Annotations(tmp_path).boxes("s", (0.0, 0.0, 0.0))
