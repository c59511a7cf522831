"""Faults of KITTI's raw drives, of their tracklets, and of odometry sequences."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from driv3r.errors import UnsafePathError
from tests.datasets import tiny_kitti as tiny
from tests.faults import harms
from tests.faults import text_files as text
from tests.faults.harms import Harm, to_file
from tests.faults.rows import ReaderFault
from tests.faults.subjects import KITTI, KITTI_BOXES, KITTI_ODOMETRY

AT = 1  # the moment that is harmed
LEFT, RIGHT, LIDAR = "image_02", "image_03", "lidar"
LOST, BLIND = {"lost": ((AT, LEFT),)}, {"lost": ((AT, LIDAR),)}
DAY, DRIVE = tiny.DATE, f"{tiny.DATE}/{tiny.DRIVE}"
row, box = partial(ReaderFault, KITTI), partial(ReaderFault, KITTI_BOXES)
sequence = partial(ReaderFault, KITTI_ODOMETRY)


def at(name: str, change: Callable[[Path], object]) -> Harm:
    return to_file(lambda root: root / name, change)


image = partial(at, f"{DRIVE}/{LEFT}/data/{AT:010d}.png")
cloud = partial(at, f"{DRIVE}/velodyne_points/data/{AT:010d}.bin")
packet = partial(at, f"{DRIVE}/oxts/data/{AT:010d}.txt")
labels = partial(at, f"{DRIVE}/tracklet_labels.xml")
cams, velo, imu = (
    partial(at, f"{DAY}/calib_{n}.txt") for n in ("cam_to_cam", "velo_to_cam", "imu_to_velo")
)


def times(sensor: str, change: Callable[[Path], object]) -> Harm:
    return at(f"{DRIVE}/{sensor}/timestamps.txt", change)


def points(**changed: float) -> Callable[[Path], object]:
    """A sweep with other values of its second point: x, y, z, r."""

    def harm(path: Path) -> None:
        data = np.fromfile(path, "<f4").reshape(-1, 4)
        for name, value in changed.items():
            data[1, "xyzr".index(name)] = value
        data.tofile(path)

    return harm


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def late(i: int, hours: int = 0) -> str:
    return f"{tiny.START + tiny.timedelta(microseconds=i * tiny.STEP_US, hours=hours)}"[:26]


def put_text(old: str, new: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(path.read_text().replace(old, new, 1))


BOMB = '<!DOCTYPE boost_serialization [<!ENTITY a "aaaaaaaaaa">]>'
FAULTS = (
    row("missing", "a camera's image", image(Path.unlink), "repair",
        "image_02: view left out: the file is missing", **LOST),
    row("missing", "a sweep", cloud(Path.unlink), "repair",
        "lidar: sweep left out: the file is missing", **BLIND),
    row("missing", "a camera's folder",
        lambda root: (root / DRIVE / RIGHT).rename(root.parent / "elsewhere"), "repair",
        "image_03: left out of the rig", lost=tuple((i, RIGHT) for i in range(tiny.MOMENTS))),
    row("missing", "a packet of the IMU", packet(Path.unlink), "repair",
        "oxts: 1 of 5 packets left out, the first: the file is missing"),
    row("missing", "a sweep's time, as KITTI has it where data were lost",
        times("velodyne_points", text.set_line(AT, "")), "repair",
        "lidar: there is no time or pose of number 1", **BLIND),
    row("missing", "a camera's times", times(LEFT, Path.unlink), "error",
        "the file is missing: ...timestamps.txt"),
    row("missing", "a calibration file", velo(Path.unlink), "error",
        "the file is missing: ...calib_velo_to_cam.txt"),
    row("missing", "a camera's projection", cams(text.drop("P_rect_02")), "error",
        "calib_cam_to_cam.txt lacks P_rect_02"),
    row("truncated", "a PNG", image(harms.cut(0.9)), "repair",
        "image_02: view left out: the image is cut short", **LOST),
    row("truncated", "a sweep within a point", cloud(harms.cut(0.7)), "repair",
        "bytes are no whole number of points of 4 float32", **BLIND),
    row("truncated", "a sweep of no bytes", cloud(harms.put(b"")), "repair",
        "lidar: sweep left out: 0 bytes are no whole number of points", **BLIND),
    row("truncated", "a sweep of zeros, as a power cut leaves", cloud(harms.zero), "repair",
        "lidar: sweep left out: all 5 points are 0, 0, 0", **BLIND),
    row("truncated", "a packet of the IMU", packet(harms.cut(0.5)), "repair",
        "oxts: 1 of 5 packets left out, the first: ...expected 30 finite numbers"),
    row("truncated", "a camera's times", times(LEFT, text.keep_first(3)), "error",
        "timestamps.txt has 3 lines, but ...there is of number 4"),
    row("truncated", "a matrix", imu(text.put_line("R:", "R: 1 0 0 0 1 0 0 0")), "error",
        "calib_imu_to_velo.txt: R has 8 values"),
    row("wrong type", "an image that is a web page", image(harms.put(harms.PAGE)), "repair",
        "starts with b'<html>40'", **LOST),
    row("wrong type", "a packet in words", packet(text.set_word(5, "north")), "repair",
        "oxts: 1 of 5 packets left out, the first: ...'north'"),
    row("wrong type", "a time in words", times(LEFT, text.set_line(AT, "noon")), "error",
        "timestamps.txt line 2: 'noon' is no time such as 2011-09-26"),
    row("wrong type", "a calibration of bytes", velo(harms.put(b"\xff\xfe\x00")), "error",
        "calib_velo_to_cam.txt is no text"),
    row("wrong type", "a calibration line without a key", velo(text.put_line("R:", "1 0 0")),
        "error", "calib_velo_to_cam.txt line 2 is '1 0 0'; expected `key: numbers`"),
    row("wrong unit", "a time in seconds", times(LEFT, text.set_line(AT, "1317042145.96")),
        "error", "'1317042145.96' is no time such as"),
    row("wrong unit", "a heading in degrees", packet(text.set_word(5, "28.6")), "repair",
        "oxts: 1 of 5 packets left out, the first: ...the yaw is 28.6, expected 6.28319 at most"),
    row("wrong unit", "points in millimetres", cloud(points(y=2000.0)), "repair",
        "expected less than 1000 m of a LiDAR", **BLIND),
    row("wrong unit", "a calibration in millimetres",
        imu(text.put_line("T:", "T: -808.7 319.6 -799.7")), "error",
        "m from the car's origin, expected 50 m at most"),
    row("wrong unit", "the size of smaller images",
        cams(text.put_line("S_rect_02", "S_rect_02: 50 20")), "error",
        "camera image_02 has K ...expected cx, cy in the image of 50 x 20"),
    row("out of range", "a latitude of 149 degrees", packet(text.set_word(0, "149")), "repair",
        "oxts: 1 of 5 packets left out, the first: ...the latitude is 149, expected 85 at most"),
    row("out of range", "a packet 11 km off", packet(text.set_word(0, "49.115")), "error",
        "m/s, expected 100 m/s at most"),
    row("out of range", "one image's time an hour off", times(LEFT, text.set_line(AT, late(AT, 1))),
        "repair", "image_02: there is no time or pose of number 1", **LOST),
    row("out of range", "a clock of 1970", times(LEFT, text.set_line(AT, "1970-01-01 00:00:07")),
        "error", "is before 2000"),
    row("out of range", "a rotation of twice the length",
        imu(text.put_line("R:", "R: 2 0 0 0 2 0 0 0 2")), "error",
        "calib_imu_to_velo.txt: R is no rotation"),
    row("out of range", "a focal length of 0", cams(text.set_number("P_rect_02", 0, "0")), "error",
        "P_rect_02 is ...expected K [R | t]"),
    row("out of range", "a reflectance of a million", cloud(points(r=1e6)), "repair",
        "1 of 5 points have no possible reflectance", **BLIND),
    row("NaN", "a packet of the IMU", packet(text.set_word(2, "nan")), "repair",
        "oxts: 1 of 5 packets left out, the first: ...expected 30 finite numbers"),
    row("NaN", "a matrix", cams(text.set_number("P_rect_02", 2, "nan")), "error",
        "P_rect_02 has 12 values ...expected 12 finite numbers"),
    row("NaN", "a point", cloud(points(x=np.nan)), "repair",
        "lidar: 1 of 5 points are not finite and were dropped", thinned=AT),
    row("duplicated", "a calibration's key", velo(text.repeat("T:")), "error",
        "calib_velo_to_cam.txt line 4 has T twice"),
    row("duplicated", "a packet's time", times("oxts", text.set_line(AT, late(0))), "repair",
        "oxts: 1 of 5 packets left out, the first: its time ...is not after the one before"),
    row("duplicated", "a sweep's time", times("velodyne_points", text.set_line(AT, late(2))),
        "error", "frames of scene 2011_09_26_drive_0001_sync run backwards in time"),
    row("unsorted", "the sweeps' times", times("velodyne_points", text.reverse), "error",
        "run backwards in time"),
    row("unsorted", "the IMU's times", times("oxts", text.reverse), "error",
        "OXTS times run backwards: ...repair its timestamps.txt"),
    row("unsorted", "a calibration's lines", cams(text.reverse), "same", ""),
    row("hostile", "a link that leads out of the root",
        lambda root: harms.link_outside(root, root / f"{DRIVE}/{LEFT}/data/{AT:010d}.png"),
        "error", "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a link to itself", image(loop), "error", "is no usable path below",
        UnsafePathError),
    row("hostile", "a pipe in an image's place", image(harms.to_pipe), "repair",
        "image_02: view left out: the file is missing", **LOST),
    row("hostile", "an image of 30000 x 30000", image(harms.put(harms.bomb_png())), "repair",
        "the image is (30000, 30000) (h, w)", **LOST),
)  # fmt: skip
BOX_FAULTS = (
    box("truncated", "the file", labels(harms.cut(0.5)), "error",
        "tracklet_labels.xml is no XML"),
    box("missing", "a box's place", labels(put_text("<tx>12.0</tx>", "")), "error",
        "tracklet 0 pose 0: tx is None, expected a number"),
    box("wrong type", "a file of another kind", labels(harms.put(b"<annotation></annotation>")),
        "error", "tracklet_labels.xml holds no tracklets"),
    box("wrong type", "a height in words", labels(put_text("<h>1.5</h>", "<h>tall</h>")), "error",
        "tracklet 0: h is 'tall', expected a number"),
    box("wrong unit", "a length in millimetres", labels(put_text("<l>4.2</l>", "<l>4200</l>")),
        "error", "tracklet 0: l is 4200, expected 0 to 100"),
    box("out of range", "a box of negative width", labels(put_text("<w>1.7</w>", "<w>-1</w>")),
        "error", "tracklet 0: w is -1, expected 0 to 100"),
    box("NaN", "a box's turn", labels(put_text("<rz>0.3</rz>", "<rz>nan</rz>")), "error",
        "tracklet 0 pose 0: rz is nan, expected"),
    box("hostile", "entities, which may inflate to gigabytes",
        labels(put_text("<!DOCTYPE boost_serialization>", BOMB)), "error",
        "declares entities, which it has no use for"),
)  # fmt: skip
FOLDER = f"sequences/{tiny.SEQUENCE}"
view, scan = (
    partial(at, f"{FOLDER}/{n}") for n in (f"image_2/{AT:06d}.png", f"velodyne/{AT:06d}.bin")
)
calib, clock, poses = (
    partial(at, name) for name in (f"{FOLDER}/calib.txt", f"{FOLDER}/times.txt", "poses/00.txt")
)
GONE = {"lost": ((AT, "image_2"),)}
SEQUENCE_FAULTS = (
    sequence("missing", "a camera's image", view(Path.unlink), "repair",
        "image_2: view left out: the file is missing", **GONE),
    sequence("missing", "the first image, which tells the size",
        at(f"{FOLDER}/image_2/000000.png", Path.unlink), "repair",
        "image_2: view left out: the file is missing", lost=((0, "image_2"),)),
    sequence("missing", "the times", clock(Path.unlink), "error",
        "the file is missing: ...times.txt"),
    sequence("missing", "the LiDAR's place", calib(text.drop("Tr:")), "error",
        "calib.txt lacks Tr, where the LiDAR is"),
    sequence("truncated", "a PNG", view(harms.cut(0.9)), "repair", "the image is cut short",
        **GONE),
    sequence("truncated", "a sweep", scan(harms.cut(0.7)), "repair",
        "no whole number of points of 4 float32", **BLIND),
    sequence("truncated", "the poses", poses(text.keep_first(3)), "error",
        "00.txt has 3 lines, times.txt 5; expected a pose a time"),
    sequence("truncated", "the times", clock(text.keep_first(3)), "error",
        "has a file of number 4, but times.txt 3 lines"),
    sequence("wrong type", "a time in words", clock(text.set_line(AT, "noon")), "error",
        "times.txt line 2: could not convert string to float: 'noon'; expected 1 numbers"),
    sequence("wrong type", "an image that is a web page", view(harms.put(harms.PAGE)), "repair",
        "image_2: view left out", **GONE),
    sequence("wrong unit", "times in nanoseconds", clock(text.set_line(AT, "103500000")), "error",
        "times.txt line 2: 1.035e+08 is no time in seconds from the start"),
    sequence("wrong unit", "the LiDAR's place in millimetres",
        calib(text.set_number("Tr:", 3, "271780")), "error", "m from the car's origin"),
    sequence("wrong unit", "points in millimetres", scan(points(y=2000.0)), "repair",
        "expected less than 1000 m of a LiDAR", **BLIND),
    sequence("out of range", "the first image of another size",
        at(f"{FOLDER}/image_2/000000.png", harms.put(harms.image_of((20, 50), ".png"))), "repair",
        "the image is (20, 50) (h, w), the tables say (37, 124)", lost=((0, "image_2"),)),
    sequence("out of range", "a pose 500 m off", poses(text.set_line(AT, tiny.numbers(
        np.eye(4)[:3] + np.array([0, 0, 0, 500.0])))), "error", "m/s, expected 100 m/s at most"),
    sequence("out of range", "a projection of zeros",
        calib(text.put_line("P2:", "P2:" + " 0" * 12)), "error",
        "P2 is ...expected K [R | t]"),
    sequence("NaN", "a projection", calib(text.set_number("P2:", 0, "nan")), "error",
        "P2 has 12 values ...expected 12 finite numbers"),
    sequence("NaN", "a point", scan(points(z=np.inf)), "repair",
        "1 of 5 points are not finite and were dropped", thinned=AT),
    sequence("duplicated", "a time", clock(text.set_line(AT, "0.000000e+00")), "error",
        "frames of scene 00 run backwards in time"),
    sequence("duplicated", "a calibration's key", calib(text.repeat("P2:")), "error",
        "has P2 twice"),
    sequence("unsorted", "the times", clock(text.reverse), "error",
        "frames of scene 00 run backwards in time"),
    sequence("hostile", "a link that leads out of the root",
        lambda root: harms.link_outside(root, root / "poses/00.txt"), "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
)  # fmt: skip
