"""A small drive as a ROS 2 bag: CDR by hand, MCAP by Foxglove's writer, SQLite by rosbags'.

The car, its two cameras and its LiDAR are tiny_folder's; base_link is 0.3 m over the road.
"""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from mcap.writer import CompressionType
from mcap.writer import Writer as McapWriter
from scipy.spatial.transform import Rotation

from tests.datasets import tiny_folder as car

FRAMES, LATE_US, LOGGED_US = 4, 7000, 30_000
HEIGHT_M = 0.3  # of base_link over the road
FRONT_D = (-0.1, 0.02, 0.001, -0.002, 0.003)
K = (30.0, 0.0, 27.5, 0.0, 30.0, 15.5, 0.0, 0.0, 1.0)
FRONT, LEFT, LIDAR = "/front/image_raw", "/left/image_raw/compressed", "/top/points"
TYPES = {
    "Image": "sensor_msgs/msg/Image",
    "CompressedImage": "sensor_msgs/msg/CompressedImage",
    "CameraInfo": "sensor_msgs/msg/CameraInfo",
    "PointCloud2": "sensor_msgs/msg/PointCloud2",
    "TFMessage": "tf2_msgs/msg/TFMessage",
    "Odometry": "nav_msgs/msg/Odometry",
    "PoseStamped": "geometry_msgs/msg/PoseStamped",
}
MAP_T_ODOM_M = (100.0, -20.0, 0.0)


