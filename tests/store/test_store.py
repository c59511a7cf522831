import dataclasses
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import store_logs as logs
import zarr
from store_logs import flip, write_log

from driv3r.errors import StoreError
from driv3r.geometry.transforms import from_rotvec, interpolate
from driv3r.store import codec
from driv3r.store.commit import commit
from driv3r.store.files import read_state
from driv3r.store.morton import morton_order
from driv3r.store.reader import LogStore
from driv3r.store.schema import header_hash
from driv3r.store.units import read_shutters
from driv3r.store.verify import verify
from driv3r.store.writer import LogWriter, sort_static
from driv3r.types import RollingShutter

# What goes in comes out


def test_predictions_return_within_the_codes_errors(made):
    store = LogStore.open(made)
    for frame in range(logs.T):
        put, got = logs.make_record(frame).prediction, store.prediction(frame)
        valid = (put.depth_m >= 0.05) & (put.depth_m <= 1000)
        assert np.array_equal(np.isfinite(got.depth_m), valid)
        np.testing.assert_allclose(got.depth_m[valid], put.depth_m[valid], rtol=1e-4)
        np.testing.assert_allclose(got.sigma, put.sigma, rtol=0.019)
        np.testing.assert_allclose(got.motion, put.motion, atol=1 / 507)
        assert np.array_equal(store.depth_m(frame, 1), got.depth_m[1], equal_nan=True)
        if put.prev_T_curr is None:
            assert got.prev_T_curr is None
        else:
            assert np.array_equal(put.prev_T_curr, got.prev_T_curr)
    assert store.valid_reason(0, 0)[0, :5].tolist() == [2, 3, 3, 3, 0]
    assert (store.valid_reason(*logs.ABSENT) == 1).all()


def test_a_written_frame_is_read_back_as_the_finished_log_has_it(made, tmp_path):
    writer, store = LogWriter(tmp_path / "s", logs.make_header()), LogStore.open(made)
    for frame in (0, logs.ABSENT[0]):
        given = logs.make_record(frame, seconds=2.0, attempts=3)
        writer.write_frame(frame, given)
        got, stored = writer.read_frame(frame), store.prediction(frame)
        for name in ("depth_m", "sigma", "motion"):
            ours, theirs = getattr(got.prediction, name), getattr(stored, name)
            assert np.array_equal(ours, theirs, equal_nan=True), name
        for name in ("time_cam_us", "world_T_ego", "world_T_ego_cam"):
            assert np.array_equal(getattr(got, name), getattr(given, name), equal_nan=True), name
        for name in ("status", "reasons", "seconds", "input_hash", "attempts"):
            assert getattr(got, name) == getattr(given, name)
        assert np.array_equal(got.prediction.prev_T_curr, given.prediction.prev_T_curr)
    with pytest.raises(StoreError, match="frame 1 is not written"):
        writer.read_frame(1)


def test_shutters_return_exactly(made, tmp_path):
    writer = LogWriter(tmp_path / "s", logs.make_header())
    shutter = RollingShutter(-20_000, 21_500, "left", np.array([9.0, 0.1, 0.3]), np.full(3, 0.2))
    plain = logs.make_record(0)
    writer.write_frame(0, replace(plain, shutters=(shutter, None)))
    first, second = writer.read_frame(0).shutters
    assert second is None
    for name, value in vars(shutter).items():
        np.testing.assert_array_equal(getattr(first, name), value)
    assert read_shutters(tmp_path / "s", 0, 2)[1] is None
    with pytest.raises(StoreError, match="has 2 shutters, 3 views"):
        read_shutters(tmp_path / "s", 0, 3)
    assert LogStore.open(made).shutters(0) == (None, None)
    with pytest.raises(StoreError, match="999"):
        LogStore.open(made).shutters(999)
    entry = tmp_path / "s" / "lineage" / "000000" / "zarr.json"
    entry.write_text(entry.read_text().replace("turn_cam_radps", "turned"))
    with pytest.raises(StoreError, match="frame 0 has damaged shutters"):
        read_shutters(tmp_path / "s", 0, 2)
    shutil.rmtree(entry.parent)
    with pytest.raises(StoreError, match="frame 0 has no entry in lineage"):
        read_shutters(tmp_path / "s", 0, 2)


