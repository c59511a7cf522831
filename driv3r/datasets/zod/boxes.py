"""ZOD's boxes: annotations/object_detection.json, of a log's keyframe alone.

Its fields are as in Zenseact's development kit (zod/anno/object.py, MIT). A box lies in the frame
of the sweep that is nearest to the keyframe's time, with its length along its own x.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from driv3r.datasets.boxes import LARGEST_M
from driv3r.datasets.reader import Datum, FrameSources, Root, make_pose, read_json
from driv3r.errors import DatasetError
from driv3r.types import Boxes, Repair, Scene

LABELS, INFO = "annotations/object_detection.json", "info.json"
CAN_MOVE = ("Vehicle", "VulnerableVehicle", "Pedestrian", "Animal")
SIZE = tuple(f"size_3d_{side}" for side in ("length", "width", "height"))
TURN = tuple(f"orientation_3d_q{part}" for part in "wxyz")
NEAREST_US = 100_000  # of the keyframe: sweeps are 110 ms apart
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
REMEDY = "fetch the file again (zod download)"


def with_boxes(scene: Scene, root: Root, folder: str, records: Sequence[FrameSources]) -> Scene:
    """The log with its keyframe's boxes, where it has any; their file is read when asked for.

    Raises DatasetError where the keyframe's time is none.
    """
    labels, info = (root.resolve_inside(f"{folder}/{name}") for name in (LABELS, INFO))
    if not labels.is_file() or not info.is_file():
        return scene
    keyframe_us = _read_time_us(info)
    sweeps = {i: each.lidar for i, each in enumerate(records) if isinstance(each.lidar, Datum)}
    if not sweeps:
        return scene
    keyframe = min(sweeps, key=lambda i: abs(sweeps[i].time_us - keyframe_us))
    off_us = abs(sweeps[keyframe].time_us - keyframe_us)
    if off_us > NEAREST_US:
        reason = f"left out: no sweep is near their keyframe, the nearest {off_us * 1e-6:.3g} s off"
        return replace(scene, repairs=(*scene.repairs, Repair("boxes", reason)))
    world_T_lidar = sweeps[keyframe].world_T_sensor.copy()
    world_T_lidar[:3, 3] -= scene.origin_world

    def boxes(frame: int) -> Boxes | None:
        return read_boxes(labels, world_T_lidar) if frame == keyframe else None

    return replace(scene, boxes=boxes)


def read_boxes(path: Path, world_T_lidar: np.ndarray) -> Boxes:
    """The boxes of what can move and is drawn in space; one moment tells no velocities.

    Raises DatasetError where the file is broken.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise DatasetError(f"{path} holds a {type(content).__name__}, expected a list; {REMEDY}")
    held: dict[str, tuple[str, np.ndarray, tuple[float, ...]]] = {}
    for count, item in enumerate(content):
        where = f"{path} object {count}"
        told = item.get("properties") if isinstance(item, dict) else None
        if not isinstance(told, dict):
            raise DatasetError(f"{where} has no properties; {REMEDY}")
        kind, place = told.get("class"), told.get("location_3d")
        if kind not in CAN_MOVE or place is None:
            continue
        name = str(told.get("annotation_uuid", count))
        if name in held:
            raise DatasetError(f"{where} is annotated twice: {name}; remove the wrong one")
        middle = place.get("coordinates") if isinstance(place, dict) else None
        turn = [told.get(part) for part in TURN]
        if not isinstance(middle, list):
            raise DatasetError(f"{where}: location_3d has no coordinates; {REMEDY}")
        lidar_T_box = make_pose(turn, middle, where)
        label = f"{kind} {told.get('type') or ''}".strip()
        held[name] = label, world_T_lidar @ lidar_T_box, _read_size(told, where)
    chosen = list(held.values())
    return Boxes(
        tuple(held),
        tuple(label for label, _, _ in chosen),
        np.array([place for _, place, _ in chosen]).reshape(-1, 4, 4),
        np.array([size_m for _, _, size_m in chosen], np.float64).reshape(-1, 3),
        np.full((len(chosen), 3), np.nan),
    )


def _read_size(told: dict[str, Any], where: str) -> tuple[float, ...]:
    given = [told.get(side) for side in SIZE]
    numbers = [n for n in given if isinstance(n, int | float) and 0 < n <= LARGEST_M]
    if len(numbers) != len(SIZE):
        raise DatasetError(
            f"{where}: a box of size {given}, expected numbers from 0 to {LARGEST_M:g} m; {REMEDY}"
        )
    return tuple(numbers)


def _read_time_us(path: Path) -> int:
    content = read_json(path)
    told = content.get("keyframe_time") if isinstance(content, dict) else None
    try:
        time = datetime.fromisoformat(str(told).replace("Z", "+00:00"))
    except ValueError as error:
        raise DatasetError(f"{path}: keyframe_time is {told!r}, expected a time; {REMEDY}") from (
            error
        )
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (time - EPOCH) // timedelta(microseconds=1)
