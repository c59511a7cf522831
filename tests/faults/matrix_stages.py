"""Bad luck in the stages of `driv3r process`: kill -9, a full disk, files in the way."""

from functools import partial

import pytest

from tests.faults.place import FIRST, Place, full_disk
from tests.faults.rows import CommandFault, Elsewhere

STAGES = "stages of driv3r process"
stage = partial(CommandFault, STAGES)
elsewhere = partial(Elsewhere, STAGES)


def no_room(part: str):
    def prepare(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
        full_disk(patch, part)
        return place.process()

    return prepare


def stopped_at(function: str):
    """Ctrl-C in a function."""

    def prepare(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(function, stop)
        return place.process()

    return prepare


def killed_at(function: str):
    """kill -9 in a function: the test runs it in a process of its own."""
    return lambda place, _: ["kill -9", function, *place.process()]


def in_the_way(name: str):
    """A file where a folder is to be made."""

    def prepare(place: Place, patch: pytest.MonkeyPatch) -> list[str]:
        place.write(name, "mine")
        return place.process()

    return prepare


KEPT = "scene-0003 failed: the disk is full"
FAULTS = (
    stage("killed", "Ctrl-C when fusion ends", stopped_at("driv3r.pipelines.worker.write_scores"),
          130, "stopped: what is finished is kept", goes_on=True),
    stage("killed", "kill -9 when a log is committed", killed_at("driv3r.pipelines.process.commit"),
          -9, "", goes_on=True),
    stage("killed", "Ctrl-C when the report is written",
          stopped_at("driv3r.reporting.html.write_report"), 130,
          "stopped: what is finished is kept", goes_on=True),
    stage("killed", "Ctrl-C while frames are predicted",
          stopped_at("driv3r.pipelines.worker.predict_frames"), 130,
          "stopped: what is finished is kept, the same command continues", goes_on=True),
    stage("full disk", "run.json", no_room("run.json"), 2,
          "StoreError: can not write to ...name another --out", goes_on=True),
    stage("full disk", "a frame's depth", no_room("/views/depth"), 1, KEPT, goes_on=True),
    stage("full disk", "a frame's record", no_room("/lineage/00000"), 1, KEPT, goes_on=True),
    stage("full disk", "the still world", no_room("/static"), 1, KEPT, goes_on=True),
    stage("full disk", "the scores", no_room("/eval"), 1, KEPT, goes_on=True),
    stage("full disk", "a log's commit", no_room(f"out/{FIRST}.zarr/zarr.json"), 1,
          "scene-0003 failed: ", goes_on=True),
    stage("full disk", "the report's pictures", no_room("/report/pictures"), 2,
          "StoreError: could not write", goes_on=True),
    stage("full disk", "the report's page", no_room("/report/report"), 2,
          "StoreError: could not write", goes_on=True),
    stage("unwritable", "a file in the place of .staging", in_the_way("out/.staging"), 1,
          "scene-0003 failed: ", changes=("out/run.json", "out/report/")),
    stage("unwritable", "a file in the place of report/", in_the_way("out/report"), 2,
          "StoreError: could not write"),
)  # fmt: skip
TESTED_ELSEWHERE = (
    elsewhere("killed", "kill -9 while frames are predicted",
              "the same command goes on and gives the same bytes",
              "pipelines/test_process.py::test_a_killed_run_goes_on_and_ends_with_the_same_bytes"),
    elsewhere("killed", "kill -9 of one of Ray's workers",
              "the log is tried again in another; after three deaths it is a failed log",
              "pipelines/test_process.py::"
              "test_a_worker_that_dies_is_replaced_and_its_log_tried_again"),
    elsewhere("killed", "a commit that is cut between any two of its steps",
              "the next commit ends it, or nothing has changed",
              "store/test_store_damage.py::test_a_commit_killed_halfway_is_finished_by_the_next"),
    elsewhere("truncated", "one image, and another that is missing",
              "counted repairs; the frame is partial, its depth is absent; the other log is whole",
              "pipelines/test_process.py::test_bad_files_are_counted_and_the_other_log_finishes"),
    Elsewhere("nuScenes", "out of range", "a gap of 2 to 60 s between frames",
              "repair: the longest gap and the count are told",
              "datasets/test_scenes.py::test_gaps_are_said_and_the_longest_refused"),
)  # fmt: skip
