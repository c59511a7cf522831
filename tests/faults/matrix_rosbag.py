"""Faults of ROS 2 bags: of the file, and of messages in a whole one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.errors import ConfigError, UnsafePathError
from tests.datasets import tiny_folder as car
from tests.datasets import tiny_rosbag as tiny
from tests.faults import harms
from tests.faults.harms import Harm, to_file
from tests.faults.matrix_kitti import loop
from tests.faults.rows import ReaderFault
from tests.faults.subjects import ROSBAG

AT = 1  # the moment that is harmed
TIME_US = car.START_US + AT * car.STEP_US
LATE_US = TIME_US + tiny.LATE_US
INFO, FRAME = "/front/camera_info", "front_optical"
row = partial(ReaderFault, ROSBAG)
file = partial(to_file, lambda root: root / "drive.mcap")
FRONT_LOST, LEFT_LOST, BLIND = ({"lost": ((AT, name),)} for name in ("front", "left", "lidar"))


def all_of(name: str) -> dict[str, Any]:
    return {"lost": tuple((i, name) for i in range(tiny.FRAMES))}


def send(messages: Callable[[], Sequence[tiny.Sent]]) -> Harm:
    """Another drive in the bag."""

    def harm(root: Path) -> None:
        made = sorted(messages(), key=lambda each: each.log_us)
        tiny.write_mcap(root / "drive.mcap", made)

    return harm


def change(topic: str, new: Callable[[tiny.Sent], Sequence[tiny.Sent]]) -> Harm:
    """Other messages for the one of a topic at the harmed moment."""

    def messages() -> list[tiny.Sent]:
        at_us = (TIME_US + tiny.LOGGED_US, LATE_US + tiny.LOGGED_US)
        return [
            other
            for each in tiny.drive()
            for other in (new(each) if each.topic == topic and each.log_us in at_us else [each])
        ]

    return send(messages)


def change_all(topic: str, new: Callable[[tiny.Sent, int], tiny.Sent]) -> Harm:
    """Others for all of a topic, made of each and its time by the header."""
    return send(
        lambda: [
            new(each, each.log_us - tiny.LOGGED_US) if each.topic == topic else each
            for each in tiny.drive()
        ]
    )


def put(topic: str, *others: tiny.Sent) -> Harm:
    return change(topic, lambda _: others)


def front(pixels: np.ndarray, encoding: str = "rgb8") -> tiny.Sent:
    return tiny.image(tiny.FRONT, TIME_US, pixels, encoding, FRAME)


def sweep(points: np.ndarray) -> Harm:
    return put(tiny.LIDAR, tiny.cloud(tiny.LIDAR, LATE_US, points))


def holed() -> np.ndarray:
    points = car.points(AT).copy()
    points[1, 1] = np.nan
    return points


def edit(topic: str, old: bytes, new: bytes) -> Harm:
    """Other bytes of the same number in a message."""
    assert len(old) == len(new)
    return change(topic, lambda each: [replace(each, data=each.data.replace(old, new, 1))])


def shorten(topic: str, count: int) -> Harm:
    return change(topic, lambda each: [replace(each, data=each.data[:-count])])


def info(**changes: Any) -> Harm:
    return change_all(INFO, lambda _, time_us: tiny.info(INFO, time_us, FRAME, **changes))


def static(*more: tuple[str, str, Any]) -> Harm:
    """Transforms beside those of the drive."""
    return send(lambda: [*tiny.drive(), tiny.transforms("/tf_static", car.START_US, *more)])


def instead_static(*others: tuple[str, str, Any]) -> Harm:
    return send(lambda: tiny.instead("/tf_static", tiny.transforms("/tf_static", 0, *others)))


def odom(time_us: int, place: np.ndarray) -> tiny.Sent:
    return tiny.transforms("/tf", time_us, ("odom", "base_link", place))


def scaled_poses() -> list[tiny.Sent]:
    times = range(car.START_US - 50_000, car.START_US + 400_000, 50_000)
    return [
        *tiny.without("/tf"),
        *(odom(t, tiny.shifted(1000 * car.place_m(t), 0, 300)) for t in times),
    ]


def short_image() -> tiny.Sent:
    cdr = tiny.Cdr().header(TIME_US, FRAME).put("I", *car.SIZE_HW).text("rgb8")
    cdr.put("B", 0).put("I", 168).octets(car.image(AT).tobytes()[:-168])
    return tiny.sent(tiny.FRONT, "Image", TIME_US, cdr)


def huge_image() -> tiny.Sent:
    cdr = tiny.Cdr().header(TIME_US, FRAME).put("I", 30_000, 30_000).text("rgb8")
    return tiny.sent(tiny.FRONT, "Image", TIME_US, cdr.put("B", 0).put("I", 90_000).octets(b"0"))


def cut_png(each: tiny.Sent) -> list[tiny.Sent]:
    content = each.data[each.data.index(b"\x89PNG") :]
    cdr = tiny.Cdr().header(LATE_US, "left_optical").text("png").octets(content[:-900])
    return [replace(each, data=bytes(cdr.data))]


def twice() -> list[tiny.Sent]:
    again = [
        tiny.logged(each, each.log_us + 10**7)
        for each in tiny.drive()
        if each.topic != "/tf_static"
    ]
    return [*tiny.drive(), *again]


def swapped() -> list[tiny.Sent]:
    """Transforms that are logged in the other order, 50 ms apart."""
    made, moved = tiny.without("/tf"), [each for each in tiny.drive() if each.topic == "/tf"]
    logged_us = [each.log_us for each in moved]
    logged_us[2:4], logged_us[4:6] = logged_us[4:6], logged_us[2:4]
    pairs = zip(moved, logged_us, strict=True)
    return [*made, *(tiny.logged(each, log_us) for each, log_us in pairs)]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


def settings(content: bytes) -> Harm:
    return lambda root: (root / "driv3r-bag.yaml").write_bytes(content)


def seconds(each: tiny.Sent, time_us: int) -> tiny.Sent:
    """The time of a clock that began with the drive."""
    own = tiny.cloud(tiny.LIDAR, time_us - car.START_US + 5 * 10**6, car.points(0))
    return tiny.logged(own, each.log_us)


def nan_place() -> np.ndarray:
    return tiny.shifted(np.nan, 0, 0)


FAULTS = (
    row("missing", "a camera's camera_info", send(lambda: tiny.without("/left/camera_info")),
        "repair", "left: left out: /left/image_raw/compressed has no camera_info",
        **all_of("left")),
    row("missing", "all cameras' camera_info", send(
            lambda: [m for m in tiny.drive() if m.kind != "CameraInfo"]), "error",
        "holds no camera: expected topics of images with a camera_info beside each"),
    row("missing", "an image", put(tiny.LEFT), "repair",
        "left: no exposure near enough in time", **LEFT_LOST),
    row("missing", "the transforms of sensors", send(lambda: tiny.without("/tf_static")), "error",
        "no fixed transforms lead from base_link to front_optical"),
    row("missing", "the bag", file(Path.unlink), "error", "holds no bag: expected .mcap"),
    row("truncated", "the bag", file(harms.cut(0.7)), "error",
        "the bag can not be read: ...File end magic is invalid...`mcap recover IN -o OUT`"),
    row("truncated", "a chunk whose bytes are others", file(flip), "error",
        "the bag can not be read: ..."),
    row("truncated", "a message", shorten(tiny.FRONT, 200), "error",
        "is no sensor_msgs/msg/Image in CDR"),
    row("truncated", "an image's rows", put(tiny.FRONT, short_image()), "repair",
        "the image has 5208 bytes and rows of 168, expected 32 rows", **FRONT_LOST),
    row("truncated", "a PNG", change(tiny.LEFT, cut_png), "repair",
        "left: view left out: the image is cut short", **LEFT_LOST),
    row("wrong type", "a page in the bag's place", file(harms.put(harms.PAGE)), "error",
        "the bag can not be read: ...File magic is invalid"),
    row("wrong type", "a bag of ROS 1's profile",
        lambda root: tiny.write_mcap(root / "drive.mcap", tiny.drive(), profile="ros1"), "error",
        "the bag can not be read: ...Profile is not ros2"),
    row("wrong type", "images of depth", change_all(
            tiny.FRONT, lambda _, t: tiny.image(
                tiny.FRONT, t, car.image(0)[..., :2], "16UC1", FRAME)), "repair",
        "front: left out: its images have the encoding '16UC1', expected one of rgb8",
        **all_of("front")),
    row("wrong type", "one image's encoding", put(tiny.FRONT, front(car.image(1), "8UC3")),
        "repair", "its images have the encoding '8UC3'", **FRONT_LOST),
    row("wrong type", "a lens model that is not known", info(model="scaramuzza", d=(1.0,) * 5),
        "error", "camera front has the distortion_model 'scaramuzza' with 5 coefficients"),
    row("wrong type", "a lens of too few coefficients", info(d=(0.1, 0.2)), "error",
        "camera front has the distortion_model 'plumb_bob' with 2 coefficients"),
    row("wrong type", "a cloud without z",
        edit(tiny.LIDAR, b"\x02\0\0\0z\0", b"\x02\0\0\0h\0"), "repair",
        "sweep left out: the cloud lacks the fields z, it has h, x", **BLIND),
    row("wrong unit", "points in millimetres", sweep(1000 * car.points(AT)), "repair",
        "expected less than 1000 m of a LiDAR", **BLIND),
    row("wrong unit", "sensors' places in millimetres", instead_static(
            ("base_link", "front_optical", tiny.shifted(1700, 0, 0) @ tiny.base_T(car.FRONT))),
        "error", "camera front lies 1702 m from the car's origin"),
    row("wrong unit", "poses in millimetres", send(scaled_poses), "error",
        "m/s, expected 100 m/s at most"),
    row("wrong unit", "a focal length in millimetres",
        info(k=(0.1, 0, 27.5, 0, 0.1, 15.5, 0, 0, 1)), "error",
        "camera front has K ...expected fx and fy of"),
    row("wrong unit", "a LiDAR's seconds since its start", change_all(tiny.LIDAR, seconds),
        "error", "the headers of /top/points are of another clock than the others'"),
    row("out of range", "a header without a time", change(tiny.FRONT, lambda each: [tiny.logged(
            tiny.image(tiny.FRONT, 0, car.image(AT), "rgb8", FRAME), each.log_us)]), "error",
        "has the time 0 s 0 ns, expected when it was measured; set clock: log"),
    row("out of range", "an uncalibrated camera", info(k=(0.0,) * 9), "repair",
        "front: left out: its camera_info: expected a calibration", **all_of("front")),
    row("out of range", "a camera_info of another size", info(size_hw=(64, 112)), "repair",
        "expected the size of its images, (32, 56) (h, w), but it is (64, 112)",
        **all_of("front")),
    row("out of range", "a camera_info of binned images", info(binning=(2, 2)), "repair",
        "expected no binning, but it is 2 x 2", **all_of("front")),
    row("out of range", "a camera's frame with a body's axes", instead_static(
            ("base_link", "front_optical", tiny.shifted(1, 0, 1)),
            ("base_link", "left_optical", tiny.base_T(car.LEFT))), "error",
        "camera front: its frame front_optical has z upward, expected an optical frame"),
    row("out of range", "a pose 59 m off",
        send(lambda: [*tiny.drive(), odom(TIME_US + 1000, tiny.shifted(59, 0, 0))]), "error",
        "frame 1 of scene drive: 2 of its sensors contradict its time or pose"),
    row("NaN", "one pose",
        send(lambda: [*tiny.drive(), odom(TIME_US + 1000, nan_place())]), "repair",
        "the transform odom to base_link: 1 of 10 left out: not finite"),
    row("NaN", "a sensor's place", instead_static(
            ("base_link", "front_optical", nan_place())), "error",
        "the transform base_link to front_optical: none of 1 is a pose"),
    row("NaN", "a focal length", info(k=(np.nan, *tiny.K[1:])), "error",
        "camera front has no usable K"),
    row("NaN", "a point", sweep(holed()), "repair",
        "1 of 50 points are not finite and were dropped", thinned=AT),
    row("duplicated", "an image", change(
            tiny.FRONT, lambda each: [each, tiny.logged(each, each.log_us + 1)]), "repair",
        "front: left out: 1 of 5 messages have the time of another"),
    row("duplicated", "a pose", send(
            lambda: [*tiny.drive(), odom(TIME_US, tiny.odom_T_base(TIME_US))]), "same", ""),
    row("duplicated", "a frame's parent", static(("gnss", "base_link", np.eye(4))), "error",
        "the frame base_link has the parents gnss, odom, expected one"),
    row("duplicated", "a camera's frame", change_all(tiny.LEFT, lambda _, t: tiny.compressed(
            tiny.LEFT, t, car.image(0), "png", FRAME)), "repair",
        "left: left out: its frame front_optical is the camera front's", **all_of("left")),
    row("duplicated", "the bag's name",
        lambda root: tiny.write_folder(root / "drive", tiny.drive()), "error",
        "holds several bags of the name drive"),
    row("unsorted", "transforms logged in another order", send(swapped), "same", ""),
    row("unsorted", "a log that was played twice", send(twice), "error",
        "us, expected an order that is right to 0.2 s; was a bag played twice"),
    row("unsorted", "a calibration that changes", put(
            INFO, tiny.info(INFO, TIME_US, FRAME)), "error",
        "the d of /front/camera_info changes from [-0.1, 0.02"),
    row("hostile", "a loop of frames",
        instead_static(("front_optical", "front_link", np.eye(4)),
                       ("front_link", "front_optical", np.eye(4))), "error",
        "> front_optical are each other's parents, a loop"),
    row("hostile", "a link that leads out of the root",
        lambda root: harms.link_outside(root, root / "drive.mcap"), "error",
        "allow links that lead outside with --follow-links", UnsafePathError),
    row("hostile", "a link to itself", file(loop), "error", "is no usable path below",
        UnsafePathError),
    row("hostile", "an image of 30000 x 30000", put(tiny.FRONT, huge_image()), "repair",
        "the image is (30000, 30000) (h, w)", **FRONT_LOST),
    row("hostile", "a driv3r-bag.yaml that makes objects",
        settings(b"clock: !!python/object/apply:os.getcwd []"), "error",
        "driv3r-bag.yaml is not YAML", ConfigError),
)  # fmt: skip
