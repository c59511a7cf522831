"""One pass over a bag: when and where each sensor's messages are, and all transforms and poses."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from driv3r.datasets.folder.exposures import Exposure
from driv3r.datasets.folder.times import check_steps
from driv3r.datasets.rosbag.bag import ODOMETRY, POSE_COVARIANCE, Bag, Message, Place
from driv3r.datasets.rosbag.frames import FrameTree, Row, check_forward, plain_frame, row_of
from driv3r.datasets.rosbag.settings import Clock
from driv3r.datasets.rosbag.topics import TF, Chosen
from driv3r.errors import DatasetError
from driv3r.types import Repair

ONE_CLOCK_US = 10_000_000  # by which sensors' headers may differ in how far off the log they are
CLOCK_REMEDY = "set clock: log in driv3r-bag.yaml, or repair the times of headers"
TEACHING = ("k", "d", "r", "p")  # of a camera_info: they must not change


@dataclass(eq=False)
class Track:
    """A topic's messages: the first one, their frame, times (us) in the log's order and places."""

    first: Message
    frame: str
    times_us: list[int] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


@dataclass(eq=False)
class Recording:
    """What the pass found, by topic. `rows` are poses: times, and the frame that they are of."""

    bag: Bag
    clock: Clock
    tree: FrameTree
    tracks: dict[str, Track] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    posed: dict[str, str] = field(default_factory=dict)  # topic of poses -> the frame, "" unknown
    _offsets_us: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of_bag(cls, bag: Bag, chosen: Chosen, clock: Clock, repairs: list[Repair]) -> "Recording":
        """Read all messages of the chosen topics once, and keep none of their images and points.

        Raises DatasetError on broken messages, headers without a time or of several clocks, frames
        and calibrations that change.
        """
        made = cls(bag, clock, FrameTree(str(bag.path), repairs))
        infos = {camera.camera_info for camera in chosen.cameras}
        for place, message in bag.scan(chosen.all()):
            if place.topic in TF:
                made._take_transforms(place, message)
            elif place.topic in chosen.poses:
                made._take_pose(place, message)
            else:
                made._take_sensor(place, message, place.topic in infos)
        made._check_counts(chosen)
        made._check_clocks()
        for topic, track in made.tracks.items():
            if topic not in infos:
                check_forward(np.array(track.times_us, np.int64), f"{bag.path}: {topic}")
        return made

    def exposures(self, topic: str, repairs: list[Repair], name: str) -> list[Exposure]:
        """A sensor's messages in order of time; of several of one time the first is taken.

        Raises DatasetError where times are closer than a sensor's.
        """
        track, kept = self.tracks[topic], list[Exposure]()
        timed = sorted(zip(track.times_us, track.places, strict=True), key=lambda each: each[0])
        for time_us, place in timed:
            if not kept or time_us > kept[-1].time_us:
                kept.append(Exposure(self.bag.file, time_us, str(place)))
        if len(kept) < len(timed):
            reason = f"{len(timed) - len(kept)} of {len(timed)} messages have the time of another"
            repairs.append(Repair(name, f"left out: {reason}"))
        check_steps([each.time_us for each in kept], f"{self.bag.path}: {topic}", CLOCK_REMEDY)
        return kept

    def _time_us(self, place: Place, stamp: Any) -> int:
        if self.clock == "log":
            return place.log_ns // 1000
        if not (stamp.sec or stamp.nanosec) or stamp.sec < 0:
            raise DatasetError(
                f"{self.bag.path}: the header of {place} has the time {stamp.sec} s "
                f"{stamp.nanosec} ns, expected when it was measured; {CLOCK_REMEDY}"
            )
        time_us = stamp.sec * 1_000_000 + stamp.nanosec // 1000
        self._offsets_us[place.topic].append(time_us - place.log_ns // 1000)
        return time_us

    def _take_transforms(self, place: Place, message: Message) -> None:
        fixed = place.topic == TF[1]
        for each in message.transforms:
            # Times of what never moves mean nothing, and are 0 with many publishers.
            time_us = 0 if fixed else self._time_us(place, each.header.stamp)
            row = row_of(time_us, each.transform.translation, each.transform.rotation)
            self.tree.add(each.header.frame_id, each.child_frame_id, row)

    def _take_pose(self, place: Place, message: Message) -> None:
        kind = self.bag.topics[place.topic]
        pose = message.pose.pose if kind in (ODOMETRY, POSE_COVARIANCE) else message.pose
        time_us = self._time_us(place, message.header.stamp)
        self.rows[place.topic].append(row_of(time_us, pose.position, pose.orientation))
        self._same_frame(self.posed, place, message.child_frame_id if kind == ODOMETRY else "")

    def _take_sensor(self, place: Place, message: Message, is_info: bool) -> None:
        topic, frame = place.topic, plain_frame(message.header.frame_id)
        track = self.tracks.setdefault(topic, Track(message, frame))
        self._same(place, "frame", track.frame, frame)
        if is_info:
            for key in TEACHING:
                first, now = (getattr(each, key) for each in (track.first, message))
                if not np.array_equal(first, now, equal_nan=True):
                    self._same(place, key, first.tolist(), now.tolist())
            return
        track.times_us.append(self._time_us(place, message.header.stamp))
        track.places.append(place)

    def _same_frame(self, known: dict[str, str], place: Place, frame: str) -> None:
        frame = plain_frame(frame)
        self._same(place, "frame", known.setdefault(place.topic, frame), frame)

    def _same(self, place: Place, what: str, first: Any, now: Any) -> None:
        if first != now:
            raise DatasetError(
                f"{self.bag.path}: the {what} of {place.topic} changes from {first} to {now} at "
                f"{place}; expected one calibration a log: cut the log there"
            )

    def _check_counts(self, chosen: Chosen) -> None:
        """DatasetError where a topic that the bag lists has no messages in its files."""
        for topic in sorted(chosen.all() - {*TF, *self.tracks, *self.rows}):
            raise DatasetError(
                f"{self.bag.path}: {topic} is listed with messages, but the files hold none of it; "
                "`ros2 bag reindex FOLDER` writes metadata.yaml anew"
            )

    def _check_clocks(self) -> None:
        """DatasetError where one topic's headers are of another clock than the others'."""
        medians = {topic: float(np.median(off)) for topic, off in self._offsets_us.items()}
        if len(medians) < 2:
            return
        middle = float(np.median(list(medians.values())))
        worst = max(medians, key=lambda topic: abs(medians[topic] - middle))
        if abs(medians[worst] - middle) > ONE_CLOCK_US:
            told = ", ".join(f"{each} {off * 1e-6:+.3g} s" for each, off in sorted(medians.items()))
            raise DatasetError(
                f"{self.bag.path}: the headers of {worst} are of another clock than the others', "
                f"or in another unit; header less log time: {told}; {CLOCK_REMEDY}"
            )
