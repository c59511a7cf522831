"""Faults of Waymo's files: v1's records and their messages, v2's tables."""

import shutil
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.datasets.waymo.messages import load_messages
from driv3r.errors import UnsafePathError
from tests.datasets import tiny_waymo as tiny
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.rows import ReaderFault
from tests.faults.subjects import WAYMO_V1, WAYMO_V2

AT, SIDE, LIDAR = 1, "SIDE_LEFT", "lidar"  # the frame and camera that are harmed
LOST, BLIND = {"lost": ((AT, SIDE),)}, {"lost": ((AT, LIDAR),)}
LAST = {
    "frames": tiny.FRAMES - 1,
    "lost": tuple((tiny.FRAMES - 1, name) for name in (*tiny.NAMES.values(), LIDAR)),
}
Change = Callable[[Any], object]
row_1, row_2 = partial(ReaderFault, WAYMO_V1), partial(ReaderFault, WAYMO_V2)


def never(name: str) -> dict[str, tuple[tuple[int, str], ...]]:
    return {"lost": tuple((i, name) for i in range(tiny.FRAMES))}


def records(root: Path) -> Path:
    return next(root.rglob("*.tfrecord"))


def frames(*changes: Change, every: bool = False) -> Harm:
    """Change the message of one frame, or of all."""

    def harm(root: Path) -> None:
        messages = []
        for i in range(tiny.FRAMES):
            frame = load_messages()["Frame"].FromString(tiny.frame_message(i))
            for change in changes if every or i == AT else ():
                change(frame)
            messages.append(frame.SerializeToString())
        tiny.write_records(records(root), messages)

    return harm


def image(change: Change, number: int = 1) -> Change:
    return lambda frame: change(frame.images[number])


def matrix_of(values: np.ndarray) -> Change:
    def change(frame: Any) -> None:
        frame.lasers[0].ri_return1.range_image_compressed = tiny.matrix(values)

    return change


def put(name: str, value: Any) -> Change:
    """Set a field by its path of names, `a.0.b`."""

    def change(message: Any) -> None:
        *way, last = name.split(".")
        for part in way:
            message = message[int(part)] if part.isdigit() else getattr(message, part)
        if last.isdigit():
            message[int(last)] = value
        else:
            setattr(message, last, value)

    return change


def drop(name: str, number: int | None = None) -> Change:
    def change(message: Any) -> None:
        message.ClearField(name) if number is None else getattr(message, name).pop(number)

    return change


