"""A generated dataset says what it is, and is neither mixed with another nor taken for it."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from driv3r.errors import ConfigError
from driv3r.simulator.export import marker
from driv3r.simulator.export.marker import BEGUN, MARKER, check_world, discard_world
from driv3r.simulator.export.nuscenes_writer import WorldConfig, write_world

SMALL = WorldConfig(seeds=(3,), keyframes=1, size_hw=(32, 56), camera_hz=2, lidar_hz=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("made") / "nuscenes"
    assert not check_world(root, SMALL)
    write_world(root, SMALL, workers=1)
    return root


@pytest.fixture
def root(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def files_of(root: Path) -> dict[Path, bytes]:
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_whole_world_says_what_it_is_and_is_left_alone(root):
    note = json.loads((root / MARKER).read_text())
    assert note["generated"] is True
    assert note["recipe"]["keyframes"] == 1
    assert note["recipe"]["seeds"] == [3]
    assert not (root / BEGUN).exists()
    assert check_world(root, SMALL)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    write_world(root, SMALL, workers=1)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before


def test_another_recipe_is_refused_with_both_named(root):
    other = dataclasses.replace(SMALL, keyframes=2, seeds=(4,))
    before = files_of(root)
    for ask in (check_world, write_world):
        with pytest.raises(ConfigError, match="another --root") as told:
            ask(root, other)
        assert "keyframes is 2, was 1" in str(told.value)
        assert "seeds is [4], was [3]" in str(told.value)
    assert files_of(root) == before


def test_a_world_of_other_code_is_refused(root, monkeypatch):
    monkeypatch.setattr(marker, "hash_world", lambda without: "0" * 64)
    with pytest.raises(ConfigError, match=r"another state of the world's code.*another --root"):
        check_world(root, SMALL)


@pytest.mark.parametrize("name", ["v1.0-mini", "samples", "sweeps", "maps"])
def test_a_foreign_dataset_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    for ask in (check_world, write_world):
        with pytest.raises(ConfigError, match=rf"{name}.*did not write.*another --root"):
            ask(tmp_path, SMALL)
    assert [p.name for p in tmp_path.rglob("*")] == [name]


def test_a_folder_of_other_things_is_none(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    assert not check_world(tmp_path, SMALL)
    assert not check_world(tmp_path / "absent", SMALL)


def test_a_world_that_was_cut_is_made_anew(root, made, monkeypatch):
    """Cut when its first image was half written, or when tables but not yet the note are there."""
    (root / MARKER).rename(root / BEGUN)
    image = next(root.glob("samples/CAM_FRONT/*.jpg"))
    image.write_bytes(image.read_bytes()[:100])
    assert not check_world(root, SMALL)
    with pytest.raises(ConfigError, match="keyframes is 2, was 1"):
        check_world(root, dataclasses.replace(SMALL, keyframes=2))
    write_world(root, SMALL, workers=1)
    assert files_of(root) == files_of(made)

    def cut(tables, folder):
        raise KeyboardInterrupt

    other = root.with_name("cut")
    with monkeypatch.context() as patched:
        patched.setattr("driv3r.simulator.export.nuscenes_writer.nt.write_tables", cut)
        with pytest.raises(KeyboardInterrupt):
            write_world(other, SMALL, workers=1)
    assert not (other / MARKER).exists()
    assert not check_world(other, SMALL)
    write_world(other, SMALL, workers=1)
    assert files_of(other) == files_of(made)


@pytest.mark.parametrize("text", ["", "[]", '{"recipe": {}}'])
def test_a_damaged_note_is_told(root, text):
    (root / MARKER).write_text(text)
    with pytest.raises(ConfigError, match="is not the note of a generated world"):
        check_world(root, SMALL)


def test_another_world_is_replaced_when_asked_and_nothing_else(root, tmp_path):
    (root / "notes.txt").write_text("mine")
    before = files_of(root)
    discard_world(root, SMALL)
    assert files_of(root) == before
    discard_world(root, dataclasses.replace(SMALL, seeds=(4,)))
    assert [path.name for path in root.iterdir()] == ["notes.txt"]
    recorded = tmp_path / "recorded"
    (recorded / "samples").mkdir(parents=True)
    (recorded / "samples" / "a.jpg").write_bytes(b"recorded")
    discard_world(recorded, SMALL)
    assert (recorded / "samples" / "a.jpg").read_bytes() == b"recorded"
