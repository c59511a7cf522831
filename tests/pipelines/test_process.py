"""Whole runs: the same bytes however they are made, and nothing lost to bad input or a kill."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from run_settings import digest_arrays, settings_for

from driv3r.errors import ConfigError, DatasetError
from driv3r.evaluation.merge import POOLED
from driv3r.evaluation.rescore import rescore
from driv3r.inference.registry import resolve_refinement
from driv3r.pipelines.job import report_folder
from driv3r.pipelines.process import process
from driv3r.store.reader import LogStore
from driv3r.store.verify import verify


def test_a_run_stores_scores_and_reports_every_log(finished, tiny_world):
    run, out = finished
    assert [log.state for log in run.logs] == ["done", "done"]
    for log in run.logs:
        store = LogStore.open(out / f"{log.log_id}.zarr")
        assert verify(store.path).ok
        assert len(store.time_us) == 3
        assert store.status == ("ok",) * 3
        points = store.points_world(1, 0)
        assert np.isfinite(points).all()
        assert len(store.static().index) > 100
        assert {s.subject for s in store.scores()} >= {"driv3r-s", "floor", "ground-plane"}
    page = (report_folder(out) / "report.html").read_text()
    data = json.loads((report_folder(out) / "report.json").read_text())
    assert all(log.log_id in page for log in run.logs)
    assert len(data["scores"]) == len(run.scores)
    floor = [
        s for s in run.scores if (s.subject, s.metric, s.scaling) == ("floor", "abs_rel", "metric")
    ]
    assert 0 < next(s.value for s in floor if s.camera == "all") < 0.02


def test_stored_points_are_where_depth_and_poses_say(finished):
    """A pixel's point, by hand from the arrays that plain zarr reads."""
    import zarr

    _, out = finished
    path = next(out.glob("*.zarr"))
    store, plain = LogStore.open(path), zarr.open_group(str(path), mode="r")
    code = np.asarray(plain["views/depth"][2, 1, 40, 50]).astype(float)
    facts = plain["views/depth"].attrs
    depth_m = facts["low_m"] * np.exp(facts["step"] * (code - 1))
    K = np.asarray(plain["rig/K"][1])
    ray = np.linalg.solve(K, [50.5, 40.5, 1.0])
    world_T_cam = np.asarray(plain["poses/world_T_ego"][2, 1]) @ np.asarray(
        plain["rig/ego_T_cam"][1]
    )
    expected = (world_T_cam @ np.append(ray * depth_m, 1.0))[:3]
    np.testing.assert_allclose(store.points_world(2, 1)[40, 50], expected, rtol=1e-6)


