"""Boxes of a raw drive's tracklet_labels.xml, as boost's serialization wrote it."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from scipy.spatial.transform import Rotation

from driv3r.datasets.boxes import LARGEST_M
from driv3r.datasets.xml_files import read_xml
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import make_transform
from driv3r.types import Boxes, Transform

FARTHEST_M = 1000.0  # of a box from the LiDAR
LARGEST_RAD = 4 * np.pi


class Box(NamedTuple):
    """One tracklet in one frame."""

    tracklet: str
    label: str
    size_m: tuple[float, float, float]  # length, width, height
    velo_T_box: Transform


def read_tracklets(path: Path) -> dict[int, list[Box]]:
    """Boxes by frame number.

    Raises DatasetError where the file is missing, is no such XML, or a box can not be.
    """
    top = read_xml(path).find("tracklets")
    if top is None:
        raise DatasetError(f"{path} holds no tracklets; fetch the file again")
    boxes: dict[int, list[Box]] = defaultdict(list)
    for index, item in enumerate(top.findall("item")):
        _add(boxes, index, item, f"{path} tracklet {index}")
    return boxes


def _add(boxes: dict[int, list[Box]], index: int, item: Element, where: str) -> None:
    height, width, length = (_number(item, side, 0.0, LARGEST_M, where) for side in "hwl")
    first = _number(item, "first_frame", 0.0, 1e9, where)
    label = (item.findtext("objectType") or "unknown").strip()
    for i, each in enumerate(item.findall("poses/item")):
        at = f"{where} pose {i}"
        place_m = [_number(each, f"t{axis}", -FARTHEST_M, FARTHEST_M, at) for axis in "xyz"]
        turn_rad = [_number(each, f"r{axis}", -LARGEST_RAD, LARGEST_RAD, at) for axis in "zyx"]
        velo_T_box = make_transform(
            Rotation.from_euler("ZYX", turn_rad).as_matrix(), np.array(place_m)
        )
        velo_T_box[:3, 3] += velo_T_box[:3, 2] * height / 2  # the file gives the box's foot
        size_m = (length, width, height)
        boxes[round(first) + i].append(Box(str(index), label, size_m, velo_T_box))


def _number(element: Element, name: str, least: float, most: float, where: str) -> float:
    text = element.findtext(name)
    try:
        value = float(text or "")
    except ValueError as error:
        raise DatasetError(f"{where}: {name} is {text!r}, expected a number") from error
    if not least <= value <= most:
        raise DatasetError(
            f"{where}: {name} is {value:g}, expected {least:g} to {most:g} (metres, radians); "
            "fetch the file again"
        )
    return value


def make_boxes(boxes: list[Box], world_T_velo: Transform) -> Boxes:
    """The boxes of one frame in the world, without velocities."""
    poses = [world_T_velo @ box.velo_T_box for box in boxes]
    return Boxes(
        tuple(box.tracklet for box in boxes),
        tuple(box.label for box in boxes),
        np.array(poses).reshape(-1, 4, 4),
        np.array([box.size_m for box in boxes], np.float64).reshape(-1, 3),
        np.full((len(boxes), 3), np.nan),
    )
