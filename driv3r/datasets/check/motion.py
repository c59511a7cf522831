"""Times and poses of a scene that no drive has."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from driv3r.datasets.folder.rig_check import Finding
from driv3r.datasets.folder.rig_file import ROTATION_SLACK
from driv3r.datasets.screening import SPEED_LIMIT_MPS
from driv3r.types import Transform

LATEST_US = 4_102_444_800_000_000  # the year 2100
STEP_S = (0.004, 5.0)  # between frames, in the median: 250 Hz to a picture now and then


def check_times(time_us: Int64[np.ndarray, "t"]) -> Iterator[Finding]:
    """Frames out of order, and times in another unit than microseconds."""
    steps_us = np.diff(time_us)
    back = np.flatnonzero(steps_us <= 0)
    if len(back):
        yield Finding(
            "wrong", "frames", f"frame {back[0] + 1} is not after frame {back[0]}",
            "times that run forward", "Repair the timestamps",
        )  # fmt: skip
    if time_us.min() < 0 or time_us.max() > LATEST_US:
        yield Finding(
            "doubtful", "frames", f"times of {time_us.min()} to {time_us.max()} us",
            "microseconds since 1970, before the year 2100, or since the log's own start",
            "Are they in another unit? Speeds are wrong then",
        )  # fmt: skip
    step_s = float(np.median(steps_us)) * 1e-6 if len(steps_us) else 0.0
    if len(steps_us) and not STEP_S[0] <= step_s <= STEP_S[1]:
        yield Finding(
            "doubtful", "frames", f"frames are {step_s:.3g} s apart in the median",
            f"{STEP_S[0]:g} to {STEP_S[1]:g} s", "Is the unit of times microseconds?",
        )  # fmt: skip


def is_rigid(dst_T_src: Transform) -> bool:
    """Whether a matrix is finite, and a rotation (no mirror) with a translation."""
    rotation = dst_T_src[:3, :3]
    return bool(
        np.isfinite(dst_T_src).all()
        and np.abs(rotation.T @ rotation - np.eye(3)).max() < ROTATION_SLACK
        and np.linalg.det(rotation) > 0
        and np.array_equal(dst_T_src[3], [0, 0, 0, 1])
    )


def check_poses(
    frames: Sequence[int], world_T_ego: Float[np.ndarray, "k 4 4"]
) -> Iterator[Finding]:
    """Poses that are no rigid transforms."""
    broken = [i for i, pose in zip(frames, world_T_ego, strict=True) if not is_rigid(pose)]
    if broken:
        yield Finding(
            "wrong", "poses", f"{len(broken)} of {len(frames)} ego poses are not rigid, the first "
            f"of frame {broken[0]}", "finite rotations with a translation", "Repair the poses",
        )  # fmt: skip


def fastest_mps(time_us: Int64[np.ndarray, "k"], world_T_ego: Float[np.ndarray, "k 4 4"]) -> float:
    """The highest speed between two of the frames, 0 where there is but one."""
    if len(time_us) < 2:
        return 0.0
    ways_m = np.linalg.norm(np.diff(world_T_ego[:, :3, 3], axis=0), axis=-1)
    steps_s = np.maximum(np.diff(time_us), 1) * 1e-6
    return float((ways_m / steps_s).max())


def check_speed(speed_mps: float) -> Iterator[Finding]:
    """A speed that no car has on a road."""
    if speed_mps > SPEED_LIMIT_MPS:
        yield Finding(
            "wrong", "poses", f"the car is {speed_mps:.4g} m/s fast",
            f"{SPEED_LIMIT_MPS:g} m/s at most", "Are poses metres and times microseconds?",
        )  # fmt: skip
