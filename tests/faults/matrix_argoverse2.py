"""Faults of Argoverse 2 folders, and of the boxes in them."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.errors import UnsafePathError
from tests.datasets import tiny_argoverse2 as tiny
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.rows import ReaderFault
from tests.faults.subjects import ARGOVERSE2, ARGOVERSE2_BOXES

FRONT, LEFT = "ring_front_center", "ring_front_left"
AT = 1  # the sweep that is harmed
SWEEP_NS = tiny.sweep_times_ns()[AT]
IMAGE_NS = tiny.exposure_times_ns(FRONT)[2 * AT]
LOG = f"val/{tiny.LOG}"
INTRINSICS = f"{LOG}/calibration/intrinsics.feather"
PLACES = f"{LOG}/calibration/egovehicle_SE3_sensor.feather"
PATH, BOXES = f"{LOG}/city_SE3_egovehicle.feather", f"{LOG}/annotations.feather"
HOUR_NS = 3_600_000_000_000
LAST = tuple((tiny.SWEEPS - 1, name) for name in ("lidar", *tiny.SIZES))
LOST, BLIND = {"lost": ((AT, FRONT),)}, {"lost": ((AT, "lidar"),)}
row, box = partial(ReaderFault, ARGOVERSE2), partial(ReaderFault, ARGOVERSE2_BOXES)


def in_root(name: str) -> Callable[[Path], Path]:
    return lambda root: root / name


image = in_root(f"{LOG}/sensors/cameras/{FRONT}/{IMAGE_NS}.jpg")
cloud = in_root(f"{LOG}/sensors/lidar/{SWEEP_NS}.feather")
path_table, places, boxes = in_root(PATH), in_root(PLACES), in_root(BOXES)


def change(file: str, edit: Callable[[tiny.Table], object]) -> Harm:
    return lambda root: tiny.edit(root / file, edit)


def put(column: str, at: int, value: Any) -> Callable[[tiny.Table], object]:
    return lambda table: table[column].__setitem__(at, value)


def scale(factor: float, *columns: str) -> Callable[[tiny.Table], object]:
    return lambda table: table.update({c: [factor * v for v in table[c]] for c in columns})


def recast(column: str, kind: Callable[[Any], Any]) -> Callable[[tiny.Table], object]:
    return lambda table: table.update({column: np.array([kind(v) for v in table[column]])})


def drop(column: str) -> Callable[[tiny.Table], object]:
    return lambda table: table.pop(column)


def reverse(table: tiny.Table) -> None:
    for column in table.values():
        column.reverse()


def repeat(table: tiny.Table) -> None:
    for column in table.values():
        column += column[:1]


def only(rows: int) -> Callable[[tiny.Table], object]:
    return lambda table: [column.__delitem__(slice(rows, None)) for column in table.values()]


def swap_quaternions(table: tiny.Table) -> None:
    """x, y, z, w in the columns of w, x, y, z."""
    w, x, y, z = (table[name] for name in tiny.PLACE[:4])
    table.update(qw=x, qx=y, qy=z, qz=w)


def points(edit: Callable[[tiny.Table], object]) -> Harm:
    return change(f"{LOG}/sensors/lidar/{SWEEP_NS}.feather", edit)


def exposures(root: Path) -> list[Path]:
    return sorted((root / f"{LOG}/sensors/cameras/{FRONT}").iterdir())


def last_sweep(root: Path) -> Path:
    return max((root / f"{LOG}/sensors/lidar").iterdir())


def cut_path(table: tiny.Table) -> None:
    """No pose later than the last sweep but one and its exposures."""
    end_ns = tiny.sweep_times_ns()[-2] + tiny.EXPOSURE_NS // 2
    only(sum(time_ns < end_ns for time_ns in table["timestamp_ns"]))(table)


def rename_all(root: Path) -> None:
    """Microseconds as names."""
    for path in sorted(in_root(f"{LOG}/sensors/lidar")(root).iterdir()):
        path.rename(path.parent / f"{int(path.stem) // 1000}.feather")


def loop(root: Path) -> None:
    """A link to itself in a sweep's place."""
    cloud(root).unlink()
    cloud(root).symlink_to(cloud(root))


def link_log(root: Path) -> None:
    shutil.move(root / LOG, root.parent / "elsewhere")
    (root / LOG).symlink_to(root.parent / "elsewhere")


