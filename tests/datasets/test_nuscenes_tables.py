"""The nuScenes reader on tables that are broken, incomplete or hostile."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_nuscenes as tiny
from tiny_nuscenes import read

from driv3r.datasets import open_dataset
from driv3r.errors import ConfigError, DatasetError, UnsafePathError

BROKEN, WHOLE = tiny.SCENES


def name_outside(root: Path) -> str:
    return f"../{root.name}2/secret.jpg"


def name_absolute(root: Path) -> str:
    return str(root.parent / "secret.jpg")


def name_by_link(root: Path) -> str:
    (root.parent / "secret.jpg").write_bytes(b"")
    (root / "link.jpg").symlink_to(root.parent / "secret.jpg")
    return "link.jpg"


def name_loop(root: Path) -> str:
    (root / "loop").symlink_to(root / "loop")
    return "loop/a.jpg"


@pytest.mark.parametrize("name", [name_outside, name_absolute, name_by_link, name_loop])
def test_a_file_outside_the_root_refuses_its_scene_only(root: Path, name) -> None:
    filename = name(root)

    def redirect(rows: list) -> None:
        next(r for r in rows if r["token"].startswith(BROKEN))["filename"] = filename

    tiny.edit(root, "sample_data", redirect)
    reader = open_dataset("nuscenes", root)
    with pytest.raises(UnsafePathError):
        reader.read(BROKEN)
    assert reader.read(WHOLE).frames[0].repairs == ()


def test_a_scene_name_that_is_a_path_is_refused(root: Path) -> None:
    tiny.edit(root, "scene", lambda rows: rows[0].update(name="../evil"))
    reader = open_dataset("nuscenes", root)
    with pytest.raises(UnsafePathError, match="evil"):
        reader.read("../evil")


# table whose rows are cut, how to know the row, what the message must name
DANGLING = [
    ("ego_pose", f"{BROKEN}/CAM_FRONT/", ("ego_pose", BROKEN), False),
    ("calibrated_sensor", f"{BROKEN}/CAM_FRONT", ("calibrated_sensor", f"{BROKEN}/CAM"), False),
    ("sample", f"{BROKEN}/sample1", ("sample", f"{BROKEN}/sample1"), False),
    ("sample_data", f"{BROKEN}/CAM_BACK/1600000000353333", ("sample_data", "353333"), True),
]


@pytest.mark.parametrize(("table", "prefix", "named", "sweeps"), DANGLING)
def test_a_dangling_token_refuses_its_scene_only(
    root: Path, table: str, prefix: str, named: tuple, sweeps: bool
) -> None:
    def cut(rows: list) -> None:
        row = next(r for r in rows if r["token"].startswith(prefix))
        rows.remove(row)

    tiny.edit(root, table, cut)
    reader = open_dataset("nuscenes", root, sweeps=sweeps)
    with pytest.raises(DatasetError) as caught:
        reader.read(BROKEN)
    assert all(word in str(caught.value) for word in named)
    assert reader.read(WHOLE).frames[0].repairs == ()


def test_a_chain_that_bites_its_tail_is_refused(root: Path) -> None:
    tiny.edit(root, "sample", lambda rows: rows[2].update(next=rows[0]["token"]))
    with pytest.raises(DatasetError, match="follows itself"):
        read(root)


def test_times_that_run_backwards_are_refused(root: Path) -> None:
    tiny.edit(root, "sample", lambda rows: rows[1].update(next=rows[0]["token"]))
    tiny.edit(root, "sample", lambda rows: rows[0].update(next=""))
    tiny.edit(root, "scene", lambda rows: rows[0].update(first_sample_token=f"{BROKEN}/sample1"))
    with pytest.raises(DatasetError, match="backwards"):
        read(root)


@pytest.mark.parametrize("text", ['[{"token": "a"', "{}", "[3]", '[{"token": 5}]', "\xff", None])
@pytest.mark.parametrize("table", ["sample_data", "scene"])
def test_a_broken_table_is_named(root: Path, table: str, text: str | None) -> None:
    path = root / "v1.0-trainval" / f"{table}.json"
    path.unlink() if text is None else path.write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match=rf"{table}\.json"):
        open_dataset("nuscenes", root).scenes("all")


def test_missing_links_are_filled_and_said(root: Path, pristine: Path) -> None:
    def strip(rows: list) -> None:
        for row in rows:
            for link in ("prev", "next", "first_sample_token", "last_sample_token"):
                row.pop(link, None)
        rows.reverse()

    for table in ("scene", "sample", "sample_data"):
        tiny.edit(root, table, strip)
    (root / "v1.0-trainval" / "sample_annotation.json").unlink()
    mended, whole = read(root, sweeps=True), read(pristine, sweeps=True)
    assert {repair.where.split("/")[1] for repair in mended.repairs} == {
        "scene.json",
        "sample.json",
        "sample_data.json",
    }  # nobody asks for annotations here
    for a, b in zip(mended.frames, whole.frames, strict=True):
        assert a.time_us == b.time_us
        np.testing.assert_array_equal(a.world_T_ego, b.world_T_ego)
        assert a.sweep is not None
        assert b.sweep is not None
        np.testing.assert_array_equal(a.sweep.points_lidar, b.sweep.points_lidar)


def test_another_calibration_in_the_scene_is_left_out(root: Path) -> None:
    def add(rows: list) -> None:
        row = next(r for r in rows if r["token"] == f"{BROKEN}/CAM_FRONT")
        rows.append(row | {"token": "other", "translation": [9, 9, 9]})

    def use(rows: list) -> None:
        mine = [r for r in rows if r["token"].startswith(f"{BROKEN}/CAM_FRONT")]
        mine[6]["calibrated_sensor_token"] = "other"

    tiny.edit(root, "calibrated_sensor", add)
    tiny.edit(root, "sample_data", use)
    frames = read(root).frames
    assert frames[0].repairs == ()
    assert frames[1].views[0] is None
    assert "differs" in frames[1].repairs[0].reason


def test_splits_choose_the_version_folder(root: Path) -> None:
    reader = open_dataset("nuscenes", root)
    with pytest.raises(ConfigError, match="train, val"):
        reader.scenes("valley")
    with pytest.raises(DatasetError, match="--split all"):
        reader.scenes("test")
    tables = root / "v1.0-trainval"
    shutil.copytree(tables, root / "v1.0-mini")
    tiny.edit(root, "scene", lambda rows: rows[0].update(name="scene-0014"))
    both = open_dataset("nuscenes", root)
    assert both.scenes("val") == ("scene-0012", "scene-0014")
    assert both.scenes("all") == ("scene-0003", "scene-0012", "scene-0014")
    assert open_dataset("nuscenes", root).read("scene-0003").id == "scene-0003"
    shutil.move(tables, root / "v1.0-other")
    with pytest.raises(DatasetError, match=r"v1\.0-mini, v1\.0-other"):
        open_dataset("nuscenes", root).scenes("val")


def test_a_root_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"v1\.0-trainval"):
        open_dataset("nuscenes", tmp_path)
    with pytest.raises(DatasetError, match="folder"):
        open_dataset("nuscenes", tmp_path / "none")
    with pytest.raises(ConfigError, match="nuscenes, ddad"):
        open_dataset("kity", tmp_path)
