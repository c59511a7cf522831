"""`driv3r export`: what is chosen, what is refused, and that nothing is left half-written."""

import json
import re
import shutil
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from made_drive import make_moving, make_static, write_drive
from typer.testing import CliRunner

from driv3r.cli.app import app, main
from driv3r.errors import ConfigError, StoreError
from driv3r.export import ExportFormat, ExportSelection, export_log, list_formats, select, writing
from driv3r.export import registry as formats
from driv3r.export.packages import need
from driv3r.export.selection import parse_crop, parse_frames
from driv3r.store.reader import LogStore
from driv3r.store.writer import sort_static


def test_a_selection_chooses_by_weight_frames_box_and_layer(drive):
    static, moving = sort_static(make_static()), make_moving()
    crop = (-2.0, -2.0, -1.0, 5.0, 4.0, 2.0)
    low, high = np.array(crop[:3]), np.array(crop[3:])
    selected = select(drive, ExportSelection(100, (1, 3), crop_world_m=crop))
    place = static.points_world
    kept = (static.weight >= 100) & (static.first_frame < 3) & (static.last_frame >= 1)
    kept &= ((place >= low) & (place <= high)).all(-1)
    assert 0 < kept.sum() < len(kept)
    np.testing.assert_array_equal(selected.static.index, static.index[kept])
    centers = moving.world_T_object[:, :3, 3]
    states = (moving.frame >= 1) & (moving.frame < 3)
    states &= ((centers >= low) & (centers <= high)).all(-1)
    assert 0 < states.sum() < len(states)
    np.testing.assert_array_equal(selected.moving.time_us, moving.time_us[states])
    assert set(selected.moving.points_track) == set(moving.track_id[states])
    assert list(selected.frames) == [1, 2]
    assert len(select(drive, ExportSelection(layers=("static",))).moving.track_id) == 0
    assert len(select(drive, ExportSelection(layers=("path",))).static.index) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:3", [1, 2]),
        (":2", [0, 1]),
        ("3:", [3, 4]),
        ("2", [2]),
        ("-1", [4]),
        (":", [0, 1, 2, 3, 4]),
    ],
)
def test_frames_are_chosen_as_python_slices(drive, text, expected):
    assert list(select(drive, ExportSelection(frames=parse_frames(text))).frames) == expected


def test_what_can_not_be_chosen_is_refused(drive):
    for wrong in ("a:b", "1:2:3", "x"):
        with pytest.raises(ConfigError, match="--frames"):
            parse_frames(wrong)
    with pytest.raises(ConfigError, match="none of the 5"):
        select(drive, ExportSelection(frames=(7, 9)))
    for wrong in ((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 1.0), (np.nan,) * 6):
        with pytest.raises(ConfigError, match="--crop"):
            ExportSelection(crop_world_m=wrong)
    with pytest.raises(ConfigError, match="--crop"):
        parse_crop("1,2,three")


def test_every_format_is_written_and_tells_of_itself(drive, tmp_path):
    done = export_log(drive, ["all"], ExportSelection(), tmp_path)
    assert [each.format for each in done] == list(list_formats())
    for each in done:
        if each.skipped:
            assert "pip install 'driv3r[" in each.skipped
            continue
        about = json.loads((each.folder / "export.json").read_text())
        assert about["format"] == each.format
        assert about["log"] == "drive-1"
        assert about["origin_world_m"] == [100.0, 2000.0, 3.0]
        assert each.size_bytes == sum(path.stat().st_size for path in each.files)
    assert not list(tmp_path.rglob("*.partial"))


def test_what_is_there_is_replaced_only_when_asked(drive, tmp_path):
    export_log(drive, ["tum", "ply"], ExportSelection(), tmp_path)
    (tmp_path / "drive-1/tum/mine.txt").touch()
    with pytest.raises(ConfigError, match="--replace"):
        export_log(drive, ["euroc", "tum"], ExportSelection(), tmp_path)
    assert (tmp_path / "drive-1/tum/mine.txt").exists()
    assert not (tmp_path / "drive-1/euroc").exists()
    export_log(drive, ["tum"], ExportSelection(), tmp_path, replace=True)
    assert not (tmp_path / "drive-1/tum/mine.txt").exists()


def test_a_failed_format_leaves_what_was_there(drive, tmp_path, monkeypatch):
    def fail(selected, folder):
        (folder / "half.txt").write_text("half")
        raise StoreError("the disk is gone")

    export_log(drive, ["tum"], ExportSelection(), tmp_path)
    before = {p: p.read_bytes() for p in (tmp_path / "drive-1/tum").iterdir()}
    monkeypatch.setitem(formats.FORMATS, "tum", ExportFormat("fails", fail, ("path",)))
    list_formats.cache_clear()
    with pytest.raises(StoreError, match="the disk is gone"):
        export_log(drive, ["tum"], ExportSelection(), tmp_path, replace=True)
    list_formats.cache_clear()
    assert {p: p.read_bytes() for p in (tmp_path / "drive-1/tum").iterdir()} == before
    assert not list(tmp_path.rglob("*.partial"))


