"""Trajectories of actors, and a car-following model with traffic lights."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.simulator.assets.mesh import Mesh
from driv3r.simulator.scene.road import Road

TRAJECTORY_STEP_S = 0.05
POSE_STEP_S = 1 / 30  # limbs hold still so long: cameras and LiDAR share their shapes
BEFORE_S, AFTER_S = 1.0, 1.5
STANDING_GAP_M, NEVER_NEARER_M, HEADWAY_S = 2.5, 1.2, 0.6
BRAKE_MPS2, GAIN_MPS2 = 2.2, 1.8


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses as origins and axes every TRAJECTORY_STEP_S, interpolated linearly."""

    time_s: Float[np.ndarray, "n"]
    origin: Float[np.ndarray, "n 3"]
    ahead: Float[np.ndarray, "n 3"]
    left: Float[np.ndarray, "n 3"]

    def world_T_ego(self, time_s: float) -> Float[np.ndarray, "4 4"]:
        """The thing's frame at a time: on the ground, x along its motion."""
        return self.world_T_ego_at(np.array([time_s]))[0]

    def world_T_ego_at(self, time_s: Float[np.ndarray, "k"]) -> Float[np.ndarray, "k 4 4"]:
        """Its frame at many times."""
        k, part = locate(self.time_s, np.asarray(time_s))
        part = part[:, None]
        return make_frames(
            *(a[k] + part * (a[k + 1] - a[k]) for a in (self.origin, self.ahead, self.left))
        )

    @cached_property
    def _way_m(self) -> Float[np.ndarray, "n"]:
        steps_m = np.linalg.norm(np.diff(self.origin, axis=0), axis=1)
        return np.r_[0.0, np.cumsum(steps_m)]

    def travelled_m(self, time_s: float) -> float:
        """Length of the way since the first sample."""
        return float(np.interp(time_s, self.time_s, self._way_m))

    def speed_mps(self, time_s: float) -> float:
        """Speed of the origin."""
        around = self.world_T_ego_at(np.array([time_s - 0.05, time_s + 0.05]))[:, :3, 3]
        return float(np.linalg.norm(around[1] - around[0]) / 0.1)


