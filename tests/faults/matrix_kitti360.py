"""Faults of KITTI-360's folders."""

from functools import partial
from pathlib import Path

import numpy as np

from driv3r.errors import UnsafePathError
from tests.datasets import tiny_kitti360 as tiny
from tests.faults import harms
from tests.faults import text_files as text
from tests.faults.matrix_kitti import BOMB, at, loop, points, put_text
from tests.faults.rows import ReaderFault
from tests.faults.subjects import KITTI360, KITTI360_BOXES

AT = 1  # the moment that is harmed
ROUND = "image_02"
LOST, BLIND = {"lost": ((AT, ROUND),)}, {"lost": ((AT, "lidar"),)}
IMAGES, SCANS = f"data_2d_raw/{tiny.DRIVE}", f"data_3d_raw/{tiny.DRIVE}/velodyne_points"
row, box = partial(ReaderFault, KITTI360), partial(ReaderFault, KITTI360_BOXES)
labels = partial(at, f"data_3d_bboxes/train/{tiny.DRIVE}.xml")
image = partial(at, f"{IMAGES}/{ROUND}/data_rgb/{AT:010d}.png")
cloud = partial(at, f"{SCANS}/data/{AT:010d}.bin")
times = partial(at, f"{IMAGES}/{ROUND}/timestamps.txt")
scan_times = partial(at, f"{SCANS}/timestamps.txt")
poses = partial(at, f"data_poses/{tiny.DRIVE}/poses.txt")
places, lens, wide, velo = (
    partial(at, f"calibration/{name}")
    for name in (
        "calib_cam_to_pose.txt",
        "image_02.yaml",
        "perspective.txt",
        "calib_cam_to_velo.txt",
    )
)

