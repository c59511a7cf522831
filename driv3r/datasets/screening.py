"""Data that the other sensors of their frame contradict: left out, or the scene is refused.

A table may give one image another time, pose or file than its neighbours'. Each entry alone is
possible, and would give wrong figures.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from driv3r.datasets.reader import Datum, FrameSources
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert
from driv3r.types import Repair, Rig, Transform

SPEED_LIMIT_MPS = 100.0  # no car on a road; a wrong unit is off by a thousand
NEAR_US = 500_000  # of a frame's data: nuScenes' keyframes are as far apart
PLACE_SLACK_M = 2.0  # ego poses of one moment by different sensors
TURN_SLACK_RAD, TURN_LIMIT_RADPS = 0.2, 3.0


def screen(scene_id: str, rig: Rig, records: Sequence[FrameSources]) -> list[FrameSources]:
    """The records without data whose time, pose or file can not be theirs: Repairs instead.

    Raises DatasetError where most sensors of a frame contradict the one that placed it, so that
    nobody knows which is right.
    """
    named = Counter(_place(datum) for record in records for datum in _data(record).values())
    shared = {place for place, count in named.items() if count > 1}
    places = {camera.name: camera.ego_T_cam for camera in rig.cameras}
    if rig.ego_T_lidar is not None:
        places["lidar"] = rig.ego_T_lidar
    names = [camera.name for camera in rig.cameras]
    return [
        _screen_record(f"frame {i} of scene {scene_id}", record, names, places, shared)
        for i, record in enumerate(records)
    ]


def _data(record: FrameSources) -> dict[int, Datum]:
    """What sensors gave, by their place in the rig; the LiDAR's is -1."""
    given = dict(enumerate(record.cameras)) | {-1: record.lidar}
    return {i: datum for i, datum in given.items() if isinstance(datum, Datum)}


def _place(datum: Datum) -> tuple[Path, str]:
    return datum.path, datum.part


def _screen_record(
    where: str,
    record: FrameSources,
    names: list[str],
    places: dict[str, Transform],
    shared: set[tuple[Path, str]],
) -> FrameSources:
    doubts: dict[int, str] = {}
    voters = 0
    for i, datum in _data(record).items():
        name = "lidar" if i < 0 else names[i]
        doubt = _contradicts(record, datum, places[name])
        voters += datum.time_us != record.time_us  # the one that placed the frame agrees
        if doubt is not None:
            doubts[i] = doubt
    if 2 * len(doubts) > max(voters, len(doubts)):
        first = next(iter(doubts))
        raise DatasetError(
            f"{where}: {len(doubts)} of its sensors contradict its time or pose (the first, "
            f"{'lidar' if first < 0 else names[first]}: {doubts[first]}); repair the timestamps "
            "and poses in the tables"
        )
    for i, datum in _data(record).items():
        if _place(datum) in shared:
            doubts[i] = f"the tables name {datum.path.name} more than once"
    if not doubts:
        return record
    cameras = tuple(
        Repair(names[i], f"left out: {doubts[i]}") if i in doubts else datum
        for i, datum in enumerate(record.cameras)
    )
    lidar = Repair("lidar", f"left out: {doubts[-1]}") if -1 in doubts else record.lidar
    return replace(record, cameras=cameras, lidar=lidar)


def _contradicts(record: FrameSources, datum: Datum, ego_T_sensor: Transform) -> str | None:
    """Why a datum can not be of the frame's car and moment; None where it can."""
    dt_s = abs(datum.time_us - record.time_us) * 1e-6
    if dt_s > NEAR_US * 1e-6:
        return f"its time is {dt_s:.3g} s off the frame's, expected {NEAR_US * 1e-6:g} s at most"
    then_T_now = invert(record.world_T_ego) @ datum.world_T_sensor @ invert(ego_T_sensor)
    way_m = float(np.linalg.norm(then_T_now[:3, 3]))
    if way_m > PLACE_SLACK_M + SPEED_LIMIT_MPS * dt_s:
        return f"its pose puts the car {way_m:.3g} m off the frame's, {dt_s:.3g} s away"
    turn_rad = float(np.arccos(np.clip((np.trace(then_T_now[:3, :3]) - 1) / 2, -1.0, 1.0)))
    if turn_rad > TURN_SLACK_RAD + TURN_LIMIT_RADPS * dt_s:
        return f"its pose turns the car by {np.degrees(turn_rad):.0f} degrees in {dt_s:.3g} s"
    return None
