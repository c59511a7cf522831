"""The nuScenes reader against the official devkit, and against broken folders."""

import re
from pathlib import Path

import numpy as np
import pytest
import tiny_nuscenes as tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.splits import create_splits_scenes
from PIL import Image
from pyquaternion import Quaternion
from tiny_nuscenes import read

from driv3r.datasets import open_dataset
from driv3r.datasets.match_times import match_nearest
from driv3r.datasets.nuscenes import official_splits
from driv3r.datasets.nuscenes.tables import Tables, Version
from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert


def world_T_sensor_of(nusc: NuScenes, token: str) -> np.ndarray:
    datum = nusc.get("sample_data", token)
    out = np.eye(4)
    for table in ("ego_pose", "calibrated_sensor"):
        row = nusc.get(table, datum[f"{table}_token"])
        step = Quaternion(row["rotation"]).transformation_matrix
        step[:3, 3] = row["translation"]
        out = out @ step
    return out


def test_keyframes_are_the_devkits(pristine: Path) -> None:
    nusc = NuScenes("v1.0-trainval", str(pristine), verbose=False)
    reader = open_dataset("nuscenes", pristine)
    assert reader.scenes("val") == reader.scenes("all") == tiny.SCENES
    for row in nusc.scene:
        scene = reader.read(row["name"])
        assert [camera.name for camera in scene.rig.cameras] == ["CAM_FRONT", "CAM_BACK"]
        assert scene.repairs == ()
        assert len(scene.frames) == tiny.KEYFRAMES
        sample = nusc.get("sample", row["first_sample_token"])
        for frame in scene.frames:
            for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
                token = sample["data"][camera.name]
                path, _, K = nusc.get_sample_data(token)
                assert view is not None
                np.testing.assert_allclose(camera.K - K, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
                np.testing.assert_allclose(
                    view.world_T_cam, world_T_sensor_of(nusc, token), atol=1e-9
                )
                assert view.time_us == nusc.get("sample_data", token)["timestamp"]
                with Image.open(path) as image:
                    np.testing.assert_allclose(view.image, np.asarray(image), atol=2)
            token = sample["data"]["LIDAR_TOP"]
            cloud = LidarPointCloud.from_file(nusc.get_sample_data_path(token))
            assert frame.sweep is not None
            np.testing.assert_array_equal(frame.sweep.points_lidar, cloud.points[:3].T)
            np.testing.assert_allclose(
                frame.sweep.world_T_lidar, world_T_sensor_of(nusc, token), atol=1e-9
            )
            ego_pose = nusc.get("ego_pose", token)
            assert frame.time_us == frame.sweep.time_us == ego_pose["timestamp"]
            np.testing.assert_allclose(frame.world_T_ego[:3, 3], ego_pose["translation"], atol=1e-9)
            assert frame.is_keyframe
            assert frame.repairs == ()
            sample = nusc.get("sample", sample["next"]) if sample["next"] else sample


def test_sweeps_take_every_exposure_once(pristine: Path) -> None:
    scene = read(pristine, sweeps=True)
    frames = list(scene.frames)
    assert [i for i, frame in enumerate(frames) if frame.is_keyframe] == [0, 6, 12]
    assert scene.time_us.tolist() == [frame.time_us for frame in frames]
    assert scene.is_keyframe.nonzero()[0].tolist() == [0, 6, 12]
    assert all(frame.repairs == () for frame in frames)
    seen: list[int] = []
    for frame in frames:
        front, back = frame.views
        assert front is not None
        assert back is not None
        assert frame.time_us == front.time_us
        assert back.time_us - front.time_us == pytest.approx(35_000, abs=2)
        expected = tiny.ego_pose("", frame.time_us, 1_600_000_000_000_000)
        np.testing.assert_allclose(frame.world_T_ego[:3, 3], expected["translation"], atol=1e-9)
        assert frame.sweep is not None
        assert abs(frame.sweep.time_us - frame.time_us) <= 25_000
        seen.append(frame.sweep.time_us)
    assert len(frames) == 13
    assert len(set(seen)) == 13


def test_sweeps_without_a_partner_are_none(root: Path) -> None:
    late = 1_600_000_000_020_000 + 250_000
    tiny.edit(
        root,
        "sample_data",
        lambda rows: [r.update(timestamp=late + 10_000) for r in rows if r["timestamp"] == late],
    )
    frames = read(root, sweeps=True).frames
    assert frames[3].views[1] is None
    assert [repair.where for repair in frames[3].repairs] == ["CAM_BACK"]
    back = frames[4].views[1]
    assert back is not None
    assert back.time_us != late + 10_000


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 999), min_size=1, max_size=12, unique=True),
    st.lists(st.integers(0, 999), min_size=1, max_size=12, unique=True),
    st.integers(0, 200),
)
def test_matching_is_one_to_one_near_and_complete(at: list, times: list, within: int) -> None:
    at, times = sorted(at), sorted(times)
    found = match_nearest(np.array(at), np.array(times), within)
    used = [j for j in found if j is not None]
    assert len(used) == len(set(used))
    for i, j in enumerate(found):
        gaps = [abs(t - at[i]) for t in times]
        if j is not None:
            assert gaps[j] <= within
            assert all(abs(times[j] - other) >= gaps[j] for other in at)
        elif min(gaps) <= within:  # then every near time lies as near to another frame
            near = [t for t, gap in zip(times, gaps, strict=True) if gap <= within]
            assert all(any(abs(t - o) <= abs(t - at[i]) for o in at if o != at[i]) for t in near)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def truncate_and_close(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700] + b"\xff\xd9")


