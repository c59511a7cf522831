"""The DGP reader against a real recording, and against broken copies of a small one."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyquaternion import Quaternion

from driv3r.datasets import open_dataset
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import angle_rad, apply, invert
from driv3r.types import Frame
from tests.datasets import tiny_ddad
from tests.datasets.json_files import edit, write_json
from tests.datasets.tiny_ddad import SCENE, STILL, offset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny_ddad.write(tmp_path / "root")


def first_frame(root: Path) -> Frame:
    return open_dataset("ddad", root).read("000007").frames[0]


def test_a_frame_holds_what_was_written(root: Path) -> None:
    scene = open_dataset("ddad", root, sweeps=True).read("000007")
    (camera,) = scene.rig.cameras
    np.testing.assert_array_equal(camera.K, [[20, 0, 12], [0, 21, 8], [0, 0, 1]])
    assert (camera.name, camera.size_hw, camera.distortion) == ("CAMERA_01", (16, 24), ())
    frame = scene.frames[1]
    assert frame.repairs == ()
    assert frame.time_us == 1_577_836_801_000_001
    np.testing.assert_allclose(frame.world_T_ego[:3, 3], [10, 0, 0])
    (view,) = frame.views
    assert view is not None
    assert view.time_us == 1_577_836_801_050_000
    np.testing.assert_allclose(view.world_T_cam[:3, 3], [12.5, 0, 0])
    assert frame.sweep is not None
    np.testing.assert_array_equal(
        frame.sweep.points_lidar, np.arange(20.0).reshape(5, 4)[:, [1, 2, 3]]
    )


def test_splits(root: Path) -> None:
    reader = open_dataset("ddad", root)
    assert reader.scenes("val") == reader.scenes("all") == ("000007",)
    with pytest.raises(ConfigError, match="train_overfit"):
        reader.scenes("valley")
    with pytest.raises(DatasetError, match="--split all"):
        reader.scenes("train")
    with pytest.raises(DatasetError, match="000007"):
        reader.read("000008")


def test_two_scenes_of_one_folder_are_named_by_their_files(root: Path) -> None:
    (root / "000007" / "scene_def.json").write_text((root / SCENE).read_text())
    files = [SCENE, "000007/scene_def.json"]
    edit(root / "ddad.json", "scene_splits", "0", value={"filenames": files})
    reader = open_dataset("ddad", root)
    assert set(reader.scenes("train")) == {"scene_abc", "scene_def"}
    assert reader.scenes("val") == ("scene_abc",)
    assert reader.read("scene_def").frames[0].repairs == ()


def test_lens_coefficients_become_opencvs_order(root: Path) -> None:
    calibration = root / "000007" / "calibration" / "cal.json"
    for number, name in enumerate(("k1", "k2", "p1", "p2", "k3")):
        edit(calibration, "intrinsics", 1, name, value=number / 100)
    (camera,) = open_dataset("ddad", root).read("000007").rig.cameras
    assert camera.distortion == (0, 0.01, 0.02, 0.03, 0.04, 0, 0, 0)
    edit(calibration, "intrinsics", 1, "fov", value=3.1)
    with pytest.raises(DatasetError, match="fov"):
        open_dataset("ddad", root).read("000007")


def test_a_broken_cloud_is_left_out(root: Path) -> None:
    path = root / "000007" / "points" / "0.npz"
    whole = path.read_bytes()
    for harm in (whole[:100], whole[:-30], b"", b"text"):
        path.write_bytes(harm)
        frame = first_frame(root)
        assert frame.sweep is None
        assert [repair.where for repair in frame.repairs] == ["lidar"]
    np.savez(path, data=np.array([[{"a": 1}] * 4]), allow_pickle=True)
    assert first_frame(root).sweep is None  # a pickle is never opened
    np.savez(path, data=np.zeros((5, 3)))
    assert first_frame(root).sweep is None
    with path.open("wb") as file:
        np.save(file, np.zeros((5, 4)))
    assert first_frame(root).sweep is None
    points = np.ones((5, 4))
    points[2, 3] = np.nan
    np.savez(path, data=points)
    frame = first_frame(root)
    assert frame.sweep is not None
    assert frame.sweep.points_lidar.shape == (4, 3)
    assert "1 of 5 points" in frame.repairs[0].reason


def test_a_sample_without_lidar_takes_the_cameras_pose(root: Path) -> None:
    edit(root / SCENE, "samples", 0, "datum_keys", value=["CAMERA_010"])
    frame = first_frame(root)
    assert frame.time_us == 1_577_836_800_050_000
    np.testing.assert_allclose(frame.world_T_ego[:3, 3], [0.5, 0, 0])
    assert [repair.where for repair in frame.repairs] == ["lidar"]


def test_a_cut_image_and_a_broken_pose_cost_one_view(root: Path) -> None:
    path = root / "000007" / "rgb" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-50])
    pose = {"rotation": {**STILL, "qw": 0.0}, "translation": offset(0)}
    edit(root / SCENE, "data", 2, "datum", "image", "pose", value=pose)
    scene = open_dataset("ddad", root).read("000007")
    for frame, reason in zip(scene.frames, ("cut short", "quaternion"), strict=True):
        assert frame.views == (None,)
        assert frame.sweep is not None
        assert reason in frame.repairs[0].reason


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/hostname", "a\0b"])
def test_files_outside_are_refused(root: Path, name: str) -> None:
    edit(root / SCENE, "data", 0, "datum", "image", "filename", value=name)
    with pytest.raises(UnsafePathError):
        open_dataset("ddad", root).read("000007")


BROKEN: list[tuple[str, tuple, Any, str]] = [
    (SCENE, ("samples", 0, "datum_keys"), ["gone"], "data has no row 'gone'"),
    (SCENE, ("samples", 0, "calibration_key"), "gone", r"gone\.json"),
    (SCENE, ("samples",), [], "no sample"),
    (SCENE, ("samples",), 3, "samples is 3"),
    (SCENE, ("data", 0, "id"), {}, "id.name"),
    (SCENE, ("data", 0, "id", "timestamp"), "noon", "noon"),
    (SCENE, ("data", 0, "datum", "image", "filename"), 5, "filename is 5"),
    (SCENE, ("data", 0, "datum", "image", "height"), "tall", "tall|numbers"),
    (SCENE, ("data", 3, "id", "timestamp"), "2019-01-01T00:00:00Z", "backwards"),
    ("000007/calibration/cal.json", ("extrinsics",), [], "expected 2 extrinsics"),
    ("000007/calibration/cal.json", ("intrinsics", 1, "fx"), 0.0, "no usable K"),
    ("000007/calibration/cal.json", ("names", 1), "OTHER", "CAMERA_01"),
]


@pytest.mark.parametrize(("file", "keys", "value", "reason"), BROKEN)
def test_broken_tables_are_named(
    root: Path, file: str, keys: tuple, value: Any, reason: str
) -> None:
    edit(root / file, *keys, value=value)
    with pytest.raises(DatasetError) as caught:
        open_dataset("ddad", root).read("000007")
    assert re.search(reason, str(caught.value))


def test_a_root_without_scene_table_is_refused(root: Path) -> None:
    (root / "ddad.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"ddad\.json"):
        open_dataset("ddad", root)
    (root / "ddad.json").write_text("{")
    with pytest.raises(DatasetError, match="no valid JSON"):
        open_dataset("ddad", root)


def test_the_real_scene_is_consistent_with_its_calibration(recordings: Path) -> None:
    reader = open_dataset("ddad", recordings / "ddad_dgp")
    assert reader.scenes("train") == reader.scenes("val") == ("scene_01",)
    scene = reader.read("scene_01")
    assert [camera.name for camera in scene.rig.cameras] == ["CAMERA_01", "CAMERA_05", "CAMERA_06"]
    assert len(scene.frames) == 3
    for frame in scene.frames:
        assert frame.repairs == ()
        assert frame.sweep is not None
        points_world = apply(frame.sweep.world_T_lidar, frame.sweep.points_lidar)
        for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
            assert view is not None
            assert view.image.shape == (1216, 1936, 3)
            # The car stands, so the camera's own pose must be that of the LiDAR's time and rig.
            cam_T_cam = invert(view.world_T_cam) @ frame.world_T_ego @ camera.ego_T_cam
            assert np.linalg.norm(cam_T_cam[:3, 3]) < 0.001
            assert angle_rad(cam_T_cam[None])[0] < 0.001
            _, depth_m, inside = project(camera, apply(invert(view.world_T_cam), points_world))
            assert inside.sum() > 4000
            assert 2 < np.median(depth_m[inside]) < 50


def test_the_real_sweep_fills_the_annotated_boxes(recordings: Path) -> None:
    """Boxes are given in the sensor's frame, with the points that each held before thinning."""
    root = recordings / "ddad_dgp"
    sweep = open_dataset("ddad", root).read("scene_01").frames[0].sweep
    assert sweep is not None
    path = root / "scene_01/bounding_box_3d/LIDAR/15569195938203752.json"
    boxes = json.loads(path.read_text())["annotations"]
    found = []
    for box in (entry["box"] for entry in boxes):
        turn, place = box["pose"]["rotation"], box["pose"]["translation"]
        lidar_R_box = Quaternion([turn[key] for key in ("qw", "qx", "qy", "qz")]).rotation_matrix
        points_box = (sweep.points_lidar - [place[axis] for axis in "xyz"]) @ lidar_R_box
        half_m = np.array([box["length"], box["width"], box["height"]]) / 2
        found.append((np.abs(points_box) <= half_m).all(axis=1).sum())
    counted = [entry["num_points"] for entry in boxes]
    assert np.corrcoef(found, counted)[0, 1] > 0.99