@dataclass(frozen=True, eq=False)
class Actor:
    """An actor: its trajectory, its box, and its shape over a gait's phases."""

    category: str
    phases: tuple[Mesh, ...]
    trajectory: Trajectory
    size_lwh_m: tuple[float, float, float]
    stride_m: float = 0.0
    has_headlights: bool = False

    def phase_at(self, time_s: float) -> tuple[int, int, float]:
        """The two nearest phases and how far it is from the first to the second (0..1)."""
        if len(self.phases) == 1:
            return 0, 0, 0.0
        phase = (self.trajectory.travelled_m(time_s) / self.stride_m % 1.0) * len(self.phases)
        k = int(phase) % len(self.phases)
        return k, (k + 1) % len(self.phases), phase - int(phase)

    def shape_at(self, time_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Vertices and normals in the own frame as limbs stand at a time (see POSE_STEP_S)."""
        low, high, part = self.phase_at(float(pose_time(np.asarray(time_s))))
        a, b = self.phases[low], self.phases[high]
        return (
            a.vertices + part * (b.vertices - a.vertices),
            a.normals + part * (b.normals - a.normals),
        )

    def speed_mps(self, time_s: float) -> float:
        """Speed over the ground."""
        return self.trajectory.speed_mps(time_s)


def pose_time(time_s: Float[np.ndarray, "*k"]) -> Float[np.ndarray, "*k"]:
    """When limbs took the pose that they have at a time."""
    return np.floor(time_s / POSE_STEP_S) * POSE_STEP_S


def locate(times_s: Float[np.ndarray, "n"], time_s: Float[np.ndarray, "*k"]):
    """The sample before a time, and how far it lies towards the next (0..1)."""
    place = (time_s - times_s[0]) / TRAJECTORY_STEP_S
    low = np.clip(np.floor(place).astype(int), 0, len(times_s) - 2)
    return low, np.clip(place - low, 0.0, 1.0)


def make_frames(origin, ahead, left) -> Float[np.ndarray, "k 4 4"]:
    """Right-handed frames from origins, x axes and rough y axes."""
    x = ahead / np.sqrt(np.sum(ahead * ahead, -1, keepdims=True))
    y = left - x * np.sum(x * left, -1, keepdims=True)
    y = y / np.sqrt(np.sum(y * y, -1, keepdims=True))
    out = np.zeros((*origin.shape[:-1], 4, 4))
    out[..., :3, 0], out[..., :3, 1] = x, y
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):  # np.cross costs three times as much
        out[..., a, 2] = x[..., b] * y[..., c] - x[..., c] * y[..., b]
    out[..., :3, 3], out[..., 3, 3] = origin, 1.0
    return out


def trajectory_times(duration_s: float) -> Float[np.ndarray, "n"]:
    """The sampling times of all trajectories of a log."""
    return np.arange(-BEFORE_S, duration_s + AFTER_S, TRAJECTORY_STEP_S)


def trajectory_along(
    road: Road,
    time_s: Float[np.ndarray, "n"],
    s: Float[np.ndarray, "n"],
    d: Float[np.ndarray, "n"],
    backwards: bool = False,
    wheelbase_m: float = 2.8,
) -> Trajectory:
    """The trajectory at (s, d) along a road, facing along its motion, `backwards` down s."""
    sign = -1.0 if backwards else 1.0
    travel = np.gradient(s)
    # Sideways moves follow the distance driven, not the clock: a standing car does not turn.
    moving = np.abs(travel) > 0.05 * TRAJECTORY_STEP_S
    slope = np.where(moving, np.gradient(d) / np.where(moving, travel, 1.0), 0.0)
    ahead = 0.5 * wheelbase_m * sign
    turn = np.clip(slope, -0.5, 0.5) * ahead
    front, rear = road.surface(s + ahead, d + turn), road.surface(s - ahead, d - turn)
    left = (road.surface(s, d + 0.8) - road.surface(s, d - 0.8)) * sign
    return Trajectory(time_s, road.surface(s, d), front - rear, left)


def stand_at(world_T_thing: Float[np.ndarray, "4 4"], time_s: Float[np.ndarray, "n"]) -> Trajectory:
    """The trajectory of a static actor."""
    rows = np.ones((len(time_s), 1))
    return Trajectory(
        time_s,
        rows * world_T_thing[:3, 3],
        rows * world_T_thing[:3, 0],
        rows * world_T_thing[:3, 1],
    )


@dataclass(frozen=True, eq=False)
class TrafficFlow:
    """Cars along one direction: each one's start, desired speed, leader (-1: none), stop lines.

    `stop_m` are positions of lights ahead, `red` says by time and light whether it shows red.
    A car slows to `turn_mps` at `turn_m` (infinite where it goes straight on). `front_m` and
    `back_m` are how far it reaches before and behind its position.
    """

    start_m: Float[np.ndarray, "n"]
    desired_mps: Float[np.ndarray, "n"]
    leader: Int[np.ndarray, "n"]
    stop_m: Float[np.ndarray, "j"]
    red: Bool[np.ndarray, "t j"]
    turn_m: Float[np.ndarray, "n"]
    front_m: Float[np.ndarray, "n"]
    back_m: Float[np.ndarray, "n"]
    turn_mps: float = 4.5


def simulate_flow(flow: TrafficFlow, time_s: Float[np.ndarray, "t"]) -> Float[np.ndarray, "t n"]:
    """Positions over time by car following: desired speed, leader, lights and turns."""
    position, out = flow.start_m.copy(), np.empty((len(time_s), len(flow.start_m)))
    room_m = flow.front_m + flow.back_m[flow.leader]
    led, speed = flow.leader >= 0, None
    for t in range(len(time_s)):
        out[t] = position
        allowed = flow.desired_mps * (1 + 0.08 * np.sin(0.4 * time_s[t] + flow.start_m))
        gap = np.where(led, position[flow.leader] - position - room_m - STANDING_GAP_M, np.inf)
        gap = gap - HEADWAY_S * (0.0 if speed is None else speed)
        led_mps = 0.9 * (allowed if speed is None else speed)[flow.leader]
        safe = np.sqrt(led_mps**2 + 2 * BRAKE_MPS2 * np.maximum(gap, 0))
        allowed = np.minimum(allowed, np.where(gap > 0, safe, 0.7 * led_mps))
        to_turn = flow.turn_m - position
        slow = np.sqrt(flow.turn_mps**2 + 2 * BRAKE_MPS2 * np.maximum(to_turn, 0))
        allowed = np.minimum(allowed, np.where(to_turn > -14, slow, np.inf))
        for stop_m, red in zip(flow.stop_m, flow.red[t], strict=True):
            left = stop_m - position
            can = left > (0.0 if speed is None else speed**2 / (2 * 4.5))
            halted = red & can & (left > 0)
            limit = np.sqrt(2 * BRAKE_MPS2 * np.maximum(left - 0.3, 0))
            allowed = np.where(halted, np.minimum(allowed, limit), allowed)
        if speed is None:
            speed = allowed
        speed = np.clip(
            allowed, speed - 4.5 * TRAJECTORY_STEP_S, speed + GAIN_MPS2 * TRAJECTORY_STEP_S
        ).clip(0)
        ahead = np.where(led, position[flow.leader] - room_m - NEVER_NEARER_M, np.inf)
        position = np.maximum(np.minimum(position + speed * TRAJECTORY_STEP_S, ahead), position)
    return out
