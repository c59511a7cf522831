"""Segments of Waymo Perception v1: a TFRecord file a segment, a Frame message a record."""

import zlib
from collections import Counter
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.datasets.reader import Datum
from driv3r.datasets.waymo.messages import load_messages
from driv3r.datasets.waymo.segment import (
    CAMERA_NAMES,
    CameraSetup,
    Exposure,
    Labels,
    LaserReturn,
    LaserSetup,
    Segment,
    SegmentFrame,
    parse_transform,
    shape_returns,
)
from driv3r.datasets.waymo.tfrecord import list_records, read_record
from driv3r.errors import DatasetError
from driv3r.types import Repair, Transform

MOST_BYTES = 2**26  # that a range image may inflate to: the TOP LiDAR's poses take 4 MB
BOX = ("center_x", "center_y", "center_z", "length", "width", "height", "heading")
SPEED = ("speed_x", "speed_y", "speed_z")


def read_segment(path: Path) -> Segment:
    """A segment's calibration, times, poses and labels: one pass over the file, its CRCs checked.

    A record with damaged data is a Repair. Raises DatasetError where records can not be found, are
    no Frames, or are of several segments.
    """
    repairs: list[Repair] = []
    frames: list[SegmentFrame] = []
    context: Any = None
    for offset, data in list_records(path):
        if isinstance(data, DatasetError):
            repairs.append(Repair("frames", f"left out: {data}"))
            continue
        where = f"the record at byte {offset} of {path}"
        frame = parse_message("Frame", data, where)
        if context is None:
            context = _copy(frame.context)
        if frame.context.name != context.name:
            raise DatasetError(
                f"{where} is of the segment {frame.context.name!r}, those before of "
                f"{context.name!r}; give a file of one segment"
            )
        frames.append(_take_frame(frame, offset, where))
    if context is None:
        told = "; ".join(repair.reason for repair in repairs) or "it has no bytes"
        raise DatasetError(f"{path} holds no frame: {told}")
    read = lru_cache(maxsize=2)(partial(_read_frame, path))
    return Segment(
        {each.name: _take_camera(each, path) for each in context.camera_calibrations},
        {each.name: _take_laser(each, path) for each in context.laser_calibrations},
        frames,
        path,
        path,
        lambda datum: _read_image(read(_offset_of(datum)), datum),
        lambda datum: _read_returns(read(_offset_of(datum)), f"{datum.path}#{datum.part}"),
        repairs,
    )


def parse_message(name: str, data: bytes, where: str) -> Any:
    """A message of v1's; DatasetError where the bytes are none."""
    message = load_messages()[name]()
    try:
        message.ParseFromString(data)
    except Exception as error:  # DecodeError's home differs between versions of protobuf
        raise DatasetError(f"{where} is no {name} of Waymo's ({error})") from error
    return message


def _copy(message: Any) -> Any:
    """A message of its own: one that belongs to a frame keeps all of the frame's images."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _read_frame(path: Path, offset: int) -> Any:
    return parse_message("Frame", read_record(path, offset), f"the record at byte {offset}")


def _offset_of(datum: Datum) -> int:
    return int(datum.part.partition("-")[0])


def _take_camera(calibration: Any, path: Path) -> CameraSetup:
    name = CAMERA_NAMES.get(calibration.name, str(calibration.name))
    return CameraSetup(
        tuple(calibration.intrinsic),
        parse_transform(calibration.extrinsic.transform, f"{path}: extrinsic of camera {name}"),
        (calibration.height, calibration.width),
        calibration.rolling_shutter_direction,
    )


def _take_laser(calibration: Any, path: Path) -> LaserSetup:
    where = f"{path}: extrinsic of LiDAR {calibration.name}"
    return LaserSetup(
        parse_transform(calibration.extrinsic.transform, where),
        np.array(calibration.beam_inclinations, np.float64),
        (calibration.beam_inclination_min, calibration.beam_inclination_max),
    )


def _take_frame(frame: Any, offset: int, where: str) -> SegmentFrame:
    pose: Transform | Repair
    try:
        pose = parse_transform(frame.pose.transform, f"{where}: pose")
    except DatasetError as error:
        pose = Repair("lidar", f"left out: {error}")
    given = Counter(image.name for image in frame.images)
    return SegmentFrame(
        frame.timestamp_micros,
        pose,
        {
            image.name: _take_exposure(image, given[image.name], f"{offset}", where)
            for image in frame.images
        },
        any(r.range_image_compressed for laser in frame.lasers for r in _returns_of(laser)),
        f"{offset}",
        _take_labels(frame.laser_labels),
    )


def _returns_of(laser: Any) -> tuple[Any, Any]:
    return laser.ri_return1, laser.ri_return2


def _take_exposure(image: Any, count: int, part: str, where: str) -> Exposure | Repair:
    name = CAMERA_NAMES.get(image.name, str(image.name))
    if count > 1:
        return Repair(name, f"left out: {where} has {count} images of it")
    try:
        pose = parse_transform(image.pose.transform, f"{where}: pose of the image {name}")
    except DatasetError as error:
        return Repair(name, f"left out: {error}")
    told = image.HasField("velocity")
    velocity = [
        [getattr(image.velocity, f"{kind}_{axis}") if told else np.nan for axis in "xyz"]
        for kind in "vw"
    ]
    return Exposure(
        image.pose_timestamp,
        pose,
        np.array(velocity[0], np.float64),
        np.array(velocity[1], np.float64),
        image.shutter,
        image.camera_trigger_time,
        image.camera_readout_done_time,
        f"{part}-{name}",
    )


def _take_labels(labels: Any) -> Labels:
    box = [[getattr(label.box, side) for side in BOX] for label in labels]
    speed = [
        [
            getattr(label.metadata, axis) if label.metadata.HasField(axis) else np.nan
            for axis in SPEED
        ]
        for label in labels
    ]
    return Labels(
        tuple(label.id for label in labels),
        tuple(label.type for label in labels),
        np.array(box, np.float64).reshape(-1, 7),
        np.array(speed, np.float64).reshape(-1, 3),
    )


def _read_image(frame: Any, datum: Datum) -> bytes:
    name = datum.part.partition("-")[2]
    return next(image.image for image in frame.images if CAMERA_NAMES.get(image.name) == name)


def _read_returns(frame: Any, where: str) -> list[LaserReturn]:
    """Every LiDAR's range images; the second return has the first one's poses."""
    out = []
    for laser in frame.lasers:
        of_laser = f"{where}: LiDAR {laser.name}"
        packed = laser.ri_return1.range_image_pose_compressed
        poses = _inflate(packed, of_laser) if packed else None
        for each in _returns_of(laser):
            if not each.range_image_compressed:
                continue
            matrix = _inflate(each.range_image_compressed, of_laser)
            values = _to_floats(matrix, of_laser)
            pixel_poses = None if poses is None else _to_floats(poses, of_laser)
            out.append(shape_returns(laser.name, values, matrix.shape.dims, pixel_poses, of_laser))
    return out


def _to_floats(matrix: Any, where: str) -> Float[np.ndarray, "n"]:
    if len(matrix.data) % 4:
        raise DatasetError(f"{where}: {len(matrix.data)} bytes are no whole number of floats")
    return np.frombuffer(matrix.data, "<f4")


def _inflate(data: bytes, where: str) -> Any:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise DatasetError(f"{where}: the range image can not be inflated: {error}") from error
    if not inflater.eof:
        raise DatasetError(
            f"{where}: the range image can not be inflated: its {len(data)} bytes end too early, "
            f"or take more than {MOST_BYTES} bytes"
        )
    return parse_message("MatrixFloat", plain, where)
