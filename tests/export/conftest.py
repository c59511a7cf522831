"""One finished log of a drive that is known exactly."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_drive import write_drive, write_images

from driv3r.export import ExportSelection, export_log
from driv3r.store.reader import LogStore


@pytest.fixture(scope="session")
def drive(tmp_path_factory) -> LogStore:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        return LogStore.open(write_drive(tmp_path_factory.mktemp("drive")))


@pytest.fixture(scope="session")
def images_root(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("root"))


@pytest.fixture
def export(drive, tmp_path) -> Callable[..., Path]:
    """Writes one format and gives its folder; the keywords are those of ExportSelection."""

    def write(form: str, store: LogStore = drive, **selection) -> Path:
        [done] = export_log(store, [form], ExportSelection(**selection), tmp_path)
        return done.folder

    return write
