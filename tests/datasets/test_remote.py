"""Roots in an object store, against the same dataset in a folder. The store is fsspec's memory."""

import gc
import os
from pathlib import Path

import fsspec
import numpy as np
import pytest

from driv3r.datasets import open_dataset
from driv3r.datasets.remote import RemoteReader, is_at_hand
from driv3r.errors import ConfigError, DatasetError, UnsafePathError
from driv3r.pipelines.job import Job
from driv3r.pipelines.preflight import describe_run, make_provenance, resolve
from driv3r.pipelines.process import announce
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


def held_gb(tmp_path: Path) -> float:
    files = (path for path in (tmp_path / "cache").rglob("*.*") if ".logs" not in path.parts)
    return sum(path.stat().st_size for path in files if path.is_file()) / 1e9


@pytest.fixture
def three_logs(store, tmp_path: Path):
    """A reader of a store with logs LOG, b and c, all alike."""
    local = tiny_argoverse2.write(tmp_path / "local")
    for name in (tiny_argoverse2.LOG, "b", "c"):
        upload(store, local / "val" / tiny_argoverse2.LOG, f"/bucket/data/val/{name}")
    return open_dataset("argoverse2", Path("memory://bucket/data"))


def test_what_was_read_least_lately_makes_room(three_logs, tmp_path: Path, monkeypatch) -> None:
    three_logs.read(tiny_argoverse2.LOG)
    log_gb = held_gb(tmp_path)
    monkeypatch.setenv("DRIV3R_CACHE_GB", str(2.5 * log_gb))
    three_logs.read("b")
    assert held_gb(tmp_path) == pytest.approx(2 * log_gb)
    scene = three_logs.read("c")
    assert [frame.repairs for frame in scene.frames] == [()] * len(scene.frames)
    assert held_gb(tmp_path) == pytest.approx(2 * log_gb)
    held = [is_at_hand(three_logs, name) for name in (tiny_argoverse2.LOG, "b", "c")]
    assert held == [False, True, True]
    monkeypatch.setenv("DRIV3R_CACHE_GB", "lots")
    with pytest.raises(ConfigError, match="DRIV3R_CACHE_GB is 'lots', expected a number"):
        three_logs.read(tiny_argoverse2.LOG)


def test_a_log_in_use_stays(three_logs, tmp_path: Path, monkeypatch) -> None:
    """Another worker once removed its images, and they were counted as missing."""
    monkeypatch.setenv("DRIV3R_CACHE_GB", "1e-9")
    frames = three_logs.read(tiny_argoverse2.LOG).frames
    another = open_dataset("argoverse2", Path("memory://bucket/data"))
    another.read("b")
    another.read(tiny_argoverse2.LOG)
    another.read("c")
    assert [frame.repairs for frame in frames] == [()] * len(frames)
    del frames
    gc.collect()
    another.read("b")
    assert not is_at_hand(three_logs, tiny_argoverse2.LOG)


def test_logs_are_fetched_when_they_are_begun(three_logs, tmp_path: Path, monkeypatch) -> None:
    settings = Settings("argoverse2", Path("memory://bucket/data"), "val")
    told = []
    jobs = [Job(settings, name, tmp_path / "out") for name in ("b", "c")]
    three_logs.read("c")
    monkeypatch.setattr(three_logs, "_fetch", lambda *_: pytest.fail("a log is fetched"))
    announce(jobs, three_logs, lambda log, *_: told.append(log))
    assert told == ["c"]


def test_what_has_gone_from_the_store_is_no_log(three_logs, store, tmp_path: Path) -> None:
    store.rm("/bucket/data/val/b", recursive=True)
    assert open_dataset("argoverse2", Path("memory://bucket/data")).scenes("all") == (
        tiny_argoverse2.LOG,
        "c",
    )


def test_what_can_not_be_is_said(store, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(DatasetError, match="nothing of memory://bucket/none is named as"):
        open_dataset("waymo", Path("memory://bucket/none"))
    for name, rest in (("nuscenes", "nuscenes"), ("folder", "x"), ("ddad", "x")):
        with pytest.raises(ConfigError, match=f"{name} is read from folders.*of waymo, argoverse2"):
            open_dataset(name, Path(f"gs://bucket/{rest}"))
    for option in ("rig", "split_file"):
        with pytest.raises(ConfigError, match="leave --"):
            open_dataset("waymo", Path("memory://bucket/data"), **{option: tmp_path / "x"})
    with pytest.raises(ConfigError, match="Protocol not known: nowhere"):
        open_dataset("waymo", Path("nowhere://bucket"))
    with pytest.raises(ConfigError, match="give the folder's path"):
        open_dataset("waymo", Path(f"file://{tmp_path}"))
    upload(store, tiny_waymo.write_v1(tmp_path / "local"), "/bucket/data")
    (tmp_path / "in the way").write_text("a file")
    monkeypatch.setenv("DRIV3R_CACHE", str(tmp_path / "in the way"))
    with pytest.raises(ConfigError, match="set DRIV3R_CACHE to another"):
        open_dataset("waymo", Path("memory://bucket/data"))


def test_a_name_can_not_lead_out_of_the_cache(store, monkeypatch) -> None:
    store.pipe_file("/bucket/data/training/x.tfrecord", b"x")
    monkeypatch.setattr(
        RemoteReader, "_list", lambda self: iter([("training/../../../../x.tfrecord", 1)])
    )
    with pytest.raises(UnsafePathError, match="outside of"):
        open_dataset("waymo", Path("memory://bucket/data"))


def test_a_url_stays_one(tmp_path: Path) -> None:
    assert url_of(Path("gs://bucket/data/x")) == "gs://bucket/data/x"
    assert url_of(Path("s3:/bucket")) == "s3://bucket"
    for local in ("/data/x", "data", "a:b", "C:/data"):
        assert url_of(Path(local)) is None
    settings = resolve(Settings("waymo", Path("gs://bucket/data")))
    assert url_of(settings.root) == "gs://bucket/data"
    provenance = make_provenance(settings)
    assert describe_run(settings, provenance)["root"] == "gs://bucket/data"