NOT_WHOLE = "the table is no whole Feather file"
FAULTS = (
    row("missing", "a camera's images around a sweep", lambda root: [
        path.unlink() for path in exposures(root)[2 * AT : 2 * AT + 2]], "repair",
        f"{FRONT}: no exposure within 50098 us of sweep {SWEEP_NS}", **LOST),
    row("missing", "a camera's folder",
        lambda root: shutil.rmtree(root / f"{LOG}/sensors/cameras/{LEFT}"), "repair",
        f"{LEFT}: left out of the rig: sensors/cameras has no such folder",
        lost=tuple((i, LEFT) for i in range(tiny.SWEEPS))),
    row("missing", "all sweeps", lambda root: [
        path.unlink() for path in (root / f"{LOG}/sensors/lidar").iterdir()], "error",
        "sensors/lidar holds no sweep"),
    row("missing", "the LiDARs' folder", lambda root: shutil.rmtree(root / f"{LOG}/sensors/lidar"),
        "error", "sensors/lidar holds no sweep"),
    row("missing", "the car's path", to_file(path_table, Path.unlink), "error",
        "the file is missing: ...city_SE3_egovehicle.feather"),
    row("missing", "intrinsics", to_file(in_root(INTRINSICS), Path.unlink), "error",
        "the file is missing: ...intrinsics.feather"),
    row("missing", "places of the sensors", to_file(places, Path.unlink), "error",
        "the file is missing: ...egovehicle_SE3_sensor.feather"),
    row("missing", "the upper LiDAR's place", change(PLACES, only(3)), "error",
        "egovehicle_SE3_sensor.feather has no row of up_lidar"),
    row("missing", "a column of a sweep", points(drop("z")), "repair",
        "the table lacks z, expected the columns x, y, z", **BLIND),
    row("missing", "a column of the car's path", change(PATH, drop("qw")), "error",
        "the table lacks qw"),
    row("missing", "a value of the car's path", change(PATH, put("qw", 3, None)), "error",
        "holds double with 1 of 25 values absent, expected numbers, all there"),
    row("missing", "poses of the end", change(PATH, cut_path), "repair",
        "frames: 1 of 4 have no pose of the car near, left out", frames=3, lost=LAST),
    row("truncated", "a JPEG", to_file(image, harms.cut(0.9)), "repair",
        f"{FRONT}: view left out: the image is cut short", **LOST),
    row("truncated", "a sweep", to_file(cloud, harms.cut(0.5)), "repair",
        f"lidar: sweep left out: {NOT_WHOLE}", **BLIND),
    row("truncated", "a sweep of no bytes", to_file(cloud, harms.put(b"")), "repair",
        f"lidar: sweep left out: {NOT_WHOLE}", **BLIND),
    row("truncated", "a sweep of no points", points(only(0)), "repair",
        "lidar: sweep left out: no finite point among 0", **BLIND),
    row("truncated", "a sweep that a power cut left", to_file(cloud, harms.zero), "repair",
        f"lidar: sweep left out: {NOT_WHOLE}", **BLIND),
    row("truncated", "the car's path", to_file(path_table, harms.cut(0.5)), "error", NOT_WHOLE),
    row("truncated", "the car's path of no rows", change(PATH, only(0)), "error",
        "none of 0 poses of ...city_SE3_egovehicle.feather"),
    row("wrong type", "an image that is a web page", to_file(image, harms.put(harms.PAGE)),
        "repair", "neither JPEG nor PNG", **LOST),
    row("wrong type", "an image of another size", to_file(image, harms.put(
        harms.image_of((72, 96)))), "repair", "the image is (72, 96) (h, w)", **LOST),
    row("wrong type", "a sweep that is a web page", to_file(cloud, harms.put(harms.PAGE)),
        "repair", f"lidar: sweep left out: {NOT_WHOLE}", **BLIND),
    row("wrong type", "points in words", points(recast("x", str)), "repair",
        "holds string ...expected numbers, all there", **BLIND),
    row("wrong type", "times as fractions", change(PATH, recast("timestamp_ns", float)), "error",
        "holds double ...expected whole numbers"),
    row("wrong type", "names of sensors as numbers",
        change(PLACES, lambda table: table.update(sensor_name=np.arange(5))), "error",
        "holds int64 ...expected texts"),
    row("wrong type", "a file of another name among the images", lambda root: (
        root / f"{LOG}/sensors/cameras/{FRONT}/notes.txt").write_text("mine"), "repair",
        f"sensors/cameras/{FRONT}: 1 files are not named <nanoseconds>.jpg, left out: 'notes.txt'"),
    row("wrong unit", "sweeps named by microseconds", rename_all, "error",
        "is no time in nanoseconds"),
    row("wrong unit", "times of the car's path in microseconds", change(PATH, lambda table:
        table.update(timestamp_ns=[t // 1000 for t in table["timestamp_ns"]])), "error",
        "none of 25 poses of ...at nanoseconds"),
    row("wrong unit", "points in millimetres", points(scale(50.0, "x", "y", "z")), "repair",
        "expected less than 1000 m of a LiDAR", **BLIND),
    row("wrong unit", "the car's path in millimetres", change(PATH, scale(1e3, *tiny.PLACE[4:])),
        "error", "m/s, expected 100 m/s at most"),
    row("wrong unit", "places of the sensors in millimetres",
        change(PLACES, scale(1e3, *tiny.PLACE[4:])), "error",
        "up_lidar lies 2124 m from the car's origin"),
    row("wrong unit", "intrinsics of a larger image", change(INTRINSICS, put("cx_px", 0, 775.0)),
        "error", f"camera {FRONT} has K ...expected cx, cy in the image of 72 x 96"),
    row("out of range", "the quaternions' columns in another order",
        change(PATH, swap_quaternions), "error",
        "none of 25 poses of ...upright, of unit quaternions qw, qx, qy, qz"),
    row("out of range", "a quaternion of length 2", change(PLACES, put("qw", 0, 2.0)), "error",
        "egovehicle_SE3_sensor.feather, ring_front_center: the quaternion"),
    row("out of range", "a focal length of 0", change(INTRINSICS, put("fx_px", 0, 0.0)), "error",
        f"camera {FRONT} has no usable K"),
    row("out of range", "a sweep's name an hour off", lambda root: last_sweep(root).rename(
        last_sweep(root).parent / f"{SWEEP_NS + HOUR_NS}.feather"), "repair",
        "frames: 1 of 4 have no pose of the car near, left out", frames=3, lost=LAST),
    row("NaN", "a pose of the car", change(PATH, put("tx_m", 13, np.nan)), "repair",
        "city_SE3_egovehicle.feather: 1 of 25 poses are not finite"),
    row("NaN", "a sensor's place", change(PLACES, put("tx_m", 0, np.nan)), "error",
        "expected 4 + 3 finite numbers"),
    row("NaN", "intrinsics", change(INTRINSICS, put("fy_px", 0, np.nan)), "error",
        f"camera {FRONT} has no usable K"),
    row("NaN", "a point", points(put("x", 1, np.nan)), "repair",
        "lidar: 1 of 5 points are not finite and were dropped", thinned=AT),
    row("duplicated", "a sensor's place", change(PLACES, repeat), "error",
        "egovehicle_SE3_sensor.feather has more than one row of ring_front_center"),
    row("duplicated", "a camera's intrinsics", change(INTRINSICS, repeat), "error",
        "intrinsics.feather has more than one row of ring_front_center"),
    row("duplicated", "a row of the car's path", change(PATH, repeat), "same", ""),
    row("duplicated", "a log, in another split", lambda root: shutil.copytree(
        root / "val", root / "test"), "error", "in more than one split"),
    row("unsorted", "the car's path", change(PATH, reverse), "same", ""),
    row("unsorted", "the calibration", lambda root: [
        tiny.edit(root / file, reverse) for file in (INTRINSICS, PLACES)], "same", ""),
    row("hostile", "an image behind a link out of the root",
        lambda root: harms.link_outside(root, image(root)), "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a log behind a link out of the root", link_log, "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a link that leads to itself", loop, "error", "is no usable path",
        UnsafePathError),
    row("hostile", "an image of 30000 x 30000", to_file(image, harms.put(harms.bomb_png())),
        "repair", "the image is (30000, 30000) (h, w)", **LOST),
    row("hostile", "a sweep that is a folder", to_file(cloud, harms.to_folder), "repair",
        "lidar: sweep left out: the file is missing", **BLIND),
    row("hostile", "a sweep that is a pipe", to_file(cloud, harms.to_pipe), "repair",
        "lidar: sweep left out: the file is missing", **BLIND),
)  # fmt: skip
BOX_FAULTS = (
    box("missing", "the boxes' tracks", change(BOXES, drop("track_uuid")), "error",
        "the table lacks track_uuid"),
    box("truncated", "the boxes", to_file(boxes, harms.cut(0.5)), "error", NOT_WHOLE),
    box("wrong type", "a box's length in words", change(BOXES, recast("length_m", str)), "error",
        "length_m of ...holds string"),
    box("wrong unit", "times in microseconds", change(BOXES, lambda table: table.update(
        timestamp_ns=[t // 1000 for t in table["timestamp_ns"]])), "error",
        "no row of ...annotations.feather is of a sweep's time"),
    box("wrong unit", "sizes in millimetres", change(BOXES, scale(1e3, "length_m")), "error",
        "a box of size ...give metres"),
    box("out of range", "a box of negative length", change(BOXES, put("length_m", 2, -1.0)),
        "error", "a box of size [-1.0, 1.9, 1.7]"),
    box("NaN", "a box's place", change(BOXES, put("tx_m", 2, np.nan)), "error",
        f"annotations.feather, sweep {SWEEP_NS}: expected 4 + 3 finite numbers"),
    box("duplicated", "a track's box", change(BOXES, repeat), "error", "annotates track car twice"),
    box("unsorted", "the boxes", change(BOXES, reverse), "same", ""),
)  # fmt: skip