def test_several_scene_tables_are_chosen_from(root: Path, tmp_path: Path) -> None:
    write_json(root / "ddad_v2.json", {"scene_splits": {"0": {"filenames": [SCENE]}}})
    write_json(root / "ontology.json", {"items": []})
    with pytest.raises(DatasetError, match=r"ddad\.json, ddad_v2\.json; choose .* --split-file"):
        open_dataset("ddad", root)
    elsewhere = tmp_path / "mine.json"
    shutil.copy(root / "ddad_v2.json", elsewhere)
    for given, split in (
        (root / "ddad.json", "val"),
        (root / "ddad_v2.json", "train"),
        (Path("ddad_v2.json"), "train"),  # a name in the root
        (tmp_path / "ddad_v2.json", "train"),  # as a settings' path of such a name
        (elsewhere, "train"),
    ):
        reader = open_dataset("ddad", root, split_file=given)
        assert reader.scenes(split) == ("000007",)
        with pytest.raises(DatasetError, match=given.name):
            reader.scenes("val" if split == "train" else "train")
        assert reader.read("000007").frames[0].repairs == ()
    with pytest.raises(DatasetError, match=r"ontology\.json has no scene_splits"):
        open_dataset("ddad", root, split_file=Path("ontology.json"))
    with pytest.raises(DatasetError, match=r"missing: .*none\.json"):
        open_dataset("ddad", root, split_file=Path("none.json"))


