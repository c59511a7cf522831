"""The wire format of protobuf, and TensorFlow's framing of records, written by hand."""

import struct
from functools import cache
from pathlib import Path


def varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def whole(tag: int, value: int) -> bytes:
    return varint(tag << 3) + varint(value)


def double(tag: int, *values: float) -> bytes:
    return b"".join(varint(tag << 3 | 1) + struct.pack("<d", value) for value in values)


def single(tag: int, *values: float) -> bytes:
    return b"".join(varint(tag << 3 | 5) + struct.pack("<f", value) for value in values)


def block(tag: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(tag << 3 | 2) + varint(len(data)) + data


@cache
def crc_table() -> tuple[int, ...]:
    """Of CRC-32C (Castagnoli), reversed polynomial 0x82F63B78."""
    out = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        out.append(byte)
    return tuple(out)


def masked_crc(data: bytes) -> bytes:
    crc, table = 0xFFFFFFFF, crc_table()
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + masked_crc(head) + data + masked_crc(data)


def write_records(path: Path, messages: list[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(record(message) for message in messages))
    return path
