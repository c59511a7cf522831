"""Times and ego poses of a frame's cameras, and the path that relative motions chain to."""

from dataclasses import dataclass

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
    world_T_ego: Transform, rate: Float[np.ndarray, "6"] | None, frame: Frame
) -> Float[np.ndarray, "v 4 4"]:
    """The ego pose at each camera's time from the pose at the frame's, at constant velocity.

    `rate` is the turn (rad/s) and shift (m/s); without one the car is taken to stand.
    """
    poses = []
    for view in frame.views:
        if view is None:
            poses.append(np.full((4, 4), np.nan))
        elif rate is None:
            poses.append(world_T_ego)
        else:
            step = rate * ((view.time_us - frame.time_us) * 1e-6)
            poses.append(world_T_ego @ from_rotvec(step[:3], step[3:]))
    return np.stack(poses)


@dataclass
class EgoPath:
    """Where the car is believed to be, chained from relative motions.

    The dataset's pose is where the first frame is, and tells nothing after it. Over a frame without
    a motion the car goes on as fast as it last did.
    """

    world_T_ego: Transform | None = None
    time_us: int = 0
    rate: Float[np.ndarray, "6"] | None = None  # turn (rad/s) and shift (m/s), where it is known

    def dt_s(self, time_us: int) -> float:
        """Seconds since the last frame; 0 on the first."""
        return 0.0 if self.world_T_ego is None else (time_us - self.time_us) * 1e-6

    def advance(
        self, time_us: int, start: Transform, prev_T_curr: Transform | None
    ) -> tuple[Transform, bool]:
        """world_T_ego of the next frame and whether it is extrapolated; the first is `start`."""
        dt_s, last = self.dt_s(time_us), self.world_T_ego
        extrapolated = last is not None and prev_T_curr is None
        if last is None:
            world_T_ego = start
        elif prev_T_curr is not None:
            world_T_ego = last @ prev_T_curr
            self.rate = np.concatenate([to_rotvec(prev_T_curr), prev_T_curr[:3, 3]]) / dt_s
        else:
            step = np.zeros(6) if self.rate is None else self.rate * dt_s
            world_T_ego = last @ from_rotvec(step[:3], step[3:])
        self.world_T_ego, self.time_us = world_T_ego, time_us
        return world_T_ego, extrapolated

    def motion_to(self, world_T_ego: Transform) -> Transform | None:
        """prev_T_curr of a car that is known to be there now; None on the first."""
        return None if self.world_T_ego is None else invert(self.world_T_ego) @ world_T_ego

    def save_state(self) -> dict[str, np.ndarray]:
        """As arrays, exactly; empty before a frame."""
        if self.world_T_ego is None:
            return {}
        state = {"world_T_ego": self.world_T_ego, "time_us": np.array([self.time_us])}
        return state if self.rate is None else state | {"rate": self.rate}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave."""
        self.world_T_ego, self.rate = arrays.get("world_T_ego"), arrays.get("rate")
        self.time_us = int(arrays["time_us"][0]) if arrays else 0
