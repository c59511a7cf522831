"""All camera frames of nuScenes: keyframes keep their own sample's data, gaps are counted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_nuscenes as tiny
from nuscenes.nuscenes import NuScenes
from tiny_nuscenes import read

from driv3r.datasets import open_dataset
from driv3r.datasets.match_times import match_nearest

REAL_US, TIE_US = -35_500, -25_000  # the front camera before its sample's LiDAR


def time_of(nusc: NuScenes, sample: dict, channel: str) -> int:
    return nusc.get("sample_data", sample["data"][channel])["timestamp"]


@pytest.mark.parametrize("front_us", [REAL_US, TIE_US, -60_000, 15_000])
def test_keyframes_have_their_own_samples_data(tmp_path: Path, front_us: int) -> None:
    """The back camera fires 20 ms after the LiDAR: more than half a frame after a front early."""
    root = tiny.write(tmp_path / "root", tiny.rig_with(CAM_FRONT=front_us))
    nusc = NuScenes("v1.0-trainval", str(root), verbose=False)
    scene, alone = read(root, sweeps=True), read(root)
    assert scene.is_keyframe.nonzero()[0].tolist() == [0, 6, 12]
    assert scene.repairs == ()
    samples = [row for row in nusc.sample if row["token"].startswith(tiny.SCENES[0])]
    for i, sample, expected in zip((0, 6, 12), samples, alone.frames, strict=True):
        frame = scene.frames[i]
        assert frame.repairs == ()
        assert frame.sweep is not None
        assert expected.sweep is not None
        assert frame.sweep.time_us == time_of(nusc, sample, "LIDAR_TOP")
        np.testing.assert_array_equal(frame.sweep.points_lidar, expected.sweep.points_lidar)
        np.testing.assert_array_equal(frame.sweep.world_T_lidar, expected.sweep.world_T_lidar)
        for name, view in zip(("CAM_FRONT", "CAM_BACK"), frame.views, strict=True):
            assert view is not None
            assert view.time_us == time_of(nusc, sample, name)
    taken = [frame.sweep.time_us for frame in scene.frames if frame.sweep is not None]
    assert len(taken) == len(set(taken)) == 13


def test_a_tie_goes_to_the_sweep_after(tmp_path: Path) -> None:
    root = tiny.write(tmp_path / "root", tiny.rig_with(CAM_FRONT=TIE_US))
    frame = read(root, sweeps=True).frames[3]
    assert frame.time_us == tiny.START_US + 225_000
    assert not frame.is_keyframe
    assert frame.sweep is not None
    assert frame.sweep.time_us == tiny.START_US + 250_000
    assert match_nearest(np.array([100]), np.array([75, 125]), 30) == [1]
    assert match_nearest(np.array([100, 200]), np.array([150]), 60) == [0, None]


def test_the_real_keyframe_has_its_sweep(recordings: Path) -> None:
    root = recordings / "nuscenes_one_sample"
    scene = open_dataset("nuscenes", root, sweeps=True).read("scene-0061")
    (frame,) = scene.frames
    assert frame.time_us == 1_532_402_927_612_460
    assert frame.repairs == ()
    assert frame.sweep is not None
    assert frame.sweep.time_us == 1_532_402_927_647_951
    assert frame.sweep.points_lidar.shape == (34688, 3)
    assert [r.reason for r in scene.repairs if r.where == "CAM_FRONT"] == [
        "sweeps were asked for, and its rows are keyframes alone"
    ]


def test_a_keyframe_without_lidar_row_or_file_is_counted(root: Path) -> None:
    def drop(rows: list) -> None:
        key = f"{tiny.SCENES[0]}/LIDAR_TOP/{tiny.START_US + 500_000}"
        rows[:] = [row for row in rows if row["token"] != key]
        for row in rows:
            del row["prev"]

    tiny.keyframe_file(root, "LIDAR_TOP").unlink()
    tiny.edit(root, "sample_data", drop)
    frames = read(root, sweeps=True).frames
    for i, reason in ((0, "missing"), (6, "no row for sample")):
        assert frames[i].is_keyframe
        assert frames[i].sweep is None
        assert [repair.where for repair in frames[i].repairs] == ["lidar"]
        assert reason in frames[i].repairs[0].reason
    assert all(frames[i].sweep is not None for i in (5, 7, 12))


def test_sweeps_without_their_blobs_are_counted(root: Path) -> None:
    shutil.rmtree(root / "sweeps")
    for frame in read(root, sweeps=True).frames:
        assert len(frame.repairs) == (0 if frame.is_keyframe else 3)
        assert all("missing" in repair.reason for repair in frame.repairs)


@pytest.mark.parametrize("sweeps", [False, True])
def test_tables_alone_are_read_and_every_gap_counted(root: Path, sweeps: bool) -> None:
    for folder in ("samples", "sweeps"):
        shutil.rmtree(root / folder)
    frames = list(read(root, sweeps=sweeps).frames)
    assert len(frames) == (13 if sweeps else 3)
    for frame in frames:
        assert frame.views == (None, None)
        assert frame.sweep is None
        assert [r.where for r in frame.repairs] == ["CAM_FRONT", "CAM_BACK", "lidar"]


def test_sweeps_without_their_lidar_rows_are_counted(root: Path) -> None:
    def keep_keyframes(rows: list) -> None:
        rows[:] = [row for row in rows if "LIDAR" not in row["token"] or row["is_key_frame"]]
        for row in rows:
            del row["prev"]

    tiny.edit(root, "sample_data", keep_keyframes)
    scene = read(root, sweeps=True)
    reasons = [repair.reason for repair in scene.repairs if repair.where == "LIDAR_TOP"]
    assert reasons == ["10 of 10 frames between keyframes have no sweep within 30000 us"]
    assert [frame.sweep is not None for frame in scene.frames] == scene.is_keyframe.tolist()


def test_a_sample_without_row_of_the_first_camera_is_counted(root: Path) -> None:
    def drop(rows: list) -> None:
        front = [row for row in rows if row["token"].startswith(f"{tiny.SCENES[0]}/CAM_FRONT")]
        rows.remove(front[6])
        for row in rows:
            del row["prev"]

    tiny.edit(root, "sample_data", drop)
    scene = read(root, sweeps=True)
    assert scene.is_keyframe.sum() == 2
    assert ["1 of 3 samples" in r.reason for r in scene.repairs if r.where == "CAM_FRONT"] == [True]
