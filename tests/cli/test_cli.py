"""What a person sees: help that teaches, one-line errors, exit codes."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from driv3r import __version__
from driv3r.cli.app import app, main


def run_main(monkeypatch, capsys, *arguments: str) -> tuple[int, str]:
    """Exit code and what went to stderr."""
    monkeypatch.setattr(sys, "argv", ["driv3r", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["process", "score", "report", "verify", "train", "adapt", "world", "info"]
)
def test_help_is_there_for_every_command(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert command in result.output


def test_version():
    result = CliRunner().invoke(app, ["--version"])
    assert __version__ in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("process", "--dataset", "nuscenes"), "driv3r world make"),
        (("process", "--dataset", "kity", "--root", "."), "nuscenes"),
        (("process", "--dataset", "nuscenes", "--root", ".", "--ego-poses", "x"), "predicted"),
        (("process", "--dataset", "nuscenes", "--root", "."), "v1.0"),
        (("report", "nowhere"), "driv3r process"),
        (("verify", "nowhere"), "no *.zarr"),
        (("train", "nothing"), "known:"),
        (("train", "driv3r-s", "--workers", "-1"), "--workers"),
        (("world", "make", "--recipe", "nothing"), "known:"),
        (("process", "--nope"), "No such option"),
        (("process",), "Missing option"),
        (("nope",), "No such command"),
    ],
)
def test_errors_are_one_line_with_a_remedy(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, text = run_main(monkeypatch, capsys, *arguments)
    assert code == 2
    assert message in text
    assert "Traceback" not in text


def test_help_does_not_load_the_heavy_libraries():
    """`driv3r --help` answers at once: torch, ray and zarr are imported where they are needed."""
    script = (
        "import sys, driv3r.cli.app;"
        "print([m for m in ('torch', 'ray', 'zarr', 'nuscenes', 'numba') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    assert out.stdout.strip() == "[]"
