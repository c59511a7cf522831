"""A constant-velocity Kalman filter of places in 3-D, and its Rauch-Tung-Striebel smoother."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SPEED_MPS = np.array([12.0, 12.0, 0.7])  # of things on a street, before anything is seen of one
UNKNOWN_M = 1e4

PLACE, SPEED = np.arange(3), np.arange(3, 6)  # of a state
SHARES = np.array([1.0, 1.0, 0.05**2])  # of acceleration along x, y and z


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Place and velocity in the world with their covariance at a time."""

    time_s: float
    mean: Float[np.ndarray, "6"]
    covariance: Float[np.ndarray, "6 6"]

    @property
    def place(self) -> Float[np.ndarray, "3"]:
        """The first half of the mean, m."""
        return self.mean[:3]

    @property
    def velocity(self) -> Float[np.ndarray, "3"]:
        """The second half of the mean, m/s."""
        return self.mean[3:]


@dataclass(frozen=True, eq=False)
class Measurement:
    """A place (m) at a time with its covariance."""

    time_s: float
    place: Float[np.ndarray, "3"]
    covariance: Float[np.ndarray, "3 3"]


def start(first: Measurement) -> Gaussian:
    """What one place tells: nothing of the velocity but that of things on a street."""
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = first.covariance
    covariance[3:, 3:] = np.diag(SPEED_MPS**2)
    return Gaussian(first.time_s, np.concatenate([first.place, np.zeros(3)]), covariance)


def transition(dt_s: float) -> Float[np.ndarray, "6 6"]:
    """State after `dt_s` at constant velocity."""
    F = np.eye(6)
    F[:3, 3:] = dt_s * np.eye(3)
    return F


def process_noise(dt_s: float, accel_mps2: float) -> Float[np.ndarray, "6 6"]:
    """Covariance that white acceleration adds in `dt_s` (Bar-Shalom et al., 2001, section 6.2.2).

    Its density makes the velocity stray by `accel_mps2` in a second; a twentieth of it upward.
    """
    dt, density = abs(dt_s), accel_mps2**2
    noise = np.zeros((6, 6))
    noise[PLACE, PLACE] = dt**3 / 3 * density * SHARES
    noise[PLACE, SPEED] = noise[SPEED, PLACE] = dt**2 / 2 * density * SHARES
    noise[SPEED, SPEED] = dt * density * SHARES
    return noise


def predict(state: Gaussian, time_s: float, accel_mps2: float) -> Gaussian:
    """The state at another time, earlier or later."""
    dt_s = time_s - state.time_s
    F = transition(dt_s)
    covariance = F @ state.covariance @ F.T + process_noise(dt_s, accel_mps2)
    return Gaussian(time_s, F @ state.mean, covariance)


def update(state: Gaussian, seen: Measurement) -> Gaussian:
    """The state at the measurement's time after it (Joseph's form)."""
    S = state.covariance[:3, :3] + seen.covariance
    gain = np.linalg.solve(S, state.covariance[:3]).T
    left = np.eye(6)
    left[:, :3] -= gain
    covariance = left @ state.covariance @ left.T + gain @ seen.covariance @ gain.T
    mean = state.mean + gain @ (seen.place - state.place)
    return Gaussian(state.time_s, mean, (covariance + covariance.T) / 2)


def surprise(state: Gaussian, seen: Measurement) -> float:
    """Squared Mahalanobis distance of a measurement."""
    S = state.covariance[:3, :3] + seen.covariance
    off = seen.place - state.place
    return float(off @ np.linalg.solve(S, off))


def smooth(seen: Sequence[Measurement], at_s: Sequence[float], accel_mps2: float) -> list[Gaussian]:
    """The states at given times, in order, from all measurements in order of time."""
    times = sorted({*at_s, *(m.time_s for m in seen)})
    of_time = {m.time_s: m for m in seen}
    # A place may be asked for before the first measurement: nothing is known of it by then.
    state = start(Measurement(times[0], seen[0].place, UNKNOWN_M**2 * np.eye(3)))
    forward: list[tuple[Gaussian, Gaussian]] = []  # before and after the measurement
    for time_s in times:
        before, measured = predict(state, time_s, accel_mps2), of_time.get(time_s)
        state = before if measured is None else update(before, measured)
        forward.append((before, state))
    smoothed = {times[-1]: state}
    for k in range(len(times) - 2, -1, -1):
        filtered, predicted, later = forward[k][1], forward[k + 1][0], smoothed[times[k + 1]]
        F = transition(times[k + 1] - times[k])
        gain = np.linalg.solve(predicted.covariance, F @ filtered.covariance).T
        mean = filtered.mean + gain @ (later.mean - predicted.mean)
        covariance = filtered.covariance + gain @ (later.covariance - predicted.covariance) @ gain.T
        smoothed[times[k]] = Gaussian(times[k], mean, (covariance + covariance.T) / 2)
    return [smoothed[time_s] for time_s in at_s]
