"""Progress as a person sees it: one bar or plain lines, and a config in place of options."""

import logging

import pytest
from test_cli import run_main

from driv3r.cli import screen
from driv3r.cli.screen import ProgressBar


def test_plain_lines_where_there_is_no_terminal(capsys):
    with ProgressBar("nuscenes val", 2) as bar:
        bar.update("a", "begun", 0, 4)
        bar.update("b", "begun", 0, 6)
        for stage in ("predict", "score", "fuse"):
            for log, total in (("a", 4), ("b", 6)):
                bar.update(log, stage, total, total)
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1  # neither a line a frame nor control characters
    assert lines[0].startswith("nuscenes val: 100%, ")
    assert "frames/s" in lines[0]


def test_the_total_is_known_from_the_start(monkeypatch, capsys):
    monkeypatch.setattr(screen, "PLAIN_EVERY_S", 0.0)
    with ProgressBar("x", 2) as bar:
        bar.update("a", "begun", 0, 4)
        bar.update("b", "begun", 0, 6)
        bar.update("a", "predict", 4, 4)
    assert capsys.readouterr().out.startswith("x: 20%, ")  # 4 of 2 x 10 frames


def test_quiet_is_quiet(capsys):
    with ProgressBar("x", quiet=True) as bar:
        bar.update("a", "predict", 1, 1)
    assert capsys.readouterr().out == ""


def test_a_config_tells_options_and_the_command_line_goes_first(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text("dataset: nuscenes\nroot: nowhere\nsplit: mini_val\n")
    code, text = run_main(monkeypatch, capsys, "process", "--config", "run.yaml")
    assert (code, "root" in text, "nowhere" in text) == (2, True, True)
    given = ("process", "--config", "run.yaml", "--root", "elsewhere")
    code, text = run_main(monkeypatch, capsys, *given)
    assert (code, "elsewhere" in text, "nowhere" in text) == (2, True, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("datsaet: nuscenes", "'datsaet' is no option"),
        ("[1, 2]", "expected a mapping"),
        ("a: [", "is not YAML"),
        ("dataset: nuscenes\nego_poses: guessed", "guessed"),
    ],
)
def test_a_bad_config_is_told(monkeypatch, capsys, tmp_path, text, words):
    (tmp_path / "run.yaml").write_text(text)
    code, told = run_main(
        monkeypatch, capsys, "process", "--config", str(tmp_path / "run.yaml"), "--root", "."
    )
    assert code == 2
    assert words in told
    assert "Traceback" not in told


def test_a_log_file_keeps_what_happens(monkeypatch, tmp_path):
    from driv3r.cli.app import start_logging

    logger = logging.getLogger("driv3r")
    before = list(logger.handlers)
    start_logging(False, tmp_path / "run.log")
    logger.error("%s: %s", "scene-0003", "failed")
    for handler in set(logger.handlers) - set(before):
        logger.removeHandler(handler)
        handler.close()
    assert "ERROR scene-0003: failed" in (tmp_path / "run.log").read_text()