def overwrite(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-700] + b"\xff\xc0\xff\x01" * 100 + data[-300:])


def shrink(path: Path) -> None:
    Image.new("RGB", (20, 10)).save(path)


def replace_by_text(path: Path) -> None:
    path.write_text("<html>404</html>")


def empty(path: Path) -> None:
    path.write_bytes(b"")


MEND = [
    (Path.unlink, "missing"),
    (truncate, "cut short"),
    (truncate_and_close, "lost"),
    (overwrite, "overwritten"),
    (shrink, r"\(10, 20\)"),
    (replace_by_text, "neither JPEG nor PNG"),
    (empty, "neither JPEG nor PNG"),
]


@pytest.mark.parametrize(("harm", "reason"), MEND)
def test_a_broken_image_is_none_with_a_reason(root: Path, harm, reason: str) -> None:
    path = tiny.keyframe_file(root, "CAM_FRONT")
    harm(path)
    scene = read(root)
    front, back = scene.frames[0].views
    assert front is None
    assert back is not None
    (repair,) = scene.frames[0].repairs
    assert repair.where == "CAM_FRONT"
    assert path.name in repair.reason
    assert re.search(reason, repair.reason)
    assert scene.frames[1].repairs == ()


def test_a_frame_without_any_camera_stays(root: Path) -> None:
    for channel in ("CAM_FRONT", "CAM_BACK"):
        tiny.keyframe_file(root, channel, number=1).unlink()
    frames = read(root).frames
    assert len(frames) == tiny.KEYFRAMES
    assert frames[1].views == (None, None)
    assert frames[1].sweep is not None
    assert len(frames[1].repairs) == 2


def test_frames_are_read_when_indexed(root: Path) -> None:
    frames = read(root).frames
    for _ in range(tiny.KEYFRAMES):
        tiny.keyframe_file(root, "CAM_FRONT").unlink()
    assert frames[0].views[0] is None
    assert [len(frame.repairs) for frame in frames[1:]] == [1, 1]
    with pytest.raises(IndexError):
        frames[tiny.KEYFRAMES]


def test_a_lidar_file_of_odd_length_is_left_out(root: Path) -> None:
    path = tiny.keyframe_file(root, "LIDAR_TOP")
    path.write_bytes(path.read_bytes()[:-4])
    frame = read(root).frames[0]
    assert frame.sweep is None
    assert [repair.where for repair in frame.repairs] == ["lidar"]
    assert "1996 bytes" in frame.repairs[0].reason


