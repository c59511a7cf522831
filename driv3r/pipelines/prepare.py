"""Times and ego poses of a frame's cameras."""

import numpy as np
from jaxtyping import Float

from driv3r.geometry.transforms import from_rotvec, invert, to_rotvec
from driv3r.types import Frame, Rig, Transform


def camera_times_us(frame: Frame) -> np.ndarray:
    """Each camera's own time, -1 where there is none."""
    return np.array([-1 if v is None else v.time_us for v in frame.views], np.int64)


def given_ego_poses(frame: Frame, rig: Rig) -> Float[np.ndarray, "v 4 4"]:
    """The dataset's own ego pose at each camera's time; NaN where there is no image."""
    nowhere = np.full((4, 4), np.nan)
    return np.stack(
        [
            nowhere if view is None else view.world_T_cam @ invert(camera.ego_T_cam)
            for view, camera in zip(frame.views, rig.cameras, strict=True)
        ]
    )


def chain_ego_poses(
    world_T_ego: Transform, last_T_ego: Transform | None, gap_s: float, frame: Frame
) -> Float[np.ndarray, "v 4 4"]:
    """The ego pose at each camera's time from the pose at the frame's, at constant velocity.

    `last_T_ego` is the motion over the last `gap_s`; without one the car is taken to stand.
    """
    poses = []
    for view in frame.views:
        if view is None:
            poses.append(np.full((4, 4), np.nan))
        elif last_T_ego is None or gap_s <= 0:
            poses.append(world_T_ego)
        else:
            share = (view.time_us - frame.time_us) * 1e-6 / gap_s
            ego_T_then = from_rotvec(to_rotvec(last_T_ego) * share, last_T_ego[:3, 3] * share)
            poses.append(world_T_ego @ ego_T_then)
    return np.stack(poses)
