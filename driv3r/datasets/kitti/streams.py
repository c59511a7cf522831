"""Sensors' folders of numbered files with their times, and the frames that they make."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from driv3r.datasets.images import read_file
from driv3r.datasets.kitti.text_files import read_times
from driv3r.datasets.reader import Datum, FrameSources, Root, place_ego
from driv3r.errors import DatasetError
from driv3r.types import Repair, Rig, Transform

POINT_FLOATS = 4  # x, y, z, reflectance
BRIGHTEST = 255.0
IMAGES, POINTS, PACKETS = ("png", "jpg"), ("bin",), ("txt",)
# world_T_ego of the files of these numbers at these times (us), None where it is not known.
PlaceAll = Callable[[Sequence[int], Sequence[int]], Sequence[Transform | None]]


@dataclass(frozen=True, eq=False)
class Stream:
    """A sensor's files: their numbers, times and paths, side by side."""

    numbers: tuple[int, ...]
    times_us: tuple[int, ...]
    paths: tuple[Path, ...]


def list_stream(root: Root, folder: str, suffixes: Sequence[str], data: str = "data") -> Stream:
    """`folder`/timestamps.txt and the numbered files of `folder`/`data`, those missing included.

    A file's number is its line's, from 0; where lines are as many as files, they are of the files
    in their order. Raises DatasetError where a file has no line.
    """
    path = root.resolve_inside(f"{folder}/timestamps.txt")
    times_us = read_times(path)
    files = list_numbered(root, f"{folder}/{data}", suffixes)
    numbers = list(range(len(times_us)))
    if files and max(files) >= len(times_us):
        if len(files) != len(times_us):
            raise DatasetError(
                f"{path} has {len(times_us)} lines, but {files[max(files)]} there is of number "
                f"{max(files)}; expected a line a file; fetch both again"
            )
        numbers = sorted(files)
    digits = len(next(iter(files.values())).stem) if files else 10
    known = [
        (n, time_us) for n, time_us in zip(numbers, times_us, strict=True) if time_us is not None
    ]
    return Stream(
        tuple(number for number, _ in known),
        tuple(time_us for _, time_us in known),
        tuple(
            root.resolve_inside(f"{folder}/{data}/{files[n].name}")
            if n in files
            else root.resolve_inside(f"{folder}/{data}/{n:0{digits}d}.{suffixes[0]}")
            for n, _ in known
        ),
    )


def list_numbered(root: Root, folder: str, suffixes: Sequence[str]) -> dict[int, Path]:
    """Files of a folder whose names are numbers, by number; none where there is no folder."""
    place = root.resolve_inside(folder)
    names = sorted(os.listdir(place)) if os.path.isdir(place) else []
    paths = [place / name for name in names]
    return {
        int(path.stem): path
        for suffix in reversed(suffixes)  # the first of several there are
        for path in paths
        if path.suffix == f".{suffix}" and path.stem.isascii() and path.stem.isdecimal()
    }


def make_data(stream: Stream, ego_T_sensor: Transform, place_all: PlaceAll) -> dict[int, Datum]:
    """A sensor's data by number, without those whose pose is not known."""
    places = place_all(stream.numbers, stream.times_us)
    files = zip(stream.numbers, stream.times_us, stream.paths, places, strict=True)
    return {
        number: Datum(path, time_us, world_T_ego @ ego_T_sensor)
        for number, time_us, path, world_T_ego in files
        if world_T_ego is not None
    }


def make_records(
    rig: Rig, cameras: Mapping[str, Mapping[int, Datum]], lidar: Mapping[int, Datum] | None
) -> list[FrameSources]:
    """A frame for each number that any sensor has a datum of, in order; `sample` is the number."""
    missing = "there is no time or pose of number"
    sensors = [*cameras.values(), *([] if lidar is None else [lidar])]
    records = []
    for number in sorted(set().union(*sensors)):
        exposures = tuple(
            cameras[camera.name].get(number) or Repair(camera.name, f"{missing} {number}")
            for camera in rig.cameras
        )
        sweep = None if lidar is None else lidar.get(number, Repair("lidar", f"{missing} {number}"))
        time_us, world_T_ego = place_ego(rig, exposures, sweep)
        records.append(FrameSources(time_us, world_T_ego, exposures, sweep, True, str(number)))
    return records


def read_points(path: Path) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, Velodyne frame) of a .bin.

    Raises DatasetError unless it is whole points of 4 floats with reflectances that can be.
    """
    data = read_file(path)
    if len(data) == 0 or len(data) % (4 * POINT_FLOATS):
        raise DatasetError(
            f"{len(data)} bytes are no whole number of points of {POINT_FLOATS} float32: {path}"
        )
    points = np.frombuffer(data, "<f4").reshape(-1, POINT_FLOATS)
    shine = points[:, 3]
    wrong = np.isfinite(shine) & ((shine < 0) | (shine > BRIGHTEST))
    if wrong.any():
        raise DatasetError(
            f"{np.sum(wrong)} of {len(points)} points have no possible reflectance (the first "
            f"{shine[wrong.argmax()]:g}, expected 0 to {BRIGHTEST:g}): the file is not of x, y, z, "
            f"reflectance as float32; convert it: {path}"
        )
    return points[:, :3].astype(np.float32)


def count_lost(what: str, held: int, expected: int, why: str) -> list[Repair]:
    """A repair that counts frames left out, if there are any."""
    lost = expected - held
    return [Repair("frames", f"{lost} of {expected} {what} left out: {why}")] if lost else []
