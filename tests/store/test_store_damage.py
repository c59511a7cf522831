import dataclasses
import json
import shutil
import time

import numpy as np
import pytest
import store_logs as logs
import zarr
from store_logs import change, flip, write_log

from driv3r.errors import StoreError
from driv3r.store import commit as commit_module
from driv3r.store.commit import commit
from driv3r.store.files import read_state
from driv3r.store.reader import LogStore
from driv3r.store.verify import verify
from driv3r.store.writer import LogWriter

# Committing


def test_commit_refuses_a_changed_byte_and_changes_nothing(sealed, tmp_path):
    shutil.copytree(sealed, tmp_path / "s")
    flip(tmp_path / "s/views/depth/c.1.0.0.0", at=3)
    with pytest.raises(StoreError, match=r"views/depth/c\.1\.0\.0\.0: changed"):
        commit(tmp_path / "s", tmp_path / "f.zarr")
    assert (tmp_path / "s").is_dir()
    assert not (tmp_path / "f.zarr").exists()


def test_commit_refuses_an_unsealed_log(tmp_path):
    writer = LogWriter(tmp_path / "s", logs.make_header())
    writer.write_frame(0, logs.make_record(0))
    with pytest.raises(StoreError, match=r"3 of 4 frames .*\[1, 2, 3\]"):
        writer.seal()
    with pytest.raises(StoreError, match="never sealed"):
        commit(tmp_path / "s", tmp_path / "f.zarr")


@pytest.mark.parametrize("fails", ["write_atomically", "sync", "discard"])
def test_a_commit_killed_halfway_is_finished_by_the_next(
    sealed, made, tmp_path, monkeypatch, fails
):
    final = tmp_path / "f.zarr"
    shutil.copytree(made, final)
    shutil.copytree(sealed, tmp_path / "s")

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(commit_module, fails, die)
        with pytest.raises(KeyboardInterrupt):
            commit(tmp_path / "s", final)
    if read_state(final)[0] != "complete":
        with pytest.raises(StoreError, match="incomplete"):
            LogStore.open(final)
    if read_state(final)[0] != "complete" or (tmp_path / "s").exists():
        commit(tmp_path / "s", final)
    assert verify(final).ok
    assert logs.array_bytes(final) == logs.array_bytes(made)


def test_commit_replaces_the_same_log_but_not_another_or_foreign_folders(sealed, copied, tmp_path):
    shutil.copytree(sealed, tmp_path / "s")
    commit(tmp_path / "s", copied)
    assert sorted(p.name for p in tmp_path.iterdir()) == [copied.name]
    write_log(tmp_path / "s", scale_source="odometry")
    with pytest.raises(StoreError, match="other input, config"):
        commit(tmp_path / "s", copied)
    assert verify(copied).ok
    commit(tmp_path / "s", copied, replace_other=True)
    assert LogStore.open(copied).header.scale_source == "odometry"
    with pytest.raises(StoreError, match="does not exist"):
        commit(tmp_path / "s", copied)
    shutil.copytree(sealed, tmp_path / "s")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(StoreError, match="no driv3r log"):
        commit(tmp_path / "s", tmp_path / "mine")
    with pytest.raises(StoreError, match="no staging folder"):
        LogWriter(tmp_path / "mine", logs.make_header())
    assert (tmp_path / "mine" / "thesis.txt").exists()


# Reading only what is whole


def test_open_refuses_the_incomplete_the_foreign_and_the_absent(sealed, copied, tmp_path):
    shutil.copytree(sealed, tmp_path / "s")
    with pytest.raises(StoreError, match="state 'incomplete'.*driv3r process.*continues"):
        LogStore.open(tmp_path / "s")
    with pytest.raises(StoreError, match="no readable log"):
        LogStore.open(tmp_path / "nothing")
    root = json.loads((copied / "zarr.json").read_bytes())
    root["attributes"]["schema"] = "driv3r/9"
    (copied / "zarr.json").write_text(json.dumps(root))
    with pytest.raises(StoreError, match="schema 'driv3r/9'.*'driv3r/5'"):
        LogStore.open(copied)