def test_ray_and_inline_give_the_same_bytes(finished, tiny_world, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # somebody else's, which is not asked for
    _, inline = finished
    run = process(settings_for(tiny_world), tmp_path, workers=2)
    assert [log.state for log in run.logs] == ["done", "done"]
    for store in sorted(inline.glob("*.zarr")):
        assert digest_arrays(tmp_path / store.name) == digest_arrays(store)


class Killer:
    """A report callback that kills the worker process of the first log it hears of."""

    def __init__(self) -> None:
        self.victim: str | None = None

    def __call__(self, log: str, stage: str, done: int, total: int) -> None:
        if self.victim is None and done:  # a worker is at work
            self.victim = log
            for folder in Path("/proc").glob("[0-9]*"):
                is_worker = (folder / "cmdline").read_bytes().startswith(b"ray::_Actor")
                if is_worker and is_ours(int(folder.name)):
                    os.kill(int(folder.name), signal.SIGKILL)


def is_ours(process: int) -> bool:
    """Whether a process descends from this one, so that no other run on the machine is hit."""
    while process not in (0, os.getpid()):
        process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    return process == os.getpid()


@pytest.mark.parametrize("attempts", [3, 1])
def test_a_worker_that_dies_is_replaced_and_its_log_tried_again(
    finished, tiny_world, tmp_path, monkeypatch, attempts
):
    monkeypatch.setattr("driv3r.pipelines.ray_backend.MOST_ATTEMPTS", attempts)
    _, inline = finished
    killer = Killer()
    run = process(settings_for(tiny_world), tmp_path, workers=1, report=killer)
    states = {log.log_id: log.state for log in run.logs}
    expected = "done" if attempts > 1 else "failed"
    assert states == dict.fromkeys(states, "done") | {killer.victim: expected}
    for store in sorted(tmp_path.glob("*.zarr")):
        assert digest_arrays(store) == digest_arrays(inline / store.name)
    if attempts == 1:
        (failed,) = [log for log in run.logs if log.state == "failed"]
        assert "its worker process died 1 times" in failed.error


def test_a_finished_run_is_left_alone(finished, tiny_world):
    run, out = finished
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()}
    again = process(settings_for(tiny_world), out, inline=True)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.is_file()} == before
    assert again.scores == run.scores


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(finished, tiny_world, tmp_path):
    _, inline = finished
    command = [sys.executable, "-m", "driv3r", "process", "--dataset", "nuscenes", "--inline"]
    command += ["--root", str(tiny_world), "--out", str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    entry = ".staging/*.zarr/lineage/000001/zarr.json"
    while not list(tmp_path.glob(entry)) and run.poll() is None:
        time.sleep(0.01)
    assert run.poll() is None, "the run ended before it could be killed"
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert not list(tmp_path.glob("*.zarr"))
    second = process(settings_for(tiny_world), tmp_path, inline=True)
    assert all(log.state == "done" for log in second.logs)
    for store in sorted(inline.glob("*.zarr")):
        assert digest_arrays(tmp_path / store.name) == digest_arrays(store)


def test_given_poses_are_the_datasets(tiny_world, finished, tmp_path):
    run = process(settings_for(tiny_world, ego_poses="given"), tmp_path, inline=True)
    for log in run.logs:
        truth = np.array([log.paths[0].x_m, log.paths[0].y_m])
        store = LogStore.open(tmp_path / f"{log.log_id}.zarr")
        start = np.linalg.inv(store.world_T_ego()[0])
        path = np.array([(start @ pose)[:2, 3] for pose in store.world_T_ego()]).T
        np.testing.assert_allclose(path, truth, atol=2e-3)
        assert store.ego_poses == "given"


def test_bad_files_are_counted_and_the_other_log_finishes(world_copy, tmp_path):
    front = sorted((world_copy / "samples/CAM_FRONT").iterdir())
    first = [p for p in front if "000003" in p.name]
    first[1].write_bytes(first[1].read_bytes()[:900])
    back = [p for p in sorted((world_copy / "samples/CAM_BACK").iterdir()) if "000003" in p.name]
    back[1].unlink()
    run = process(settings_for(world_copy), tmp_path, inline=True)
    assert [log.state for log in run.logs] == ["done", "done"]
    hurt, whole = run.logs
    assert len(hurt.repairs) == 2
    assert "CAM_FRONT" in " ".join(hurt.repairs)
    assert whole.repairs == ()
    store = LogStore.open(tmp_path / f"{hurt.log_id}.zarr")
    assert store.status == ("ok", "partial", "ok")
    assert np.isnan(store.depth_m(1, 0)).all()
    assert np.isfinite(store.depth_m(2, 0)).all()


def test_a_table_that_leaves_the_root_fails_its_scene_only(world_copy, tmp_path):
    table = world_copy / "v1.0-trainval/sample_data.json"
    rows = json.loads(table.read_text())
    row = next(r for r in rows if "000003" in r["filename"] and r["is_key_frame"])
    row["filename"] = "../../etc/passwd"
    table.write_text(json.dumps(rows))
    run = process(settings_for(world_copy), tmp_path, inline=True)
    states = {log.log_id: log for log in run.logs}
    failed = [log for log in run.logs if log.state == "failed"]
    assert len(failed) == 1
    assert "UnsafePathError" in failed[0].error
    assert len(states) == 2
    assert "UnsafePathError" in (report_folder(tmp_path) / "report.html").read_text()


def test_rescoring_gives_the_same_figures_and_other_protocols(finished, tiny_world):
    run, out = finished
    again = rescore(out, "nuscenes", tiny_world, "nuscenes", lambda *event: None)
    assert {dataclasses.astuple(s) for s in again.scores} == {
        dataclasses.astuple(s) for s in run.scores
    }
    other = rescore(out, "nuscenes", tiny_world, "nuscenes-unfiltered", lambda *event: None)
    # Of the fusion there are those that the tiny world has truth for.
    protocols = {s.protocol for s in other.scores} - {*POOLED}
    assert protocols == {"nuscenes-unfiltered", "ego", "light"}


def test_impossible_requests_are_typed_errors(tiny_world, tmp_path):
    with pytest.raises(ConfigError, match="split"):
        process(settings_for(tiny_world, split="nowhere"), tmp_path, inline=True)
    with pytest.raises(ConfigError, match="no dataset 'kitty'; known: nuscenes"):
        process(settings_for(tiny_world, dataset="kitty"), tmp_path, inline=True)
    with pytest.raises(DatasetError):
        process(settings_for(tmp_path / "void"), tmp_path, inline=True)
    for wrong in ({"aligner": "sparse"}, {"second_weights": "x"}):
        with pytest.raises(ConfigError, match="driv3r-s (has own|runs alone)"):
            process(settings_for(tiny_world, **wrong), tmp_path / "w", inline=True)
    unseen = settings_for(tiny_world, refine="tracks", calibration="hidden")
    with pytest.raises(ConfigError, match="--refine tracks needs the calibration"):
        process(unseen, tmp_path / "w", inline=True)


def test_tracks_are_the_default_of_ours_and_can_be_left_out(finished, tiny_world, tmp_path):
    plain = process(settings_for(tiny_world, refine="none"), tmp_path, inline=True)
    tracked = finished[0]
    for mine, other in zip(tracked.logs, plain.logs, strict=True):
        a, b = (LogStore.open(Path(log.store)) for log in (mine, other))
        np.testing.assert_array_equal(a.depth_m(0, 0), b.depth_m(0, 0))  # a log's first frame
        assert (a.depth_m(1, 0) != b.depth_m(1, 0)).mean() > 0.5
    assert not resolve_refinement(settings_for(tiny_world, model="vggt"))
    assert not resolve_refinement(settings_for(tiny_world, calibration="hidden"))


def test_real_recordings_go_through(recordings, tmp_path):
    """DDAD's three cameras and the nuScenes sample with its gaps, against their own LiDAR."""
    jobs = (("ddad", "ddad_dgp", "train", 3), ("nuscenes", "nuscenes_one_sample", "all", 1))
    for dataset, folder, split, frames in jobs:
        settings = settings_for(recordings / folder, dataset=dataset, split=split, protocol="own")
        run = process(settings, tmp_path / dataset, inline=True)
        assert [log.state for log in run.logs] == ["done"]
        assert run.logs[0].frames == frames
        points = next(s for s in run.scores if s.metric == "abs_rel" and s.subject == "floor")
        assert points.n > 5000
        assert points.value < 0.05


def test_broken_annotations_cost_their_figures_and_nothing_else(finished, tiny_world, tmp_path):
    root = tmp_path / "world"
    shutil.copytree(tiny_world, root)
    (root / "v1.0-trainval" / "sample_annotation.json").write_text("[{")
    run = process(settings_for(root), tmp_path / "out", inline=True)
    for log, whole in zip(run.logs, finished[0].logs, strict=True):
        assert log.state == "done"
        assert any(r.startswith("boxes: left out of scoring: ") for r in log.repairs)
        depth = [s for s in log.scores if s.protocol == "nuscenes"]
        assert depth == [s for s in whole.scores if s.protocol == "nuscenes"]
        assert not {"objects", "motion"} & {s.protocol for s in log.scores}
