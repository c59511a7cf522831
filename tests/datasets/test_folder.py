"""Images of one's own: frames, times, poses, LiDAR and gaps, against what was written."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_folder as tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from driv3r.datasets import open_dataset
from driv3r.datasets.folder import FolderReader
from driv3r.datasets.folder.exposures import match
from driv3r.datasets.preprocess import prepare_ignored, prepare_rig
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.pipelines.predict import check_poses
from driv3r.settings import Settings
from driv3r.types import Scene


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "drive")


def read(root: Path) -> Scene:
    reader = open_dataset("folder", root)
    return reader.read(reader.scenes("all")[0])


def reasons(scene: Scene) -> str:
    return "\n".join(f"{repair.where}: {repair.reason}" for repair in scene.repairs)


def test_a_whole_log_is_as_it_was_written(log: Path) -> None:
    scene = read(log)
    assert scene.id == "drive"
    assert scene.poses_known
    assert not scene.repairs
    assert scene.time_us.tolist() == [tiny.START_US + i * tiny.STEP_US for i in range(4)]
    for i, frame in enumerate(scene.frames):
        assert not frame.repairs
        front, left = frame.views
        np.testing.assert_array_equal(front.image, tiny.image(i))
        np.testing.assert_array_equal(left.image, tiny.image(100 + i))
        assert left.time_us == frame.time_us + 7000
        assert front.path == f"images/front/{frame.time_us}.png"
        # The left camera is where the car was at its own time, 35 mm farther along x.
        np.testing.assert_allclose(
            left.world_T_cam[:3, 3], [tiny.place_m(left.time_us) + 1.0, 0.8, 1.6], atol=1e-6
        )
        np.testing.assert_array_equal(frame.sweep.points_lidar, tiny.points(i))
        np.testing.assert_allclose(
            frame.sweep.world_T_lidar[:3, 3], [tiny.place_m(left.time_us) + 1.0, 0, 1.8], atol=1e-6
        )
    assert scene.rig.cameras[0].K[0, 2] == 28.0  # whole-number centres: half a pixel on


def test_several_logs_and_splits(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tiny.write(tmp_path / name, 2)
    reader = FolderReader(tmp_path)
    assert reader.scenes("all") == ("a", "b")
    assert reader.scenes("b") == ("b",)
    with pytest.raises(ConfigError, match="unknown split 'val'.*a, b"):
        reader.scenes("val")
    with pytest.raises(DatasetError, match="no log 'c'"):
        reader.read("c")


def test_cameras_may_lie_in_the_root_with_a_rig_elsewhere(log: Path, tmp_path: Path) -> None:
    rig = (log / "rig.yaml").rename(tmp_path / "elsewhere.yaml")
    reader = open_dataset("folder", log / "images", rig=rig)
    assert len(reader.read("images").frames) == 4
    with pytest.raises(ConfigError, match="leave --rig out"):
        open_dataset("ddad", log, rig=rig)


def test_without_poses_nothing_is_made_of_them(log: Path, tmp_path: Path) -> None:
    (log / "poses.csv").unlink()
    scene = read(log)
    assert not scene.poses_known
    assert "no poses" in reasons(scene)
    for frame in scene.frames:
        assert frame.sweep is None
        np.testing.assert_array_equal(frame.world_T_ego, np.eye(4))
    with pytest.raises(DatasetError, match="--ego-poses predicted"):
        check_poses(scene, Settings("folder", tmp_path, ego_poses="given"))
    check_poses(scene, Settings("folder", tmp_path))


def test_tum_poses_are_those_of_the_csv(log: Path) -> None:
    csv_scene = read(log)
    rng = np.random.default_rng(0)
    turn = Rotation.from_euler("xyz", rng.uniform(-0.1, 0.1, 3))
    rows = []
    for line in (log / "poses.csv").read_text().splitlines()[1:]:
        time_us, x = line.split(",")[:2]
        quaternion = " ".join(map(str, turn.as_quat()))  # SciPy's order is x, y, z, w
        rows.append(f"{int(time_us) / 1e6:.6f} {x} 0 0 {quaternion}")
    (log / "poses.csv").unlink()
    (log / "poses.tum").write_text("# time x y z qx qy qz qw\n" + "\n".join(rows))
    for ours, theirs in zip(read(log).frames, csv_scene.frames, strict=True):
        np.testing.assert_allclose(ours.world_T_ego[:3, :3], turn.as_matrix(), atol=1e-9)
        np.testing.assert_allclose(ours.world_T_ego[:3, 3], theirs.world_T_ego[:3, 3], atol=1e-9)


def test_frames_without_a_pose_near_are_counted_and_left_out(log: Path) -> None:
    lines = (log / "poses.csv").read_text().splitlines()
    (log / "poses.csv").write_text("\n".join(lines[:5]))  # up to 100 ms after the start
    scene = read(log)
    assert len(scene.frames) == 2
    assert "2 of 4 left out: no pose near" in reasons(scene)
    assert scene.frames[1].views[1] is None  # taken 7 ms after the last pose
    assert "no pose near its time" in scene.frames[1].repairs[0].reason


def test_exposures_that_fit_no_frame_are_counted(log: Path) -> None:
    first = next(iter(sorted((log / "images/left").iterdir())))
    first.rename(first.with_name(f"{tiny.START_US - 600_000}.png"))
    scene = read(log)
    assert "left: 1 of 4 exposures belong to no frame" in reasons(scene)
    assert scene.frames[0].views[1] is None


def test_a_camera_without_images_is_left_out_of_the_rig(log: Path) -> None:
    (log / "images/left").rename(log / "images/Left")
    scene = read(log)
    assert [camera.name for camera in scene.rig.cameras] == ["front"]
    assert "Left: left out: no camera of rig.yaml has this name" in reasons(scene)
    (log / "images/front").rename(log / "images/Front")
    with pytest.raises(DatasetError, match="holds no image of the cameras front, left, but Front"):
        read(log)


def test_images_csv_names_files_and_times(log: Path) -> None:
    rows = ["camera,time_us,path"]
    for i, path in enumerate(sorted((log / "images/front").iterdir())):
        rows.append(f"front,{tiny.START_US + i * tiny.STEP_US},images/front/shot{i}.png")
        path.rename(path.with_name(f"shot{i}.png"))
    (log / "images.csv").write_text("\n".join(rows))
    scene = read(log)
    np.testing.assert_array_equal(scene.frames[2].views[0].image, tiny.image(2))
    (log / "images.csv").write_text("camera,time_us,path\nfront,1,../../x.png")
    with pytest.raises(UnsafePathError):
        read(log)
    (log / "images.csv").write_text("camera,time,path\n")
    with pytest.raises(DatasetError, match="camera,time_us,path"):
        read(log)


@pytest.mark.parametrize(("unit", "factor"), [("ns", 1000), ("us", 1), ("ms", 0.001)])
def test_units_of_time(log: Path, unit: str, factor: float) -> None:
    for folder in ("images/front", "images/left", "lidar"):
        for path in list((log / folder).iterdir()):
            time_us = int(path.stem.split("_")[-1])
            path.rename(path.with_stem(str(round(time_us * factor))))
    tiny.write_rig(log / "rig.yaml", tiny.rig() | {"recording": {"time_unit": unit}})
    scene = read(log)
    assert scene.time_us[1] == tiny.START_US + tiny.STEP_US
    assert scene.frames[0].views[1].time_us == tiny.START_US + 7000


def test_frame_numbers_need_a_rate(log: Path) -> None:
    (log / "poses.csv").unlink()
    for folder in ("images/front", "images/left"):
        for i, path in enumerate(sorted((log / folder).iterdir())):
            path.rename(path.with_stem(f"{i:06d}"))
    with pytest.raises(DatasetError, match="frame_rate_hz"):
        read(log)
    tiny.write_rig(log / "rig.yaml", tiny.rig() | {"recording": {"frame_rate_hz": 10}})
    assert read(log).time_us.tolist() == [0, 100_000, 200_000, 300_000]


def test_sweeps_may_be_numbered_as_the_images_are(log: Path) -> None:
    for folder in ("images/front", "images/left", "lidar"):
        for i, path in enumerate(sorted((log / folder).iterdir())):
            path.rename(path.with_stem(f"{i:06d}"))
    rows = [f"{t},{tiny.place_m(tiny.START_US + t):.9f},0,0,1,0,0,0" for t in (0, 200_000, 400_000)]
    (log / "poses.csv").write_text("\n".join(["time_us,x,y,z,qw,qx,qy,qz", *rows]))
    tiny.write_rig(log / "rig.yaml", tiny.rig() | {"recording": {"frame_rate_hz": 10}})
    scene = read(log)
    for i, frame in enumerate(scene.frames):
        np.testing.assert_array_equal(frame.sweep.points_lidar, tiny.points(i))
        assert frame.sweep.time_us == frame.time_us
    for path in (log / "lidar").iterdir():
        path.unlink()
    assert "lidar: lidar/ holds no sweep" in reasons(read(log))


def test_images_of_another_size_cost_their_view(log: Path) -> None:
    path = sorted((log / "images/left").iterdir())[1]
    cv2.imwrite(str(path), np.zeros((10, 10, 3), np.uint8))
    frame = read(log).frames[1]
    assert frame.views[1] is None
    assert "(10, 10)" in frame.repairs[0].reason


def test_the_hash_tells_inputs_apart(log: Path) -> None:
    first = read(log).input_hash
    assert read(log).input_hash == first
    tiny.write_rig(log / "rig.yaml", tiny.rig() | {"recording": {"group_within_ms": 40}})
    assert read(log).input_hash != first


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True),
    st.integers(0, 10**5),
)
@settings(max_examples=60, deadline=None)
def test_matches_are_near_unique_and_mutual(
    references: list[int], times: list[int], within_us: int
) -> None:
    references_us, times_us = (np.array(sorted(each), np.int64) for each in (references, times))
    chosen = match(references_us, times_us, within_us)
    off_us = np.abs(references_us[:, None] - times_us[None])
    assert len(set(chosen.values())) == len(chosen)
    for frame in range(len(references_us)):
        near = off_us.argmin(axis=0) == frame  # whose nearest reference this is (ties aside)
        best_us = off_us[frame, near].min() if near.any() else within_us + 1
        if frame in chosen:
            assert off_us[frame, chosen[frame]] <= min(within_us, off_us[:, chosen[frame]].min())
            assert off_us[frame, chosen[frame]] <= best_us
        elif near.any() and (off_us[:, off_us[frame].argmin()] == best_us).sum() == 1:
            assert best_us > within_us


def test_masks_are_black_where_pixels_are_ignored(log: Path) -> None:
    assert read(log).ignored == (None, None)
    first = read(log).input_hash
    mask = np.full(tiny.SIZE_HW, 255, np.uint8)
    mask[20:, :30] = 0
    (log / "masks").mkdir()
    cv2.imwrite(str(log / "masks/left.png"), mask)
    scene = read(log)
    assert scene.ignored[0] is None
    np.testing.assert_array_equal(scene.ignored[1], mask == 0)
    assert scene.input_hash != first
    work = prepare_rig(scene.rig, (16, 28))
    small = prepare_ignored(scene.ignored, work)
    assert not small[0].any()
    np.testing.assert_array_equal(small[1], (mask == 0).reshape(16, 2, 28, 2).any(axis=(1, 3)))
    assert prepare_ignored((None, None), work) is None
    cv2.imwrite(str(log / "masks/left.png"), 0 * mask)
    with pytest.raises(DatasetError, match="ignores every pixel"):
        read(log)
    cv2.imwrite(str(log / "masks/left.png"), mask[:10])
    with pytest.raises(DatasetError, match=r"\(10, 56\)"):
        read(log)


def test_one_camera_alone(log: Path) -> None:
    content = tiny.rig()
    content["cameras"] = content["cameras"][:1]
    tiny.write_rig(log / "rig.yaml", content)
    scene = read(log)
    assert all(len(frame.views) == 1 for frame in scene.frames)
    assert dataclasses.asdict(scene.rig.cameras[0])["name"] == "front"
