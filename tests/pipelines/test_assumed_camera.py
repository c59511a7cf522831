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
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.errors import ConfigError, StoreError
from driv3r.evaluation.rescore import rescore
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
    assert "Abs Rel" in told
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


def test_metric_reports_do_not_say_so(finished) -> None:
    run, out = finished
    assert not any("up to scale" in line for line in warnings_of(run))
    assert "Up to scale." not in (out / "report/report.html").read_text()


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


class WithoutCalibration:
    """A reader whose logs have LiDAR, and cameras that are assumed."""

    def __init__(self, root: Path, **options) -> None:
        self.reader = NuScenesReader(root)

    def scenes(self, split: str) -> tuple[str, ...]:
        return self.reader.scenes(split)[:1]

    def read(self, scene_id: str) -> Scene:
        return replace(self.reader.read(scene_id), calibrated=False)


def test_lidar_is_not_held_against_assumed_cameras(tiny_world, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("driv3r.datasets.list_readers", lambda: {"nuscenes": WithoutCalibration})
    (log,) = process(settings_for(tiny_world), tmp_path, inline=True).logs
    assert log.state == "done", log.error
    assert {score.protocol for score in log.scores} == {"ego"}
    unscored = [
        line for line in log.repairs if "not scored against: the log is up to scale" in line
    ]
    assert len(unscored) == log.frames