def test_reading_damage_raises_rather_than_giving_numbers(copied):
    store = LogStore.open(copied)
    flip(copied / "views/depth/c.1.0.0.0", at=40)
    with pytest.raises(StoreError, match="can not be read"):
        store.prediction(1)
    (copied / "views/depth/c.2.0.0.0").unlink()
    with pytest.raises(StoreError, match="missing"):
        store.depth_m(2, 0)
    (copied / "frames/world_T_ego/c.0.0.0").unlink()
    with pytest.raises(StoreError, match="missing"):
        store.world_T_ego()
    for frame, view in ((logs.T, 0), (-1, 0), (0, logs.V)):
        with pytest.raises(StoreError, match="log-1 has"):
            store.depth_m(frame, view)


def test_state_is_read_quickly(made):
    start = time.perf_counter()
    for _ in range(20):
        assert read_state(made)[0] == "complete"
        LogStore.open(made)
    assert (time.perf_counter() - start) / 20 < 0.05


# Verifying


def test_verify_names_changed_missing_and_extra_files(made, copied):
    assert verify(made).ok
    flip(copied / "views/sigma/c.0.0.0.0", at=7)
    flip(copied / "lineage/000002/zarr.json", at=-30)
    (copied / "rig/K/c.0.0.0").unlink()
    (copied / "views/extra.bin").write_bytes(b"x")
    problems = "\n".join(verify(copied).problems)
    assert "views/sigma/c.0.0.0.0: changed" in problems
    assert "lineage/000002/zarr.json: changed" in problems
    assert "rig/K/c.0.0.0: missing" in problems
    assert "views/extra.bin: not listed" in problems


def test_verify_notices_a_flipped_bit_in_any_file_and_never_raises(made, copied):
    rng = np.random.default_rng(0)
    files = [p for p in made.rglob("*") if p.is_file()]
    for path in rng.choice(np.array(files, dtype=object), 12, replace=False):
        target = copied / path.relative_to(made)
        flip(target, at=int(rng.integers(target.stat().st_size)))
        assert not verify(copied).ok, target
        shutil.copy(path, target)
    for cut in ("zarr.json", "lineage/zarr.json", "frames/zarr.json", "rig/zarr.json"):
        (copied / cut).write_bytes(b"{")
        assert not verify(copied).ok
    assert not verify(copied / "nowhere").ok


@pytest.mark.parametrize(
    ("array", "at", "value", "problem"),
    [
        ("frames/world_T_ego", (1, 0, 0), 2.0, "world_T_ego: frame 1 is not a rigid"),
        ("poses/world_T_ego", (3, 1), np.nan, "frame 3 view 1 is not a rigid"),
        ("poses/prev_T_curr", (2, 1, 1), 7.0, "prev_T_curr: frame 2"),
        ("views/valid_reason", (0, 0), 0, "valid_reason: frame 0 view 0 disagrees"),
        ("static/index", (0, 0), 9999, "not in Morton order"),
        ("dynamic/points_track", 0, 77, "tracks that are not there"),
        ("frames/time_us", 1, 0, "header does not agree"),
    ],
)
def test_verify_checks_values_beyond_digests(copied, array, at, value, problem):
    zarr.open_array(copied / array, mode="r+")[at] = value
    assert any(problem in text for text in verify(copied).problems)


# What can not be stored


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"log_id": "../x"}, "safe file name"),
        ({"log_id": ""}, "safe file name"),
        ({"log_id": "a\n"}, "safe file name"),
        ({"time_us": np.zeros(logs.T, np.int64)}, "strictly increase"),
        ({"is_keyframe": np.ones(2, bool)}, "is_keyframe"),
        ({"input_hash": ""}, "input_hash"),
        ({"crops": ()}, "a full camera and a crop"),
        ({"time_us": np.zeros(0, np.int64), "is_keyframe": np.zeros(0, bool)}, "at least one"),
    ],
)
def test_bad_headers_are_refused(tmp_path, changes, problem):
    with pytest.raises(StoreError, match=problem):
        LogWriter(tmp_path / "s", change(logs.make_header(), **changes))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"world_T_ego": np.full((4, 4), np.nan)}, "rigid world_T_ego"),
        ({"world_T_ego_cam": np.stack([2 * np.eye(4)] * logs.V)}, "rigid world_T_ego_cam"),
        ({"time_cam_us": np.array([1])}, "2 views"),
        ({"time_cam_us": np.array([1, -1])}, "NaN depth, sigma and motion in views without input"),
    ],
)
def test_bad_records_are_refused(tmp_path, changes, problem):
    writer = LogWriter(tmp_path / "s", logs.make_header())
    with pytest.raises(StoreError, match=problem):
        writer.write_frame(0, change(logs.make_record(0), **changes))
    with pytest.raises(StoreError, match=r"index in 0\.\.3"):
        writer.write_frame(4, logs.make_record(0))
    assert writer.written() == frozenset()