def test_links_are_followed_when_allowed(root: Path, tmp_path: Path) -> None:
    expected = open_dataset("ddad", root).read("000007")
    shutil.move(root / "000007", tmp_path / "disk")
    (root / "000007").symlink_to(tmp_path / "disk")
    with pytest.raises(UnsafePathError, match="--follow-links"):
        open_dataset("ddad", root).read("000007")
    scene = open_dataset("ddad", root, follow_links=True).read("000007")
    assert scene.input_hash == expected.input_hash
    assert scene.frames[1].repairs == ()
    (view,) = scene.frames[1].views
    assert view is not None
    assert view.path == "000007/rgb/1.jpg"


def test_the_points_layout_is_part_of_the_input(root: Path) -> None:
    before = open_dataset("ddad", root).read("000007")
    assert not before.generated
    assert before.rig.ground_z_m == 0.0
    for i in (1, 3):
        layout = ["X", "Y", "Z", "INTENSITY"]
        edit(root / SCENE, "data", i, "datum", "point_cloud", "point_format", value=layout)
    (root / "driv3r-world.json").write_text("{}")
    after = open_dataset("ddad", root).read("000007")
    assert after.generated
    assert after.input_hash != before.input_hash


def test_a_log_far_away_lies_near_its_own_origin(root: Path) -> None:
    for i, x in enumerate((2.5, 1.0, 12.5, 11.0)):
        kind = ("image", "point_cloud")[i % 2]
        keys = ("data", i, "datum", kind, "pose", "translation")
        edit(root / SCENE, *keys, value={"x": x + 448_000, "y": 5_411_000.0, "z": 0.0})
    scene = open_dataset("ddad", root).read("000007")
    assert scene.origin_world == (450_000.0, 5_410_000.0, 0.0)
    frame = scene.frames[1]
    (view,) = frame.views
    assert view is not None
    assert frame.sweep is not None
    for pose, x in (
        (frame.world_T_ego, 10),
        (view.world_T_cam, 12.5),
        (frame.sweep.world_T_lidar, 11),
    ):
        np.testing.assert_allclose(pose[:3, 3], [x - 2000, 1000, 0], atol=1e-8)


@pytest.mark.parametrize(
    ("time", "reason"),
    [("2020-01-01T00:00:00.05Z", "wrong unit of time"), ("2020-01-01T00:02:00Z", "120 s apart")],
)
def test_impossible_motion_is_refused(root: Path, time: str, reason: str) -> None:
    edit(root / SCENE, "data", 3, "id", "timestamp", value=time)
    with pytest.raises(DatasetError, match=reason):
        open_dataset("ddad", root).read("000007")


def test_points_in_another_unit_are_left_out(root: Path) -> None:
    np.savez(root / "000007" / "points" / "0.npz", data=1000 * np.arange(20.0).reshape(5, 4))
    frame = first_frame(root)
    assert frame.sweep is None
    assert ["19000 m off" in repair.reason for repair in frame.repairs] == [True]
