"""Pixels of sensor_msgs/Image and CompressedImage.

Encodings by ROS's image_encodings.hpp; OpenCV names Bayer patterns by the second row's second and
third pixel, ROS by the first row's first two.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

from driv3r.datasets.image_headers import read_header
from driv3r.datasets.images import decode_image
from driv3r.datasets.rosbag.bag import Message
from driv3r.errors import DatasetError

ENCODINGS: dict[str, tuple[int, int | None]] = {  # bytes a pixel, OpenCV's way to RGB
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
}
RAW_IN_FILE = ("bayer", "16UC", "32FC")  # what no decoder gives as colours


def check_encoding(message: Message, compressed: bool) -> None:
    """DatasetError names an encoding that is not read."""
    if not compressed and message.encoding not in ENCODINGS:
        raise DatasetError(
            f"its images have the encoding {message.encoding!r}, expected one of "
            f"{', '.join(ENCODINGS)}; convert them (image_proc, ros2 run image_transport republish)"
        )
    # "rgb8; jpeg compressed bgr8" tells the source, and what was made of it before compressing.
    source, _, target = message.format.partition(";") if compressed else ("", "", "")
    held = target.rpartition("compressed")[2].strip() or source.strip()
    if held.startswith(RAW_IN_FILE):
        raise DatasetError(
            f"its images are compressed as {message.format!r}, expected 8 bits of colour or grey; "
            "convert them with image_proc"
        )


def size_of(message: Message, compressed: bool) -> tuple[int, int] | None:
    """(h, w) that an image says it has; None where it says none."""
    if not compressed:
        return message.height, message.width
    header = read_header(message.data.tobytes())
    return None if header is None else header.size_hw


def decode(
    message: Message, compressed: bool, size_hw: tuple[int, int], where: str
) -> UInt8[np.ndarray, "h w 3"]:
    """A message's image as RGB; DatasetError where it is broken or of another size."""
    try:
        check_encoding(message, compressed)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
    if compressed:
        return decode_image(message.data.tobytes(), size_hw, where)
    if (message.height, message.width) != size_hw:
        raise DatasetError(
            f"the image is {(message.height, message.width)} (h, w), its camera_info says "
            f"{size_hw}: {where}"
        )
    (height, width), (depth, code) = size_hw, ENCODINGS[message.encoding]
    if message.step < width * depth or len(message.data) != height * message.step:
        raise DatasetError(
            f"the image has {len(message.data)} bytes and rows of {message.step}, expected "
            f"{height} rows of {width * depth} or more ({message.encoding}): {where}"
        )
    rows = message.data.reshape(height, message.step)[:, : width * depth]
    pixels = np.ascontiguousarray(rows).reshape((height, width, depth)[: 2 + (depth > 1)])
    try:
        return pixels.copy() if code is None else cv2.cvtColor(pixels, code)
    except cv2.error as error:
        raise DatasetError(f"the image can not be made RGB: {where}: {error}") from error
