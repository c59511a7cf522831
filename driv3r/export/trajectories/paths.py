"""Timed poses of the car and of its cameras, as every trajectory format writes them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

from driv3r.export.selection import SelectedLog


@dataclass(frozen=True, eq=False)
class TimedPoses:
    """world_T_src in order of time; `src` is "ego" or a camera's name."""

    src: str
    time_us: Int64[np.ndarray, "n"]
    world_T_src: Float[np.ndarray, "n 4 4"]


def ego_poses(selected: SelectedLog) -> TimedPoses:
    """The car at the chosen frames' times; frames without a pose are left out."""
    known = np.isfinite(selected.world_T_ego).all((1, 2))
    return TimedPoses("ego", selected.time_us[known], selected.world_T_ego[known])


def list_poses(selected: SelectedLog) -> Iterator[TimedPoses]:
    """The car's path where that layer is chosen, then each camera's, at its own exposures."""
    if "path" in selected.layers:
        yield ego_poses(selected)
    if "cameras" not in selected.layers:
        return
    chosen = slice(selected.frames.start, selected.frames.stop)
    time_us = selected.store.time_cam_us[chosen]
    world_T_ego = selected.store.world_T_ego_cam()[chosen]
    for view, camera in enumerate(selected.store.rig.cameras):
        known = (time_us[:, view] >= 0) & np.isfinite(world_T_ego[:, view]).all((1, 2))
        yield TimedPoses(
            camera.name, time_us[known, view], world_T_ego[known, view] @ camera.ego_T_cam
        )
