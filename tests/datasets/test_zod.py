"""The ZOD reader against a small sequence, and against what Zenseact's devkit says of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import invert
from driv3r.types import Scene
from tests.datasets import tiny_zod as tiny
from tests.datasets.json_files import edit

GOLDEN = Path(__file__).parents[1] / "goldens" / "zod.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "root")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return open_dataset("zod", tiny.write(tmp_path_factory.mktemp("zod") / "root")).read(tiny.LOG)


def test_a_log_holds_what_was_written(log: Scene) -> None:
    assert log.repairs == ()
    assert log.poses_known
    assert log.time_us.tolist() == [tiny.time_us(i) for i in range(tiny.FRAMES)]
    (camera,) = log.rig.cameras
    assert (camera.name, camera.lens, camera.size_hw) == (
        "camera_front",
        "kannala_brandt",
        tiny.SIZE_HW,
    )
    for i, frame in enumerate(log.frames):
        assert frame.repairs == ()
        (view,) = frame.views
        assert view is not None
        assert np.abs(view.image.astype(int) - tiny.image(i)).mean() < 6  # a JPEG's loss
        expected = tiny.world_T_ego(tiny.time_us(i))
        np.testing.assert_allclose(frame.world_T_ego, expected, atol=1e-9)
        np.testing.assert_allclose(view.world_T_cam, expected @ camera.ego_T_cam, atol=1e-9)
        assert frame.sweep is not None
        assert frame.sweep.time_us == tiny.time_us(i) + tiny.LIDAR_LATE_US
        moved = tiny.POINTS[: tiny.OWN] + np.float32(i) / 8
        np.testing.assert_array_equal(frame.sweep.points_lidar, moved)


def test_places_lens_and_points_are_the_devkits(log: Scene) -> None:
    """Golden numbers: see the command in the file."""
    golden = json.loads(GOLDEN.read_text())
    views = [frame.views[0] for frame in log.frames]
    sweeps = [frame.sweep for frame in log.frames]
    assert [view.time_us for view in views if view] == golden["times_us"][0]
    assert [sweep.time_us for sweep in sweeps if sweep] == golden["times_us"][1]
    world_T_cam = np.stack([view.world_T_cam for view in views if view])
    world_T_lidar = np.stack([sweep.world_T_lidar for sweep in sweeps if sweep])
    np.testing.assert_allclose(world_T_cam, golden["world_T_cam"], atol=1e-9)
    np.testing.assert_allclose(world_T_lidar, golden["world_T_lidar"], atol=1e-9)
    assert sweeps[0] is not None
    np.testing.assert_allclose(sweeps[0].points_lidar, golden["points_lidar"], atol=1e-6)
    uv, _, _ = project(log.rig.cameras[0], np.array(golden["points_cam"]))
    np.testing.assert_allclose(uv - 0.5, golden["uv"], atol=1e-9)


def test_the_fisheye_is_looked_at_as_a_pinhole(log: Scene) -> None:
    work = prepare_rig(log.rig, (32, 56))
    (image,) = prepare_images(log.frames[0], work)
    assert image is not None
    assert image.shape == (32, 56, 3)
    assert work.rig.cameras[0].lens == "brown_conrady"


def test_the_car_goes_ahead(log: Scene) -> None:
    first, last = log.frames[0].world_T_ego, log.frames[-1].world_T_ego
    np.testing.assert_allclose((invert(first) @ last)[:3, 3], [2.388, 0.12, 0], atol=0.05)
    assert log.rig.cameras[0].ego_T_cam[0, 2] > 0.99


def test_splits(root: Path) -> None:
    shutil.copytree(root / tiny.FOLDER, root / "drives/000002")
    reader = open_dataset("zod", root)
    assert reader.scenes("all") == (tiny.LOG, "drive_000002")
    assert reader.scenes("train") == reader.scenes(tiny.LOG) == (tiny.LOG,)
    with pytest.raises(DatasetError, match="none of the 1 logs of val is in"):
        reader.scenes("val")
    with pytest.raises(ConfigError, match="unknown split 'test'"):
        reader.scenes("test")
    with pytest.raises(DatasetError, match="no log '000002' in"):
        reader.read("000002")
    (root / "trainval-sequences-mini.json").unlink()
    with pytest.raises(DatasetError, match="has no trainval-sequences"):
        reader.scenes("train")
    with pytest.raises(DatasetError, match="holds no ZOD log: expected sequences/<id>"):
        open_dataset("zod", root / "sequences")


def test_what_is_not_there_is_counted(root: Path) -> None:
    folder = root / tiny.FOLDER
    (folder / "ego_motion.json").unlink()
    (folder / "camera_front_blur").rename(folder / "camera_front_dnat")
    scene = open_dataset("zod", root).read(tiny.LOG)
    assert [repair.where for repair in scene.repairs] == ["poses", "lidar"]
    assert not scene.poses_known
    assert scene.rig.ego_T_lidar is None
    view = scene.frames[0].views[0]
    assert view is not None
    assert "camera_front_dnat" in view.path


def test_names_may_have_no_colons(root: Path) -> None:
    """As some file systems and archives do not allow them."""
    for path in (*tiny.image_files(root), *tiny.lidar_files(root)):
        path.rename(path.with_name(path.name.replace(":", "_")))
    scene = open_dataset("zod", root).read(tiny.LOG)
    assert scene.time_us.tolist() == [tiny.time_us(i) for i in range(tiny.FRAMES)]


def test_the_keyframe_has_boxes(log: Scene) -> None:
    """In the frame of its sweep, x along their length; the car goes where the ego car goes."""
    assert log.boxes is not None
    assert [log.boxes(i) is None for i in range(tiny.FRAMES)] == [
        i != tiny.KEYFRAME for i in range(tiny.FRAMES)
    ]
    boxes, frame = log.boxes(tiny.KEYFRAME), log.frames[tiny.KEYFRAME]
    assert boxes is not None
    assert frame.sweep is not None
    assert boxes.label == ("Vehicle Car", "Pedestrian")
    np.testing.assert_array_equal(boxes.size_m, [[4.5, 1.9, 1.6], [0.6, 0.7, 1.8]])
    assert np.isnan(boxes.velocity_world_mps).all()
    lidar_T_box = invert(frame.sweep.world_T_lidar) @ boxes.world_T_box
    np.testing.assert_allclose(lidar_T_box[0, :3, 3], [2, 20, -0.9], atol=1e-9)
    ahead = (invert(frame.world_T_ego) @ boxes.world_T_box)[0, :3, 0]
    np.testing.assert_allclose(ahead, [1, 0, 0], atol=0.01)


def test_boxes_need_a_sweep_at_their_keyframe(root: Path) -> None:
    edit(root / tiny.FOLDER / "info.json", "keyframe_time", value="2025-06-23T09:46:52+00:00")
    scene = open_dataset("zod", root).read(tiny.LOG)
    assert scene.boxes is None
    assert "no sweep is near their keyframe" in scene.repairs[-1].reason


def test_boxes_need_their_keyframes_time(root: Path) -> None:
    (root / tiny.FOLDER / "info.json").unlink()
    assert open_dataset("zod", root).read(tiny.LOG).boxes is None
