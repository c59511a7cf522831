"""Faults of finished runs: what `score`, `report` and `verify` make of them."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.datasets import tiny_nuscenes as tiny
from tests.faults import harms
from tests.faults.place import (
    FIRST,
    Place,
    edit_json,
    flip,
)
from tests.faults.rows import CommandFault

Prepare = Callable[[Place, pytest.MonkeyPatch], list[str]]


def in_run(*command: str, harm: Callable[[Path], object], more: Callable[[Place], list[str]]
           = lambda place: []) -> Prepare:  # fmt: skip
    """A command about a copy of the finished run that is harmed."""

    def prepare(place: Place, _: pytest.MonkeyPatch) -> list[str]:
        run = place.run()
        harm(run)
        return [*command, str(run), *more(place)]

    return prepare


def plain(*arguments: str) -> Prepare:
    return lambda place, _: list(arguments)


def depth(run: Path) -> Path:
    return run / f"{FIRST}.zarr/views/depth/c.1.0.0.0"


def root_of(run: Path) -> Path:
    return run / f"{FIRST}.zarr/zarr.json"


def cut_depth(run: Path) -> None:
    harms.cut(0.5)(depth(run))


def dataset_options(place: Place) -> list[str]:
    return ["--dataset", "nuscenes", "--root", str(place.shop.data)]


def scoring(harm: Callable[[Path], object] = lambda run: None, *more: str) -> Prepare:
    return in_run("score", harm=harm, more=lambda place: [*dataset_options(place), *more])


def later_data(place: Place, _: pytest.MonkeyPatch) -> list[str]:
    root = place.data()
    tiny.edit(root, "sample_data", lambda rows: [
        row.update(timestamp=row["timestamp"] + 7) for row in rows])  # fmt: skip
    return ["score", str(place.run()), "--dataset", "nuscenes", "--root", str(root)]


def json_to_folder(place: Place, _: pytest.MonkeyPatch) -> list[str]:
    (place.folder / "taken.json").mkdir()
    return ["score", str(place.run()), *dataset_options(place), "--json", "taken.json"]


def failed_record(content: str) -> Callable[[Path], object]:
    """One log is gone, and its record of failure is unreadable."""

    def harm(run: Path) -> None:
        shutil.rmtree(run / f"{FIRST}.zarr")
        (run / "report/failed").mkdir()
        (run / f"report/failed/{FIRST}.json").write_text(content)

    return harm


def report_is_a_file(run: Path) -> None:
    shutil.rmtree(run / "report")
    (run / "report").write_text("mine")


def names(*logs: Any) -> Callable[[Path], object]:
    return lambda run: edit_json(run / "run.json", logs=list(logs))


score = partial(CommandFault, "driv3r score")
report = partial(CommandFault, "driv3r report")
verify = partial(CommandFault, "driv3r verify")
REPORT = ("out/report/",)
RUNS = (
    score("missing", "the run", plain("score", "nowhere", "--dataset", "nuscenes", "--root", "."),
          2, "StoreError: no *.zarr in nowhere"),
    score("missing", "a chunk of depth", scoring(lambda run: depth(run).unlink()), 2,
          "StoreError: ...frame 1 is not written or is damaged"),
    score("truncated", "a chunk of depth", scoring(cut_depth), 2,
          "StoreError: ...frame 1 is not written or is damaged"),
    score("truncated", "a store's metadata", scoring(lambda run: harms.cut(0.5)(root_of(run))), 2,
          "StoreError: ...holds no readable log"),
    score("wrong type", "a protocol that is not known",
          scoring(lambda run: None, "--protocol", "x"), 2,
          "ConfigError: no protocol 'x'; known: "),
    score("wrong type", "another dataset", later_data, 2,
          "StoreError: ...3 frames at other times than scene scene-0003"),
    score("unwritable", "a folder in the place of --json", json_to_folder, 2,
          "StoreError: could not write taken.json", shows_figures=True),
    report("missing", "the run", plain("report", "nowhere"), 2,
           "StoreError: nowhere holds no run to report on"),
    report("missing", "a log that run.json names", in_run("report", harm=names(FIRST, "gone")), 0,
           "report: ", page="gone...not processed yet",
           changes=REPORT),
    report("truncated", "run.json, where the logs' stores tell the rest",
           in_run("report", harm=lambda run: harms.cut(0.5)(run / "run.json")), 0, "report: ",
           page="scene-0003...scene-0012",
           changes=REPORT),
    report("truncated", "a store's metadata, a failed log in the report",
           in_run("report", harm=lambda run: harms.cut(0.5)(root_of(run))), 0, "report: ",
           page="1 log failed...scene-0003...not processed yet",
           changes=REPORT),
    report("truncated", "a record of failure", in_run("report", harm=failed_record("{")), 0,
           "report: ", page="1 log failed...scene-0003...not processed yet",
           changes=REPORT),
    report("wrong type", "an empty record of failure", in_run("report", harm=failed_record("{}")),
           0, "report: ", page="1 log failed...scene-0003",
           changes=REPORT),
    report("wrong type", "a record of failure that is a list",
           in_run("report", harm=failed_record("[]")), 0, "report: ",
           page="1 log failed...scene-0003",
           changes=REPORT),
    report("wrong type", "logs in run.json that are a number",
           in_run("report", harm=lambda run: edit_json(run / "run.json", logs=5)), 0, "report: ",
           page="scene-0003...scene-0012",
           changes=REPORT),
    report("hostile", "a log in run.json that is a path",
           in_run("report", harm=names(FIRST, "../../evil")), 2, "run.json"),
    report("hostile", "a record of failure nested 100000 deep",
           in_run("report", harm=failed_record(harms.NESTED.decode())), 0, "report: ",
           page="1 log failed...scene-0003",
           changes=REPORT),
    report("unwritable", "a file in the place of report/",
           in_run("report", harm=report_is_a_file), 2, "StoreError: could not write"),
    verify("missing", "the run", plain("verify", "nowhere"), 2, "StoreError: no *.zarr in nowhere"),
    verify("missing", "a chunk of depth", in_run("verify", harm=lambda run: depth(run).unlink()),
           1, "views/depth/c.1.0.0.0: missing"),
    verify("truncated", "a chunk of depth", in_run("verify", harm=cut_depth), 1,
           "views/depth/c.1.0.0.0: changed"),
    verify("truncated", "a store's metadata",
           in_run("verify", harm=lambda run: harms.cut(0.5)(root_of(run))), 1,
           "the root metadata is missing or unreadable"),
    verify("wrong type", "a store's metadata that are a list",
           in_run("verify", harm=lambda run: root_of(run).write_text("[]")), 1,
           "the root metadata is missing or unreadable"),
    verify("out of range", "a flipped bit of depth",
           in_run("verify", harm=lambda run: flip(depth(run), 40)), 1,
           "views/depth/c.1.0.0.0: changed"),
    verify("hostile", "a store's metadata nested 100000 deep",
           in_run("verify", harm=lambda run: root_of(run).write_bytes(harms.NESTED)), 1,
           "the root metadata is missing or unreadable"),
    verify("hostile", "a file that was never written by driv3r", in_run(
        "verify", harm=lambda run: (run / f"{FIRST}.zarr/views/x.bin").write_bytes(b"x")), 1,
        "views/x.bin: not listed"),
)  # fmt: skip
