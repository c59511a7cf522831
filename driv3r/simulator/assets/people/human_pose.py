"""How the joints of a walker, a stander and a rider are bent; x forward, y left, metres."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# Share of the stride from heel strike; degrees. Rounded from textbook curves of level walking
# (hip and knee flexion; pitch of the foot over the ground, toes up).
HIP_DEG = ((0, 26), (0.12, 21), (0.25, 8), (0.38, -6), (0.5, -13), (0.58, -9), (0.66, 4),
           (0.75, 18), (0.85, 27), (0.93, 28))  # fmt: skip
KNEE_DEG = ((0, 4), (0.06, 11), (0.14, 17), (0.25, 11), (0.38, 4), (0.48, 9), (0.56, 26),
            (0.64, 48), (0.72, 60), (0.8, 50), (0.88, 24), (0.95, 4))  # fmt: skip
FOOT_DEG = ((0, 18), (0.07, 3), (0.12, 0), (0.34, 0), (0.44, -10), (0.54, -32), (0.62, -55),
            (0.7, -50), (0.8, -18), (0.88, 6), (0.95, 18))  # fmt: skip
THIGH, SHIN, ANKLE = 0.245, 0.243, 0.042  # shares of the body's height
UPPER_ARM, FOREARM = 0.165, 0.14


@dataclass(frozen=True)
class Limb:
    """Hip, knee, ankle or shoulder, elbow, wrist; `end_rad` is the foot's pitch, toes up."""

    root: Float[np.ndarray, "3"]
    joint: Float[np.ndarray, "3"]
    end: Float[np.ndarray, "3"]
    end_rad: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Where a body's joints are. Legs and arms: right, then left."""

    pelvis: Float[np.ndarray, "3"]
    chest: Float[np.ndarray, "3"]
    legs: tuple[Limb, Limb]
    arms: tuple[Limb, Limb]
    nod_rad: float = 0.0


def along(table: tuple[tuple[float, float], ...], phase: float) -> float:
    """A periodic curve in radians at a phase."""
    x, y = np.array(table).T
    return float(np.radians(np.interp(phase % 1.0, x, y, period=1.0)))


def swing(length_m: float, angle_rad: float, out_m: float = 0.0) -> Float[np.ndarray, "3"]:
    """From a joint down to the next, swung forward by an angle and sideways by some metres."""
    return np.array([length_m * np.sin(angle_rad), out_m, -length_m * np.cos(angle_rad)])


def walk_leg(height: float, phase: float, stride: float) -> Limb:
    """A leg from its hip joint at the origin, its heel down at phase 0."""
    thigh = stride * along(HIP_DEG, phase)
    knee = thigh * 1.0 - along(KNEE_DEG, phase) * (0.4 + 0.6 * stride)
    joint = swing(THIGH * height, thigh)
    end = joint + swing(SHIN * height, knee)
    return Limb(np.zeros(3), joint, end, stride * along(FOOT_DEG, phase))


def shifted(limb: Limb, by: Float[np.ndarray, "3"]) -> Limb:
    """The limb moved."""
    return Limb(limb.root + by, limb.joint + by, limb.end + by, limb.end_rad)


def reach(
    root: Float[np.ndarray, "3"],
    end: Float[np.ndarray, "3"],
    lengths_m: tuple[float, float],
    bend_to: Float[np.ndarray, "3"],
    end_rad: float = 0.0,
) -> Limb:
    """A limb of two bones from `root` to `end`, its joint bent towards `bend_to`.

    What lies out of reach is met halfway: the bones stretch.
    """
    line = end - root
    distance = float(np.linalg.norm(line))
    unit = line / (distance + 1e-9)
    first, second = lengths_m
    if distance > 0.995 * (first + second):
        return Limb(root, root + line * first / (first + second), end, end_rad)
    near = (distance**2 + first**2 - second**2) / (2 * distance + 1e-9)
    off = np.sqrt(max(first**2 - near**2, 0.0))
    aside = bend_to - (bend_to @ unit) * unit
    joint = root + near * unit + off * aside / (np.linalg.norm(aside) + 1e-9)
    return Limb(root, joint, end, end_rad)


def walk(height: float, wide: float, phase: float, stride: float = 1.0, lean: float = 0.04) -> Pose:
    """A walker's pose: the right heel strikes at phase 0, the left at 0.5."""
    pelvis = np.array([0.0, 0.0, (THIGH + SHIN + ANKLE) * height])
    chest = pelvis + swing(-0.285 * height, -lean)
    legs, arms = [], []
    twist = 0.018 * height * stride * np.cos(2 * np.pi * (phase - 0.97))
    for side, shift in ((-1, 0.0), (1, 0.5)):
        hip = pelvis + (-side * 0.6 * twist, side * 0.047 * height * wide, 0.0)
        legs.append(shifted(walk_leg(height, phase + shift, stride), hip))
        back = np.cos(2 * np.pi * (phase + shift - 0.97))
        shoulder = chest + (side * twist, side * 0.106 * height * wide, -0.012 * height)
        upper = -np.radians(24) * stride * back - 0.02
        bend = np.radians(20 - 13 * back * stride)
        elbow = shoulder + swing(UPPER_ARM * height, upper, side * 0.025 * height)
        arms.append(Limb(shoulder, elbow, elbow + swing(FOREARM * height, upper + bend)))
    return Pose(pelvis, chest, (legs[0], legs[1]), (arms[0], arms[1]))


STANCES = ("easy", "pockets", "phone", "folded", "hips")


def stand(height: float, wide: float, stance: str, sway: float) -> Pose:
    """Someone who stands; `sway` in [-1, 1] puts the weight on a leg."""
    pelvis = np.array([0.0, 0.012 * sway * height, (THIGH + SHIN + ANKLE - 0.003) * height])
    chest = pelvis + np.array([0.005, -0.012 * sway, 0.285]) * height
    legs, arms = [], []
    for side in (-1, 1):
        hip = pelvis + (0, side * 0.047 * height * wide, 0)
        bent = max(0.0, -side * sway)
        apart = side * (0.065 + 0.03 * bent) * height * wide
        foot = np.array([0.06 * bent * height - 0.01, apart, ANKLE * height])
        legs.append(reach(hip, foot, (THIGH * height, SHIN * height), np.array([1.0, 0, 0])))
        shoulder = chest + (0, side * 0.106 * height * wide, -0.012 * height)
        arms.append(_idle_arm(shoulder, pelvis, height, wide, side, stance))
    nod = 0.45 if stance == "phone" else 0.04
    return Pose(pelvis, chest, (legs[0], legs[1]), (arms[0], arms[1]), nod)


def _idle_arm(shoulder, pelvis, height: float, wide: float, side: int, stance: str) -> Limb:
    lengths = (UPPER_ARM * height, FOREARM * height)
    spots = {
        "easy": (0.02, 0.125 * wide, -0.02),
        "pockets": (0.05, 0.095 * wide, 0.015),
        "phone": (0.16, 0.03, 0.18) if side < 0 else (0.03, 0.12 * wide, -0.015),
        "folded": (0.1, 0.015, 0.1 + 0.008 * side),
        "hips": (0.0, 0.1 * wide, 0.06),
    }
    x, y, z = spots[stance]
    end = pelvis + np.array([x, side * y, z]) * height
    out = {"pockets": 0.7, "hips": 1.5}.get(stance, 0.25)
    return reach(shoulder, end, lengths, np.array([-0.6, side * out, -0.3]))
