"""Whether annotated boxes hold the LiDAR's points."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes

NEAR_M = 40.0  # of the LiDAR: farther boxes may be seen by no beam
LONG = 1.5  # length over width: turning such a box by 90 degrees loses points
SLACK_M = 0.05


@dataclass(frozen=True)
class BoxContent:
    """How many boxes near the LiDAR there are, and how many hold a point.

    `points` lie in those that are clearly longer than wide, `points_turned` in the same boxes
    turned by 90 degrees.
    """

    near: int = 0
    filled: int = 0
    points: int = 0
    points_turned: int = 0

    def __add__(self, other: "BoxContent") -> "BoxContent":
        return BoxContent(
            self.near + other.near,
            self.filled + other.filled,
            self.points + other.points,
            self.points_turned + other.points_turned,
        )


def count_points(
    boxes: Boxes, points_world: Float[np.ndarray, "n 3"], place_world: Float[np.ndarray, "3"]
) -> BoxContent:
    """What the boxes of a frame hold of its sweep, whose LiDAR was at `place_world`."""
    content = BoxContent()
    away_m = np.linalg.norm(boxes.world_T_box[:, :3, 3] - place_world, axis=-1)
    for i in np.flatnonzero(away_m < NEAR_M).tolist():
        half_m = boxes.size_m[i] / 2 + SLACK_M
        around = np.linalg.norm(points_world - boxes.world_T_box[i, :3, 3], axis=-1)
        reached = points_world[around < np.linalg.norm(half_m)].astype(np.float64)
        points_box = apply(invert(boxes.world_T_box[i]), reached)
        inside = int(_inside(points_box, half_m).sum())
        long = bool(max(half_m[:2]) > LONG * min(half_m[:2]))
        turned = int(_inside(points_box, half_m[[1, 0, 2]]).sum())
        content += BoxContent(1, int(inside > 0), inside * long, turned * long)
    return content


def _inside(
    points_box: Float[np.ndarray, "n 3"], half_m: Float[np.ndarray, "3"]
) -> Bool[np.ndarray, "n"]:
    return (np.abs(points_box) <= half_m).all(axis=-1)
