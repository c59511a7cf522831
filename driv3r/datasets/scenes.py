"""A scene from the records of its frames: checked, near its own origin, with its input's hash."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
from jaxtyping import Int

from driv3r.datasets.reader import (
    Datum,
    FrameSources,
    LazyFrames,
    ReadImage,
    ReadPoints,
    read_stored,
)
from driv3r.datasets.screening import SPEED_LIMIT_MPS, screen
from driv3r.errors import DatasetError, UnsafePathError
from driv3r.settings import PLAIN_NAME, fingerprint
from driv3r.types import Repair, Rig, Scene, Transform

GAP_LIMIT_US = 60_000_000  # between frames of one log
GAP_NOTED_US = 2_000_000
ORIGIN_STEP_M = 10_000.0  # logs within half of it keep their dataset's coordinates to the bit
POSE_DIGITS = 6  # micrometres: the last bits depend on the processor, and are no other input
GENERATED = "driv3r-world.json"  # what the world's writer leaves in its root


def make_scene(
    root: Path,
    scene_id: str,
    rig: Rig,
    records: Sequence[FrameSources],
    read_points: ReadPoints,
    repairs: Sequence[Repair],
    facts: Sequence[str] = (),
    read_camera: ReadImage = read_stored,
) -> Scene:
    """The lazy scene of frame records, whose files lie below `root`.

    `facts` is what else the tables say of how files are read; `read_camera` reads an image. Raises
    DatasetError unless there are frames, in order of time and at a speed and spacing that a car can
    have. Data that the rest of their frame contradicts are left out.
    """
    check_scene_ids([scene_id])
    if not records:
        raise DatasetError(f"scene {scene_id} holds no frame")
    times_us = np.array([record.time_us for record in records], np.int64)
    gaps = _check_times(scene_id, times_us)
    _check_speeds(scene_id, times_us, records)
    records = screen(scene_id, rig, records)
    origin_world = _choose_origin(records[0].world_T_ego)
    return Scene(
        scene_id,
        rig,
        LazyFrames(root, _move_to(origin_world, records), rig.cameras, read_points, read_camera),
        times_us,
        np.array([record.is_keyframe for record in records], bool),
        (*repairs, *gaps),
        _hash_input(root, scene_id, rig, records, facts),
        origin_world,
        (root / GENERATED).is_file(),
    )


def check_scene_ids(scene_ids: Iterable[str], where: str = "the tables") -> None:
    """UnsafePathError on an id that is no plain name: outputs are named after it."""
    for scene_id in scene_ids:
        if not PLAIN_NAME.fullmatch(scene_id):
            raise UnsafePathError(
                f"scene id {scene_id[:300]!r} of {where} can not name a folder, expected at most "
                "200 letters, digits, '_', '-' and '.', the first no '-' or '.'; rename it there"
            )


def _check_times(scene_id: str, times_us: Int[np.ndarray, "t"]) -> list[Repair]:
    """Refuse frames out of order or too far apart; what is said of lesser gaps."""
    gaps_us = np.diff(times_us)
    for i in np.flatnonzero((gaps_us <= 0) | (gaps_us > GAP_LIMIT_US)).tolist():
        between = f"{times_us[i]} us is followed by {times_us[i + 1]} us"
        if gaps_us[i] <= 0:
            raise DatasetError(
                f"frames of scene {scene_id} run backwards in time: {between}; repair the "
                "timestamps in the tables"
            )
        raise DatasetError(
            f"frames {i} and {i + 1} of scene {scene_id} are {gaps_us[i] * 1e-6:.0f} s apart "
            f"({between}), expected {GAP_LIMIT_US * 1e-6:.0f} s at most; wrong unit of time, or "
            "several logs in one scene? Repair the timestamps, or split the scene"
        )
    noted = np.flatnonzero(gaps_us > GAP_NOTED_US)
    if not len(noted):
        return []
    longest = int(gaps_us.argmax())
    reason = (
        f"{len(noted)} gaps of more than {GAP_NOTED_US * 1e-6:g} s, the longest of "
        f"{gaps_us[longest] * 1e-6:.1f} s after frame {longest}; taken as they are"
    )
    return [Repair("frames", reason)]


def _check_speeds(
    scene_id: str, times_us: Int[np.ndarray, "t"], records: Sequence[FrameSources]
) -> None:
    places_m = np.stack([record.world_T_ego[:3, 3] for record in records])
    ways_m, gaps_us = np.linalg.norm(np.diff(places_m, axis=0), axis=1), np.diff(times_us)
    fast = np.flatnonzero(ways_m > SPEED_LIMIT_MPS * gaps_us * 1e-6)
    if len(fast):
        i = int(fast[0])
        raise DatasetError(
            f"frames {i} and {i + 1} of scene {scene_id} are {ways_m[i]:.3g} m and "
            f"{gaps_us[i] * 1e-6:.3g} s apart, a speed of {ways_m[i] / gaps_us[i] * 1e6:.0f} m/s, "
            f"expected {SPEED_LIMIT_MPS:.0f} m/s at most; wrong unit of time or length? Repair the "
            "timestamps (microseconds) or ego poses (metres) in the tables"
        )


def _choose_origin(world_T_ego: Transform) -> tuple[float, float, float]:
    x, y, z = (round(v / ORIGIN_STEP_M) * ORIGIN_STEP_M for v in world_T_ego[:3, 3].tolist())
    return x, y, z


def _move_to(
    origin_world: tuple[float, float, float], records: Sequence[FrameSources]
) -> Sequence[FrameSources]:
    """The records with all their poses relative to an origin."""
    if not any(origin_world):
        return records

    def move(world_T_src: Transform) -> Transform:
        moved = world_T_src.copy()
        moved[:3, 3] -= origin_world
        return moved

    def move_datum(datum: Datum | Repair | None) -> Any:
        if not isinstance(datum, Datum):
            return datum
        return replace(datum, world_T_sensor=move(datum.world_T_sensor))

    return [
        replace(
            record,
            world_T_ego=move(record.world_T_ego),
            cameras=tuple(move_datum(datum) for datum in record.cameras),
            lidar=move_datum(record.lidar),
        )
        for record in records
    ]


def _hash_input(
    root: Path, scene_id: str, rig: Rig, records: Sequence[FrameSources], facts: Sequence[str]
) -> str:
    """What tells two logs' inputs apart without reading their images and points."""

    def of_datum(datum: Datum | Repair | None) -> list[Any] | None:
        if not isinstance(datum, Datum):
            return None
        name = datum.path.relative_to(root).as_posix()
        place = _rounded(datum.world_T_sensor)
        return [name, datum.part, _size_of(datum.path), datum.time_us, place, datum.shutter]

    cameras = [replace(camera, ego_T_cam=_rounded(camera.ego_T_cam)) for camera in rig.cameras]
    ego_T_lidar = None if rig.ego_T_lidar is None else _rounded(rig.ego_T_lidar)
    frames = [
        [
            record.time_us,
            record.is_keyframe,
            _rounded(record.world_T_ego),
            [of_datum(datum) for datum in record.cameras],
            of_datum(record.lidar),
        ]
        for record in records
    ]
    rounded = replace(rig, cameras=tuple(cameras), ego_T_lidar=ego_T_lidar)
    return fingerprint([scene_id, rounded, frames, list(facts)])


def _rounded(dst_T_src: Transform) -> Transform:
    return np.round(dst_T_src, POSE_DIGITS) + 0.0  # + 0.0: there is no -0


def _size_of(path: Path) -> int | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size if S_ISREG(facts.st_mode) else None
