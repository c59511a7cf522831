"""Roots in an object store, against the same dataset in a folder. The store is fsspec's memory."""

import os
from pathlib import Path

import fsspec
import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.settings import Settings, url_of
from driv3r.types import Scene
from tests.datasets import tiny_argoverse2, tiny_waymo

WRITERS = {
    "v1": ("waymo", tiny_waymo.write_v1, tiny_waymo.SEGMENT),
    "v2": ("waymo", tiny_waymo.write_v2, tiny_waymo.SEGMENT),
    "argoverse2": ("argoverse2", tiny_argoverse2.write, tiny_argoverse2.LOG),
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DRIV3R_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def upload(store, folder: Path, to: str) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.pipe_file(f"{to}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def assert_same(a: Scene, b: Scene) -> None:
    assert a.input_hash == b.input_hash
    assert len(a.frames) == len(b.frames)
    for i, (one, other) in enumerate(zip(a.frames, b.frames, strict=True)):
        assert one.repairs == other.repairs == ()
        for x, y in zip(one.views, other.views, strict=True):
            assert x is not None
            assert y is not None
            assert x.path == y.path
            np.testing.assert_array_equal(x.image, y.image)
        assert one.sweep is not None
        assert other.sweep is not None
        np.testing.assert_array_equal(one.sweep.points_lidar, other.sweep.points_lidar)
        assert a.boxes is not None
        assert b.boxes is not None
        assert (a.boxes(i) is None) == (b.boxes(i) is None)


@pytest.mark.parametrize("layout", WRITERS)
def test_a_log_is_as_it_is_of_a_folder(layout: str, store, tmp_path: Path) -> None:
    dataset, write, scene_id = WRITERS[layout]
    root = write(tmp_path / "local")
    upload(store, root, "/bucket/data")
    near, far = (open_dataset(dataset, at) for at in (root, Path("memory://bucket/data")))
    assert far.scenes("all") == near.scenes("all")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.stat().st_size]
    assert_same(far.read(scene_id), near.read(scene_id))
    if layout != "argoverse2":  # whose files are listed when they are asked for
        store.store.clear()
        assert_same(far.read(scene_id), near.read(scene_id))


def test_a_file_that_the_store_cuts_short_is_not_kept(store, tmp_path: Path, monkeypatch) -> None:
    upload(store, tiny_waymo.write_v1(tmp_path / "local"), "/bucket/data")
    reader = open_dataset("waymo", Path("memory://bucket/data"))
    whole = store.get

    def cut(sources: list[str], targets: list[str]) -> None:
        whole(sources, targets)
        os.truncate(targets[0], 10)

    monkeypatch.setattr(store, "get", cut)
    with pytest.raises(DatasetError, match="came with 10 bytes, the store lists"):
        reader.read(tiny_waymo.SEGMENT)
    monkeypatch.setattr(store, "get", whole)
    assert len(reader.read(tiny_waymo.SEGMENT).frames) > 0
    assert not list((tmp_path / "cache").rglob(".part-*"))


def test_what_was_read_least_lately_makes_room(store, tmp_path: Path, monkeypatch) -> None:
    local = tiny_argoverse2.write(tmp_path / "local")
    upload(store, local, "/bucket/data")
    split = next(path.parent.parent.name for path in local.glob("*/*/sensors"))
    upload(store, local / split / tiny_argoverse2.LOG, f"/bucket/data/{split}/another")
    reader = open_dataset("argoverse2", Path("memory://bucket/data"))
    reader.read(tiny_argoverse2.LOG)
    log_gb = sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*") if p.is_file()) / 1e9
    monkeypatch.setenv("DRIV3R_CACHE_GB", str(1.5 * log_gb))
    scene = reader.read("another")
    assert [frame.repairs for frame in scene.frames] == [()] * len(scene.frames)
    held = sum(p.stat().st_size for p in (tmp_path / "cache").rglob("*") if p.is_file()) / 1e9
    assert held <= 1.5 * log_gb
    assert len(reader.read(tiny_argoverse2.LOG).frames) == len(scene.frames)
    monkeypatch.setenv("DRIV3R_CACHE_GB", "lots")
    with pytest.raises(ConfigError, match="DRIV3R_CACHE_GB is 'lots', expected a number"):
        reader.read("another")


def test_what_can_not_be_is_said(store, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing of memory://bucket/none is named as"):
        open_dataset("waymo", Path("memory://bucket/none"))
    with pytest.raises(ConfigError, match="nuscenes is read from folders.*of waymo, argoverse2"):
        open_dataset("nuscenes", Path("gs://bucket/nuscenes"))
    with pytest.raises(ConfigError, match="Protocol not known: nowhere"):
        open_dataset("waymo", Path("nowhere://bucket"))
    upload(store, tiny_waymo.write_v1(tmp_path / "local"), "/bucket/data")
    (file,) = store.glob("/bucket/data/*/*.tfrecord")
    name = f"segment-{tiny_waymo.SEGMENT}"
    store.store.clear()
    store.pipe_file(f"/bucket/data/training/../../../../../{name}.tfrecord", b"x")
    with pytest.raises((UnsafePathError, DatasetError)):
        open_dataset("waymo", Path("memory://bucket/data")).read(tiny_waymo.SEGMENT)
    assert not list(tmp_path.parent.glob(f"{name}*"))


def test_a_url_stays_one(tmp_path: Path) -> None:
    assert url_of(Path("gs://bucket/data/x")) == "gs://bucket/data/x"
    assert url_of(Path("s3:/bucket")) == "s3://bucket"
    for local in ("/data/x", "data", "a:b", "C:/data"):
        assert url_of(Path(local)) is None
    assert url_of(Settings("waymo", Path("gs://bucket/data")).root) == "gs://bucket/data"
