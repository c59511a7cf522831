"""Faults of PandaSet folders, and of the boxes that people drew in them."""

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from driv3r.errors import UnsafePathError
from tests.datasets import tiny_pandaset as tiny
from tests.datasets.json_files import edit, write_json
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.rows import ReaderFault
from tests.faults.subjects import BOXES, PANDASET, PANDASET_MOMENTS

FRONT, BACK, LIDAR = "front_camera", "back_camera", "lidar"
AT = 1  # the moment that is harmed
CAMERA, SENSOR = f"002/camera/{FRONT}", "002/lidar"
LOST = {"lost": ((AT, FRONT),)}
BLIND = {"lost": ((AT, LIDAR),)}
row, box = partial(ReaderFault, PANDASET), partial(ReaderFault, BOXES)


def in_root(name: str) -> Callable[[Path], Path]:
    return lambda root: root / name


image = in_root(f"{CAMERA}/{AT:02d}.jpg")
cloud, cuboids = (in_root(f"002/{at}/{AT:02d}.pkl.gz") for at in ("lidar", "annotations/cuboids"))


def put(file: str, *keys: Any, value: Any) -> Harm:
    return lambda root: edit(root / file, *keys, value=value)


def replace(file: str, content: Any) -> Harm:
    return lambda root: write_json(root / file, content)


def reverse(file: str) -> Harm:
    return lambda root: write_json(root / file, json.loads((root / file).read_text())[::-1])


def pickled(content: Any) -> Callable[[Path], object]:
    return lambda path: tiny.write_pickle(path, content)


