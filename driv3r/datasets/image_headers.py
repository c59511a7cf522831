"""What an image file says of itself before it is decoded: a few bytes may ask for gigabytes.

JPEG by ITU-T T.81 (annex B), PNG by its third edition (W3C, 2025), WebP by RFC 9649, AVIF by ISO
BMFF's boxes (ISO/IEC 14496-12), orientation by Exif 2.32's tag 274. Files are not trusted: what is
not where it must be tells nothing.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

JPEG_START, JPEG_END, JPEG_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
# Markers of a frame's start, which tells the size: all of 0xc0 to 0xcf but three.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
EXIF_START = b"Exif\x00\x00"
ORIENTATION = 0x0112
ANIMATED = 0x02  # of a WebP's flags
AVIF_BRANDS = (b"avif", b"avis")

Kind = Literal["JPEG", "PNG", "WebP", "AVIF"]


@dataclass(frozen=True)
class ImageHeader:
    """An image file's own words; `size_hw` is None where it has none, as stored (not turned).

    `orientation` is Exif's: 1 as stored, 2 to 8 ask whoever shows it to mirror or turn it. `whole`:
    the file is as long as it says, or has its end.
    """

    kind: Kind
    size_hw: tuple[int, int] | None
    bits: int = 8
    channels: int = 3
    orientation: int = 1
    animated: bool = False
    whole: bool = True


def read_header(data: bytes) -> ImageHeader | None:
    """The header of a JPEG, PNG, WebP or AVIF; None for anything else."""
    if data.startswith(JPEG_START):
        return _read_jpeg(data)
    if data.startswith(PNG_START):
        return _read_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    if data[4:8] == b"ftyp" and data[8:12] in AVIF_BRANDS:
        return _read_avif(data)
    return None


def _read_jpeg(data: bytes) -> ImageHeader:
    size_hw, bits, channels, orientation = None, 8, 3, 1
    for marker, start, end in _jpeg_segments(data):
        if marker in JPEG_FRAMES and size_hw is None and end - start >= 6:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, start)
            size_hw = height, width
        elif marker == 0xE1 and data[start:end].startswith(EXIF_START):
            orientation = read_orientation(data[start + len(EXIF_START) : end])
    whole = data.rstrip(b"\0").endswith(JPEG_END)
    return ImageHeader("JPEG", size_hw, bits, channels, orientation, whole=whole)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, and where its content starts and ends, up to the first scan.

    Bytes between segments are skipped, as libjpeg does.
    """
    at = len(JPEG_START)
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == JPEG_SCAN:
            return
        if marker in (0x00, 0xFF) or marker in JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, at + 4, min(at + 2 + length, len(data))
        at += 2 + max(length, 2)


def _read_png(data: bytes) -> ImageHeader:
    orientation, size_hw, bits = 1, None, 8
    at = len(PNG_START)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IHDR" and length >= 9 and at + 17 <= len(data):
            width, height, bits = struct.unpack_from(">IIB", data, at + 8)
            size_hw = height, width
        elif name == b"eXIf":
            orientation = read_orientation(data[at + 8 : at + 8 + length])
        at += 12 + length
    return ImageHeader("PNG", size_hw, bits, orientation=orientation, whole=data.endswith(PNG_END))


def _read_webp(data: bytes) -> ImageHeader:
    (length,) = struct.unpack_from("<I", data, 4)
    size_hw, orientation, animated = None, 1, False
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        content = data[at + 8 : at + 8 + size]
        if name == b"VP8X" and len(content) >= 10:
            animated = bool(content[0] & ANIMATED)
            width, height = (int.from_bytes(content[i : i + 3], "little") + 1 for i in (4, 7))
            size_hw = height, width
        elif name == b"VP8 " and len(content) >= 10 and size_hw is None:
            width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", content, 6))
            size_hw = height, width
        elif name == b"VP8L" and len(content) >= 5 and size_hw is None:
            (packed,) = struct.unpack_from("<I", content, 1)
            size_hw = (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1
        elif name == b"EXIF":
            orientation = read_orientation(content.removeprefix(EXIF_START))
        at += 8 + size + size % 2
    whole = len(data) >= 8 + length
    return ImageHeader("WebP", size_hw, orientation=orientation, animated=animated, whole=whole)


def _read_avif(data: bytes) -> ImageHeader:
    """Its size is the largest `ispe` property's: an alpha plane or a thumbnail is no larger."""
    sizes = []
    at = data.find(b"ispe")
    while 0 <= at <= len(data) - 16:
        width, height = struct.unpack_from(">II", data, at + 8)
        sizes.append((height, width))
        at = data.find(b"ispe", at + 4)
    end = 0
    while end + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, end)
        end = len(data) if length == 0 else end + max(length, 8)
    size_hw = max(sizes, key=lambda hw: hw[0] * hw[1], default=None)
    animated = data[8:12] == AVIF_BRANDS[1]
    return ImageHeader("AVIF", size_hw, animated=animated, whole=end == len(data))


def read_orientation(tiff: bytes) -> int:
    """Exif's orientation in a TIFF structure; 1, as stored, where it tells none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    if at + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
        if tag == ORIENTATION:
            return value if 1 <= value <= 8 else 1
    return 1
