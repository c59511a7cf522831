"""Faults of nuScenes folders: tables, images, sweeps."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets import tiny_nuscenes as tiny
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.rows import ReaderFault
from tests.faults.subjects import NUSCENES

SCENE, OTHER = tiny.SCENES
FRONT, BACK, LIDAR = "CAM_FRONT", "CAM_BACK", "lidar"
AT = 1  # the keyframe that is harmed
row = partial(ReaderFault, NUSCENES)


def file_of(channel: str, number: int = AT) -> Callable[[Path], Path]:
    return lambda root: tiny.keyframe_file(root, channel, number=number)


def table(name: str) -> Callable[[Path], Path]:
    return lambda root: root / "v1.0-trainval" / f"{name}.json"


def datum(channel: str, number: int = AT) -> str:
    """The token of a keyframe's sample_data and of its ego pose."""
    return f"{SCENE}/{channel}/{tiny.START_US + tiny.RIG[channel][2] + number * 500_000}"


def rewrite(name: str, change: Callable[[list[dict[str, Any]]], object]) -> Harm:
    return lambda root: tiny.edit(root, name, change)


def put(name: str, token: str, key: str, value: Any) -> Harm:
    """Another value in the row of a token; a function makes it of the old one."""

    def change(rows: list[dict[str, Any]]) -> None:
        found = next(row for row in rows if row["token"] == token)
        found[key] = value(found[key]) if callable(value) else value

    return rewrite(name, change)


def put_all(name: str, key: str, make: Callable[[Any], Any]) -> Harm:
    return rewrite(name, lambda rows: [row.update({key: make(row[key])}) for row in rows])


def drop(name: str, token: str) -> Harm:
    return rewrite(name, lambda rows: rows.remove(next(r for r in rows if r["token"] == token)))


def repeat(name: str, like: str, **changes: Any) -> Harm:
    """Another row like that of a token."""
    return rewrite(
        name, lambda rows: rows.append(next(r for r in rows if r["token"] == like) | changes)
    )


def points(change: Callable[[np.ndarray], object], number: int = AT) -> Harm:
    """Change a sweep's points in place."""

    def harm(root: Path) -> None:
        path = tiny.keyframe_file(root, "LIDAR_TOP", number=number)
        cloud = np.fromfile(path, "<f4").reshape(-1, 5)
        change(cloud)
        cloud.tofile(path)

    return harm


def fill(index: Any, value: float) -> Callable[[np.ndarray], None]:
    return lambda cloud: cloud.__setitem__(index, value)


def to_millimetres(cloud: np.ndarray) -> None:
    cloud[:, :3] *= 1000


def later(seconds: float) -> Harm:
    """All data of the last keyframe so much later."""
    last = {datum(channel, 2) for channel in tiny.RIG}

    def change(rows: list[dict[str, Any]]) -> None:
        for each in rows:
            if each["token"] in last:
                each["timestamp"] += round(seconds * 1e6)

    return rewrite("sample_data", change)


def end_early(root: Path) -> None:
    tiny.edit(root, "sample", lambda rows: rows.remove(rows[2]))
    tiny.edit(root, "sample", lambda rows: rows[1].update(next=""))
    tiny.edit(root, "sample_data", lambda rows: [
        rows.remove(row) for row in list(rows) if row["sample_token"] == f"{SCENE}/sample2"
    ])  # fmt: skip


def unlink_all(root: Path) -> None:
    for name in ("sample", "sample_data"):
        tiny.edit(root, name, lambda rows: [row.pop("next") for row in rows])


def reverse_tables(root: Path) -> None:
    for path in (root / "v1.0-trainval").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text())[::-1]))


def run_backwards(root: Path) -> None:
    tiny.edit(root, "sample", lambda rows: rows[1].update(next=rows[0]["token"]))
    tiny.edit(root, "sample", lambda rows: rows[0].update(next=""))
    put("scene", f"{SCENE}/token", "first_sample_token", f"{SCENE}/sample1")(root)


