"""The Argoverse 2 reader against a small log with a known rig, and variants of it."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.argoverse2 import GROUND_Z_M, Argoverse2Reader
from driv3r.errors import ConfigError, DatasetError
from driv3r.evaluation.metrics.protocol import choose_protocol
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Scene, Sweep
from tests.datasets import tiny_argoverse2 as tiny
from tests.datasets.tiny_argoverse2 import LOG, START_NS, SWEEP_NS, SWEEPS

Golden = Callable[[str], Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "root")


def read(root: Path, **options: bool) -> Scene:
    return open_dataset("argoverse2", root, **options).read(LOG)


def points_world_of(sweep: Sweep | None) -> np.ndarray:
    assert sweep is not None
    return apply(sweep.world_T_lidar, sweep.points_lidar.astype(np.float64))


def test_a_log_holds_what_was_written(root: Path) -> None:
    scene = read(root)
    assert scene.repairs == ()
    assert not scene.generated
    assert scene.is_keyframe.all()
    assert [camera.name for camera in scene.rig.cameras] == [*tiny.SIZES]
    np.testing.assert_array_equal(scene.time_us, [t // 1000 for t in tiny.sweep_times_ns()])
    assert (scene.rig.ground_z_m, scene.origin_world) == (GROUND_Z_M, (10_000.0, 0.0, 0.0))
    for camera in scene.rig.cameras:
        assert (camera.size_hw, camera.distortion) == (tiny.SIZES[camera.name], ())
        np.testing.assert_array_equal(camera.K, [[80, 0, 36.75], [0, 81, 41], [0, 0, 1]])
        np.testing.assert_allclose(camera.ego_T_cam, tiny.ego_T_cam_of(camera.name), atol=1e-12)
    for i, frame in enumerate(scene.frames):
        assert frame.repairs == ()
        at_ns = START_NS + i * SWEEP_NS
        expected = tiny.world_T_ego_at(at_ns)
        expected[:3, 3] -= scene.origin_world
        np.testing.assert_allclose(frame.world_T_ego, expected, atol=1e-8)
        points = tiny.points_world(at_ns) - scene.origin_world
        np.testing.assert_allclose(points_world_of(frame.sweep), points, atol=3e-6)


def test_views_are_the_nearest_exposures_with_poses_of_their_own(root: Path) -> None:
    scene = read(root)
    for i, frame in enumerate(scene.frames):
        for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
            assert view is not None
            at_ns = tiny.exposure_times_ns(camera.name)[2 * i]  # 10 ms off at most, not 50
            assert view.time_us == at_ns // 1000
            assert view.path == f"val/{LOG}/sensors/cameras/{camera.name}/{at_ns}.jpg"
            stored = tiny.image_of(camera.name, 2 * i)
            pixels = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(view.image, pixels[..., ::-1])
            expected = tiny.world_T_ego_at(at_ns) @ tiny.ego_T_cam_of(camera.name)
            expected[:3, 3] -= scene.origin_world
            np.testing.assert_allclose(view.world_T_cam, expected, atol=1e-8)


def test_a_pose_between_those_of_the_table_is_interpolated(root: Path) -> None:
    gone = tiny.exposure_times_ns("ring_front_center")[2]

    def drop(table: tiny.Table) -> None:
        at = table["timestamp_ns"].index(gone)
        for column in table.values():
            column.pop(at)

    tiny.edit(root / "val" / LOG / "city_SE3_egovehicle.feather", drop)
    scene = read(root)
    view = scene.frames[1].views[0]
    assert view is not None
    expected = tiny.world_T_ego_at(gone) @ tiny.ego_T_cam_of("ring_front_center")
    expected[:3, 3] -= scene.origin_world
    np.testing.assert_allclose(view.world_T_cam, expected, atol=1e-6)


def test_sweeps_add_the_exposures_between(root: Path) -> None:
    plain, scene = read(root), read(root, sweeps=True)
    assert len(scene.frames) == 2 * SWEEPS
    assert scene.is_keyframe.tolist() == [True, False] * SWEEPS
    np.testing.assert_array_equal(scene.time_us[::2], plain.time_us)
    assert scene.boxes is not None
    for i, frame in enumerate(scene.frames):
        assert frame.repairs == ()
        assert (frame.sweep is None) == bool(i % 2)
        assert (scene.boxes(i) is None) == bool(i % 2)
        times = [tiny.exposure_times_ns(camera.name)[i] // 1000 for camera in scene.rig.cameras]
        assert [view.time_us for view in frame.views if view is not None] == times
        if i % 2:
            assert frame.time_us == times[0]


def test_boxes_lie_in_the_world_with_velocities(root: Path) -> None:
    scene = read(root)
    assert scene.boxes is not None
    for i, at_ns in enumerate(tiny.sweep_times_ns()):
        boxes = scene.boxes(i)
        assert boxes is not None
        assert boxes.instance == ("car", "bollard")
        assert boxes.label == ("REGULAR_VEHICLE", "BOLLARD")
        np.testing.assert_array_equal(boxes.size_m, [*tiny.SIZES_M.values()])
        for found, expected in zip(
            boxes.world_T_box, tiny.world_T_box_at(at_ns).values(), strict=True
        ):
            expected[:3, 3] -= scene.origin_world
            np.testing.assert_allclose(found, expected, atol=1e-8)
        np.testing.assert_allclose(boxes.speed_mps, [tiny.BOX_MPS, 0], atol=1e-4)
    boxes = scene.boxes(0)
    assert boxes is not None
    own = apply(invert(boxes.world_T_box[0]), points_world_of(scene.frames[0].sweep))
    assert np.flatnonzero((np.abs(own) <= boxes.size_m[0] / 2).all(axis=1)).tolist() == [4]


def test_argoverses_own_library_reads_the_same(root: Path, golden: Golden) -> None:
    """Points, boxes and projections of av2 0.3.6, by tests/tools/write_argoverse2_golden.py.

    It counts pixels from the first one's centre, as its check of the image's borders shows.
    """
    official = json.loads(golden("argoverse2/official.json").read_text())
    scene = read(root)
    frame, boxes = scene.frames[2], scene.boxes and scene.boxes(2)
    assert boxes is not None
    points_world = points_world_of(frame.sweep)
    np.testing.assert_allclose(
        points_world + scene.origin_world, official["points_city"], atol=3e-6
    )
    np.testing.assert_array_equal(boxes.size_m, official["lwh_m"])
    city_T_box = boxes.world_T_box.copy()
    city_T_box[:, :3, 3] += scene.origin_world
    np.testing.assert_allclose(city_T_box, official["city_T_box"], atol=1e-8)
    for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
        assert view is not None
        expected = official["views"][camera.name]
        points_cam = apply(invert(view.world_T_cam), points_world)
        np.testing.assert_allclose(points_cam, expected["points_cam"], atol=4e-6)
        uv, _, _ = project(camera, points_cam)
        ahead = points_cam[:, 2] > 1
        assert ahead.any()
        np.testing.assert_allclose((uv - 0.5)[ahead], np.array(expected["uv"])[ahead], atol=1e-4)


def test_splits(root: Path) -> None:
    reader = open_dataset("argoverse2", root)
    assert reader.scenes("all") == reader.scenes("val") == (LOG,)
    with pytest.raises(DatasetError, match=r"train holds no log; logs are in val"):
        reader.scenes("train")
    with pytest.raises(ConfigError, match="known are all, train, val, test"):
        reader.scenes("mini")
    with pytest.raises(DatasetError, match="no log 'other'"):
        reader.read("other")
    for wrong in (root / "val", root / "val" / LOG):
        with pytest.raises(DatasetError, match="give the folder that holds train, val, test"):
            open_dataset("argoverse2", wrong)
    shutil.copytree(root / "val", root / "train")
    with pytest.raises(DatasetError, match="in more than one split"):
        open_dataset("argoverse2", root)


def test_the_test_split_has_no_boxes_and_others_tell_that_they_lack_them(tmp_path: Path) -> None:
    for split, told in (("test", ()), ("val", ("annotations.feather",))):
        root = tiny.write(tmp_path / split, split=split)
        (root / split / LOG / "annotations.feather").unlink()
        scene = read(root)
        assert scene.boxes is None
        assert tuple(repair.where for repair in scene.repairs) == told


def test_a_sweep_that_is_not_annotated_has_no_boxes(root: Path) -> None:
    def keep_first(table: tiny.Table) -> None:
        for column in table.values():
            del column[2:]

    tiny.edit(root / "val" / LOG / "annotations.feather", keep_first)
    scene = read(root)
    assert scene.boxes is not None
    found = [scene.boxes(i) for i in range(SWEEPS)]
    assert [boxes is None for boxes in found] == [False, True, True, True]
    assert found[0] is not None
    assert np.isnan(found[0].velocity_world_mps).all()


def test_a_rig_has_the_cameras_that_are_calibrated_and_gave_images(root: Path) -> None:
    """As in log 7606de8d, whose stereo cameras lack intrinsics (av2-api, issue 274)."""

    def drop(table: tiny.Table) -> None:
        for column in table.values():
            column.pop()

    tiny.edit(root / "val" / LOG / "calibration/intrinsics.feather", drop)
    scene = read(root)
    assert [camera.name for camera in scene.rig.cameras] == [*tiny.SIZES][:2]
    assert [repair.where for repair in scene.repairs] == ["stereo_front_left"]
    assert "intrinsics.feather has no row" in scene.repairs[0].reason
    (root / "val" / LOG / "sensors/cameras/other").mkdir()
    for name in tiny.SIZES:
        shutil.rmtree(root / "val" / LOG / "sensors/cameras" / name)
    with pytest.raises(DatasetError, match=r"no camera of .*intrinsics.feather has a place and"):
        read(root)


@pytest.mark.parametrize("sweeps", [False, True])
def test_a_log_without_images_keeps_its_rig_sweeps_and_boxes(root: Path, sweeps: bool) -> None:
    expected = read(root)
    shutil.rmtree(root / "val" / LOG / "sensors/cameras")
    scene = read(root, sweeps=sweeps)
    assert [camera.name for camera in scene.rig.cameras] == [*tiny.SIZES]
    assert scene.time_us.tolist() == expected.time_us.tolist()
    assert scene.boxes is not None
    assert scene.boxes(1) is not None
    for frame in scene.frames:
        assert frame.sweep is not None
        assert [repair.where for repair in frame.repairs] == [*tiny.SIZES]


def test_without_pyarrow_the_extra_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.feather", None)
    with pytest.raises(ConfigError, match=r"pip install 'driv3r\[argoverse2\]'"):
        read(root)


def test_depth_is_scored_to_100_m() -> None:
    protocol = choose_protocol("argoverse2")
    assert (protocol.min_m, protocol.max_m, protocol.crop) == (0.0, 100.0, "none")
    assert Argoverse2Reader.card.extra == "argoverse2"


@pytest.mark.parametrize("sweeps", [1, 2])
def test_short_logs_are_read(tmp_path: Path, sweeps: int) -> None:
    scene = read(tiny.write(tmp_path / "root", sweeps))
    assert len(scene.frames) == sweeps
    assert all(view is not None for view in scene.frames[0].views)


def test_a_copy_is_the_same_input_and_a_changed_table_another(root: Path, tmp_path: Path) -> None:
    expected = read(root).input_hash
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    assert read(copy).input_hash == expected
    (copy / "driv3r-world.json").write_text("{}")
    assert read(copy).generated
    tiny.edit(
        copy / "val" / LOG / "calibration/intrinsics.feather",
        lambda table: table["fx_px"].__setitem__(0, 80.5),
    )
    assert read(copy).input_hash != expected
