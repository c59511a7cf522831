"""A finished run is harmed by no later command, and its stores alone make its report."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest
from run_settings import digest_arrays, settings_for

from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.errors import ConfigError, StoreError
from driv3r.geometry.cameras import crop_resize
from driv3r.models.checkpoints import SHIPPED
from driv3r.pipelines import preflight
from driv3r.pipelines.job import failure_file, report_folder
from driv3r.pipelines.process import process, report_again
from driv3r.pipelines.worker import open_reader
from driv3r.store.lock import lock_folder
from driv3r.store.reader import LogStore


def see(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file's bytes and time."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"threads": 2}, StoreError, "threads is 2, was 1"),
        ({"ego_poses": "given"}, StoreError, "ego_poses is given, was predicted"),
        ({"refine": "none"}, StoreError, "refine is none, was tracks"),
        ({"precision": "bf16"}, StoreError, "precision is bf16, was fp32"),
        ({"protocol": "nuscenes-unfiltered"}, StoreError, "protocol is nuscenes-unfiltered, was"),
        ({"sweeps": True}, StoreError, "sweeps is True, was False"),
        ({"weights": Path("no/such.safetensors")}, ConfigError, "no weights at .*such"),
        ({"model": "vgt"}, ConfigError, "no model 'vgt'"),
        ({"protocol": "foo"}, ConfigError, "no protocol 'foo'; known: nuscenes"),
        ({"device": "cuda:99"}, ConfigError, "device 'cuda:99' can not be used here"),
        ({"ego_poses": "odometry", "calibration": "hidden"}, ConfigError, "leave one of them out"),
        ({"threads": 0}, ConfigError, "threads is 0"),
    ],
)
def test_another_command_refuses_before_it_writes(finished, tiny_world, changes, error, words):
    """One mistaken option once replaced every record of a finished run by "failed"."""
    _, out = finished
    before = see(out)
    with pytest.raises(error, match=words):
        process(settings_for(tiny_world, **changes), out, inline=True)
    assert see(out) == before


def test_other_weights_or_input_refuse_as_well(finished_copy, world_copy, tmp_path):
    weights = tmp_path / "other.safetensors"
    weights.write_bytes(SHIPPED.read_bytes() + b"\0")
    before = see(finished_copy)
    with pytest.raises(StoreError, match="weights is .*Nothing was changed"):
        process(settings_for(world_copy, weights=weights), finished_copy, inline=True)
    image = next((world_copy / "samples/CAM_FRONT").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    with pytest.raises(StoreError, match="holds 1 finished logs.*input: other tables, or files"):
        process(settings_for(world_copy), finished_copy, inline=True)
    assert see(finished_copy) == before


def test_the_same_data_elsewhere_and_touched_are_the_same(finished_copy, world_copy, monkeypatch):
    def work(settings: object, jobs: list, *_: object) -> list:
        assert jobs == []
        return []

    monkeypatch.setattr("driv3r.pipelines.process.run_jobs", work)
    for path in world_copy.rglob("*.json"):
        os.utime(path)
    before = {p.name: digest_arrays(p) for p in finished_copy.glob("*.zarr")}
    run = process(settings_for(world_copy), finished_copy, inline=True)
    assert [log.state for log in run.logs] == ["done", "done"]
    assert {p.name: digest_arrays(p) for p in finished_copy.glob("*.zarr")} == before


def test_the_stores_alone_make_the_report(finished, finished_copy):
    run, _ = finished
    shutil.rmtree(report_folder(finished_copy))
    (finished_copy / "run.json").unlink()
    page = report_again(finished_copy)
    data = json.loads((page.parent / "report.json").read_text())
    made = json.loads((report_folder(finished[1]) / "report.json").read_text())
    own = {"store", "settings", "title"}
    for again, first in zip(data["logs"], made["logs"], strict=True):
        assert {k: v for k, v in again.items() if k not in own} == {
            k: v for k, v in first.items() if k not in own
        }
    assert data["scores"] == made["scores"]
    assert len(run.logs[0].paths) == 2
    before = (report_folder(finished[1]) / "report.html").read_text()
    pictures = [text.count("data:image/jpeg;base64,") for text in (page.read_text(), before)]
    assert pictures[0] == pictures[1] >= 2 * 2  # two logs
    with pytest.raises(StoreError, match="no run"):
        report_again(finished_copy / "nowhere")


def test_a_report_is_of_the_last_run_alone(finished_copy):
    run = json.loads((finished_copy / "run.json").read_text())
    (finished_copy / "run.json").write_text(json.dumps(run | {"logs": run["logs"][:1]}))
    page = report_again(finished_copy)
    logs = json.loads((page.parent / "report.json").read_text())["logs"]
    assert [log["log_id"] for log in logs] == run["logs"][:1]


def test_done_is_never_replaced_by_failed(finished_copy, world_copy):
    table = world_copy / "v1.0-trainval/sample_data.json"
    rows = json.loads(table.read_text())
    next(r for r in rows if "000003" in r["filename"])["filename"] = "../../etc/passwd"
    table.write_text(json.dumps(rows))
    before = {p.name: digest_arrays(p) for p in finished_copy.glob("*.zarr")}
    run = process(settings_for(world_copy), finished_copy, inline=True, replace_finished=True)
    hurt = run.logs[0]
    assert (hurt.state, "UnsafePathError" in (hurt.error or "")) == ("done", True)
    assert hurt.scores
    store = hurt.log_id + ".zarr"
    assert digest_arrays(finished_copy / store) == before[store]


def test_a_second_run_on_one_folder_refuses(tiny_world, tmp_path):
    words = "another `driv3r process` is writing"
    with lock_folder(tmp_path, "driv3r process"), pytest.raises(ConfigError, match=words):
        process(settings_for(tiny_world), tmp_path, inline=True)
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


def test_too_small_a_disk_is_told_before_work(tiny_world, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9 - 10**5, 10**5)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda place: usage)
    with pytest.raises(StoreError, match=r"has 0.00 GB free; 2 logs of 3 frames take at least"):
        process(settings_for(tiny_world), tmp_path / "out", inline=True)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_log_is_left_alone(tiny_world, tmp_path):
    (tmp_path / "scene-0003.zarr").mkdir()
    (tmp_path / "scene-0003.zarr" / "mine.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists and is no driv3r log"):
        process(settings_for(tiny_world), tmp_path, inline=True)
    assert (tmp_path / "scene-0003.zarr" / "mine.txt").read_text() == "mine"


def test_an_unreadable_record_of_a_failure_stops_nothing(finished_copy):
    failure_file(finished_copy, "scene-0003").parent.mkdir(parents=True)
    failure_file(finished_copy, "scene-0003").write_text("{")
    (finished_copy / "scene-0003.zarr").rename(finished_copy / "gone")
    report_again(finished_copy)
    data = json.loads((report_folder(finished_copy) / "report.json").read_text())
    states = {log["log_id"]: log["state"] for log in data["logs"]}
    assert states == {"scene-0003": "failed", "scene-0012": "done"}


def test_ctrl_c_says_how_to_go_on(tiny_world, tmp_path):
    # A test run in the background ignores SIGINT, and so would its children.
    begin = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command = [sys.executable, "-c", begin + "from driv3r.cli.app import main; main()"]
    command += ["process", "--dataset", "nuscenes", "--inline"]
    command += ["--root", str(tiny_world), "--out", str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    entry = ".staging/*.zarr/lineage/000000/zarr.json"
    while not list(tmp_path.glob(entry)) and run.poll() is None:
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    _, complaint = run.communicate(timeout=60)
    assert run.returncode == 130
    lines = complaint.decode().strip().splitlines()
    assert lines == ["stopped: what is finished is kept, the same command continues"]


def test_the_store_tells_where_its_pixels_come_from(finished, tiny_world):
    """Original intrinsics, crops and files: enough to colour points without any tables."""
    run, out = finished
    store = LogStore.open(out / f"{run.logs[0].log_id}.zarr")
    header, scene = store.header, open_reader(settings_for(tiny_world)).read(store.log_id)
    work = prepare_rig(scene.rig, header.rig.cameras[0].size_hw)
    wanted = prepare_images(scene.frames[1], work)
    for view, (full, camera) in enumerate(
        zip(header.full_cameras, header.rig.cameras, strict=True)
    ):
        own, crop = crop_resize(full, camera.size_hw)
        np.testing.assert_allclose(own.K, camera.K)
        assert crop == header.crops[view]
        path = store.image_paths[1][view]
        y0, x0, h, w = header.crops[view]
        image = cv2.imread(str(tiny_world / path))[y0 : y0 + h, x0 : x0 + w, ::-1]
        size_wh = (camera.size_hw[1], camera.size_hw[0])
        seen = cv2.resize(np.ascontiguousarray(image), size_wh, interpolation=cv2.INTER_AREA)
        np.testing.assert_array_equal(seen, wanted[view])


def test_report_and_store_say_what_was_used(finished):
    run, out = finished
    assert run.settings["device"] == "cpu"
    assert run.settings["precision"] in ("fp32", "bf16")
    assert run.settings["weights"] == str(SHIPPED)
    assert len(run.settings["weights sha256"]) == 64
    made = LogStore.open(Path(run.logs[0].store)).provenance
    assert (made.device, made.precision) == ("cpu", run.settings["precision"])
    assert made.versions.keys() == {"driv3r", "torch", "numpy", "opencv"}
    page = (report_folder(out) / "report.html").read_text()
    assert "precision" in page
    assert dataclasses.asdict(made)["machine"] in page
