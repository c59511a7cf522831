"""Every command and stage against bad input and bad luck: one typed line, and no harm done."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from driv3r.cli import main
from tests.datasets import tiny_nuscenes
from tests.faults import matrix_commands
from tests.faults.matrix import COMMAND_FAULTS, ELSEWHERE
from tests.faults.place import Place, Shop, write_small_weights
from tests.faults.rows import KINDS, CommandFault, Elsewhere, pattern

ROOMS = ("views", "static", "dynamic", "poses", "rig", "frames", "eval", "pictures")
TYPED = re.compile(r"(Config|Dataset|UnsafePath|Checkpoint|Store|Scoring|Geometry)Error: \S")
DEADLY = """
import importlib, os, signal, sys
module, name = sys.argv.pop(1).rsplit(".", 1)
deadly = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
setattr(importlib.import_module(module), name, deadly)
from driv3r.cli import main
main()
"""


@pytest.fixture(scope="module", autouse=True)
def _quick_disk():
    """Flushing guards against power cuts, which no test here makes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    data = tiny_nuscenes.write(folder / "data")
    made = Shop(data, write_small_weights(folder / "weights.safetensors"), folder / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["driv3r", *Place(folder, made).process()])
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    return made


def call(arguments: list[str], folder: Path, capsys) -> tuple[int, str, str]:
    """Exit status and what went to stdout and stderr."""
    if arguments[0] == "kill -9":
        ended = subprocess.run(
            [sys.executable, "-c", DEADLY, *arguments[1:]], cwd=folder, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout, ended.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["driv3r", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out, printed.err


def digest(folder: Path) -> dict[str, str]:
    """sha256 of every file below, by its path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def name(row: CommandFault) -> str:
    return f"{row.subject}: {row.kind}: {row.what}"


@pytest.mark.parametrize("row", COMMAND_FAULTS, ids=name)
def test_a_command_refuses_or_repairs(
    shop: Shop, tmp_path: Path, capsys, row: CommandFault
) -> None:
    place = Place(tmp_path / "here", shop)
    place.folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        arguments = row.prepare(place, patch)
        before = digest(tmp_path)
        try:
            code, out, err = call(arguments, place.folder, capsys)
        finally:
            matrix_commands.release(None, None, None)
    after = digest(tmp_path)
    assert code == row.code, err
    assert "Traceback" not in out + err
    assert pattern(row.says).search(out + err), out + err
    if row.page:
        words = (place.folder / "out/report/report.html").read_text()
        assert pattern(row.page).search(words)
    if code == 2:
        check_message(row, out, err)
    changed = {path for path in before if after.get(path) != before[path]}
    allowed = tuple(f"here/{part}" for part in row.changes)
    assert not {path for path in changed if not path.startswith(allowed or "\0")}
    assert not {path for path in after.keys() - before.keys() if not path.startswith("here/")}
    if code == 1 and arguments[0] == "process":
        for log in re.findall(r"^(\S+) failed: ", err, re.MULTILINE):
            assert not (place.folder / f"out/{log}.zarr/zarr.json").exists() or "commit" in row.what
    if row.goes_on:
        check_going_on(place, arguments, capsys)


def check_message(row: CommandFault, out: str, err: str) -> None:
    """One typed line, and no figure."""
    assert row.shows_figures or "abs_rel" not in out
    if row.usage:
        return
    (line,) = [line for line in err.splitlines() if line.strip()]
    assert TYPED.match(line), line


def check_going_on(place: Place, arguments: list[str], capsys) -> None:
    """The same command without the fault gives the same bytes as a run without faults."""
    plain = arguments[2:] if arguments[0] == "kill -9" else arguments
    code, out, err = call(plain, place.folder, capsys)
    assert code == 0, err
    assert "abs_rel" in out
    assert (place.folder / "out/report/report.html").is_file()
    for store in sorted(place.shop.run.glob("*.zarr")):
        expected, found = digest(store), digest(place.folder / "out" / store.name)
        for path in expected:
            if path.split("/")[0] in ROOMS:
                assert found[path] == expected[path], path


def test_no_code_of_a_checkpoint_was_run() -> None:
    assert not Path("/tmp/driv3r-was-run").exists()


@pytest.mark.parametrize("row", ELSEWHERE, ids=lambda row: row.test)
def test_what_is_tested_elsewhere_is_there(row: Elsewhere) -> None:
    file, function = row.test.split("::")
    assert f"def {function}(" in (Path(__file__).parents[1] / file).read_text()


def test_kinds_are_known_and_every_kind_of_bad_luck_is_met() -> None:
    met = {row.kind for row in (*COMMAND_FAULTS, *ELSEWHERE)}
    assert met <= set(KINDS)
    assert met >= {"killed", "full disk", "unwritable", "two at once"}
