"""Annotated boxes of a log by frame number, with velocities from the object's own other boxes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int64

from driv3r.types import Boxes

LARGEST_M = 100.0  # of a box's side; a train's carriage is shorter
FARTHEST_US = 1_500_000  # between two boxes that tell a velocity, as the nuScenes devkit has it


def with_velocities(
    read: Callable[[int], Boxes], annotated: Sequence[int], time_us: Int64[np.ndarray, "t"]
) -> Callable[[int], Boxes | None]:
    """`read`'s boxes with the velocities that its neighbours among the annotated frames tell.

    Returns None for frames that are not annotated. A velocity that is known already stays, such as
    the 0 of what is annotated as stationary. Passes on the errors of `read`.
    """
    order = {frame: i for i, frame in enumerate(annotated)}
    read = lru_cache(maxsize=3)(read)

    def boxes(frame: int) -> Boxes | None:
        if frame not in order:
            return None
        i = order[frame]
        run = [
            other
            for other in annotated[max(i - 1, 0) : i + 2]
            if abs(int(time_us[other] - time_us[frame])) <= FARTHEST_US
        ]
        own = read(frame)
        measured = _measure(own, [read(other) for other in run], time_us[run])
        known = np.isfinite(own.velocity_world_mps)
        return replace(own, velocity_world_mps=np.where(known, own.velocity_world_mps, measured))

    return boxes


def _measure(
    own: Boxes, run: Sequence[Boxes], time_us: Int64[np.ndarray, "r"]
) -> Float[np.ndarray, "n 3"]:
    """Of each object the way from its first to its last centre in the run, over the time."""
    places: dict[str, list[tuple[int, np.ndarray]]] = {}
    for at_us, boxes in zip(time_us.tolist(), run, strict=True):
        for name, world_T_box in zip(boxes.instance, boxes.world_T_box, strict=True):
            places.setdefault(name, []).append((at_us, world_T_box[:3, 3]))
    velocity_mps = np.full((len(own.instance), 3), np.nan)
    for i, name in enumerate(own.instance):
        (first_us, start), (last_us, end) = places[name][0], places[name][-1]
        if last_us > first_us:
            velocity_mps[i] = (end - start) / ((last_us - first_us) * 1e-6)
    return velocity_mps
