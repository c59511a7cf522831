"""What every camera of a log took and when, and the frames that exposures of several make."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from driv3r.datasets.folder.rig_file import Recording
from driv3r.datasets.folder.times import check_steps, parse_us, read_table, time_of_name
from driv3r.datasets.folder.video import SUFFIXES, list_times_us
from driv3r.datasets.reader import Root
from driv3r.errors import DatasetError
from driv3r.types import Repair

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
LOOSE = "camera"  # the name of one that no rig file names and whose images lie in no folder
FIRST_INTERVAL_US = 100_000  # of a camera with one exposure, which has no interval


@dataclass(frozen=True)
class Exposure:
    """One image: a file, or the `part` of one that holds many, and when it was taken."""

    file: Path
    time_us: int
    part: str = ""


def image_folder(log: Path) -> Path:
    """Where a log's cameras are: its images/, or the log's own folder without one."""
    return log / "images" if (log / "images").is_dir() else log


def find_videos(folder: Path, name: str) -> list[Path]:
    """The video files of a camera's name."""
    return [folder / (name + suffix) for suffix in SUFFIXES if (folder / (name + suffix)).is_file()]


def list_exposures(
    root: Root, log: Path, names: Sequence[str], recording: Recording, repairs: list[Repair]
) -> dict[str, list[Exposure]]:
    """The exposures of each camera that has any, in order of time.

    They are those of images.csv (camera,time_us,path) where there is one, else the files of the
    folder or the video of the camera's name. Raises DatasetError where no camera has any, and on
    times that are none or the same twice.
    """
    table = log / "images.csv"
    if table.is_file():
        found = _read_csv(root, log, table, names)
    else:
        alone = len(names) == 1
        found = {name: _list_camera(root, log, name, recording, repairs, alone) for name in names}
        _note_strangers(image_folder(log), names, repairs)
    for name, exposures in found.items():
        if exposures:
            check_steps([each.time_us for each in exposures], f"camera {name} of {log}")
        else:
            repairs.append(Repair(name, "left out of the rig: the log has no image of it"))
    if not any(found.values()):
        there = sorted(path.name for path in image_folder(log).iterdir())[:10]
        raise DatasetError(
            f"{image_folder(log)} holds no image of the cameras {', '.join(names)}, but "
            f"{', '.join(there) or 'nothing'}; expected a folder of .jpg or .png, or a video, of "
            "each camera's name in rig.yaml"
        )
    return {name: exposures for name, exposures in found.items() if exposures}


def _read_csv(
    root: Root, log: Path, table: Path, names: Sequence[str]
) -> dict[str, list[Exposure]]:
    found: dict[str, list[Exposure]] = {name: [] for name in names}
    for number, row in enumerate(read_table(table, ("camera", "time_us", "path")), 2):
        where = f"{table} line {number}"
        if row["camera"] not in found:
            raise DatasetError(
                f"{where} names the camera {row['camera']!r}, expected one of {', '.join(names)}"
            )
        file = root.resolve_inside((log.relative_to(root.path) / row["path"]).as_posix())
        time_us = parse_us(row["time_us"], "us", where)
        found[row["camera"]].append(Exposure(file, time_us))
    return {name: sorted(each, key=lambda e: e.time_us) for name, each in found.items()}