def link_front(root: Path) -> None:
    harms.link_outside(root, tiny.keyframe_file(root, FRONT, number=AT))


def name_file(name: str) -> Harm:
    return put("sample_data", datum(FRONT), "filename", name)


def lens(K: Any) -> Harm:
    return put("calibrated_sensor", f"{SCENE}/{FRONT}", "camera_intrinsic", K)


def times(factor: float) -> Callable[[Any], Any]:
    return lambda value: (np.array(value) * factor).tolist()


LOST = {"lost": ((AT, FRONT),)}
BLIND = {"lost": ((AT, LIDAR),)}
LEFT_OUT = "CAM_FRONT: left out: "

MISSING = (
    row("missing", "a camera's image", to_file(file_of(FRONT), Path.unlink), "repair",
        "CAM_FRONT: view left out: the file is missing", **LOST),
    row("missing", "a sweep's file", to_file(file_of("LIDAR_TOP"), Path.unlink), "repair",
        "lidar: sweep left out: the file is missing", **BLIND),
    row("missing", "a table that is needed", to_file(table("sample_data"), Path.unlink), "error",
        "the file is missing: ...sample_data.json"),
    row("missing", "a table that is not needed", to_file(table("sample_annotation"), Path.unlink),
        "same", ""),
    row("missing", "an ego_pose row", drop("ego_pose", datum(FRONT)), "error",
        "ego_pose has no row ...named by sample_data"),
    row("missing", "a calibrated_sensor row", drop("calibrated_sensor", f"{SCENE}/{FRONT}"),
        "error", "names calibrated_sensor ...which calibrated_sensor.json lacks"),
    row("missing", "a keyframe's sample_data row", drop("sample_data", datum(FRONT)), "repair",
        "CAM_FRONT: sample_data has no row for sample", **LOST),
    row("missing", "a sample row", drop("sample", f"{SCENE}/sample2"), "error",
        "sample has no row 'scene-0003/sample2' (named by sample"),
    row("missing", "all rows of scene.json", rewrite("scene", list.clear), "error",
        "lists no scene; fetch the tables again"),
)  # fmt: skip
TRUNCATED = (
    row("truncated", "a JPEG", to_file(file_of(FRONT), harms.cut(0.9)), "repair",
        "CAM_FRONT: view left out: the image is cut short after", **LOST),
    row("truncated", "a JPEG that was closed again", to_file(file_of(FRONT), harms.cut_and_close),
        "repair", "the image's last blocks are lost (plain grey)", **LOST),
    row("truncated", "an image of no bytes", to_file(file_of(FRONT), harms.put(b"")), "repair",
        "CAM_FRONT: view left out: neither JPEG nor PNG", **LOST),
    row("truncated", "a sweep within a point", to_file(file_of("LIDAR_TOP"), harms.cut(0.501)),
        "repair", "bytes are no whole number of points of 5 float32", **BLIND),
    row("truncated", "a sweep of no bytes", to_file(file_of("LIDAR_TOP"), harms.put(b"")),
        "repair", "lidar: sweep left out: 0 bytes are no whole number of points", **BLIND),
    row("truncated", "a sweep of zeros, as a power cut leaves",
        to_file(file_of("LIDAR_TOP"), harms.zero), "repair",
        "lidar: sweep left out: all 100 points are 0, 0, 0", **BLIND),
    row("truncated", "a table", to_file(table("sample_data"), harms.cut(0.5)), "error",
        "sample_data.json is no valid JSON"),
    row("truncated", "a scene with fewer samples than it says", end_early, "repair",
        "scene.json: nbr_samples is 3, the tables hold 2",
        lost=((2, FRONT), (2, BACK), (2, LIDAR)), frames=2),
)  # fmt: skip
WRONG_TYPE = (
    row("wrong type", "an image that is a web page", to_file(file_of(FRONT), harms.put(harms.PAGE)),
        "repair", "neither JPEG nor PNG: ...starts with b'<html>40'", **LOST),
    row("wrong type", "12-bit data in a 16-bit PNG",
        to_file(file_of(FRONT), harms.put(harms.dark_png(tiny.SIZE_HW))), "repair",
        "the 16-bit PNG's largest value is 3000, expected 4096 or more", **LOST),
    row("wrong type", "a sweep of 4 floats a point",
        to_file(file_of("LIDAR_TOP"), lambda path: path.write_bytes(
            np.fromfile(path, "<f4").reshape(-1, 5)[:, :4].tobytes())),
        "repair", "the file is not of 5 float32 a point", **BLIND),
    row("wrong type", "a table that is an object", to_file(table("sample"), harms.put(b"{}")),
        "error", "sample.json holds dict, expected a list of rows"),
    row("wrong type", "a timestamp in text", put("sample_data", datum(FRONT), "timestamp", "noon"),
        "error", "field 'timestamp' is 'noon', expected a int"),
    row("wrong type", "an image's height in text", put("sample_data", datum(FRONT), "height", "32"),
        "error", "field 'height' is '32', expected a int"),
    row("wrong type", "an ego pose's place in text",
        put("ego_pose", datum(FRONT), "translation", ["far", "off", "up"]), "repair",
        LEFT_OUT + "ego_pose ...could not convert string to float", **LOST),
    row("wrong type", "intrinsics of two rows", lens([[30, 0, 24], [0, 30, 16]]), "error",
        "camera_intrinsic of CAM_FRONT has shape (2, 3), not (3, 3)"),
    row("wrong type", "intrinsics that are transposed", lens([[30, 0, 0], [0, 30, 0], [24, 16, 1]]),
        "error", "camera CAM_FRONT has K ...expected rows (fx, skew, cx), (0, fy, cy), (0, 0, 1)"),
)  # fmt: skip
WRONG_UNIT = (
    row("wrong unit", "ego poses in millimetres", put_all("ego_pose", "translation", times(1e3)),
        "error", "m/s, expected 100 m/s at most; wrong unit of time or length?"),
    row("wrong unit", "times in milliseconds",
        put_all("sample_data", "timestamp", lambda us: us // 1000), "error",
        "m/s, expected 100 m/s at most; wrong unit of time or length?"),
    row("wrong unit", "times in nanoseconds",
        put_all("sample_data", "timestamp", lambda us: us * 1000), "error",
        "s apart ...expected 60 s at most; wrong unit of time"),
    row("wrong unit", "a camera's place on the car in millimetres",
        put("calibrated_sensor", f"{SCENE}/{FRONT}", "translation", times(1e3)), "error",
        "camera CAM_FRONT lies 2267 m from the car's origin, expected 50 m at most"),
    row("wrong unit", "the LiDAR's place on the car in centimetres",
        put("calibrated_sensor", f"{SCENE}/LIDAR_TOP", "translation", times(1e2)), "error",
        "LIDAR_TOP lies 201.2 m from the car's origin"),
    row("wrong unit", "intrinsics in shares of the image",
        lens([[0.6, 0, 0.5], [0, 0.9, 0.5], [0, 0, 1]]), "error",
        "expected fx and fy of 2.4 to 4800 pixels; give the intrinsics in pixels"),
    row("wrong unit", "intrinsics of a larger image",
        lens([[60, 0, 47.5], [0, 62, 35.5], [0, 0, 1]]), "error",
        "expected cx, cy in the image of 48 x 32"),
    row("wrong unit", "points in millimetres", points(to_millimetres), "repair",
        "m off, expected less than 1000 m of a LiDAR; are they metres", **BLIND),
    row("wrong unit", "a turn that is no unit quaternion",
        put("ego_pose", datum(FRONT), "rotation", [90, 0, 0, 45]), "repair",
        LEFT_OUT + "ego_pose ...has length 101, expected 1", **LOST),
)  # fmt: skip
