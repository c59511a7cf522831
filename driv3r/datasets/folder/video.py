"""A camera's video file (PyAV): times of its frames, and its frames by number."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import UInt8

from driv3r.errors import ConfigError, DatasetError

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")


def _open(path: Path) -> Any:
    try:
        import av  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{path} is a video, which needs PyAV: pip install 'driv3r[video]'"
        ) from error
    try:
        container = av.open(str(path))
    except (OSError, ValueError) as error:  # av.error.FFmpegError derives from both
        raise DatasetError(f"the video can not be opened: {path}: {error}") from error
    if not container.streams.video:
        raise DatasetError(f"the file holds no video: {path}")
    return container


def size_of_video(path: Path) -> tuple[int, int]:
    """(h, w) of a video's frames; DatasetError and ConfigError as `list_times_us`."""
    with _open(path) as container:
        stream = container.streams.video[0]
        return stream.height, stream.width


def list_times_us(path: Path) -> list[int]:
    """Times of a video's frames in microseconds from its first, by its own time stamps.

    Raises DatasetError where it has none, ConfigError where PyAV is not installed.
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        base = stream.time_base or Fraction(1, 1_000_000)
        try:
            stamps = sorted(p.pts for p in container.demux(stream) if p.pts is not None and p.size)
        except OSError as error:
            raise DatasetError(f"the video is cut short or damaged: {path}: {error}") from error
    if not stamps:
        raise DatasetError(f"the video has no time stamps: {path}; write it again, or its images")
    return [round((stamp - stamps[0]) * base * 1_000_000) for stamp in stamps]


class VideoFrames:
    """Frames of video files by number. Frames are decoded in order: going back starts anew."""

    def __init__(self) -> None:
        self._open: dict[Path, tuple[Any, Iterator[Any]]] = {}
        self._next: dict[Path, int] = {}
        self._last: dict[Path, UInt8[np.ndarray, "h w 3"]] = {}
        self._lock = Lock()  # fusion may read frames from several threads

    def read(self, path: Path, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """Frame `number` as RGB at its stored orientation; DatasetError where it can not be had."""
        with self._lock:
            return self._read(path, number)

    def _read(self, path: Path, number: int) -> UInt8[np.ndarray, "h w 3"]:
        if self._next.get(path, 0) == number + 1:
            return self._last[path]
        if path not in self._open or self._next[path] > number:
            self._close(path)
            container = _open(path)
            self._open[path] = container, container.decode(video=0)
            self._next[path] = 0
        frames = self._open[path][1]
        try:
            for _ in range(number - self._next[path]):
                next(frames)
                self._next[path] += 1
            image = next(frames).to_ndarray(format="rgb24")
        except (StopIteration, OSError) as error:
            at = self._next[path]
            self._close(path)
            raise DatasetError(f"the video ends or is damaged at frame {at}: {path}") from error
        self._next[path], self._last[path] = number + 1, image
        return image

    def _close(self, path: Path) -> None:
        if path in self._open:
            self._open.pop(path)[0].close()
        self._next.pop(path, None)
        self._last.pop(path, None)
