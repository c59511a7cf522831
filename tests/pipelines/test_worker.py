"""What a worker leaves as it found it, and what it says where the disk or it itself fails."""

import errno
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from run_settings import settings_for
from threadpoolctl import threadpool_info

from driv3r.datasets.preprocess import WorkRig, prepare_images
from driv3r.evaluation.rescore import rescore
from driv3r.pipelines.job import Job
from driv3r.pipelines.process import process
from driv3r.pipelines.worker import LogWorker, limited_threads
from driv3r.simulator.export.nuscenes_writer import WorldConfig, write_world
from driv3r.store.reader import LogStore
from driv3r.types import Frame


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_threads_are_the_settings_within_and_the_callers_after():
    before = torch.get_num_threads(), cv2.getNumThreads(), blas_threads()
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    try:
        with limited_threads(1):
            assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
            assert set(blas_threads()) == {1}
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)
        assert blas_threads() == before[2]
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_fails_its_log_in_a_line(tiny_world, tmp_path, monkeypatch, number):
    """Its handler once failed itself, and took all other logs with it."""

    def refuse(*_: object) -> None:
        raise OSError(number, "the disk says no")

    worker = LogWorker(settings_for(tiny_world))
    monkeypatch.setattr("driv3r.store.files.os.fsync", refuse)
    result = worker.run(Job(worker.settings, "scene-0003", tmp_path), lambda *event: None)
    assert result.state == "failed"
    assert "the disk says no" in (result.error or "")
    assert "what is written" in (result.error or "")
    assert ("the disk is full" in (result.error or "")) == (number == errno.ENOSPC)


@pytest.mark.parametrize("fuse", ["cameras", "both"])
@pytest.mark.parametrize("kept_bytes", [2**28, 1])  # in memory, and in temporary files
def test_a_frame_is_read_once(tiny_world, finished, tmp_path, monkeypatch, kept_bytes, fuse):
    """Prediction, scoring and fusion share it, and the map is the same."""
    read: Counter[int] = Counter()

    def count(frame: Frame, work: WorkRig):
        read[frame.time_us] += 1
        return prepare_images(frame, work)

    def refuse(*_: object) -> None:
        raise AssertionError("fusion reads a frame again")

    monkeypatch.setattr("driv3r.evaluation.stored_frames.prepare_images", count)
    monkeypatch.setattr("driv3r.pipelines.worker.prepare_images", refuse)
    monkeypatch.setattr("driv3r.pipelines.worker.KEPT_BYTES", kept_bytes)
    run = process(settings_for(tiny_world, fuse=fuse), tmp_path, inline=True, limit=1)
    assert [log.state for log in run.logs] == ["done"]
    assert list(read.values()) == [1, 1, 1]
    made, before = (LogStore.open(out / "scene-0003.zarr") for out in (tmp_path, finished[1]))
    if fuse == "cameras":
        for name, value in vars(before.static()).items():
            np.testing.assert_array_equal(vars(made.static())[name], value)
    assert made.static().rgb.max() > 50  # not the black of a missing image


def test_a_fault_of_ours_is_noted_even_where_notes_can_not_be_written(tmp_path, monkeypatch):
    worker = LogWorker(settings_for(tmp_path))
    monkeypatch.setattr(worker, "_run", lambda *_: 1 / 0)
    blocked = tmp_path / "report"
    blocked.write_text("a file where a folder is needed")
    result = worker.run(Job(worker.settings, "scene-0003", tmp_path), lambda *event: None)
    assert "unexpected ZeroDivisionError" in (result.error or "")
    blocked.unlink()
    worker.run(Job(worker.settings, "scene-0003", tmp_path), lambda *event: None)
    (notes,) = (tmp_path / "report/failed").glob("*.traceback.txt")
    assert "1 / 0" in notes.read_text()


def test_a_run_over_sweeps_is_scored_again_as_it_was_made(tmp_path):
    """All its frames may be keyframes: the store says how it was made, its frames do not."""
    recipe = WorldConfig(seeds=(3,), keyframes=2, size_hw=(64, 112), camera_hz=2)
    write_world(tmp_path / "nuscenes", recipe, workers=2)
    settings = settings_for(tmp_path / "nuscenes", sweeps=True, refine="none")
    run = process(settings, tmp_path / "out", inline=True)
    store = LogStore.open(Path(run.logs[0].store))
    assert store.header.is_keyframe.all()
    again = rescore(tmp_path / "out", "nuscenes", settings.root, "nuscenes", lambda *event: None)
    assert {(s.metric, s.value) for s in again.scores} == {(s.metric, s.value) for s in run.scores}