def flip(at: int) -> Callable[[Path], object]:
    """One bit of a byte."""

    def change(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return change


def messages(*order: int) -> Harm:
    whole = tiny.frame_message
    return lambda root: tiny.write_records(records(root), [whole(i) for i in order])


def ranges(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return tiny.with_channels(change(tiny.ranges(AT, tiny.TOP, 1).copy()))


def with_nan(values: np.ndarray) -> np.ndarray:
    values[tuple(np.argwhere(values > 0)[3])] = np.nan
    return values


def scale_extrinsics(frame: Any) -> None:
    for calibration in frame.context.camera_calibrations:
        for i in (3, 7, 11):
            calibration.extrinsic.transform[i] *= 1000


def without_returns(frame: Any) -> None:
    """Every pixel tells that nothing came back."""
    for laser in frame.lasers:
        height, width = tiny.HEIGHT[laser.name], tiny.WIDTH[laser.name]
        empty = tiny.matrix(tiny.with_channels(np.full((height, width), -1, np.float32)))
        laser.ri_return1.range_image_compressed = empty
        laser.ri_return2.range_image_compressed = empty


def twice(frame: Any) -> None:
    frame.images.add().CopyFrom(frame.images[1])


BOMB = zlib.compress(bytes(7 * 10**7))
V1 = (
    row_1("missing", "an image of a frame", frames(drop("images", 1)), "repair",
          "SIDE_LEFT: ...has no image of it in the frame", **LOST),
    row_1("missing", "the range images of a frame", frames(drop("lasers")), "repair",
          "lidar: ...has no range image of", **BLIND),
    row_1("missing", "a frame's pose", frames(drop("pose")), "repair",
          "lidar: left out: ...pose: expected 16 numbers", **BLIND),
    row_1("missing", "a camera's calibration",
          frames(lambda frame: frame.context.camera_calibrations.pop(1), every=True), "repair",
          "SIDE_LEFT: left out of the rig: it has images and no calibration", **never(SIDE)),
    row_1("missing", "a LiDAR's calibration",
          frames(lambda frame: frame.context.laser_calibrations.pop(0), every=True), "repair",
          "sweep left out: the LiDAR FRONT has a range image and no calibration", **never(LIDAR)),
    row_1("missing", "all returns of a frame", frames(without_returns), "repair",
          "lidar: sweep left out: no finite point among 0", **BLIND),
    row_1("missing", "all records", to_file(records, harms.put(b"")), "error",
          "holds no frame: it has no bytes"),
    row_1("truncated", "a file of records", to_file(records, harms.cut(0.9)), "error",
          "record 2 at byte ...is cut short: it ends at byte"),
    row_1("truncated", "a file of records within a length",
          lambda root: records(root).write_bytes(records(root).read_bytes() + b"12345"), "error",
          "record 3 at byte ...is cut short: the file has"),
    row_1("truncated", "a JPEG",
          frames(image(lambda each: put("image", each.image[:-40])(each))), "repair",
          "SIDE_LEFT: view left out: the image is cut short", **LOST),
    row_1("truncated", "a range image", frames(lambda frame: put(
          "lasers.0.ri_return1.range_image_compressed",
          frame.lasers[0].ri_return1.range_image_compressed[:-40])(frame)), "repair",
          "lidar: sweep left out: ...can not be inflated: its", **BLIND),
    row_1("wrong type", "a file that is a web page", to_file(records, harms.put(harms.PAGE)),
          "error", "record 0 at byte 0 ...has a damaged length"),
    row_1("wrong type", "a record that is no Frame",
          lambda root: tiny.write_records(records(root), [b"\xff" * 40]), "error",
          "is no Frame of Waymo's"),
    row_1("wrong type", "an image that is a web page", frames(image(put("image", harms.PAGE))),
          "repair", "SIDE_LEFT: view left out: neither JPEG nor PNG", **LOST),
    row_1("wrong type", "a pose of 15 numbers",
          frames(image(lambda each: each.pose.transform.pop())), "repair",
          "SIDE_LEFT: left out: ...expected 16 numbers of a 4 x 4 transform", **LOST),
    row_1("wrong type", "a mirrored pose", frames(image(lambda each: [
          put(f"pose.transform.{i}", -each.pose.transform[i])(each) for i in (0, 4, 8)])), "repair",
          "SIDE_LEFT: left out: ...has no rotation", **LOST),
    row_1("wrong type", "intrinsics of four numbers", frames(lambda frame: [
          each.intrinsic.__delitem__(slice(4, None))
          for each in frame.context.camera_calibrations], every=True), "error",
          "camera FRONT has 4 intrinsics, expected f_u"),
    row_1("wrong type", "a range image of another height", frames(
          matrix_of(tiny.with_channels(np.ones((5, 60), np.float32)))), "repair",
          "lidar: sweep left out: ...numbers of poses for 5 x 60 pixels", **BLIND),
    row_1("wrong unit", "times in nanoseconds", frames(lambda frame: put("timestamp_micros",
          1000 * frame.timestamp_micros)(frame), every=True), "error",
          "expected 60 s at most; wrong unit of time"),
    row_1("wrong unit", "an image's time in milliseconds", frames(image(lambda each: put(
          "pose_timestamp", 1000 * each.pose_timestamp)(each))), "repair",
          "SIDE_LEFT: left out: 1553", **LOST),
    row_1("wrong unit", "a camera's place on the car in millimetres",
          frames(scale_extrinsics, every=True), "error",
          "camera FRONT lies 2604 m from the car's origin"),
    row_1("wrong unit", "ranges in millimetres",
          frames(matrix_of(ranges(lambda values: 1000 * values))), "repair",
          "expected less than 1000 m of a LiDAR", **BLIND),
    row_1("out of range", "a bit of a record's data", to_file(records, flip(-5000)), "repair",
          "frames: left out: ...is damaged: the CRC of its", **LAST),
    row_1("out of range", "a bit of a record's length", to_file(records, flip(1)), "error",
          "record 0 at byte 0 ...has a damaged length (CRC"),
    row_1("out of range", "an image's pose 500 m off", frames(image(lambda each: put(
          "pose.transform.3", each.pose.transform[3] + 500)(each))), "error",
          "1 of its sensors contradict its time or pose (the first, SIDE_LEFT: its pose puts"),
    row_1("out of range", "a readout that ends before it begins",
          frames(image(put("camera_readout_done_time", 5.0))), "repair",
          "SIDE_LEFT: 1 of 3 images tell an impossible rolling shutter"),
    row_1("out of range", "an image of another size",
          frames(image(put("image", harms.image_of((10, 10))))), "repair",
          "SIDE_LEFT: view left out: the image is (10, 10) (h, w), the tables say", **LOST),
    row_1("out of range", "a focal length of 0", frames(
          put("context.camera_calibrations.0.intrinsic.0", 0.0), every=True), "error",
          "camera FRONT has no usable K"),
    row_1("out of range", "a box of negative length", frames(put("laser_labels.0.box.length", -1)),
          "error", "1 of 2 boxes have not a side of 0 to 100 m"),
    row_1("NaN", "an image's pose", frames(image(put("pose.transform.3", np.nan))), "repair",
          "SIDE_LEFT: left out: ...expected finite numbers", **LOST),
    row_1("NaN", "an image's time", frames(image(put("pose_timestamp", np.nan))), "repair",
          "SIDE_LEFT: left out: nan is no time in seconds", **LOST),
    row_1("NaN", "a range", frames(matrix_of(ranges(with_nan))), "repair",
          "points are not finite and were dropped", thinned=AT),
    row_1("NaN", "a box's place", frames(put("laser_labels.1.box.center_x", np.nan)), "error",
          "1 of 2 boxes have not finite numbers"),
    row_1("duplicated", "an image of a frame", frames(twice), "repair",
          "SIDE_LEFT: left out: ...has 2 images of it", **LOST),
    row_1("duplicated", "a record", messages(0, 1, 1, 2), "error", "run backwards in time"),
    row_1("duplicated", "a box's id", frames(put("laser_labels.1.id", "car")), "error",
          "labels an object twice"),
    row_1("duplicated", "a segment", lambda root: shutil.copytree(
          root / "training", root / "validation"), "error", "holds the segment ...twice"),
    row_1("unsorted", "the records", messages(2, 1, 0), "error", "run backwards in time"),
    row_1("hostile", "a link that leads out of the root",
          lambda root: harms.link_outside(root, records(root)), "error",
          "allow links that lead outside with --follow-links", UnsafePathError),
    row_1("hostile", "a link that leads to itself", to_file(records, lambda path: (
          path.unlink(), path.symlink_to(path))), "error", "is no usable path below",
          UnsafePathError),
    row_1("hostile", "a frame of another segment",
          frames(put("context.name", "another")), "error", "is of the segment 'another'"),
    row_1("hostile", "a range image that inflates to 70 MB",
          frames(put("lasers.0.ri_return1.range_image_compressed", BOMB)), "repair",
          "take more than 67108864 bytes", **BLIND),
    row_1("hostile", "an image of 30000 x 30000", frames(image(put("image", harms.bomb_png()))),
          "repair", "the image is (30000, 30000) (h, w)", **LOST),
)  # fmt: skip


def component(name: str) -> Callable[[Path], Path]:
    return lambda root: root / "training" / name / f"{tiny.SEGMENT}.parquet"


def table(name: str, change: Callable[[list[dict[str, Any]]], object]) -> Harm:
    """Change the rows of a component, and write them again."""

    def harm(root: Path) -> None:
        rows = tiny.components()[name]
        change(rows)
        tiny.write_component(root, name, rows)

    return harm


def cell(number: int, column: str, change: Callable[[Any], Any]) -> Change:
    """Change a value by its row and the end of its column's name."""

    def harm(rows: list[dict[str, Any]]) -> None:
        (name,) = (each for each in rows[number] if each.endswith(column))
        rows[number][name] = change(rows[number][name])

    return harm


def column(end: str, change: Callable[[Any], Any]) -> Change:
    return lambda rows: [cell(i, end, change)(rows) for i in range(len(rows))]


def without(end: str) -> Change:
    return lambda rows: [row.pop(next(n for n in row if n.endswith(end))) for row in rows]


def everywhere(change: Change) -> Harm:
    def harm(root: Path) -> None:
        for name in tiny.components():
            table(name, change)(root)

    return harm


def nanoseconds(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if "key.frame_timestamp_micros" in row:
            row["key.frame_timestamp_micros"] *= 1000


def moved(transform: np.ndarray, by: float) -> np.ndarray:
    return transform + by * (np.arange(16) == 3)


def top(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """Of the ranges of TOP's first return, flat with their other channels."""

    def of_flat(values: np.ndarray) -> np.ndarray:
        image = values.reshape(tiny.HEIGHT[tiny.TOP], tiny.WIDTH[tiny.TOP], 4).copy()
        image[..., 0] = change(image[..., 0])
        return image.ravel()

    return of_flat


IMAGE_ROW, LIDAR_ROW = 2 * AT + 1, 2 * AT  # of the camera and of TOP in the frame that is harmed
V2 = (
    row_2("missing", "the component camera_image",
          lambda root: shutil.rmtree(component("camera_image")(root).parent), "error",
          "the component camera_image is not in the dataset's folder"),
    row_2("missing", "a segment's file of a component",
          to_file(component("camera_calibration"), Path.unlink), "error",
          "the file is missing: ...camera_calibration"),
    row_2("missing", "the component lidar",
          lambda root: shutil.rmtree(component("lidar")(root).parent), "repair",
          "lidar: no frame has a range image: no sweep is read", **never(LIDAR)),
    row_2("missing", "an image's row", table("camera_image", lambda rows: rows.pop(IMAGE_ROW)),
          "repair", "SIDE_LEFT: ...has no image of it in the frame", **LOST),
    row_2("missing", "a frame's pose", table("vehicle_pose", lambda rows: rows.pop(2)), "repair",
          "frames: 1 frames of ...have no row in", **LAST),
    row_2("missing", "a column", table("camera_image", without("pose_timestamp")), "error",
          "lacks the column [CameraImageComponent].pose_timestamp; it has"),
    row_2("missing", "a velocity's columns", table("camera_image", without("velocity.y")), "same",
          ""),
    row_2("truncated", "a table", to_file(component("camera_image"), harms.cut(0.9)), "error",
          "camera_image/...is no whole Parquet file"),
    row_2("truncated", "a JPEG",
          table("camera_image", cell(IMAGE_ROW, ".image", lambda data: data[:-40])), "repair",
          "SIDE_LEFT: view left out: the image is cut short", **LOST),
    row_2("truncated", "a range image",
          table("lidar", cell(LIDAR_ROW, "return1.values", lambda values: values[:-8])), "repair",
          "lidar: sweep left out: ...numbers of a range image of shape (8, 60, 4)", **BLIND),
    row_2("wrong type", "a table that is a web page",
          to_file(component("vehicle_pose"), harms.put(harms.PAGE)), "error",
          "vehicle_pose/...is no whole Parquet file"),
    row_2("wrong type", "times in words",
          table("vehicle_pose", column("micros", str)), "error",
          "expected a whole number"),
    row_2("wrong type", "intrinsics in words",
          table("camera_calibration", column("f_u", lambda _: "wide")), "error",
          "expected numbers; fetch the file again"),
    row_2("wrong type", "an image that is a web page",
          table("camera_image", cell(IMAGE_ROW, ".image", lambda _: harms.PAGE)), "repair",
          "SIDE_LEFT: view left out: neither JPEG nor PNG", **LOST),
    row_2("wrong unit", "times in nanoseconds", everywhere(nanoseconds), "error",
          "expected 60 s at most; wrong unit of time"),
    row_2("wrong unit", "ranges in millimetres",
          table("lidar", cell(LIDAR_ROW, "return1.values", top(lambda r: 1000 * r))), "repair",
          "expected less than 1000 m of a LiDAR", **BLIND),
    row_2("wrong unit", "boxes in millimetres",
          table("lidar_box", column("size.x", lambda side: 1000 * side)), "error",
          "of 2 boxes have not a side of 0 to 100 m"),
    row_2("out of range", "an image's pose 500 m off",
          table("camera_image", cell(IMAGE_ROW, "pose.transform", lambda t: moved(t, 500.0))),
          "error", "sensors contradict its time or pose (the first, SIDE_LEFT: its pose puts"),
    row_2("out of range", "a beam too many", table("lidar_calibration", cell(
          0, "inclination.values", lambda table: [*table, 0.1])), "repair",
          "the calibration tells 9 beam inclinations, the range image has 8", **never(LIDAR)),
    row_2("NaN", "an image's pose",
          table("camera_image", cell(IMAGE_ROW, "pose.transform", lambda t: moved(t, np.nan))),
          "repair", "SIDE_LEFT: left out: ...expected finite numbers", **LOST),
    row_2("NaN", "an image that is null",
          table("camera_image", cell(IMAGE_ROW, ".image", lambda _: None)), "repair",
          "SIDE_LEFT: view left out: row 3 has no image", **LOST),
    row_2("NaN", "a range",
          table("lidar", cell(LIDAR_ROW, "return1.values", top(with_nan))), "repair",
          "points are not finite and were dropped", thinned=AT),
    row_2("duplicated", "an image's row",
          table("camera_image", lambda rows: rows.append(rows[IMAGE_ROW])), "repair",
          "SIDE_LEFT: left out: ...has two rows of it for the frame", **LOST),
    row_2("duplicated", "a frame's pose",
          table("vehicle_pose", lambda rows: rows.append(rows[AT])), "error",
          "has the frame ...twice"),
    row_2("duplicated", "a range image", table("lidar", lambda rows: rows.append(rows[0])),
          "error", "has the LiDAR 1 twice in the frame"),
    row_2("unsorted", "all rows of all tables",
          everywhere(lambda rows: rows.reverse()), "same", ""),
    row_2("hostile", "a link that leads out of the root",
          lambda root: harms.link_outside(root, component("camera_image")(root)), "error",
          "allow links that lead outside with --follow-links", UnsafePathError),
    row_2("hostile", "a range image that says it has 10 000 million pixels",
          table("lidar", cell(LIDAR_ROW, "return1.shape", lambda _: [10**5, 10**5, 4])), "repair",
          "of a range image of shape (100000, 100000, 4)", **BLIND),
    row_2("hostile", "an image of 30000 x 30000",
          table("camera_image", cell(IMAGE_ROW, ".image", lambda _: harms.bomb_png())), "repair",
          "the image is (30000, 30000) (h, w)", **LOST),
)  # fmt: skip
FAULTS = (*V1, *V2)
