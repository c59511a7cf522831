"""One small world for all tests of whole runs."""

import shutil
from pathlib import Path

import pytest
from run_settings import settings_for

from driv3r.pipelines.process import process
from driv3r.simulator.export.nuscenes_writer import WorldConfig, write_world

TINY = WorldConfig(seeds=(3, 5), keyframes=3, size_hw=(64, 112), camera_hz=4)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory) -> Path:
    """Two logs, three keyframes each; not to be changed."""
    root = tmp_path_factory.mktemp("tiny") / "nuscenes"
    write_world(root, TINY, workers=2)
    return root


@pytest.fixture(scope="session")
def finished(tiny_world, tmp_path_factory):
    """An inline run over the tiny world, not to be changed: (run, folder)."""
    out = tmp_path_factory.mktemp("inline")
    return process(settings_for(tiny_world), out, inline=True), out


@pytest.fixture
def finished_copy(finished, tmp_path) -> Path:
    """A copy of the run's folder that a test may write to."""
    return Path(shutil.copytree(finished[1], tmp_path / "finished"))


@pytest.fixture
def world_copy(tiny_world, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_world, tmp_path / "damaged"))