def test_points_that_are_not_finite_are_dropped_and_counted(root: Path) -> None:
    path = tiny.keyframe_file(root, "LIDAR_TOP")
    points = np.fromfile(path, "<f4").reshape(-1, 5)
    points[3, 0], points[7, 2], points[9, 4] = np.nan, np.inf, np.nan  # the last is the ring
    points.tofile(path)
    frame = read(root).frames[0]
    assert frame.sweep is not None
    np.testing.assert_array_equal(frame.sweep.points_lidar, np.delete(points, [3, 7], 0)[:, :3])
    assert "2 of 100 points" in frame.repairs[0].reason


def test_a_keyframe_without_lidar_row_takes_the_first_cameras_pose(root: Path) -> None:
    def drop(rows: list) -> None:
        rows[:] = [r for r in rows if "LIDAR" not in r["token"] or r["sample_token"][-1] != "1"]
        for row in rows:
            del row["prev"]

    tiny.edit(root, "sample_data", drop)
    frame = read(root).frames[1]
    front = frame.views[0]
    assert front is not None
    assert frame.time_us == front.time_us
    expected = tiny.ego_pose("", front.time_us, 1_600_000_000_000_000)
    np.testing.assert_allclose(frame.world_T_ego[:3, 3], expected["translation"], atol=1e-9)
    assert frame.sweep is None
    assert [repair.where for repair in frame.repairs] == ["lidar"]


def test_a_broken_ego_pose_costs_one_view(root: Path) -> None:
    def zero(rows: list) -> None:
        next(r for r in rows if "scene-0003/CAM_FRONT" in r["token"])["rotation"] = [0, 0, 0, 0]

    tiny.edit(root, "ego_pose", zero)
    for sweeps in (False, True):
        frame = read(root, sweeps=sweeps).frames[0]
        assert frame.views[0] is None
        assert frame.views[1] is not None
        assert "ego_pose" in frame.repairs[0].reason
        assert np.isfinite(frame.world_T_ego).all()


def open_devkit(root: Path, tables: Tables) -> NuScenes:
    """The official devkit over a folder that lacks tables: it gets those that we have completed."""
    no_map = {"token": "", "filename": "", "log_tokens": []}

    class Completed(NuScenes):
        def __load_table__(self, table_name: str) -> list[dict]:
            return [no_map] if table_name == "map" else tables._loaded.get(table_name, [])

    return Completed("v1.0-test", str(root), verbose=False)


def test_the_official_splits_are_the_devkits() -> None:
    assert official_splits() == create_splits_scenes()


def test_the_real_sample_projects_as_the_devkit_does(recordings: Path) -> None:
    root = recordings / "nuscenes_one_sample"
    reader = open_dataset("nuscenes", root)
    assert reader.scenes("all") == reader.scenes("train") == ("scene-0061",)
    scene = reader.read("scene-0061")
    assert "v1.0-test/sample_data.json" in {repair.where for repair in scene.repairs}
    (frame,) = scene.frames
    assert frame.repairs == ()
    assert frame.sweep is not None
    assert frame.sweep.points_lidar.shape == (34688, 3)
    nusc = open_devkit(root, Tables(root, Version("v1.0-test", "v1.0-test")))
    data = nusc.sample[0]["data"]
    points_world = apply(frame.sweep.world_T_lidar, frame.sweep.points_lidar.astype(np.float64))
    for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
        assert view is not None
        uv, depth_m, inside = project(camera, apply(invert(view.world_T_cam), points_world))
        theirs, their_depth_m, image = nusc.explorer.map_pointcloud_to_image(
            data["LIDAR_TOP"], data[camera.name], min_dist=1.0
        )
        image.close()
        # The devkit keeps u - 0.5 in (1, width - 1) and rounds in single precision on the way.
        corner = uv - 0.5
        kept = (
            (depth_m > 1) & (corner > 1).all(1) & (corner < np.array([1599, 899])).all(1) & inside
        )
        assert kept.sum() == theirs.shape[1] > 3000
        np.testing.assert_allclose(depth_m[kept], their_depth_m, atol=1e-3)
        np.testing.assert_allclose(corner[kept], theirs[:2].T, atol=0.05)