POSE = tiny.numbers(tiny.world_T_pose(AT)[:3])
FAR = tiny.numbers(tiny.world_T_pose(60)[:3])
FAULTS = (
    row("missing", "a camera's image", image(Path.unlink), "repair",
        "image_02: view left out: the file is missing", **LOST),
    row("missing", "a sweep", cloud(Path.unlink), "repair",
        "lidar: sweep left out: the file is missing", **BLIND),
    row("missing", "a camera's folder",
        lambda root: (root / IMAGES / ROUND).rename(root.parent / "elsewhere"), "repair",
        "image_02: left out of the rig", lost=tuple((i, ROUND) for i in range(tiny.MOMENTS))),
    row("missing", "a camera's place", places(text.drop(ROUND)), "error",
        "calib_cam_to_pose.txt lacks image_02"),
    row("missing", "a lens's coefficient", lens(text.drop("   xi:")), "error",
        "image_02.yaml: mirror_parameters.xi is None, expected a number"),
    row("missing", "a lens's file", lens(Path.unlink), "error",
        "the file is missing: ...image_02.yaml"),
    row("truncated", "a PNG", image(harms.cut(0.9)), "repair", "the image is cut short", **LOST),
    row("truncated", "a sweep", cloud(harms.cut(0.7)), "repair",
        "no whole number of points of 4 float32", **BLIND),
    row("truncated", "a camera's times", times(text.keep_first(3)), "error",
        "timestamps.txt has 3 lines, but ...there is of number 5"),
    row("truncated", "the LiDAR's place", velo(text.set_line(0, "1 0 0 0 0 1 0")), "error",
        "calib_cam_to_velo.txt has 7 values"),
    row("wrong type", "another lens model", lens(put_text("MEI", "PINHOLE")), "error",
        "image_02.yaml: model_type is 'PINHOLE', expected MEI"),
    row("wrong type", "a lens's file that is no YAML", lens(harms.put(b"a: [1, 2")), "error",
        "image_02.yaml is no YAML"),
    row("wrong type", "a lens's file that is a list", lens(harms.put(b"- 1")), "error",
        "image_02.yaml holds a list, expected keys"),
    row("wrong type", "a frame's number in words", poses(text.set_line(AT, f"one {POSE}")),
        "error", "poses.txt line 2 is of frame 'one', expected a whole number"),
    row("wrong type", "a time in words", times(text.set_line(AT, "noon")), "error",
        "'noon' is no time such as"),
    row("wrong unit", "points in millimetres", cloud(points(y=2000.0)), "repair",
        "expected less than 1000 m of a LiDAR", **BLIND),
    row("wrong unit", "a camera's place in millimetres",
        places(text.set_number(ROUND, 3, "700")), "error",
        "camera image_02 lies 700 m from the car's origin"),
    row("wrong unit", "a focal length in millimetres",
        lens(text.put_line("   gamma1:", "   gamma1: 1.3")), "error",
        "camera image_02 has K ...expected fx and fy of"),
    row("out of range", "a pose 59 m off", poses(text.set_line(AT, f"{AT} {FAR}")), "error",
        "m/s, expected 100 m/s at most"),
    row("out of range", "a rotation of twice the length",
        wide(text.put_line("R_rect_00", "R_rect_00: 2 0 0 0 2 0 0 0 2")), "error",
        "perspective.txt: R_rect_00 is no rotation"),
    row("out of range", "one image's time an hour off",
        times(text.set_line(AT, "2013-05-28 09:46:03.008")), "repair",
        "image_02: left out: its time is 3.6e+03 s off", **LOST),
    row("NaN", "a lens's coefficient", lens(text.put_line("   k2:", "   k2: .nan")), "error",
        "image_02.yaml: distortion_parameters.k2 is nan, expected a finite number"),
    row("NaN", "a camera's place", places(text.set_number(ROUND, 3, "nan")), "error",
        "calib_cam_to_pose.txt: image_02 has 12 values"),
    row("NaN", "a point", cloud(points(x=np.nan)), "repair",
        "1 of 5 points are not finite and were dropped", thinned=AT),
    row("duplicated", "a frame's pose", poses(text.set_line(AT, f"0 {POSE}")), "error",
        "poses.txt line 2 is of frame '0', expected a whole number, each once"),
    row("duplicated", "a camera's place", places(text.repeat(ROUND)), "error",
        "has image_02 twice"),
    row("unsorted", "the poses", poses(text.reverse), "same", ""),
    row("unsorted", "the sweeps' times", scan_times(text.reverse), "error",
        "run backwards in time"),
    row("hostile", "a link that leads out of the root",
        lambda root: harms.link_outside(root, root / "calibration/image_02.yaml"), "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a link to itself", image(loop), "error", "is no usable path below",
        UnsafePathError),
    row("hostile", "a lens's file that makes objects",
        lens(harms.put(b"model_type: !!python/object/apply:os.getcwd []")), "error",
        "image_02.yaml is no YAML"),
    row("hostile", "an image of 30000 x 30000", image(harms.put(harms.bomb_png())), "repair",
        "the image is (30000, 30000) (h, w)", **LOST),
)  # fmt: skip
EAST, HALF, TURN = (
    tiny.numbers(np.array([each]))
    for each in (tiny.PARKED[0, 3], 0.5, tiny.PARKED[0, 0] * tiny.PARKED_M[0])
)
BOX_FAULTS = (
    box("truncated", "the file", labels(harms.cut(0.5)), "error", f"{tiny.DRIVE}.xml is no XML"),
    box("missing", "a class", labels(put_text("<semanticId>13</semanticId>", "")), "error",
        "object1: semanticId is None, expected a whole number"),
    box("missing", "a box's corners",
        labels(lambda path: path.write_text(path.read_text().replace("vertices", "corners"))),
        "error",
        "object1 has no vertices"),
    box("wrong type", "a frame in words",
        labels(put_text("<timestamp>-1</timestamp>", "<timestamp>never</timestamp>")), "error",
        "object1: timestamp is 'never', expected a whole number"),
    box("wrong type", "a place in words", labels(put_text(EAST, "there")), "error",
        "object1: transform: could not convert string to float"),
    box("wrong unit", "a box's corners in centimetres", labels(put_text(HALF, "50")), "error",
        "object1: a box of size [222.2"),
    box("out of range", "a box that is sheared", labels(put_text(TURN, "0.0")), "error",
        "object1: transform ...is no box's"),
    box("NaN", "a box's place", labels(put_text(EAST, "nan")), "error",
        "object1: transform has 16 numbers, expected 4 x 4 finite ones"),
    box("duplicated", "an object", labels(put_text("<instanceId>9", "<instanceId>7")), "same", ""),
    box("wrong type", "a file in another encoding",
        labels(put_text('<?xml version="1.0"?>', '<?xml version="1.0" encoding="foo"?>')), "error",
        f"{tiny.DRIVE}.xml is no XML"),
    box("wrong type", "a file in UTF-16",
        labels(lambda path: path.write_text(path.read_text(), encoding="utf-16")), "error",
        "is in UTF-16, expected UTF-8"),
    box("hostile", "entities, which may inflate to gigabytes",
        labels(put_text('<?xml version="1.0"?>', BOMB)), "error",
        "declares entities, which it has no use for"),
)  # fmt: skip
