"""A small nuScenes folder: `pristine` to read, `root` a copy to break."""

import shutil
from pathlib import Path

import pytest
import tiny_nuscenes as tiny


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("nuscenes") / "root")


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / "root")
