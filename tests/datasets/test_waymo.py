"""The Waymo reader against one drive in both of its formats, and against Waymo's own code."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.waymo.messages import FIELDS, make_messages
from driv3r.datasets.waymo.range_images import to_points
from driv3r.datasets.waymo.segment import LaserReturn, LaserSetup
from driv3r.errors import ConfigError, DatasetError
from driv3r.evaluation.metrics.protocol import choose_protocol
from driv3r.geometry.rolling_shutter import project_rolling
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Frame, Scene
from tests.datasets import tiny_waymo as tiny

GOLDENS = Path(__file__).parents[1] / "goldens" / "waymo"
WRITERS = {"v1": tiny.write_v1, "v2": tiny.write_v2}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The drive in each format; not to be changed."""
    return {name: write(tmp_path_factory.mktemp(name)) for name, write in WRITERS.items()}


@pytest.fixture(params=list(WRITERS))
def scene(request: pytest.FixtureRequest, roots: dict[str, Path]) -> Scene:
    return open_dataset("waymo", roots[request.param]).read(tiny.SEGMENT)


def places(scene: Scene, frame: int) -> np.ndarray:
    """The car's true pose at a frame's time, in the world of the log."""
    pose = tiny.world_T_vehicle(tiny.start_us(frame) + tiny.POSE_US).copy()
    pose[:3, 3] -= scene.origin_world
    return pose


