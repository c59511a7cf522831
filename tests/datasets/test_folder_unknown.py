"""Cameras of unknown intrinsics or place: what is assumed, told and refused."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_folder as tiny

from driv3r.datasets import open_dataset
from driv3r.datasets.folder import make_rig, read_rig_file, write_rig_file
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.geometry.cameras import project, unproject
from driv3r.pipelines.predict import check_poses
from driv3r.settings import Settings
from driv3r.types import Camera, Scene

NOTHING = {"intrinsics": "unknown", "ego_T_cam": "unknown"}


def write_unknown(path: Path, cameras: int = 1, others: Any = None, **changes: Any) -> Path:
    size_wh = [tiny.SIZE_HW[1], tiny.SIZE_HW[0]]
    names = ("front", "left")[:cameras]
    entries = [{"name": name, "size_wh": size_wh} | NOTHING | changes for name in names]
    return tiny.write_rig(path, {"cameras": entries} | (others or {}))


def read(root: Path) -> Scene:
    reader = open_dataset("folder", root)
    return reader.read(reader.scenes("all")[0])


def reasons(scene: Scene) -> str:
    return "\n".join(f"{repair.where}: {repair.reason}" for repair in scene.repairs)


def across_deg(camera: Camera) -> float:
    """The angle between the rays to the middles of the left and right edge."""
    h, w = camera.size_hw
    left, right = unproject(camera, np.array([[0.0, h / 2], [float(w), h / 2]]))
    return float(np.degrees(np.arccos(left @ right / np.linalg.norm(left) / np.linalg.norm(right))))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "drive")


def test_what_is_assumed_is_a_level_camera_60_degrees_across(log: Path) -> None:
    write_unknown(log / "rig.yaml", others={"ego_T_lidar": tiny.LIDAR})
    scene = read(log)
    (camera,) = scene.rig.cameras
    assert not scene.calibrated
    assert scene.poses_known
    assert across_deg(camera) == pytest.approx(60.0)
    road_ego = np.array([10.0, 0.0, 0.0])  # 10 m ahead, and seen under the image's middle
    point_cam = np.linalg.inv(camera.ego_T_cam) @ [*road_ego, 1.0]
    uv, depth_m, _ = project(camera, point_cam[:3])
    assert depth_m == pytest.approx(10.0)
    assert uv[0] == pytest.approx(tiny.SIZE_HW[1] / 2)
    assert uv[1] - tiny.SIZE_HW[0] / 2 == pytest.approx(1.5 / 10 * camera.K[1, 1])
    said = reasons(scene)
    assert "front: intrinsics are unknown: taken for a pinhole 60 degrees across" in said
    assert "taken to look level and ahead, 1.5 m over the road" in said
    assert "lidar: left out: what is unknown of the cameras is assumed" in said
    assert all(frame.sweep is None for frame in scene.frames)


def test_height_and_angle_may_be_told(log: Path) -> None:
    write_unknown(log / "rig.yaml", others={"ground_z_m": -0.3}, fov_deg=90, camera_height_m=1.2)
    (camera,) = read(log).rig.cameras
    assert across_deg(camera) == pytest.approx(90.0)
    assert camera.ego_T_cam[2, 3] == pytest.approx(0.9)  # 1.2 m over a road at -0.3


def test_a_known_place_is_kept_beside_unknown_intrinsics(log: Path) -> None:
    content = tiny.rig()
    content["cameras"][1] = {
        "name": "left", "size_wh": [56, 32], "intrinsics": "unknown", "ego_T_cam": tiny.LEFT,
    }  # fmt: skip
    tiny.write_rig(log / "rig.yaml", content)
    scene = read(log)
    assert not scene.calibrated
    assert "front" not in reasons(scene)
    np.testing.assert_array_equal(scene.rig.cameras[1].ego_T_cam, tiny.LEFT)
    for path in (log / "images/left").iterdir():
        path.unlink()
    assert read(log).calibrated  # nothing is assumed of a camera that is not there


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fx": 30.0}, "says intrinsics: unknown, and gives fx; expected one or the other"),
        ({"lens": "opencv_fisheye", "distortion": [0.1, 0, 0, 0]}, "and gives lens"),
        ({"fov_deg": 170}, "fov_deg is 170, expected the angle across the image, 10 to 150"),
        ({"fov_deg": float("nan")}, "fov_deg is nan"),
        ({"camera_height_m": 150}, "camera_height_m is 150, expected its height over the road"),
        ({"camera_height_m": 1.5, "ego_T_cam": tiny.FRONT}, "gives camera_height_m, which is for"),
        ({"intrinsics": "guess"}, "expected one of .'unknown',., got 'guess'"),
        ({"ego_T_cam": "front"}, "ego_T_cam is 'front', expected 4 rows.*single camera: unknown"),
        ({"size_wh": [0, 32]}, r"size_wh \[0, 32\]"),
    ],
)
def test_values_that_do_not_go_together_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((DatasetError, ConfigError), match=message):
        read_rig_file(write_unknown(tmp_path / "rig.yaml", **changes))


def test_places_of_several_cameras_can_not_be_unknown(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="only a single camera's may be; measure where the 2"):
        read_rig_file(write_unknown(tmp_path / "rig.yaml", cameras=2))


def test_known_intrinsics_need_a_pixel_centre_and_no_angle(tmp_path: Path) -> None:
    content = tiny.rig()
    del content["pixel_centre"]
    with pytest.raises(DatasetError, match="but the file no pixel_centre; expected integer"):
        read_rig_file(tiny.write_rig(tmp_path / "rig.yaml", content))
    content = tiny.rig()
    content["cameras"][0]["fov_deg"] = 60
    with pytest.raises(DatasetError, match="gives fov_deg, which is for a camera whose intrinsics"):
        read_rig_file(tiny.write_rig(tmp_path / "rig.yaml", content))


def test_what_is_written_is_still_unknown(tmp_path: Path) -> None:
    others = {"ground_z_m": -0.25}
    path = write_unknown(tmp_path / "a.yaml", others=others, fov_deg=75, camera_height_m=1.4)
    file = read_rig_file(path)
    write_rig_file(tmp_path / "b.yaml", file)
    again = read_rig_file(tmp_path / "b.yaml")
    assert again.cameras[0].unknown == ("intrinsics", "ego_T_cam")
    for ours, theirs in zip(make_rig(again).cameras, make_rig(file).cameras, strict=True):
        np.testing.assert_allclose(ours.K, theirs.K)
        np.testing.assert_allclose(ours.ego_T_cam, theirs.ego_T_cam)


def test_options_that_need_metres_are_refused(log: Path, tmp_path: Path) -> None:
    write_unknown(log / "rig.yaml")
    scene = read(log)
    for changes, option in (({"ego_poses": "given"}, "ego-poses"), ({"fuse": "lidar"}, "fuse")):
        with pytest.raises(DatasetError, match=f"60 degrees.*--{option}.* needs metres"):
            check_poses(scene, Settings("folder", tmp_path, **changes))
    check_poses(scene, Settings("folder", tmp_path))


def write_images(folder: Path, frames: int = 3) -> Path:
    folder.mkdir(parents=True)
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i * tiny.STEP_US:09d}.png"), tiny.image(i)[..., ::-1])
    return folder


@pytest.mark.parametrize(
    ("place", "name"),
    [("", "camera"), ("images", "camera"), ("dashcam", "dashcam"), ("images/cam", "cam")],
)
def test_a_single_camera_needs_no_rig_file(tmp_path: Path, place: str, name: str) -> None:
    write_images(tmp_path / "drive" / place)
    scene = read(tmp_path / "drive")
    assert scene.id == "drive"
    assert [camera.name for camera in scene.rig.cameras] == [name]
    assert scene.rig.cameras[0].size_hw == tiny.SIZE_HW
    assert not scene.calibrated
    assert not scene.poses_known
    np.testing.assert_array_equal(scene.frames[2].views[0].image, tiny.image(2))
    assert "60 degrees across" in reasons(scene)


def test_a_video_alone_is_a_camera(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = tiny.SIZE_HW[1], tiny.SIZE_HW[0], "bgr0"
        for i in range(3):
            frame = av.VideoFrame.from_ndarray(tiny.image(i), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    scene = read(tmp_path)
    assert [camera.name for camera in scene.rig.cameras] == ["clip"]
    assert scene.time_us.tolist() == [0, 100_000, 200_000]
    np.testing.assert_array_equal(scene.frames[1].views[0].image, tiny.image(1))


def test_a_first_image_that_is_broken_costs_no_more_than_itself(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "drive")
    first = min(folder.iterdir())
    first.write_bytes(first.read_bytes()[:10])
    scene = read(folder)
    assert scene.frames[0].views[0] is None
    assert scene.frames[1].views[0] is not None
    for path in folder.iterdir():
        path.write_bytes(b"text")
    with pytest.raises(DatasetError, match="no image, or of a size"):
        read(folder)


def test_several_cameras_need_a_rig_file(log: Path, tmp_path: Path) -> None:
    (log / "rig.yaml").unlink()
    with pytest.raises(DatasetError, match="holds the cameras front, left; only a single camera"):
        read(log)
    for name in ("front", "left"):  # not taken for two logs of a camera each
        write_images(tmp_path / "own" / name)
    with pytest.raises(DatasetError, match="holds no log.*or the images or video of one camera"):
        open_dataset("folder", tmp_path / "own")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "drive")
    outside = write_images(tmp_path / "outside")
    for path in folder.iterdir():
        path.unlink()
        path.symlink_to(outside / path.name)
    with pytest.raises(UnsafePathError):
        read(folder)