def test_a_depth_map_of_other_cameras_is_refused(tmp_path):
    """Such as one of another crop: every pixel would be lifted along a wrong ray."""
    writer, record = LogWriter(tmp_path / "s", logs.make_header()), logs.make_record(0)
    shifted = tuple(
        dataclasses.replace(c, K=c.K + [[0, 0, 1], [0, 0, 0], [0, 0, 0]])
        for c in record.prediction.cameras
    )
    other = dataclasses.replace(record.prediction, cameras=shifted)
    with pytest.raises(StoreError, match="the log's own cameras"):
        writer.write_frame(0, dataclasses.replace(record, prediction=other))


def test_a_quarantined_frame_may_lack_everything(tmp_path):
    header = logs.make_header(time_us=np.array([5]), is_keyframe=np.array([True]))
    nan = np.full((logs.V, logs.H, logs.W), np.nan, np.float32)
    record = logs.make_record(0)
    writer = LogWriter(tmp_path / "s", header)
    writer.write_frame(0, dataclasses.replace(
        record, status="quarantined", reasons=("three attempts failed",),
        time_cam_us=np.full(logs.V, -1), world_T_ego=np.full((4, 4), np.nan),
        prediction=dataclasses.replace(record.prediction, depth_m=nan, sigma=nan, motion=nan),
    ))  # fmt: skip
    writer.seal()
    commit(tmp_path / "s", tmp_path / "f.zarr")
    assert verify(tmp_path / "f.zarr").problems == ()
    store = LogStore.open(tmp_path / "f.zarr")
    assert store.status == ("quarantined",)
    assert np.isnan(store.points_world(0, 1)).all()
    with pytest.raises(StoreError, match="static"):
        store.static()


def test_bad_reconstructions_and_scores_are_refused(tmp_path):
    writer = LogWriter(tmp_path / "s", logs.make_header())
    good = logs.make_reconstruction()
    twice = dataclasses.replace(good.static, index=np.zeros_like(good.static.index))
    far = dataclasses.replace(good.static, index=good.static.index + 2**40)
    lost = dataclasses.replace(good.moving, points_track=good.moving.points_track + 9)
    bent = dataclasses.replace(good.moving, world_T_object=2 * good.moving.world_T_object)
    for bad, problem in (
        (dataclasses.replace(good, static=twice), "occurs twice"),
        (dataclasses.replace(good, static=far), "do not fit int32"),
        (dataclasses.replace(good, moving=lost), "points_track"),
        (dataclasses.replace(good, moving=bent), "rigid"),
    ):
        with pytest.raises(StoreError, match=problem):
            writer.write_reconstruction(bad)
    for protocol, card, per_view, problem in (
        ("../x", {}, {}, "safe file name"),
        ("other", {}, {}, "protocol other"),
        ("nuscenes", {"f": print}, {}, "metadata"),
        ("nuscenes", {}, {"a/b": np.zeros(2)}, "safe file name"),
        ("nuscenes", {}, {"a": np.array(["x"])}, "expected numbers"),
    ):
        with pytest.raises(StoreError, match=problem):
            writer.write_scores(protocol, card, logs.SCORES, per_view, {})


def test_an_empty_reconstruction_is_stored(tmp_path):
    writer = LogWriter(tmp_path / "s", logs.make_header())
    for frame in range(logs.T):
        writer.write_frame(frame, logs.make_record(frame))
    writer.write_reconstruction(logs.make_reconstruction(n=0, m=0, p=0))
    writer.seal()
    commit(tmp_path / "s", tmp_path / "f.zarr")
    assert verify(tmp_path / "f.zarr").problems == ()
    assert LogStore.open(tmp_path / "f.zarr").static().index.shape == (0, 3)
