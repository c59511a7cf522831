"""Camera images off disk, whole or not at all."""

import re
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from driv3r.datasets.image_headers import ImageHeader, read_header
from driv3r.errors import DatasetError

JPEG_SCAN = b"\xff\xda"
# In the last scan 0xff may precede only 0 (a data byte), a restart, the end marker, or fill.
STRAY_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xd9\xff]")
LOST_GREY = 128  # what libjpeg leaves of the blocks that it has no data for
LEAST_BRIGHT = 4096  # of 16 bits: the brightest pixel of 12-bit data in 16-bit words is below
AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
SIDEWAYS = (5, 6, 7, 8)  # Exif's orientations that exchange width and height


def read_file(path: Path) -> bytes:
    """The bytes of a regular file; DatasetError where it is missing or can not be read."""
    try:
        if not path.is_file():  # before opening: a pipe would block for ever
            raise DatasetError(f"the file is missing: {path}")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"the file can not be read: {path}: {error.strerror}") from error


def read_image(path: Path, size_hw: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
    """A JPEG, PNG, WebP or AVIF as RGB: see `decode_image`."""
    return decode_image(read_file(path), size_hw, str(path))


def decode_image(data: bytes, size_hw: tuple[int, int], where: str) -> UInt8[np.ndarray, "h w 3"]:
    """An image file's bytes as RGB in their stored orientation, which calibration refers to.

    Grey is given to all three channels, alpha dropped, the upper 8 of 16 bits taken. Raises
    DatasetError, which says `where`, unless the file is complete, decodes, and has the size the
    tables give: a decoder fills what a cut file lacks with grey and calls that success. Refused,
    too, is what could be looked at in two ways: CMYK, animations, and Exif that asks for a turn
    which the size does not tell from none.
    """
    header = read_header(data)
    if header is None:
        raise DatasetError(
            f"neither JPEG nor PNG: {where} starts with {data[:8]!r}, expected one of these, WebP "
            "or AVIF; convert it"
        )
    _check_complete(data, header, where)
    _check_size(header, size_hw, where)  # before decoding: a few bytes may ask for gigabytes
    _check_channels(header, where)
    bgr = _decode(data, AS_STORED, header, where)
    if bgr.shape[:2] != size_hw:
        raise DatasetError(
            f"the image is {bgr.shape[:2]} (h, w), the tables say {size_hw}: {where}"
        )
    if header.kind == "PNG" and header.bits == 16:
        _check_depth(data, header, where)
    image = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    # A PNG has no blocks to lose, and its makers may pad with grey.
    lost = header.kind == "JPEG" and np.all(image[-8:, -8:] == LOST_GREY)
    if lost and not np.all(image == LOST_GREY):
        raise DatasetError(f"the image's last blocks are lost (plain grey): {where}")
    return image.astype(np.uint8, copy=False)


def read_size(path: Path) -> tuple[int, int]:
    """(h, w) of an image, by its header alone; DatasetError where that can not be told."""
    header = read_header(read_file(path))
    if header is None or header.size_hw is None:
        raise DatasetError(f"no image, or of a size that its header does not tell: {path}")
    return header.size_hw


def _check_complete(data: bytes, header: ImageHeader, where: str) -> None:
    if not header.whole:
        raise DatasetError(f"the image is cut short after {len(data)} bytes: {where}")
    if header.kind != "JPEG":
        return
    if STRAY_MARKER.search(data, max(data.rfind(JPEG_SCAN), 0) + 2):
        raise DatasetError(f"the JPEG's pixel data are overwritten: {where}")


def _check_size(header: ImageHeader, size_hw: tuple[int, int], where: str) -> None:
    """Refuse another size than the tables', and turns that the size does not settle."""
    told_hw, turn = header.size_hw, header.orientation
    if told_hw is None:
        raise DatasetError(f"the {header.kind}'s header tells no size: {where}")
    sideways = turn in SIDEWAYS
    remedy = "turn its pixels (jpegtran, exiftran) and the tag with them"
    if told_hw != size_hw:
        asks = f". Its Exif asks for a turn (orientation {turn}): {remedy}" if sideways else ""
        raise DatasetError(
            f"the image is {told_hw} (h, w), the tables say {size_hw}: {where}{asks}"
        )
    if turn != 1 and (not sideways or told_hw[0] == told_hw[1]):
        raise DatasetError(
            f"the image's Exif asks for a turn or mirror (orientation {turn}), and nothing tells "
            f"whether the calibration is of the image as stored: {where}. Remove the tag (exiftool "
            f"-Orientation=) if it is, else {remedy}"
        )


def _check_channels(header: ImageHeader, where: str) -> None:
    if header.kind == "JPEG" and (header.channels not in (1, 3) or header.bits != 8):
        kind = "CMYK" if header.channels == 4 else f"of {header.channels} channels"
        raise DatasetError(
            f"the JPEG is {kind}, {header.bits} bits each, expected grey or colour of 8 bits; "
            f"convert it: {where}"
        )
    if header.animated:
        raise DatasetError(
            f"the {header.kind} is an animation, expected one image; write its frames as files of "
            f"their own: {where}"
        )


def _decode(data: bytes, flags: int, header: ImageHeader, where: str) -> np.ndarray:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DatasetError(f"the image does not decode: {where}: {error}") from error
    if decoded is None and header.kind == "AVIF":
        raise DatasetError(
            f"the AVIF does not decode: {where}. OpenCV {cv2.__version__} may be built without "
            "AVIF: convert the images to PNG, JPEG or WebP, or install an OpenCV that has it"
        )
    if decoded is None:
        raise DatasetError(f"the image does not decode: {where}")
    return decoded


def _check_depth(data: bytes, header: ImageHeader, where: str) -> None:
    """Refuse 10- or 12-bit data in a PNG's 16-bit words: their upper 8 bits are nearly black."""
    brightest = int(_decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, header, where).max())
    if brightest < LEAST_BRIGHT:
        raise DatasetError(
            f"the 16-bit PNG's largest value is {brightest}, expected {LEAST_BRIGHT} or more: its "
            "8 bits would be nearly black. Scale its values to the full 16 bits, or write 8 bits: "
            f"{where}"
        )
