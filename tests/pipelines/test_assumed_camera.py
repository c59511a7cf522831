"""A log whose camera nobody knows, from images to its report: up to scale, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from run_settings import settings_for

from driv3r import open_log
from driv3r.cli.screen import warnings_of
from driv3r.datasets import open_dataset
from driv3r.errors import ConfigError, StoreError
from driv3r.evaluation.log_evaluator import LogScorer
from driv3r.evaluation.rescore import rescore
from driv3r.evaluation.stored_frames import StoredFrame
from driv3r.export import ExportSelection, export_log
from driv3r.pipelines.fuse_logs import fuse_logs
from driv3r.pipelines.process import process
from driv3r.store.verify import verify
from driv3r.training.log_clips import LogClipConfig, read_log_clips
from driv3r.types import Scene
from tests.tools.measure_assumed import measure, write_camera

SCENE, FRONT = "scene-0003", 0


@pytest.fixture(scope="module")
def front(tiny_world: Path, tmp_path_factory) -> tuple[Scene, Path]:
    """The world's first log, and its front camera's images with the true poses beside them."""
    scene = open_dataset("nuscenes", tiny_world).read(SCENE)
    out = tmp_path_factory.mktemp("own")
    log = write_camera(scene, tiny_world, FRONT, list(scene.frames), out, {})
    rows = ["time_us,x,y,z,qw,qx,qy,qz"]
    for frame in scene.frames:
        shot = frame.views[FRONT]
        x, y, z = shot.world_T_cam[:3, 3]
        rows.append(f"{shot.time_us},{x:.6f},{y:.6f},{z:.6f},1,0,0,0")
    (log / "poses.csv").write_text("\n".join(rows))
    return scene, log


@pytest.fixture(scope="module")
def made(front, tmp_path_factory):
    """(run, folder) of it."""
    out = tmp_path_factory.mktemp("assumed")
    settings = settings_for(front[1], dataset="folder", split="all")
    return process(settings, out, inline=True), out


def test_the_store_says_that_it_is_up_to_scale(made, front) -> None:
    run, out = made
    assert run.logs[0].state == "done", run.logs[0].error
    assert run.logs[0].scale == "similarity"
    store = open_log(out / f"{SCENE}.zarr")
    assert store.scale == store.prediction(1).scale == "similarity"
    assert store.header.scale_source.startswith("up to scale")
    attributes = json.loads((store.path / "zarr.json").read_text())["attributes"]
    assert attributes["units"]["length"].startswith("up to scale")
    assert "camera_height_m" not in attributes
    assert verify(store.path).ok
    assert any("60 degrees across" in repair.reason for repair in store.repairs())
    told = measure(front[0], FRONT, list(front[0].frames), store, "nuscenes")
    assert 0 < told["per_log abs_rel"] <= told["metric abs_rel"] < 1
    assert np.isfinite(store.depth_m(1, 0)).mean() > 0.9


def test_paths_are_scored_only_after_a_fit_of_scale(made, front) -> None:
    run, out = made
    scalings = {score.scaling for score in run.logs[0].scores}
    assert "none" in scalings  # the true path's length is known
    assert not scalings & {"se3", "metric"}
    again = rescore(out, "folder", front[1], "folder", lambda *_: None)
    assert {score.scaling for score in again.logs[0].scores} == scalings


def test_report_shell_and_exports_say_so(made, tmp_path: Path) -> None:
    run, out = made
    assert any("up to scale" in line and SCENE in line for line in warnings_of(run))
    assert "Up to scale." in (out / "report/report.html").read_text()
    store = open_log(out / f"{SCENE}.zarr")
    (exported,) = export_log(store, ["tum"], ExportSelection(), tmp_path)
    about = json.loads((exported.folder / "export.json").read_text())
    assert about["scale"] == "similarity"
    assert about["world"].startswith("up to scale")


def test_what_needs_metres_is_refused(made, front, tmp_path: Path) -> None:
    store = made[1] / f"{SCENE}.zarr"
    with pytest.raises(StoreError, match="it needs metric scale"):
        fuse_logs([store], tmp_path / "joint.zarr")
    for changes in ({"ego_poses": "given"}, {"fuse": "both"}):
        settings = settings_for(front[1], dataset="folder", split="all", **changes)
        (log,) = process(settings, tmp_path / "out", inline=True).logs
        assert log.state == "failed"
        assert "needs metres; leave it out, or give the whole calibration" in log.error
    scene = replace(front[0], calibrated=False)
    with pytest.raises(ConfigError, match="up to scale.*takes its metres"):
        next(read_log_clips(scene, LogClipConfig(), torch.device("cpu")))


def test_the_true_height_gives_true_metres_of_a_recording(recordings: Path, tmp_path: Path) -> None:
    """PandaSet's front camera is 2.14 m over the road and 52 degrees across; 60 are assumed."""
    root = recordings / "pandaset"
    scene = open_dataset("pandaset", root).read("002")
    frames = [scene.frames[i] for i in range(0, 24, 4)]
    front = [camera.name for camera in scene.rig.cameras].index("front_camera")
    log = write_camera(scene, root, front, frames, tmp_path, {"camera_height_m": 2.14})
    process(settings_for(log, dataset="folder", split="all"), tmp_path / "out", inline=True)
    store = open_log(tmp_path / "out/002.zarr")
    told = measure(scene, front, frames, store, "pandaset")
    assert told["per_log abs_rel"] < 0.2
    assert told["metric abs_rel"] < 0.25
    assert 0.8 < told["sim3 scale"] < 1.25
    for path in log.rglob("rig.yaml"):  # half as high: all is half as large
        path.write_text(path.read_text().replace("2.14", "1.07"))
    process(settings_for(log, dataset="folder", split="all"), tmp_path / "low", inline=True)
    low = measure(scene, front, frames, open_log(tmp_path / "low/002.zarr"), "pandaset")
    assert low["sim3 scale"] > 1.5 * told["sim3 scale"]
    assert low["metric abs_rel"] > 1.5 * told["metric abs_rel"]


@pytest.mark.parametrize("scale", ["metric", "similarity"])
def test_lidar_is_not_held_against_assumed_cameras(made, front, scale: str) -> None:
    """Also where a reader leaves sweeps with them."""
    store = open_log(made[1] / f"{SCENE}.zarr")
    scorer = LogScorer("nuscenes", store.rig, "ours", "predicted", scale=scale)
    for index, frame in enumerate(front[0].frames):
        alone = replace(frame, views=frame.views[FRONT : FRONT + 1])
        record = store.record(index)
        scorer.add(StoredFrame(index, alone, [None], record, store.rig, [None]))
    found = {part.protocol for part in scorer.finish(None)}
    said = [each.reason for notes in scorer.repairs for each in notes if each.where == "lidar"]
    if scale == "metric":
        assert {"nuscenes", "ego"} <= found
        assert not said
    else:
        assert found == {"ego"}
        assert said == ["not scored against: the log is up to scale"] * len(front[0].frames)
