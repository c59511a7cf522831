"""People on foot, with prams, and on bicycles: x forward, y left, on z = 0, metres."""

from dataclasses import replace

import numpy as np

from driv3r.simulator.assets.mesh import Mesh, at, place, smooth
from driv3r.simulator.assets.people.cyclists import make_cyclist
from driv3r.simulator.assets.people.human_pose import (
    FOREARM,
    STANCES,
    UPPER_ARM,
    Pose,
    reach,
    stand,
    walk,
)
from driv3r.simulator.assets.people.humans import choose_person, dress

__all__ = ["make_cyclist", "make_person"]


def make_person(rng: np.random.Generator, phase: float | None) -> Mesh:
    """A walker at a phase of the stride in [0, 1), or one who stands (None).

    What the person looks like depends on the generator's state only, not on the phase.
    """
    person = choose_person(rng)
    if phase is None:
        stance = STANCES[int(rng.integers(len(STANCES)))]
        pose = stand(person.height, person.wide, stance, float(rng.uniform(-1, 1)))
    else:
        pose = walk(person.height, person.wide, phase, person.stride)
    if person.umbrella:
        pose = _hold_up(pose, person.height)
    mesh = smooth(dress(person, pose), 60)
    return place(mesh, at(0, 0, -float(mesh.vertices[:, 2].min())))


def _hold_up(pose: Pose, height: float) -> Pose:
    """The right hand before the chest."""
    hand = pose.chest + np.array([0.14, -0.09, -0.06]) * height
    lengths = (UPPER_ARM * height, FOREARM * height)
    arm = reach(pose.arms[0].root, hand, lengths, np.array([-0.3, -0.5, -1.0]))
    return replace(pose, arms=(arm, pose.arms[1]))
