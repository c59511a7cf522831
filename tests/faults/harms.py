"""Ways to harm a file that every dataset has: images, point clouds, tables."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

Find = Callable[[Path], Path]
Harm = Callable[[Path], object]


def to_file(find: Find, change: Callable[[Path], object]) -> Harm:
    """Harm the file that `find` finds below a root."""
    return lambda root: change(find(root))


def cut(share: float) -> Callable[[Path], object]:
    """Keep the first part of a file."""

    def change(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return change


def cut_and_close(path: Path) -> None:
    """A JPEG without its last blocks, as an interrupted copy that was mended by its end marker."""
    path.write_bytes(path.read_bytes()[:-700] + b"\xff\xd9")


def put(data: bytes) -> Callable[[Path], object]:
    """Other bytes in a file's place."""
    return lambda path: path.write_bytes(data)


def zero(path: Path) -> None:
    """The same size, all zeros: what a power cut leaves."""
    path.write_bytes(bytes(path.stat().st_size))


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def to_pipe(path: Path) -> None:
    """A pipe blocks whoever opens it."""
    path.unlink()
    os.mkfifo(path)


def link_outside(root: Path, path: Path) -> None:
    """A link to a file that lies beside the root."""
    secret = root.parent / "secret"
    path.rename(secret)
    path.symlink_to(secret)


def image_of(size_hw: tuple[int, int], ending: str = ".jpg") -> bytes:
    noise = np.random.default_rng(9).integers(0, 256, (*size_hw, 3), np.uint8)
    return cv2.imencode(ending, noise)[1].tobytes()


def dark_png(size_hw: tuple[int, int]) -> bytes:
    """12-bit data in 16-bit words."""
    return cv2.imencode(".png", np.full((*size_hw, 3), 3000, np.uint16))[1].tobytes()


def bomb_png(side: int = 30_000) -> bytes:
    """A PNG of a few kB that inflates to gigabytes, were it decoded."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(9))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


NESTED = b"[" * 100_000 + b"]" * 100_000
PAGE = b"<html>404</html>"
HUGE = 10**400  # as JSON allows: no float holds it
