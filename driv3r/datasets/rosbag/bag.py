"""Messages of a ROS 2 bag: all of some topics in one pass, then single ones by topic and log time.

The library `rosbags` (Apache-2.0) reads MCAP (https://mcap.dev/spec), checks its chunks' CRC,
rosbag2's SQLite files, and CDR; no ROS is needed.
"""

import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from driv3r.errors import ConfigError, DatasetError, Driv3rError

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, POINTS = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2"
TRANSFORMS, ODOMETRY = "tf2_msgs/msg/TFMessage", "nav_msgs/msg/Odometry"
POSE, POSE_COVARIANCE = (
    "geometry_msgs/msg/PoseStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
)
TYPES = (IMAGE, COMPRESSED, CAMERA_INFO, POINTS, TRANSFORMS, ODOMETRY, POSE, POSE_COVARIANCE)
METADATA = "metadata.yaml"
REMEDY = (
    "fetch it again; `mcap recover IN -o OUT` mends an .mcap that is cut short or damaged, "
    "`ros2 bag reindex FOLDER` writes metadata.yaml anew"
)
Message = Any  # a dataclass that rosbags makes of a message's definition


@dataclass(frozen=True)
class Place:
    """Where a message is: its topic, log time (ns), and number among the topic's of that time."""

    topic: str
    log_ns: int
    number: int = 0

    def __str__(self) -> str:
        return f"{self.topic}@{self.log_ns}" + f"+{self.number}" * (self.number > 0)

    @classmethod
    def parse(cls, text: str) -> "Place":
        """The place that `str` wrote."""
        topic, _, rest = text.rpartition("@")
        log_ns, _, number = rest.partition("+")
        return cls(topic, int(log_ns), int(number or 0))


class Bag:
    """An open bag: an .mcap or .db3 file, or a folder with metadata.yaml.

    `topics` gives the message type of each topic that a log is made from. Raises DatasetError where
    the bag can not be read, ConfigError where rosbags is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag2 import Reader
            from rosbags.typesys import Stores, get_typestore
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{path} is a ROS bag, which needs rosbags: pip install 'driv3r[rosbag]'"
            ) from error
        self.path, self._lock = path, Lock()
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        with _reading(path):
            reader = Reader(path)
            reader.open()
        weakref.finalize(self, reader.close)
        self._reader = reader
        self.topics: dict[str, str] = {}
        for connection in reader.connections:
            if connection.msgtype in TYPES and connection.msgcount:
                told = self.topics.setdefault(connection.topic, connection.msgtype)
                if told != connection.msgtype:
                    raise DatasetError(
                        f"{path}: the topic {connection.topic} has messages of {told} and of "
                        f"{connection.msgtype}; expected one type a topic"
                    )

    @property
    def file(self) -> Path:
        """The file that stands for the bag: of a folder its metadata.yaml."""
        return self.path / METADATA if self.path.is_dir() else self.path

    def scan(self, topics: Collection[str]) -> Iterator[tuple[Place, Message]]:
        """All messages of some topics by log time, with their places."""
        last: dict[str, Place] = {}
        with self._lock:
            for connection, log_ns, data in self._messages(topics):
                topic = connection.topic
                before = last.get(topic)
                again = before is not None and before.log_ns == log_ns
                number = before.number + 1 if before is not None and again else 0
                place = last[topic] = Place(topic, log_ns, number)
                yield place, self._parse(data, connection.msgtype, place)

    def read(self, place: Place) -> Message:
        """One message; DatasetError where it is not there or broken."""
        number = 0
        with self._lock:
            span = place.log_ns, place.log_ns + 1
            for connection, _, data in self._messages([place.topic], *span):
                if number == place.number:
                    return self._parse(data, connection.msgtype, place)
                number += 1
        raise DatasetError(f"{self.path} no longer has the message {place}; open it anew")

    def _messages(
        self, topics: Collection[str], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Any, int, bytes]]:
        wanted = [each for each in self._reader.connections if each.topic in topics]
        with _reading(self.path):
            yield from self._reader.messages(wanted, start, stop) if wanted else ()

    def _parse(self, data: bytes, kind: str, place: Place) -> Message:
        try:
            return self._types.deserialize_cdr(data, kind)
        except Exception as error:  # what broken bytes raise is up to the library
            raise DatasetError(
                f"{self.path}: the message {place} of {len(data)} bytes is no {kind} in CDR: "
                f"{error!r}; {REMEDY}"
            ) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Driv3rError:
        raise
    except Exception as error:  # a damaged file raises what struct, zstd and SQLite raise
        raise DatasetError(f"the bag can not be read: {path}: {error!r}; {REMEDY}") from error