def _list_camera(
    root: Root, log: Path, name: str, recording: Recording, repairs: list[Repair], alone: bool
) -> list[Exposure]:
    """A camera's exposures; those of one that is `alone` may lie in no folder of its name."""
    folder = image_folder(log)
    videos = find_videos(folder, name)
    loose = alone and not videos and not (folder / name).is_dir()
    place = folder if loose else folder / name
    if place.is_dir():
        files = [path for path in place.iterdir() if path.suffix.lower() in IMAGES]
        checked = (root.resolve_inside(path.relative_to(root.path).as_posix()) for path in files)
        exposures = [Exposure(path, time_of_name(path, recording)) for path in checked]
        return sorted(exposures, key=lambda each: each.time_us)
    if not videos:
        return []
    video = root.resolve_inside(videos[0].relative_to(root.path).as_posix())
    stamps_us = list_times_us(video)
    table = video.with_suffix(".csv")
    if not table.is_file():
        reason = f"{video.name} has no times of {table.name}: it is taken to start at 0 us"
        repairs.append(Repair(name, reason))
        return [Exposure(video, time_us, f"{i:06d}") for i, time_us in enumerate(stamps_us)]
    rows = read_table(table, ("time_us",))
    if len(rows) != len(stamps_us):
        raise DatasetError(
            f"{table} has {len(rows)} times, but {video.name} {len(stamps_us)} frames; expected a "
            "time a frame"
        )
    return [
        Exposure(video, parse_us(row["time_us"], "us", f"{table} line {i + 2}"), f"{i:06d}")
        for i, row in enumerate(rows)
    ]


def _note_strangers(folder: Path, names: Sequence[str], repairs: list[Repair]) -> None:
    for path in sorted(folder.iterdir()):
        camera = path.is_dir() and any(p.suffix.lower() in IMAGES for p in path.iterdir())
        video = path.suffix.lower() in SUFFIXES
        if (camera or video) and (path.name if camera else path.stem) not in names:
            repairs.append(Repair(path.name, "left out: no camera of rig.yaml has this name"))


def group(
    exposures: Mapping[str, Sequence[Exposure]], recording: Recording, repairs: list[Repair]
) -> tuple[str, list[dict[str, Exposure]]]:
    """The reference camera and the frames: its exposures, each with the nearest of the others'.

    Each exposure goes to the nearest reference if that is near enough, and a reference takes the
    nearest of those; the others are counted in `repairs`.
    """
    asked, first = recording.reference_camera, next(iter(exposures))
    reference = asked if asked is not None and asked in exposures else first
    if asked not in (None, reference):
        repairs.append(Repair(str(asked), f"has no image: {reference} is the reference instead"))
    references_us = times_of(exposures[reference])
    within_us = tolerance_us(references_us, recording)
    frames = [{reference: each} for each in exposures[reference]]
    for name, each in exposures.items():
        if name == reference:
            continue
        chosen = match(references_us, times_of(each), within_us)
        for frame, index in chosen.items():
            frames[frame][name] = each[index]
        if len(chosen) < len(each):
            reason = (
                f"{len(each) - len(chosen)} of {len(each)} exposures belong to no frame: no "
                f"exposure of {reference} within {within_us / 1000:g} ms is theirs alone"
            )
            repairs.append(Repair(name, reason))
    return reference, frames


def times_of(exposures: Sequence[Exposure]) -> Int64[np.ndarray, "n"]:
    """Times of exposures."""
    return np.array([each.time_us for each in exposures], np.int64)


def tolerance_us(references_us: Int64[np.ndarray, "n"], recording: Recording) -> int:
    """How far (us) from its frame an exposure may be: half an interval unless told."""
    if recording.group_within_ms is not None:
        return round(recording.group_within_ms * 1000)
    steps_us = np.diff(references_us)
    return int(np.median(steps_us) if len(steps_us) else FIRST_INTERVAL_US) // 2


def match(
    references_us: Int64[np.ndarray, "n"], times_us: Int64[np.ndarray, "m"], within_us: int
) -> dict[int, int]:
    """Reference number -> number of the time that is nearest to it, each time at most once."""
    chosen: dict[int, int] = {}
    after = np.clip(np.searchsorted(references_us, times_us), 1, max(len(references_us) - 1, 1))
    for index, (time_us, right) in enumerate(zip(times_us.tolist(), after.tolist(), strict=True)):
        near = [i for i in (right - 1, right) if i < len(references_us)]
        frame = min(near, key=lambda i: abs(int(references_us[i]) - time_us))
        off_us = abs(int(references_us[frame]) - time_us)
        held = chosen.get(frame)
        if off_us > within_us:
            continue
        if held is None or off_us < abs(int(references_us[frame]) - int(times_us[held])):
            chosen[frame] = index
    return chosen
