"""Faults of nuScenes folders that are read with the frames between keyframes."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.errors import UnsafePathError
from tests.datasets import tiny_nuscenes as tiny
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.matrix_nuscenes import (
    BACK,
    FRONT,
    LIDAR,
    SCENE,
    datum,
    drop,
    file_of,
    points,
    put,
    put_all,
    repeat,
    reverse_tables,
    table,
    times,
    to_millimetres,
)
from tests.faults.rows import ReaderFault
from tests.faults.subjects import SWEEPS

KEY = 6  # the frame of keyframe 1
NEXT = 7
row = partial(ReaderFault, SWEEPS)


def between(channel: str, number: int) -> str:
    """The token of a row of a sensor's chain."""
    _, _, first_us, period_us = tiny.RIG[channel]
    return f"{SCENE}/{channel}/{tiny.START_US + first_us + round(number * period_us)}"


def sweep_file(channel: str, number: int) -> Any:
    return lambda root: next(
        (root / "sweeps" / channel).glob(f"{between(channel, number).replace('/', '__')}*")
    )


def no_sweeps(root: Path) -> None:
    shutil.rmtree(root / "sweeps")


def swap_links(root: Path) -> None:
    """The front camera's rows 7 and 8 in each other's place."""
    a, b, c, d = (between(FRONT, i) for i in (6, 7, 8, 9))
    for token, before, after in ((a, None, c), (c, a, b), (b, c, d), (d, b, None)):
        for key, value in (("prev", before), ("next", after)):
            if value is not None:
                put("sample_data", token, key, value)(root)


def harm_pose(key: str, value: Any) -> Harm:
    return put("ego_pose", between(BACK, NEXT), key, value)


FAULTS = (
    row("missing", "all files between keyframes", no_sweeps, "repair",
        "CAM_BACK: view left out: the file is missing",
        lost=tuple((i, sensor) for i in range(13) if i % 6 for sensor in (FRONT, BACK, LIDAR))),
    row("missing", "a row between keyframes", drop("sample_data", between(BACK, NEXT)), "error",
        "sample_data has no row ...named by sample_data"),
    row("truncated", "an image between keyframes",
        to_file(sweep_file(BACK, NEXT), harms.cut(0.9)), "repair",
        "CAM_BACK: view left out: the image is cut short", lost=((NEXT, BACK),)),
    row("truncated", "a keyframe's sweep", to_file(file_of("LIDAR_TOP"), harms.cut(0.501)),
        "repair", "no whole number of points", lost=((KEY, LIDAR),)),
    row("wrong type", "whether a row is a keyframe, in text",
        put("sample_data", between(BACK, NEXT), "is_key_frame", "no"), "error",
        "field 'is_key_frame' is 'no', expected a bool"),
    row("wrong unit", "times in nanoseconds",
        put_all("sample_data", "timestamp", lambda us: us * 1000), "error",
        "wrong unit of time"),
    row("wrong unit", "ego poses in millimetres", put_all("ego_pose", "translation", times(1e3)),
        "error", "wrong unit of time or length?"),
    row("wrong unit", "points in millimetres",
        points(to_millimetres), "repair",
        "expected less than 1000 m of a LiDAR", lost=((KEY, LIDAR),)),
    row("out of range", "a back camera's time an hour off",
        put("sample_data", datum(BACK), "timestamp", lambda us: us + 3_600_000_000), "repair",
        "CAM_BACK: left out: its time is 3.6e+03 s off the frame's", lost=((KEY, BACK),)),
    row("out of range", "an ego pose beyond the Earth", harm_pose("translation", [1e9, 0, 0]),
        "repair", "CAM_BACK: left out: ego_pose ...farther off", lost=((NEXT, BACK),)),
    row("NaN", "an ego pose between keyframes", harm_pose("translation", [np.nan, 0, 0]), "repair",
        "CAM_BACK: left out: ego_pose ...finite numbers", lost=((NEXT, BACK),)),
    row("duplicated", "a row between keyframes, as it is",
        repeat("sample_data", between(BACK, NEXT)), "repair",
        "sample_data.json: 1 rows repeat another, left out"),
    row("duplicated", "a row that follows itself",
        put("sample_data", between(BACK, 9), "next", between(BACK, NEXT)), "error",
        "follows itself"),
    row("unsorted", "the rows of all tables", reverse_tables, "same", ""),
    row("unsorted", "two of the front camera's rows", swap_links, "error",
        "frames of scene scene-0003 run backwards in time"),
    row("hostile", "a file between keyframes outside of the root",
        put("sample_data", between(BACK, NEXT), "filename", "../../etc/passwd"), "error",
        "outside of", UnsafePathError),
    row("hostile", "a table nested 100000 deep",
        to_file(table("sample_data"), harms.put(harms.NESTED)), "error",
        "sample_data.json is no valid JSON"),
)  # fmt: skip