def test_header_poses_and_status_return_exactly(made):
    store, header = LogStore.open(made), logs.make_header()
    assert header_hash(store.header) == header_hash(header) == read_state(made)[1]
    assert (store.log_id, store.scale, store.ego_poses) == ("log-1", "metric", "predicted")
    assert store.provenance == header.provenance
    assert store.header.crops == header.crops
    for full, given in zip(store.header.full_cameras, header.full_cameras, strict=True):
        np.testing.assert_array_equal(full.K, given.K)
    assert store.image_paths[0] == ("samples/CAM_0/0.jpg", "samples/CAM_1/0.jpg")
    assert store.image_paths[2] == ("samples/CAM_0/2.jpg", None)
    assert store.pictures() == {"frame 0": b"\xff\xd8 a JPEG", "frame 2": b"another"}
    assert list(store.seconds().items()) == [("predict", 1.5), ("fuse", 0.5)]
    assert store.rig.cameras[1].distortion == ()
    for full, lens in zip(store.header.full_cameras, (logs.BROWN, logs.FISHEYE), strict=True):
        assert {name: getattr(full, name) for name in lens} == lens
    records = [logs.make_record(frame) for frame in range(logs.T)]
    assert np.array_equal(store.world_T_ego(), [r.world_T_ego for r in records])
    assert np.array_equal(store.time_cam_us, [r.time_cam_us for r in records])
    given = np.array([r.world_T_ego_cam for r in records])
    assert np.array_equal(store.world_T_ego_cam(), given, equal_nan=True)
    assert store.status == ("ok", "ok", "partial", "ok")
    assert store.reasons == ((), (), ("CAM_1: no image",), ())
    assert [r.where for r in store.repairs()] == ["CAM_1/3.jpg", "CAM_1/4.jpg"]
    assert store.lineage(3)["input_hash"] == "in3"
    assert store.lineage(3)["seconds"] == 0.5


def test_reconstruction_and_scores_return(made):
    store, given = LogStore.open(made), logs.make_reconstruction()
    order = morton_order(given.static.index, 0.2)
    for field in dataclasses.fields(given.static)[1:]:
        got = getattr(store.static(), field.name)
        assert np.array_equal(got, getattr(given.static, field.name)[order]), field.name
    for field in dataclasses.fields(given.moving):
        assert np.array_equal(
            getattr(store.moving(), field.name), getattr(given.moving, field.name)
        )
    assert store.scores()[0] == logs.SCORES[0]
    assert math.isnan(store.scores()[1].value)
    assert store.scores()[1].camera == "CAM_1"
    assert store.scores_card("nuscenes") == {"max_m": 80.0, "name": "x"}
    assert store.scores_lost("nuscenes") == {"parallax": 7}
    assert store.scores_per_view("nuscenes")["n"].sum() == logs.T * logs.V
    with pytest.raises(StoreError, match="kitti"):
        store.scores_card("kitti")


def test_a_log_is_asked_as_its_reconstruction_is(made):
    """A camera between two frames stands where the car is half-way."""
    pytest.importorskip("numba", reason="rendering is not of the core")
    store, fused = LogStore.open(made), logs.make_reconstruction()
    at_us = int(store.time_us[0] + store.time_us[1]) // 2
    world_T_ego = interpolate(store.time_us, store.world_T_ego(), np.array([at_us]))[0]
    camera = store.rig.cameras[1]
    static = sort_static(fused.static)
    expected = dataclasses.replace(fused, static=static).camera(
        camera, world_T_ego @ camera.ego_T_cam, at_us
    )
    found = store.camera("CAM_1", at_us)
    assert np.array_equal(found.depth_m, expected.depth_m, equal_nan=True)
    assert store.track(1).quality == fused.moving.quality[1]
    assert store.at(500).track_id.tolist() == [1]
    low, high = np.full(3, -9.0), np.full(3, 9.0)
    count = ((static.points_world >= low) & (static.points_world <= high)).all(-1).sum()
    assert len(store.box(low, high).static.hits) == count > 0
    with pytest.raises(StoreError, match="CAM_0.*not 'roof'"):
        store.camera("roof", at_us)
    with pytest.raises(StoreError, match="not at 0"):
        store.camera("CAM_1", 0)


