import os
import shutil
from pathlib import Path

import pytest
from store_logs import write_log

from driv3r.store.commit import commit


@pytest.fixture(autouse=True, scope="module")
def _quick_disk():
    """Flushing guards against power cuts, which no test here makes; it is most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def sealed(tmp_path_factory) -> Path:
    """A sealed staging folder; tests that change it take a copy."""
    staging = tmp_path_factory.mktemp("sealed") / "staging"
    write_log(staging)
    return staging


@pytest.fixture(scope="session")
def made(sealed, tmp_path_factory) -> Path:
    """A finished log; tests that change it take a copy."""
    out = tmp_path_factory.mktemp("out")
    commit(shutil.copytree(sealed, out / "staging"), out / "log-1.zarr")
    return out / "log-1.zarr"


@pytest.fixture
def copied(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))
