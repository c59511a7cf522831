"""Boxes as KITTI's tracklet_labels.xml: a track's runs of frames, in the Velodyne's frame."""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from driv3r.types import Boxes, Transform

HEAD = """<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>
<!DOCTYPE boost_serialization>
<boost_serialization signature="serialization::archive" version="9">
<tracklets class_id="0" tracking_level="0" version="0">
"""
STATES = "<state>2</state><occlusion>-1</occlusion><occlusion_kf>-1</occlusion_kf>"
STATES += "<truncation>-1</truncation><amt_occlusion>0</amt_occlusion>"
STATES += "<amt_occlusion_kf>-1</amt_occlusion_kf><amt_border_l>0</amt_border_l>"
STATES += "<amt_border_r>0</amt_border_r><amt_border_kf>-1</amt_border_kf>"


@dataclass(eq=False)
class _Run:
    instance: str
    label: str
    size_m: Float[np.ndarray, "3"]
    first: int
    poses: list[Transform]  # velo_T_box, frame by frame


@dataclass(frozen=True, eq=False)
class Tracklets:
    """Runs of boxes; one is told by its place in the file, and of one size."""

    runs: list[_Run] = field(default_factory=list)

    def add(self, frame: int, boxes: Boxes, velo_T_world: Transform) -> None:
        """The boxes of the next frame that has any."""
        going = {run.instance: run for run in self.runs if run.first + len(run.poses) == frame}
        for i, instance in enumerate(boxes.instance):
            velo_T_box, size_m = velo_T_world @ boxes.world_T_box[i], boxes.size_m[i]
            run = going.get(instance)
            if run is None or not np.array_equal(run.size_m, size_m):
                run = _Run(instance, boxes.label[i], size_m, frame, [])
                self.runs.append(run)
            run.poses.append(velo_T_box)

    def to_xml(self) -> str:
        """The file's text, as boost's serialization writes it."""
        items = "".join(map(_describe, self.runs))
        count = f"<count>{len(self.runs)}</count><item_version>1</item_version>\n"
        return f"{HEAD}{count}{items}</tracklets>\n</boost_serialization>\n"


def _describe(run: _Run) -> str:
    length, width, height = (repr(float(side)) for side in run.size_m)
    poses = "".join(_describe_pose(pose, run.size_m[2]) for pose in run.poses)
    return (
        f'<item class_id="1" tracking_level="0" version="1">'
        f"<objectType>{escape(run.label)}</objectType>"
        f"<h>{height}</h><w>{width}</w><l>{length}</l><first_frame>{run.first}</first_frame>\n"
        f'<poses class_id="2" tracking_level="0" version="0"><count>{len(run.poses)}</count>'
        f"<item_version>2</item_version>\n{poses}</poses><finished>1</finished></item>\n"
    )


def _describe_pose(velo_T_box: Transform, height_m: float) -> str:
    """The box's foot, and its turn: Rz Ry Rx, of which KITTI's own have Rz alone."""
    foot = velo_T_box[:3, 3] - velo_T_box[:3, 2] * height_m / 2
    turn_rad = Rotation.from_matrix(velo_T_box[:3, :3]).as_euler("ZYX")[::-1]
    values = [
        *zip(("tx", "ty", "tz"), foot, strict=True),
        *zip(("rx", "ry", "rz"), turn_rad, strict=True),
    ]
    body = "".join(f"<{name}>{float(value)!r}</{name}>" for name, value in values)
    return f'<item class_id="3" tracking_level="0" version="2">{body}{STATES}</item>\n'