def test_points_world_are_the_closed_form(tmp_path):
    header, record = logs.make_header(time_us=np.array([5]), is_keyframe=np.array([True])), None
    record = logs.make_record(0)
    turn = from_rotvec(np.array([0.0, 0.0, np.pi / 2]), np.array([10.0, 20.0, 0.0]))
    writer = LogWriter(tmp_path / "s", header)
    writer.write_frame(0, dataclasses.replace(record, world_T_ego_cam=np.stack([turn, turn])))
    writer.seal()
    commit(tmp_path / "s", tmp_path / "f.zarr")
    store = LogStore.open(tmp_path / "f.zarr")
    points = store.points_world(0, 0)
    # no lens, f = 5, c = (4, 3); pixel of row 2 and column 6 has its centre at (6.5, 2.5)
    z = store.depth_m(0, 0)[2, 6]
    ego = (header.rig.cameras[0].ego_T_cam @ [z * 2.5 / 5, z * -0.5 / 5, z, 1.0])[:3]
    np.testing.assert_allclose(points[2, 6], [10 - ego[1], 20 + ego[0], ego[2]], rtol=1e-6)
    assert np.isnan(points[0, :4]).all()


def test_plain_zarr_reads_the_documented_arrays(made):
    group = zarr.open_group(made, mode="r")
    assert group.attrs["schema"] == "driv3r/5"
    assert group.attrs["state"] == "complete"
    depth = group["views/depth"]
    assert (depth.dtype, depth.shape) == (np.uint16, (logs.T, logs.V, logs.H, logs.W))
    assert (depth.chunks, depth.shards) == ((1, 1, logs.H, logs.W), (1, logs.V, logs.H, logs.W))
    low, step = depth.attrs["low_m"], depth.attrs["step"]
    code = depth[1, 1].astype(np.float64)
    np.testing.assert_allclose(
        low * np.exp(step * (code - 1)), logs.make_record(1).prediction.depth_m[1], 1e-4
    )
    names = {name for name, item in group.members(max_depth=None) if isinstance(item, zarr.Array)}
    assert names >= {
        "frames/time_us", "frames/status", "frames/is_keyframe", "frames/world_T_ego", "rig/K",
        "rig/ego_T_cam", "poses/time_cam_us", "poses/world_T_ego", "poses/prev_T_curr",
        "views/depth", "views/sigma", "views/dynamic_prob", "views/valid_reason", "static/index",
        "static/hits", "static/weight", "static/rgb", "dynamic/track_id", "eval/nuscenes/abs_rel",
    }  # fmt: skip
    assert group["rig"].attrs["names"] == ["CAM_0", "CAM_1"]
    assert group["static"].attrs["tile_m"] == 25.6
    assert group["eval/nuscenes"].attrs["lost"] == {"parallax": 7}
    frames = {f"{frame:06d}" for frame in range(logs.T)}
    assert set(group["lineage"].group_keys()) == frames | {"stages"}


# The same bytes, whatever happens


def test_bytes_do_not_depend_on_order_or_rewrites(made, tmp_path):
    writer = LogWriter(tmp_path / "s", logs.make_header())
    for frame in (3, 1, 0, 2, 1):
        writer.write_frame(frame, logs.make_record(frame, seconds=frame + 7.5, attempts=2))
    writer.save_state(3, {"memory": np.ones(3)})
    logs.finish(writer)
    logs.finish(writer)
    commit(tmp_path / "s", tmp_path / "f.zarr")
    assert logs.array_bytes(tmp_path / "f.zarr") == logs.array_bytes(made)
    assert verify(tmp_path / "f.zarr").problems == ()


