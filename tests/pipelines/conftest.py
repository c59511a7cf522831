"""One small world for all tests of whole runs."""

import shutil
from pathlib import Path

import pytest

from driv3r.world.nuscenes_writer import WorldRecipe, write_world

TINY = WorldRecipe(seeds=(3, 5), keyframes=3, size_hw=(64, 112), camera_hz=4)


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory) -> Path:
    """Two logs, three keyframes each; not to be changed."""
    root = tmp_path_factory.mktemp("tiny") / "nuscenes"
    write_world(root, TINY, workers=2)
    return root


@pytest.fixture
def world_copy(tiny_world, tmp_path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_world, tmp_path / "damaged"))
