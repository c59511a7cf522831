"""The bag reader against messages that were encoded by hand and written by other libraries."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from driv3r.datasets import open_dataset
from driv3r.datasets.preprocess import prepare_rig
from driv3r.datasets.rosbag.bag import Place
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Rig, Scene
from tests.datasets import tiny_folder as car
from tests.datasets import tiny_rosbag as tiny


def read(root: Path) -> Scene:
    reader = open_dataset("rosbag", root)
    return reader.read(reader.scenes("all")[0])


def read_messages(root: Path, messages: list[tiny.Sent], **settings: Any) -> Scene:
    tiny.write(root, messages)
    if settings:
        (root / "driv3r-bag.yaml").write_text(yaml.safe_dump(settings))
    return read(root)


def reasons(scene: Scene) -> list[str]:
    return [f"{repair.where}: {repair.reason}" for repair in scene.repairs]


WRITERS = {
    "mcap": lambda root: tiny.write_mcap(root / "drive.mcap", tiny.drive()),
    "db3": lambda root: tiny.write_folder(root / "drive", tiny.drive()),
    "db3 of compressed messages": lambda root: tiny.write_folder(
        root / "drive", tiny.drive(), "MESSAGE"
    ),
    "compressed db3": lambda root: tiny.write_folder(root / "drive", tiny.drive(), "FILE"),
    "several mcap": lambda root: tiny.write_split(root / "drive", tiny.drive()),
}


@pytest.fixture(scope="module", params=WRITERS)
def drive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    root = tmp_path_factory.mktemp("bags")
    WRITERS[request.param](root)
    return read(root)


def test_a_bag_holds_what_was_sent(drive: Scene) -> None:
    assert drive.id == "drive"
    assert drive.repairs == ()
    assert drive.poses_known
    assert [camera.name for camera in drive.rig.cameras] == ["front", "left"]
    assert drive.rig.ground_z_m == pytest.approx(-tiny.HEIGHT_M)
    times_us = [car.START_US + i * car.STEP_US for i in range(tiny.FRAMES)]
    assert drive.time_us.tolist() == times_us
    place_m = np.array(tiny.MAP_T_ODOM_M) + [0, 0, tiny.HEIGHT_M]
    for i, frame in enumerate(drive.frames):
        assert frame.repairs == ()
        front, left = frame.views
        assert front is not None
        assert left is not None
        assert frame.sweep is not None
        np.testing.assert_array_equal(front.image, car.image(i))
        np.testing.assert_array_equal(left.image, car.image(100 + i))
        np.testing.assert_array_equal(frame.sweep.points_lidar, car.points(i))
        assert left.time_us == frame.sweep.time_us == times_us[i] + tiny.LATE_US
        for late_us, given, ego_T_sensor in (
            (0, front.world_T_cam, car.FRONT),
            (tiny.LATE_US, left.world_T_cam, car.LEFT),
            (tiny.LATE_US, frame.sweep.world_T_lidar, car.LIDAR),
        ):
            expected = tiny.base_T(ego_T_sensor)
            expected[:3, 3] += place_m + [car.place_m(times_us[i] + late_us), 0, 0]
            np.testing.assert_allclose(given, expected, atol=1e-6)


def test_frames_can_be_read_in_any_order_and_again(drive: Scene) -> None:
    for i in (3, 0, 2, 2, 1):
        view = drive.frames[i].views[0]
        assert view is not None
        np.testing.assert_array_equal(view.image, car.image(i))


def test_frames_are_read_in_another_thread(drive: Scene) -> None:
    with ThreadPoolExecutor(1) as pool:
        view = pool.submit(lambda: drive.frames[1].views[0]).result()
    assert view is not None
    np.testing.assert_array_equal(view.image, car.image(1))


def test_a_folder_that_counts_what_it_has_not(tmp_path: Path) -> None:
    folder = tiny.write_split(tmp_path / "drive", tiny.drive())
    tiny.write_mcap(folder / "drive_0.mcap", tiny.drive()[:3])
    tiny.write_mcap(folder / "drive_1.mcap", tiny.without(tiny.FRONT)[3:])
    with pytest.raises(DatasetError, match="/front/image_raw is listed with messages, but"):
        read(tmp_path)
    (folder / "drive_1.mcap").unlink()
    with pytest.raises(DatasetError, match="can not be read: .*files are missing"):
        read(tmp_path)


def test_a_view_says_where_its_message_is(drive: Scene) -> None:
    view = drive.frames[0].views[0]
    assert view is not None
    file, _, part = view.path.partition("#")
    assert file in ("drive.mcap", "drive/metadata.yaml")
    log_ns = (car.START_US + tiny.LOGGED_US) * 1000
    assert Place.parse(part) == Place(tiny.FRONT, log_ns)
    assert Place.parse(str(Place("/a/b", 17, 2))) == Place("/a/b", 17, 2)


def test_messages_of_one_log_time_are_told_apart(tmp_path: Path) -> None:
    at_us = car.START_US + 10**6
    messages = [tiny.logged(each, at_us) for each in tiny.drive()]
    scene = read_messages(tmp_path / "root", messages)
    assert scene.repairs == ()
    for i, frame in enumerate(scene.frames):
        assert frame.views[0] is not None
        np.testing.assert_array_equal(frame.views[0].image, car.image(i))


def test_a_folder_of_bags_and_a_bag_alone(tmp_path: Path) -> None:
    tiny.write_mcap(tmp_path / "b.mcap", tiny.drive())
    tiny.write_folder(tmp_path / "a", tiny.drive())
    reader = open_dataset("rosbag", tmp_path)
    assert reader.scenes("all") == ("a", "b")
    assert reader.scenes("b") == ("b",)
    alone = open_dataset("rosbag", tmp_path / "a")
    assert alone.scenes("all") == ("a",)
    assert len(alone.read("a").frames) == tiny.FRAMES
    with pytest.raises(ConfigError, match="unknown split 'val'"):
        reader.scenes("val")
    with pytest.raises(DatasetError, match="no bag 'c' in"):
        reader.read("c")
    tiny.write_mcap(tmp_path / "a.mcap", tiny.drive())
    with pytest.raises(DatasetError, match="several bags of the name a"):
        open_dataset("rosbag", tmp_path)


@pytest.mark.parametrize(
    ("model", "d", "rational"),
    [
        ("plumb_bob", tiny.FRONT_D, True),
        ("rational_polynomial", (0.2, -0.1, 0.001, 0.002, 0.01, 0.3, -0.05, 0.004), True),
        ("equidistant", (0.05, -0.01, 0.002, -0.0005), False),
    ],
)
def test_lenses_are_opencvs(
    tmp_path: Path, model: str, d: tuple[float, ...], rational: bool
) -> None:
    told = tiny.info("/front/camera_info", car.START_US, "front_optical", model=model, d=d)
    camera = read_messages(tmp_path / "root", tiny.instead("/front/camera_info", told)).rig.cameras[
        0
    ]
    points = np.array([[0.3, -0.2, 1.0], [-0.5, 0.25, 1.5], [0.0, 0.1, 2.0]])
    K = np.array(tiny.K).reshape(3, 3)
    if rational:
        uv = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, np.array(d))[0]
    else:
        uv = cv2.fisheye.projectPoints(points[:, None], np.zeros(3), np.zeros(3), K, np.array(d))[0]
    # OpenCV and ROS count from the centre of the first pixel, we from its corner.
    np.testing.assert_allclose(project(camera, points)[0], uv.reshape(-1, 2) + 0.5, atol=1e-9)
    assert prepare_rig(Rig((camera,)), (32, 56)).rig.cameras[0].lens == "brown_conrady"


def test_rectified_images_have_p_and_the_turned_frame(tmp_path: Path) -> None:
    turn = Rotation.from_euler("xyz", [0.02, -0.05, 0.01]).as_matrix()
    p = (25.0, 0.0, 26.0, 0.0, 0.0, 25.0, 16.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    messages = [
        *tiny.without("/front/camera_info"),
        tiny.info(
            "/front/camera_info", car.START_US, "front_optical", d=tiny.FRONT_D, r=turn.ravel(), p=p
        ),
    ]
    renamed = [
        dataclasses.replace(each, topic="/front/image_rect") if each.topic == tiny.FRONT else each
        for each in messages
    ]
    camera = read_messages(tmp_path / "root", renamed).rig.cameras[0]
    assert camera.distortion == ()
    assert camera.K[0].tolist() == [25.0, 0.0, 26.5]
    point = np.array([[0.4, 0.2, 5.0]])
    rectified = apply(invert(camera.ego_T_cam), apply(tiny.base_T(car.FRONT), point))
    np.testing.assert_allclose(rectified[0], turn @ point[0], atol=1e-12)


def test_one_topic_of_a_camera_is_taken(tmp_path: Path) -> None:
    """Raw before rectified, plain before compressed; another folder is another camera."""
    images = [each for each in tiny.drive() if each.topic == tiny.FRONT]
    others = [
        dataclasses.replace(each, topic=topic)
        for each in images
        for topic in ("/front/image_rect", "/front/depth/image_raw")
    ]
    packed = [
        tiny.compressed(
            "/front/image_raw/compressed", car.START_US, car.image(7), "rgb8", "front_optical"
        )
    ]
    scene = read_messages(tmp_path / "root", [*tiny.drive(), *others, *packed])
    assert [camera.name for camera in scene.rig.cameras] == ["front", "left"]
    assert reasons(scene) == [
        "front_depth: left out: /front/depth/image_raw has no camera_info at "
        "/front/depth/camera_info"
    ]
    view = scene.frames[0].views[0]
    assert view is not None
    assert tiny.FRONT + "@" in view.path


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_encodings_are_made_rgb(tmp_path: Path, encoding: str) -> None:
    rgb = car.image(3)
    pixels = rgb[..., ::-1] if encoding.startswith("bgr") else rgb
    if "a" in encoding:
        pixels = np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 9, np.uint8)], -1)
    if encoding == "mono8":
        pixels, rgb = rgb[..., 0], np.repeat(rgb[..., :1], 3, axis=-1)
    image = tiny.image(tiny.FRONT, car.START_US, pixels, encoding, "front_optical", pad=3)
    view = read_messages(tmp_path / "root", tiny.instead(tiny.FRONT, image)).frames[0].views[0]
    assert view is not None
    np.testing.assert_array_equal(view.image, rgb)


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_in_their_order(tmp_path: Path, pattern: str) -> None:
    """ROS names the colours of the first two rows' first two pixels."""
    colour = {"r": 200, "g": 120, "b": 30}
    mosaic = np.zeros(car.SIZE_HW, np.uint8)
    for i, name in enumerate(pattern):
        mosaic[i // 2 :: 2, i % 2 :: 2] = colour[name]
    image = tiny.image(tiny.FRONT, car.START_US, mosaic, f"bayer_{pattern}8", "front_optical")
    view = read_messages(tmp_path / "root", tiny.instead(tiny.FRONT, image)).frames[0].views[0]
    assert view is not None
    np.testing.assert_array_equal(view.image, np.full((*car.SIZE_HW, 3), [200, 120, 30]))


@pytest.mark.parametrize("encoding", ["uyvy", "yuv422_yuy2"])
def test_yuv_pairs_are_in_their_order(tmp_path: Path, encoding: str) -> None:
    """ITU-R BT.601 with 16 to 235: Y 81, U 90, V 240 is red."""
    pair = (90, 81, 240, 81) if encoding == "uyvy" else (81, 90, 81, 240)
    pixels = np.tile(np.array(pair, np.uint8).reshape(1, 2, 2), (32, 28, 1))
    image = tiny.image(tiny.FRONT, car.START_US, pixels, encoding, "front_optical")
    view = read_messages(tmp_path / "root", tiny.instead(tiny.FRONT, image)).frames[0].views[0]
    assert view is not None
    assert np.abs(view.image.astype(int) - [254, 0, 0]).max() <= 2


def test_a_jpeg_is_decoded_as_a_file_would_be(tmp_path: Path) -> None:
    smooth = cv2.resize(car.image(1)[:4, :7], (56, 32), interpolation=cv2.INTER_CUBIC)
    image = tiny.compressed(tiny.LEFT, car.START_US, smooth, "jpeg", "left_optical", ending=".jpg")
    view = read_messages(tmp_path / "root", tiny.instead(tiny.LEFT, image)).frames[0].views[1]
    assert view is not None
    assert np.abs(view.image.astype(int) - smooth).mean() < 6


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize(("rows", "pad", "order"), [(1, 0, "<"), (5, 0, "<"), (10, 7, ">")])
def test_clouds_of_any_layout(tmp_path: Path, kind: str, rows: int, pad: int, order: str) -> None:
    points = car.points(5)
    points[7] = np.nan
    cloud = tiny.cloud(tiny.LIDAR, car.START_US, points, rows=rows, pad=pad, order=order, kind=kind)
    scene = read_messages(tmp_path / "root", tiny.instead(tiny.LIDAR, cloud))
    frame = scene.frames[0]
    assert frame.sweep is not None
    np.testing.assert_array_equal(frame.sweep.points_lidar, np.delete(points, 7, axis=0))
    assert "1 of 50 points are not finite" in frame.repairs[0].reason


def poses_of(scene: Scene) -> np.ndarray:
    return np.stack([frame.world_T_ego for frame in scene.frames])


@pytest.mark.parametrize("asked", [None, "/odometry"])
def test_odometry_where_there_is_no_tf(tmp_path: Path, asked: str | None) -> None:
    """Its child is not base_link, but fixed to it."""
    messages = tiny.without("/tf")
    for time_us in range(car.START_US - 50_000, car.START_US + 400_000, 50_000):
        child = tiny.odom_T_base(time_us) @ tiny.shifted(0, 0, -tiny.HEIGHT_M)
        messages.append(tiny.odometry("/odometry", time_us, "base_footprint", child))
    settings = {} if asked is None else {"poses": asked}
    scene = read_messages(tmp_path / "root", messages, **settings)
    assert scene.poses_known
    expected = np.stack([tiny.odom_T_base(time_us) for time_us in scene.time_us.tolist()])
    np.testing.assert_allclose(poses_of(scene), expected, atol=1e-6)


def test_a_named_topic_of_poses(tmp_path: Path) -> None:
    messages = tiny.drive()
    for time_us in range(car.START_US - 50_000, car.START_US + 400_000, 50_000):
        messages.append(tiny.pose("/gnss", time_us, tiny.shifted(7.0, car.place_m(time_us), 0.0)))
    scene = read_messages(tmp_path / "root", messages, poses="/gnss")
    np.testing.assert_allclose(poses_of(scene)[2, :3, 3], [7.0, 1.0, 0.0], atol=1e-6)


def test_a_named_world_frame(tmp_path: Path) -> None:
    scene = read_messages(tmp_path / "root", tiny.drive(), world_frame="odom")
    expected = np.stack([tiny.odom_T_base(time_us) for time_us in scene.time_us.tolist()])
    np.testing.assert_allclose(poses_of(scene), expected, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"poses": "none"}])