@pytest.mark.parametrize("moment", ["before the entry", "between two shards"])
def test_a_killed_run_goes_on_to_the_same_bytes(made, tmp_path, moment):
    staging = tmp_path / "s"
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parent)])
    ran = subprocess.run(
        [sys.executable, logs.__file__, staging, moment],
        env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert ran.returncode == -9, ran.stderr.decode()
    assert (staging / "views/depth/c.2.0.0.0").exists()
    writer = LogWriter(staging, logs.make_header())
    assert writer.written() == {0, 1}
    flip(staging / "views/sigma/c.1.0.0.0", at=5)
    assert writer.written() == {0}
    for frame in (1, 2, 3):
        writer.write_frame(frame, logs.make_record(frame))
    logs.finish(writer)
    commit(staging, tmp_path / "f.zarr")
    assert logs.array_bytes(tmp_path / "f.zarr") == logs.array_bytes(made)
    assert verify(tmp_path / "f.zarr").ok


def test_a_frames_data_is_on_the_disk_before_its_entry(tmp_path, monkeypatch):
    writer, synced = LogWriter(tmp_path / "s", logs.make_header()), []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    writer.write_frame(1, logs.make_record(1))
    shards = {
        f"{tmp_path}/s/views/{n}/c.1.0.0.0"
        for n in ("depth", "sigma", "dynamic_prob", "valid_reason")
    }
    assert set(synced[:4]) == shards
    assert synced[4] == f"{tmp_path}/s/lineage/000001/zarr.json.partial"


def test_seal_flushes_every_file_and_folder_before_the_manifest(tmp_path, monkeypatch):
    writer, synced = write_log(tmp_path / "s"), []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    writer.seal()
    before = set(synced[: synced.index(f"{tmp_path}/s/lineage/zarr.json.partial")])
    assert before >= {str(tmp_path / "s"), *map(str, (tmp_path / "s").rglob("*"))}


def test_another_header_starts_afresh(sealed, tmp_path):
    shutil.copytree(sealed, tmp_path / "s")
    assert LogWriter(tmp_path / "s", logs.make_header()).written() == frozenset(range(logs.T))
    elsewhere = logs.make_provenance(machine="another processor")
    same = logs.make_header(provenance=elsewhere)
    assert LogWriter(tmp_path / "s", same).written() == frozenset(range(logs.T))
    other = logs.make_header(provenance=logs.make_provenance(device="cuda"))
    assert LogWriter(tmp_path / "s", other).written() == frozenset()


def test_the_networks_memory_survives_and_is_dropped_at_commit(sealed, tmp_path):
    writer = LogWriter(tmp_path / "s", logs.make_header())
    assert writer.load_state() is None
    tensors = {"keys": np.arange(12, dtype=np.float16).reshape(3, 4).T, "n": np.array([2, 3])}
    writer.save_state(0, {"old": np.zeros(2)})
    writer.save_state(1, tensors)
    frame, back = LogWriter(tmp_path / "s", logs.make_header()).load_state()
    assert frame == 1
    assert back.keys() == tensors.keys()
    for name, values in tensors.items():
        assert back[name].dtype == values.dtype
        assert np.array_equal(back[name], values)
    memory = tmp_path / "s" / "memory.safetensors"
    memory.write_bytes(memory.read_bytes()[:20])
    assert writer.load_state() is None
    shutil.copytree(sealed, tmp_path / "s", dirs_exist_ok=True)
    commit(tmp_path / "s", tmp_path / "f.zarr")
    assert not (tmp_path / "f.zarr" / "memory.safetensors").exists()


def test_xarray_opens_every_group_and_names_the_axes(made):
    import xarray

    for group in ("views", "frames", "poses", "rig", "static", "dynamic", "eval/nuscenes"):
        with xarray.open_zarr(made, group=group, consolidated=False) as opened:
            assert opened.sizes, group
    with xarray.open_zarr(made, group="views", consolidated=False) as views:
        assert dict(views.sizes) == {"frame": logs.T, "camera": logs.V, "y": logs.H, "x": logs.W}
        codes = views["depth"].isel(frame=1, camera=0).values
    np.testing.assert_array_equal(codec.DEPTH.decode(codes), LogStore.open(made).depth_m(1, 0))
