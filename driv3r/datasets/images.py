"""Camera images off disk, whole or not at all."""

import re
import struct
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from driv3r.errors import DatasetError

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_SCAN = b"\xff\xda"
# In the last scan 0xff may precede only 0 (a data byte), a restart, the end marker, or fill.
STRAY_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xd9\xff]")
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
PNG_SIZE_AT, PNG_DEPTH_AT = 16, 24  # where its header tells width and height, bits of a sample
# Markers that tell the size: all of 0xc0 to 0xcf but three, which are no frame's start.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
LOST_GREY = 128  # what libjpeg leaves of the blocks that it has no data for
LEAST_BRIGHT = 4096  # of 16 bits: the brightest pixel of 12-bit data in 16-bit words is below


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; DatasetError where it is missing or can not be read."""
    try:
        if not path.is_file():  # before opening: a pipe would block for ever
            raise DatasetError(f"the file is missing: {path}")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"the file can not be read: {path}: {error.strerror}") from error


def read_image(path: Path, size_hw: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """A JPEG or PNG as RGB at its stored orientation.

    Raises DatasetError unless it is complete, decodes, and has the size the tables give: a decoder
    fills what a cut file lacks with grey and calls that success.
    """
    data = read_file(path)
    _check_complete(data, path)
    told_hw = _read_size(data) or size_hw  # before decoding: a few bytes may ask for gigabytes
    if told_hw != size_hw:
        raise DatasetError(f"the image is {told_hw} (h, w), the tables say {size_hw}: {path}")
    bgr = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, path)
    if bgr.shape[:2] != size_hw:
        raise DatasetError(f"the image is {bgr.shape[:2]} (h, w), the tables say {size_hw}: {path}")
    if data.startswith(PNG_START):
        _check_depth(data, path)
    image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    # A PNG has no blocks to lose, and its makers may pad with grey.
    loses_blocks = data.startswith(JPEG_START)
    if loses_blocks and np.all(image[-8:, -8:] == LOST_GREY) and not np.all(image == LOST_GREY):
        raise DatasetError(f"the image's last blocks are lost (plain grey): {path}")
    return image.astype(np.uint8, copy=False)


def read_size(path: Path) -> tuple[int, int]:
    """(h, w) of an image, by its header alone; DatasetError where that can not be told."""
    size_hw = _read_size(read_file(path))
    if size_hw is None:
        raise DatasetError(f"neither JPEG nor PNG of a size that its header tells: {path}")
    return size_hw


def _read_size(data: bytes) -> tuple[int, int] | None:
    """(h, w) by a file's header; None where that can not be told."""
    if data.startswith(PNG_START):
        if len(data) < PNG_DEPTH_AT:
            return None
        width, height = struct.unpack_from(">II", data, PNG_SIZE_AT)
        return height, width
    at = len(JPEG_START)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        at += 1 if marker == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def _decode(data: bytes, flags: int, path: Path) -> np.ndarray:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DatasetError(f"the image does not decode: {path}: {error}") from error
    if decoded is None:
        raise DatasetError(f"the image does not decode: {path}")
    return decoded


def _check_depth(data: bytes, path: Path) -> None:
    """Refuse 10- or 12-bit data in a PNG's 16-bit words: their upper 8 bits are nearly black."""
    if data[PNG_DEPTH_AT] != 16:
        return
    brightest = int(_decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, path).max())
    if brightest < LEAST_BRIGHT:
        raise DatasetError(
            f"the 16-bit PNG's largest value is {brightest}, expected {LEAST_BRIGHT} or more: its "
            "8 bits would be nearly black. Scale its values to the full 16 bits, or write 8 bits: "
            f"{path}"
        )


def _check_complete(data: bytes, path: Path) -> None:
    if data.startswith(JPEG_START):
        whole = data.rstrip(b"\0").endswith(JPEG_END)
        if whole and STRAY_MARKER.search(data, max(data.rfind(JPEG_SCAN), 0) + 2):
            raise DatasetError(f"the JPEG's pixel data are overwritten: {path}")
    elif data.startswith(PNG_START):
        whole = data.endswith(PNG_END)
    else:
        raise DatasetError(f"neither JPEG nor PNG: {path} starts with {data[:8]!r}")
    if not whole:
        raise DatasetError(f"the image is cut short after {len(data)} bytes: {path}")