def test_without_poses_nothing_is_known_of_them(tmp_path: Path, settings: dict[str, str]) -> None:
    messages = tiny.drive() if settings else tiny.without("/tf")
    scene = read_messages(tmp_path / "root", messages, **settings)
    assert not scene.poses_known
    assert [repair.where for repair in scene.repairs] == ["lidar"]
    assert "there are no poses" in scene.repairs[0].reason
    np.testing.assert_array_equal(poses_of(scene), np.tile(np.eye(4), (tiny.FRAMES, 1, 1)))


def test_the_clock_of_the_log(tmp_path: Path) -> None:
    """Headers of 0, as of cameras that tell no time: the log's times are taken where asked for."""
    silent = [
        tiny.logged(
            tiny.image(tiny.FRONT, 0, car.image(i), "rgb8", "front_optical"),
            car.START_US + i * car.STEP_US,
        )
        for i in range(tiny.FRAMES)
    ]
    with pytest.raises(DatasetError, match="has the time 0 s 0 ns, .*set clock: log"):
        read_messages(tmp_path / "a", tiny.instead(tiny.FRONT, *silent))
    scene = read_messages(tmp_path / "b", tiny.instead(tiny.FRONT, *silent), clock="log")
    assert scene.time_us.tolist() == [car.START_US + i * car.STEP_US for i in range(tiny.FRAMES)]