def test_a_scene_holds_what_was_written(scene: Scene) -> None:
    assert scene.repairs == ()
    assert scene.rig.ground_z_m == 0.0
    assert [camera.name for camera in scene.rig.cameras] == list(tiny.NAMES.values())
    for camera, number in zip(scene.rig.cameras, tiny.NAMES, strict=True):
        fx, fy, cx, cy, *distortion = tiny.LENS[number]
        np.testing.assert_allclose(camera.K, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        assert (camera.size_hw, camera.distortion) == (tiny.SIZE_HW[number], tuple(distortion))
    times_us = [tiny.start_us(i) + tiny.POSE_US for i in range(tiny.FRAMES)]
    np.testing.assert_array_equal(scene.time_us, times_us)
    for i in range(tiny.FRAMES):
        frame = scene.frames[i]
        assert frame.repairs == ()
        np.testing.assert_allclose(frame.world_T_ego, places(scene, i), atol=3e-3)  # 32 bits
        for view, number in zip(frame.views, tiny.NAMES, strict=True):
            assert view is not None
            assert view.time_us == tiny.image_us(i, number)
            pose = tiny.world_T_vehicle(view.time_us) @ tiny.VEHICLE_T_CAMERA[number]
            ahead, left, up = pose[:3, :3].T
            np.testing.assert_allclose(view.world_T_cam[:3, :3].T, [-left, -up, ahead], atol=1e-6)
            place = pose[:3, 3] - scene.origin_world
            np.testing.assert_allclose(view.world_T_cam[:3, 3], place, atol=1e-6)


def test_both_formats_give_the_same_log(roots: dict[str, Path]) -> None:
    first, second = (open_dataset("waymo", roots[name]).read(tiny.SEGMENT) for name in WRITERS)
    for a, b in zip(first.frames, second.frames, strict=True):
        for view, other in zip(a.views, b.views, strict=True):
            assert view is not None
            assert other is not None
            np.testing.assert_array_equal(view.image, other.image)
            np.testing.assert_allclose(view.world_T_cam, other.world_T_cam, atol=1e-9)
            assert view.shutter is not None
            assert other.shutter is not None
            assert (view.shutter.read, view.shutter.first_us, view.shutter.last_us) == (
                other.shutter.read, other.shutter.first_us, other.shutter.last_us,
            )  # fmt: skip
        assert a.sweep is not None
        assert b.sweep is not None
        world = [apply(s.world_T_lidar, s.points_lidar.astype(float)) for s in (a.sweep, b.sweep)]
        np.testing.assert_allclose(world[0], world[1], atol=4e-3)  # v2 rounds poses to 32 bits


def test_returns_lie_where_the_car_was_when_each_was_shot(scene: Scene) -> None:
    """Both returns of both LiDARs; TOP's by each pixel's own pose, which 32 bits round to 4 mm."""
    for i in range(tiny.FRAMES):
        sweep = scene.frames[i].sweep
        assert sweep is not None
        parts = [tiny.points_world(i, laser, n) for laser in (1, 2) for n in (1, 2)]
        expected = np.concatenate(parts) - scene.origin_world
        points_world = apply(sweep.world_T_lidar, sweep.points_lidar.astype(float))
        np.testing.assert_allclose(points_world, expected, atol=6e-3)
        still = np.linalg.norm(points_world - expected, axis=1)
        assert np.median(still) < 3e-3
        np.testing.assert_allclose(
            sweep.world_T_lidar, places(scene, i) @ tiny.VEHICLE_T_LASER[1], atol=3e-3
        )


def test_points_fall_where_waymo_projects_them(roots: dict[str, Path]) -> None:
    """The file's camera projections, with rolling shutters, against ours; and not without them."""
    scene = open_dataset("waymo", roots["v2"]).read(tiny.SEGMENT)
    folder = roots["v2"] / "training" / "lidar_camera_projection"
    table = pq.read_table(folder / f"{tiny.SEGMENT}.parquet")
    name = "[LiDARCameraProjectionComponent].range_image_return1.values"
    off: dict[str, list[np.ndarray]] = {"rolling": [], "at one time": []}
    for i, values in enumerate(table.column(name).to_pylist()):
        first = tiny.ranges(i, tiny.TOP, 1) > 0
        told = np.array(values).reshape(*first.shape, 6)[first]
        frame = scene.frames[i]
        assert frame.sweep is not None
        points_world = apply(frame.sweep.world_T_lidar, frame.sweep.points_lidar.astype(float))
        points_world = points_world[: len(told)]  # the first return of TOP comes first
        for camera, view, number in zip(scene.rig.cameras, frame.views, tiny.NAMES, strict=True):
            assert view is not None
            points_cam = apply(invert(view.world_T_cam), points_world)
            for kind, shutter in (("rolling", view.shutter), ("at one time", None)):
                uv, _, inside = project_rolling(camera, points_cam, shutter)
                for k in (0, 3):
                    named = (told[:, k] == number) & inside
                    off[kind].append(np.abs(uv[named] - told[named, k + 1 : k + 3]).max(axis=1))
    rolling, still = (np.concatenate(off[kind]) for kind in ("rolling", "at one time"))
    assert len(rolling) > 100
    assert np.median(rolling) < 0.01
    assert rolling.max() < 0.1
    assert np.median(still) > 20 * np.median(rolling)


def test_points_are_those_of_waymos_own_code() -> None:
    """tests/goldens/waymo/make_goldens.py has made them."""
    with np.load(GOLDENS / "points.npz") as golden:
        given = {name: golden[name] for name in golden.files}
    span = tuple(given["span"].tolist())
    for name, table, poses in (
        ("by_table", given["table"], given["pixel_poses"]),
        ("by_span", np.zeros(0), None),
    ):
        laser = LaserSetup(given["extrinsic"], table, span)
        points = to_points(LaserReturn(1, given["ranges"], poses), laser, given["pose"])
        np.testing.assert_allclose(points, given[name], atol=1e-7)


def test_boxes_have_ids_types_places_and_speeds(scene: Scene) -> None:
    assert scene.boxes is not None
    boxes = scene.boxes(1)
    assert boxes is not None
    assert (boxes.instance, boxes.label) == (("car", "sign"), ("TYPE_VEHICLE", "TYPE_SIGN"))
    np.testing.assert_allclose(boxes.size_m, [[4.6, 1.9, 1.6], [0.2, 0.7, 0.7]])
    np.testing.assert_allclose(boxes.velocity_world_mps, [[3, -4, 0.1], [0, 0, 0]])
    ego_T_box = invert(places(scene, 1)) @ boxes.world_T_box
    np.testing.assert_allclose(ego_T_box[:, :3, 3], [[14, 3, 0.8], [9, -4, 2]], atol=3e-3)
    np.testing.assert_allclose(ego_T_box[0, :3, 0], [np.cos(0.3), np.sin(0.3), 0], atol=1e-6)


def test_splits_are_folders(roots: dict[str, Path], tmp_path: Path) -> None:
    reader = open_dataset("waymo", roots["v1"])
    assert reader.scenes("all") == reader.scenes("training") == (tiny.SEGMENT,)
    with pytest.raises(ConfigError, match="unknown split 'val'; known are all, training, valid"):
        reader.scenes("val")
    with pytest.raises(DatasetError, match="has no segment in validation/; it has 1 in training"):
        reader.scenes("validation")
    with pytest.raises(DatasetError, match="no segment 'x'"):
        reader.read("x")
    for name in WRITERS:  # a split's folder is a root, too
        flat = open_dataset("waymo", roots[name] / "training")
        assert flat.scenes("all") == (tiny.SEGMENT,)
        assert len(flat.read(tiny.SEGMENT).frames) == tiny.FRAMES
    with pytest.raises(DatasetError, match="holds no Waymo segment"):
        open_dataset("waymo", tmp_path)
    shutil.copytree(roots["v1"] / "training", tmp_path / "training")
    shutil.copytree(roots["v2"] / "training", tmp_path / "validation")
    with pytest.raises(DatasetError, match="holds the segment .* twice"):
        open_dataset("waymo", tmp_path)


def test_frames_are_read_in_any_order(roots: dict[str, Path]) -> None:
    """Row groups and records are sought, whatever was read before."""
    for name in WRITERS:
        frames = open_dataset("waymo", roots[name]).read(tiny.SEGMENT).frames
        forth: list[Frame] = list(frames)
        for i in (2, 0, 1):
            for view, other in zip(frames[i].views, forth[i].views, strict=True):
                assert view is not None
                assert other is not None
                np.testing.assert_array_equal(view.image, other.image)


@pytest.mark.parametrize(("name", "module"), [("v1", "google_crc32c"), ("v2", "pyarrow")])
def test_a_missing_package_is_named(
    roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match=r"pip install 'driv3r\[waymo\]'"):
        open_dataset("waymo", roots[name]).read(tiny.SEGMENT)


def test_missing_protobuf_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(ConfigError, match=r"pip install 'driv3r\[waymo\]'"):
        make_messages(FIELDS)


def test_depth_is_scored_up_to_75_m() -> None:
    protocol = choose_protocol("waymo")
    assert (protocol.min_m, protocol.max_m) == (0.0, 75.0)


def test_the_goldens_say_what_they_are_of() -> None:
    assert json.loads((GOLDENS / "frame.json").read_text())["labels"] == 75