def raw(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(gzip.compress(data))


def inflate(path: Path) -> None:
    """Some kB that take 300 MB."""
    path.write_bytes(gzip.compress(bytes(2**20)) * 300)


def points(**columns: Any) -> pd.DataFrame:
    return tiny.make_cloud(tiny.START_US + 100_000 * AT).assign(**columns)


def with_nan() -> pd.DataFrame:
    cloud = points()
    cloud.loc[1, "x"] = np.nan
    return cloud


def twice() -> pd.DataFrame:
    return pd.concat([points(), points()], axis=1)


def boxes(**columns: Any) -> pd.DataFrame:
    return tiny.make_cuboids().assign(**columns)


def words(text: str) -> pd.Series:
    return pd.Series([text] * 3, dtype=object)


def scale_poses(root: Path) -> None:
    for path in root.rglob("poses.json"):
        poses = json.loads(path.read_text())
        for pose in poses:
            pose["position"] = {axis: 1000 * v for axis, v in pose["position"].items()}
        write_json(path, poses)


UNMADE = b"\x80\x02cpandas\nDataFrame\n)\x81."  # a DataFrame that was never filled
HARMFUL = b"\x80\x02cos\nmkdir\n(X\x13\x00\x00\x00/tmp/driv3r-was-runtR."
FAULTS = (
    row("missing", "a camera's image", to_file(image, Path.unlink), "repair",
        "front_camera: view left out: the file is missing", **LOST),
    row("missing", "a sweep", to_file(cloud, Path.unlink), "repair",
        "lidar: sweep left out: the file is missing", **BLIND),
    row("missing", "a camera's folder",
        lambda root: (root / f"002/camera/{BACK}").rename(root.parent / "elsewhere"), "repair",
        "back_camera: left out of the rig", lost=tuple((i, BACK) for i in range(PANDASET_MOMENTS))),
    row("missing", "a camera's poses", to_file(in_root(f"{CAMERA}/poses.json"), Path.unlink),
        "error", "the file is missing: ...poses.json"),
    row("missing", "a camera's intrinsics",
        to_file(in_root(f"{CAMERA}/intrinsics.json"), Path.unlink), "error",
        "the file is missing: ...intrinsics.json"),
    row("missing", "a pose's heading", put(f"{CAMERA}/poses.json", AT, value={}), "repair",
        "front_camera: left out: ...expected a heading", **LOST),
    row("truncated", "a JPEG", to_file(image, harms.cut(0.9)), "repair",
        "front_camera: view left out: the image is cut short", **LOST),
    row("truncated", "a sweep", to_file(cloud, harms.cut(0.5)), "repair",
        "lidar: sweep left out: the table can not be inflated", **BLIND),
    row("truncated", "a sweep of no bytes", to_file(cloud, harms.put(b"")), "repair",
        "lidar: sweep left out: the pickled table can not be read", **BLIND),
    row("truncated", "a table of times", replace(f"{CAMERA}/timestamps.json", [1.0]), "error",
        "1 timestamps and 7 poses, expected 7 of each"),
    row("truncated", "a table of poses", to_file(in_root(f"{CAMERA}/poses.json"), harms.cut(0.5)),
        "error", "poses.json is no valid JSON"),
    row("wrong type", "an image that is a web page", to_file(image, harms.put(harms.PAGE)),
        "repair", "neither JPEG nor PNG", **LOST),
    row("wrong type", "a sweep that is a list", to_file(cloud, pickled([1, 2])), "repair",
        "expected a pickled DataFrame, got a list", **BLIND),
    row("wrong type", "a sweep without a column",
        to_file(cloud, pickled(points().drop(columns="z"))), "repair",
        "the table lacks z of x, y, z, d", **BLIND),
    row("wrong type", "points in words", to_file(cloud, pickled(points(
        x=pd.Series(["far"] * 5, dtype=object)))), "repair", "are not all numbers", **BLIND),
    row("wrong type", "a time in words", put(f"{CAMERA}/timestamps.json", AT, value="noon"),
        "error", "'noon' is no time in seconds"),
    row("wrong type", "poses that are an object", replace(f"{CAMERA}/poses.json", {}), "error",
        "expected a list, got a dict"),
    row("wrong type", "intrinsics that are a list", replace(f"{CAMERA}/intrinsics.json", []),
        "error", "expected numbers fx, fy, cx, cy, got []"),
    row("wrong unit", "times in milliseconds",
        put(f"{CAMERA}/timestamps.json", AT, value=tiny.START_US / 1e3), "error",
        "is no time in seconds"),
    row("wrong unit", "poses in millimetres", scale_poses, "error",
        "camera front_camera lies 1947 m from the car's origin"),
    row("wrong unit", "points in millimetres", to_file(cloud, pickled(points(y=1e6))), "repair",
        "expected less than 1000 m of a LiDAR", **BLIND),
    row("wrong unit", "intrinsics of a larger image",
        put(f"{CAMERA}/intrinsics.json", "cx", value=959.5), "error",
        "camera front_camera has K ...expected cx, cy in the image of 96 x 54"),
    row("out of range", "one camera's pose 500 m off", put(f"{CAMERA}/poses.json", AT, "position",
        "x", value=500.0), "repair", "front_camera: left out: its pose puts the car 49", **LOST),
    row("out of range", "one camera's time an hour off",
        put(f"{CAMERA}/timestamps.json", AT, value=tiny.START_US / 1e6 + 3600), "repair",
        "front_camera: left out: its time is 3.6e+03 s off", **LOST),
    row("out of range", "a LiDAR pose 500 m off", put(f"{SENSOR}/poses.json", AT, "position",
        "x", value=500.0), "error", "m/s, expected 100 m/s at most"),
    row("out of range", "a focal length of 0", put(f"{CAMERA}/intrinsics.json", "fx", value=0.0),
        "error", "camera front_camera has no usable K"),
    row("out of range", "a focal length of 400 digits",
        put(f"{CAMERA}/intrinsics.json", "fx", value=harms.HUGE), "error",
        "expected numbers fx, fy, cx, cy"),
    row("out of range", "points of 400 digits", to_file(cloud, pickled(points(
        x=pd.Series([harms.HUGE] * 5, dtype=object)))), "repair", "are not all numbers", **BLIND),
    row("NaN", "a pose's place", put(f"{CAMERA}/poses.json", AT, "position", "x", value=np.nan),
        "repair", "front_camera: left out: ...finite numbers", **LOST),
    row("NaN", "a time", put(f"{SENSOR}/timestamps.json", AT, value=np.nan), "error",
        "nan is no time in seconds"),
    row("NaN", "intrinsics", put(f"{CAMERA}/intrinsics.json", "fy", value=np.nan), "error",
        "camera front_camera has no usable K"),
    row("NaN", "a point", to_file(cloud, pickled(with_nan())), "repair",
        "lidar: 1 of 4 points are not finite and were dropped", thinned=AT),
    row("duplicated", "the columns of a sweep", to_file(cloud, pickled(twice())), "repair",
        "the table has columns twice", **BLIND),
    row("duplicated", "a LiDAR's time",
        put(f"{SENSOR}/timestamps.json", AT, value=tiny.START_US / 1e6), "error",
        "LiDAR times run backwards"),
    row("unsorted", "a LiDAR's times", reverse(f"{SENSOR}/timestamps.json"), "error",
        "LiDAR times run backwards"),
    row("unsorted", "the columns of a sweep",
        to_file(cloud, pickled(points()[["d", "z", "t", "i", "y", "x"]])), "same", ""),
    row("hostile", "a link that leads out of the root",
        lambda root: harms.link_outside(root, image(root)), "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a pickle that runs code", to_file(cloud, raw(HARMFUL)), "repair",
        "the pickle asks for os.mkdir...it was not run", **BLIND),
    row("hostile", "a pickled table that was never filled", to_file(cloud, raw(UNMADE)), "repair",
        "the pickled table can not be read", **BLIND),
    row("hostile", "a sweep that inflates to 300 MB", to_file(cloud, inflate), "repair",
        "can not be inflated: ...it takes more than 268435456 bytes", **BLIND),
    row("hostile", "an image of 30000 x 30000", to_file(image, harms.put(harms.bomb_png())),
        "repair", "the image is (30000, 30000) (h, w)", **LOST),
    row("hostile", "a table nested 100000 deep",
        to_file(in_root(f"{CAMERA}/poses.json"), harms.put(harms.NESTED)), "error",
        "is no valid JSON"),
)  # fmt: skip
BOX_FAULTS = (
    box("missing", "a moment's boxes", to_file(cuboids, Path.unlink), "error",
        "the file is missing: ...01.pkl.gz"),
    box("truncated", "a moment's boxes", to_file(cuboids, harms.cut(0.5)), "error",
        "the table can not be inflated"),
    box("wrong type", "whether a box stands, in words",
        to_file(cuboids, pickled(boxes(stationary=words("False")))),
        "error", "of 3 boxes have not stationary as true or false"),
    box("wrong type", "the LiDARs' numbers in words",
        to_file(cuboids, pickled(boxes(**{"cuboids.sensor_id": words("1")}))),
        "error", "of 3 boxes have not whole numbers as cuboids.sensor_id"),
    box("out of range", "a box of negative length",
        to_file(cuboids, pickled(boxes(**{"dimensions.y": -1.0}))), "error",
        "of 3 boxes have not finite places and turns, and sizes of 0 m at least"),
    box("NaN", "a box's place", to_file(cuboids, pickled(boxes(**{"position.x": np.nan}))), "error",
        "of 3 boxes have not finite places"),
    box("duplicated", "columns", to_file(cuboids, pickled(pd.concat([boxes(), boxes()], axis=1))),
        "error", "the table has columns twice"),
    box("hostile", "a pickle that runs code", to_file(cuboids, raw(HARMFUL)), "error",
        "the pickle asks for os.mkdir"),
)  # fmt: skip
