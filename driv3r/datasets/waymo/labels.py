"""Laser labels as boxes in the world of their log."""

from dataclasses import replace

import numpy as np

from driv3r.datasets.boxes import LARGEST_M
from driv3r.datasets.waymo.segment import LABELS, SegmentFrame
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import from_rotvec
from driv3r.types import Boxes, Repair

REACH_M = 1000.0  # of a box from the car


def make_boxes(frame: SegmentFrame, origin_world: tuple[float, float, float], where: str) -> Boxes:
    """A frame's boxes, upright in its vehicle frame, with Waymo's own speeds.

    The frame must have labels and a pose. Speeds are of the world's axes (waymo-open-dataset issue
    39). Raises DatasetError where boxes are no possible ones.
    """
    labels = frame.labels
    assert labels is not None
    assert not isinstance(frame.world_T_vehicle, Repair)
    if len(set(labels.id)) < len(labels.id):
        raise DatasetError(f"{where} labels an object twice; fetch the file again")
    center, size = labels.box[:, :3], labels.box[:, 3:6]
    for expected, wrong in {
        "finite numbers": ~np.isfinite(labels.box).all(axis=1),
        f"a side of 0 to {LARGEST_M:g} m": ((size < 0) | (size > LARGEST_M)).any(axis=1),
        f"a place within {REACH_M:g} m of the car": (np.abs(center) > REACH_M).any(axis=1),
    }.items():
        if wrong.any():
            raise DatasetError(
                f"{where}: {wrong.sum()} of {len(wrong)} boxes have not {expected} (the first: "
                f"{labels.box[wrong.argmax()].tolist()}); give metres and radians"
            )
    turn_rad = np.zeros_like(center)
    turn_rad[:, 2] = labels.box[:, 6]
    world_T_box = frame.world_T_vehicle @ from_rotvec(turn_rad, center)
    world_T_box[:, :3, 3] -= origin_world
    return Boxes(
        labels.id,
        tuple(LABELS.get(number, LABELS[0]) for number in labels.type),
        world_T_box,
        size.astype(np.float64),
        labels.speed_world_mps.astype(np.float64),
    )


def level(boxes: Boxes | None) -> Boxes | None:
    """Upward speeds of 0 where only the others are known: older files tell none."""
    if boxes is None:
        return None
    velocity_mps = boxes.velocity_world_mps.copy()
    flat = np.isfinite(velocity_mps[:, :2]).all(axis=1) & np.isnan(velocity_mps[:, 2])
    velocity_mps[flat, 2] = 0.0
    return replace(boxes, velocity_world_mps=velocity_mps)