def test_a_log_that_was_not_fused_has_its_path_and_depth(tmp_path):
    store = LogStore.open(write_drive(tmp_path, fused=False))
    done = {each.format: each for each in export_log(store, ["all"], ExportSelection(), tmp_path)}
    assert not done["tum"].skipped
    assert not done["depth-png"].skipped
    assert "static" in done["ply"].skipped
    with pytest.raises(ConfigError, match="ply"):
        export_log(store, ["ply"], ExportSelection(), tmp_path, replace=True)


def test_a_missing_library_is_named_with_the_command_that_brings_it(drive, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "is_there", lambda module: module != "laspy")
    with pytest.raises(ConfigError, match=r"laspy .*pip install 'driv3r\[export\]'"):
        export_log(drive, ["ply", "laz"], ExportSelection(), tmp_path)
    assert not (tmp_path / "drive-1").exists()
    with pytest.raises(ConfigError, match=r"pip install 'driv3r\[rerun\]'"):
        need("a_module_that_is_nowhere", "rerun")


def test_installed_packages_add_formats(drive, tmp_path, monkeypatch):
    def entry_points(group):
        assert group == "driv3r.exports"
        return [EntryPoint("count", "their_exports:form", group)]

    (tmp_path / "their_exports.py").write_text(
        "from driv3r.export import ExportFormat\n"
        "def write(selected, folder):\n"
        "    (folder / 'count.txt').write_text(str(len(selected.static.index)))\n"
        "    return {'note': 1}\n"
        "form = ExportFormat('counts voxels', write, ('static',))\n"
        "wrong = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(formats, "entry_points", entry_points)
    list_formats.cache_clear()
    [done] = export_log(drive, ["count"], ExportSelection(), tmp_path)
    assert (done.folder / "count.txt").read_text() == str(len(make_static().index))
    wrong = [EntryPoint("wrong", "their_exports:wrong", "driv3r.exports")]
    monkeypatch.setattr(formats, "entry_points", lambda group: wrong)
    list_formats.cache_clear()
    with pytest.raises(ConfigError, match="ExportFormat"):
        list_formats()
    monkeypatch.undo()
    list_formats.cache_clear()


def test_a_format_of_ones_own_is_as_the_docs_say(drive, tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs/how-to/export.md"
    [block] = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    names: dict = {}
    exec(block, names)
    monkeypatch.setitem(formats.FORMATS, "txt", names["text"])
    list_formats.cache_clear()
    [done] = export_log(drive, ["txt"], ExportSelection(), tmp_path)
    list_formats.cache_clear()
    xyz = np.loadtxt(done.folder / "points.txt")
    np.testing.assert_allclose(xyz, sort_static(make_static()).points_world, atol=0.00051)
    listed = re.findall(r"^\| (`[a-z0-9`, -]+`) \|", page.read_text(), re.M)
    told = {name.strip("` ") for cell in listed for name in cell.split(",")}
    assert set(formats.FORMATS) - {"txt"} <= told


def test_the_command_writes_beside_the_log_and_tells_where(drive, tmp_path):
    log = shutil.copytree(drive.path, tmp_path / "drive-1.zarr")
    result = CliRunner().invoke(app, ["export", str(log), "--to", "tum,csv", "--frames", "0:2"])
    assert result.exit_code == 0, result.output
    assert "export/drive-1" in result.output.replace("\n", "")
    assert len((tmp_path / "export/drive-1/tum/ego.txt").read_text().splitlines()) == 3
    assert "--min-weight" in CliRunner().invoke(app, ["export", "--help"]).output
    listed = CliRunner().invoke(app, ["export", "--list"])
    assert "Occ3D" in listed.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--list"),
        (("LOG", "--to", "obj"), "known: all, ply"),
        (("nowhere", "--to", "ply"), "no *.zarr"),
        (("LOG", "--to", "ply", "--layers", "roads"), "static"),
        (("LOG", "--to", "ply", "--crop", "1,2"), "x0,y0,z0"),
        (("LOG", "--to", "tum", "--layers", "static"), "path"),
        (("LOG", "--to", "colmap", "--images", "copy"), "--root"),
        (("LOG", "--to", "colmap", "--images", "copy", "--root", "nowhere"), "no folder"),
    ],
)
def test_errors_are_one_line_with_a_remedy(
    drive, tmp_path, monkeypatch, capsys, arguments, message
):
    words = [str(drive.path) if word == "LOG" else word for word in arguments]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["driv3r", "export", *words, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert message in told
    assert "Traceback" not in told
    assert not list(tmp_path.rglob("export.json"))