class Cdr:
    """OMG's CDR, version 1, little-endian: each number aligned to its own size."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0\1\0\0")

    def put(self, kind: str, *values: float) -> "Cdr":
        for value in values:
            size = struct.calcsize(kind)
            self.data += bytes(-(len(self.data) - 4) % size) + struct.pack("<" + kind, value)
        return self

    def text(self, text: str) -> "Cdr":
        self.put("I", len(text) + 1)
        self.data += text.encode() + b"\0"
        return self

    def octets(self, data: bytes) -> "Cdr":
        self.put("I", len(data))
        self.data += data
        return self

    def header(self, time_us: int, frame: str) -> "Cdr":
        return self.put("i", time_us // 10**6).put("I", time_us % 10**6 * 1000).text(frame)

    def place(self, dst_T_src: Any) -> "Cdr":
        matrix = np.array(dst_T_src, float)
        xyzw = Rotation.from_matrix(matrix[:3, :3]).as_quat()
        return self.put("d", *matrix[:3, 3], *xyzw)


@dataclass(frozen=True)
class Sent:
    """A message as it is recorded."""

    topic: str
    kind: str
    log_us: int
    data: bytes


def sent(topic: str, kind: str, time_us: int, cdr: Cdr) -> Sent:
    return Sent(topic, kind, time_us + LOGGED_US, bytes(cdr.data))


def image(
    topic: str, time_us: int, pixels: np.ndarray, encoding: str, frame: str, pad: int = 0
) -> Sent:
    rows = pixels.reshape(len(pixels), -1)
    rows = np.pad(rows, ((0, 0), (0, pad)))
    cdr = Cdr().header(time_us, frame).put("I", *pixels.shape[:2]).text(encoding)
    cdr.put("B", 0).put("I", rows.shape[1]).octets(rows.tobytes())
    return sent(topic, "Image", time_us, cdr)


def compressed(
    topic: str, time_us: int, pixels: np.ndarray, form: str, frame: str, ending: str = ".png"
) -> Sent:
    file = cv2.imencode(ending, pixels[..., ::-1])[1].tobytes()
    cdr = Cdr().header(time_us, frame).text(form).octets(file)
    return sent(topic, "CompressedImage", time_us, cdr)


def info(topic: str, time_us: int, frame: str, **changes: Any) -> Sent:
    told: dict[str, Any] = {
        "size_hw": car.SIZE_HW,
        "model": "plumb_bob",
        "d": (),
        "k": K,
        "r": np.eye(3).ravel(),
        "p": (*K[:3], 0.0, *K[3:6], 0.0, *K[6:], 0.0),
        "binning": (0, 0),
        "roi": (0, 0, 0, 0),
    }
    told |= changes
    cdr = Cdr().header(time_us, frame).put("I", *told["size_hw"]).text(told["model"])
    cdr.put("I", len(told["d"])).put("d", *told["d"], *told["k"], *told["r"], *told["p"])
    cdr.put("I", *told["binning"], *told["roi"]).put("B", 0)
    return sent(topic, "CameraInfo", time_us, cdr)


def cloud(
    topic: str,
    time_us: int,
    points: np.ndarray,
    frame: str = "lidar",
    rows: int = 1,
    pad: int = 0,
    order: str = "<",
    kind: str = "f4",
) -> Sent:
    """z, x, intensity (u16), y, so that the order and offsets of fields matter."""
    code = {"f4": 7, "f8": 8}[kind]
    size = np.dtype(kind).itemsize
    columns = {"z": 0, "x": size, "intensity": 2 * size, "y": 2 * size + 2}
    step = 3 * size + 5
    table = np.zeros(len(points), np.dtype({
        "names": list(columns), "offsets": list(columns.values()), "itemsize": step,
        "formats": [order + kind, order + kind, order + "u2", order + kind],
    }))  # fmt: skip
    table["x"], table["y"], table["z"] = points.T
    width = len(points) // rows
    data = np.frombuffer(table.tobytes(), np.uint8).reshape(rows, width * step)
    data = np.pad(data, ((0, 0), (0, pad)))
    cdr = Cdr().header(time_us, frame).put("I", rows, width, len(columns))
    for name, offset in columns.items():
        kind_code = 4 if name == "intensity" else code
        cdr.text(name).put("I", offset).put("B", kind_code).put("I", 1)
    cdr.put("B", order == ">").put("I", step, data.shape[1]).octets(data.tobytes()).put("B", 1)
    return sent(topic, "PointCloud2", time_us, cdr)


def transforms(topic: str, time_us: int, *each: tuple[str, str, Any]) -> Sent:
    cdr = Cdr().put("I", len(each))
    for parent, child, parent_T_child in each:
        cdr.header(time_us, parent).text(child).place(parent_T_child)
    return sent(topic, "TFMessage", time_us, cdr)


def odometry(topic: str, time_us: int, child: str, world_T_child: Any) -> Sent:
    cdr = Cdr().header(time_us, "odom").text(child).place(world_T_child)
    return sent(topic, "Odometry", time_us, cdr.put("d", *[0.0] * 78))


def pose(topic: str, time_us: int, world_T_base: Any) -> Sent:
    return sent(topic, "PoseStamped", time_us, Cdr().header(time_us, "map").place(world_T_base))


def shifted(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def base_T(ego_T_sensor: Any) -> np.ndarray:
    """From a place over the road (tiny_folder's) to one over base_link."""
    matrix = np.eye(4)
    if isinstance(ego_T_sensor, dict):
        matrix[:3, 3] = ego_T_sensor["translation_m"]
    else:
        matrix = np.array(ego_T_sensor, float)
    return shifted(0, 0, -HEIGHT_M) @ matrix


def static() -> Sent:
    body = shifted(1.5, 0, 1.0)
    optical = np.linalg.inv(body) @ base_T(car.FRONT)
    return transforms(
        "/tf_static",
        car.START_US,
        ("base_link", "front_link", body),
        ("front_link", "front_optical", optical),
        ("base_link", "left_optical", base_T(car.LEFT)),
        ("base_link", "lidar", base_T(car.LIDAR)),
        ("base_link", "base_footprint", shifted(0, 0, -HEIGHT_M)),
    )


def odom_T_base(time_us: int) -> np.ndarray:
    return shifted(car.place_m(time_us), 0.0, HEIGHT_M)


def drive() -> list[Sent]:
    """All messages, in the order of their log time."""
    made = [static()]
    for time_us in range(car.START_US - 50_000, car.START_US + FRAMES * car.STEP_US, 50_000):
        made.append(transforms("/tf", time_us, ("odom", "base_link", odom_T_base(time_us))))
        made.append(transforms("/tf", time_us, ("map", "odom", shifted(*MAP_T_ODOM_M))))
    for i in range(FRAMES):
        time_us = car.START_US + i * car.STEP_US
        late_us = time_us + LATE_US
        made.append(info("/front/camera_info", time_us, "front_optical", d=FRONT_D))
        made.append(image(FRONT, time_us, car.image(i), "rgb8", "front_optical", pad=5))
        made.append(info("/left/camera_info", late_us, "left_optical"))
        form = "rgb8; png compressed bgr8"
        made.append(compressed(LEFT, late_us, car.image(100 + i), form, "left_optical"))
        made.append(cloud(LIDAR, late_us, car.points(i)))
    return sorted(made, key=lambda each: each.log_us)


def write_mcap(
    path: Path, messages: Sequence[Sent], chunk: int = 20_000, profile: str = "ros2"
) -> Path:
    """An MCAP file of zstd chunks with CRCs."""
    with path.open("wb") as file:
        writer = McapWriter(file, chunk_size=chunk, compression=CompressionType.ZSTD)
        writer.start(profile=profile, library="tiny")
        schemas: dict[str, int] = {}
        channels: dict[str, int] = {}
        for each in messages:
            name = TYPES[each.kind]
            if each.kind not in schemas:
                schemas[each.kind] = writer.register_schema(name, "ros2msg", b"")
            if each.topic not in channels:
                channels[each.topic] = writer.register_channel(
                    each.topic, "cdr", schemas[each.kind]
                )
            log_ns = each.log_us * 1000
            writer.add_message(channels[each.topic], log_ns, each.data, log_ns)
        writer.finish()
    return path


def write_folder(folder: Path, messages: Sequence[Sent], compression: str = "NONE") -> Path:
    """A rosbag2 folder with metadata.yaml and a .db3; compressed by MESSAGE or FILE."""
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, Writer
    from rosbags.typesys import Stores, get_typestore

    types = get_typestore(Stores.ROS2_HUMBLE)
    writer = Writer(folder, version=9)
    writer.set_compression(CompressionMode[compression], CompressionFormat.ZSTD)
    with writer:
        topics: dict[str, Any] = {}
        for each in messages:
            if each.topic not in topics:
                topics[each.topic] = writer.add_connection(
                    each.topic, TYPES[each.kind], typestore=types
                )
            writer.write(topics[each.topic], each.log_us * 1000, each.data)
    return folder


def write_split(folder: Path, messages: Sequence[Sent], parts: int = 2) -> Path:
    """A rosbag2 folder of several .mcap files, as `ros2 bag record --max-bag-size` leaves it."""
    folder.mkdir(parents=True)
    size = -(-len(messages) // parts)
    files = []
    for i in range(parts):
        name = f"{folder.name}_{i}.mcap"
        write_mcap(folder / name, messages[i * size : (i + 1) * size])
        files.append(name)
    counts = Counter((each.topic, TYPES[each.kind]) for each in messages)
    start_us, end_us = messages[0].log_us, messages[-1].log_us
    content = {
        "version": 5,
        "storage_identifier": "mcap",
        "duration": {"nanoseconds": (end_us - start_us) * 1000},
        "starting_time": {"nanoseconds_since_epoch": start_us * 1000},
        "message_count": len(messages),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic,
                    "type": kind,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": "",
                },
                "message_count": count,
            }
            for (topic, kind), count in counts.items()
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": files,
    }
    text = yaml.safe_dump({"rosbag2_bagfile_information": content})
    (folder / "metadata.yaml").write_text(text)
    return folder


def write(root: Path, messages: Sequence[Sent] | None = None) -> Path:
    """A root with one bag, drive.mcap."""
    root.mkdir(parents=True)
    write_mcap(root / "drive.mcap", drive() if messages is None else messages)
    return root


def without(topic: str) -> list[Sent]:
    return [each for each in drive() if each.topic != topic]


def instead(topic: str, *others: Sent) -> list[Sent]:
    """The drive with other messages of a topic, in order of log time."""
    return sorted([*without(topic), *others], key=lambda each: each.log_us)


def logged(message: Sent, log_us: int) -> Sent:
    return replace(message, log_us=log_us)
