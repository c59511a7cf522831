"""TensorFlow's record files: u64 length, its u32 CRC, the data, their u32 CRC, all little-endian.

The CRCs are CRC-32C, masked: turned right by 15 bits, plus a constant (tensorflow/core/lib/hash/
crc32c.h), so that a CRC of data that hold CRCs is no weak one.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from driv3r.errors import ConfigError, DatasetError

HEAD, TAIL = struct.Struct("<QI"), struct.Struct("<I")
MASK = 0xA282EAD8


def mask_crc(data: bytes) -> int:
    """The masked CRC-32C of some bytes; ConfigError where google-crc32c is not installed."""
    try:
        import google_crc32c
    except ImportError as error:
        raise ConfigError(
            f"Waymo's v1 records need google-crc32c ({error}): pip install 'driv3r[waymo]'"
        ) from error
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def list_records(path: Path) -> Iterator[tuple[int, bytes | DatasetError]]:
    """Each record's place (byte) and data, or the error where only its data are damaged.

    Raises DatasetError where the file is missing, cut short, or no TFRecord: nobody knows then
    where the next record begins.
    """
    offset, number = 0, 0
    size = _size_of(path)
    while offset < size:
        where = f"record {number} at byte {offset} of {path}"
        length = _read_length(path, offset, size, where)
        try:
            yield offset, _read_body(path, offset, length)
        except DatasetError as error:
            yield offset, error
        offset += HEAD.size + length + TAIL.size
        number += 1


def read_record(path: Path, offset: int) -> bytes:
    """The data of the record at a byte; DatasetError where they do not agree with their CRCs."""
    length = _read_length(path, offset, _size_of(path), _name(path, offset))
    return _read_body(path, offset, length)


def _name(path: Path, offset: int) -> str:
    return f"the record at byte {offset} of {path}"


def _read_body(path: Path, offset: int, length: int) -> bytes:
    body = _read_at(path, offset + HEAD.size, length + TAIL.size)
    data, (crc,) = body[:length], TAIL.unpack(body[length:])
    if mask_crc(data) != crc:
        raise DatasetError(
            f"{_name(path, offset)} is damaged: the CRC of its {length} bytes is "
            f"{mask_crc(data):08x}, expected {crc:08x}; fetch the file again"
        )
    return data


def _read_length(path: Path, offset: int, size: int, where: str) -> int:
    if offset + HEAD.size > size:
        raise DatasetError(f"{where} is cut short: the file has {size} bytes; fetch it again")
    head = _read_at(path, offset, HEAD.size)
    length, crc = HEAD.unpack(head)
    if mask_crc(head[:8]) != crc:
        raise DatasetError(
            f"{where} has a damaged length (CRC {mask_crc(head[:8]):08x}, expected {crc:08x}): the "
            "file is no TFRecord, or compressed, or damaged; fetch it again"
        )
    end = offset + HEAD.size + length + TAIL.size
    if end > size:
        raise DatasetError(
            f"{where} is cut short: it ends at byte {end}, the file has {size}; fetch it again"
        )
    return length


def _size_of(path: Path) -> int:
    if not path.is_file():
        raise DatasetError(f"the file is missing: {path}")
    return path.stat().st_size


def _read_at(path: Path, offset: int, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(count)
    except OSError as error:
        raise DatasetError(f"the file can not be read: {path}: {error.strerror}") from error
