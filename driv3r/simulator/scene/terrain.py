"""Ground under a grid of straight streets: a rolling plane with kerbs along all of them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

KERB_M = 0.13
KERB_SLOPE_M = 0.12


@dataclass(frozen=True, eq=False)
class Terrain:
    """Streets in a frame of their own: the main one along x, others across it at `cross_m`.

    `waves` are rows of (amplitude, kx, ky, phase); `corner_m` is the radius of kerbs at corners.
    """

    yaw: float
    slope: tuple[float, float]
    waves: Float[np.ndarray, "w 4"]
    half_m: float
    cross_m: Float[np.ndarray, "j"]
    cross_half_m: float
    corner_m: float

    def to_own(self, x, y):
        """World (x, y) in the streets' frame."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return c * x + s * y, -s * x + c * y

    def to_world(self, x, y) -> Float[np.ndarray, "*b 2"]:
        """Streets' (x, y) in the world."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.stack([c * x - s * y, s * x + c * y], -1)

    def off_road(self, x, y):
        """Metres from the carriageways of streets' (x, y); 0 or less on them."""
        beyond_y = np.abs(y) - self.half_m
        nearest = np.abs(x[..., None] - self.cross_m).min(-1) if len(self.cross_m) else np.inf
        beyond_x = nearest - self.cross_half_m
        r = self.corner_m
        inner = np.minimum(beyond_x, beyond_y)
        rounded = r - np.hypot(r - np.clip(beyond_x, 0, r), r - np.clip(beyond_y, 0, r))
        in_corner = (beyond_x > 0) & (beyond_y > 0) & (beyond_x < r) & (beyond_y < r)
        return np.where(in_corner, rounded, inner)

    def height(self, x, y):
        """Ground height of world (x, y), kerbs and pavements included."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        z = self.slope[0] * x + self.slope[1] * y
        for amplitude, kx, ky, phase in self.waves:
            z = z + amplitude * np.sin(kx * x + ky * y + phase)
        step = np.clip(self.off_road(*self.to_own(x, y)) / KERB_SLOPE_M, 0.0, 1.0)
        return z + KERB_M * step * step * (3 - 2 * step)


def make_terrain(
    rng: np.random.Generator,
    half_m: float,
    cross_m: Float[np.ndarray, "j"],
    cross_half_m: float,
    flat: float = 1.0,
) -> Terrain:
    """A plane that tilts and rolls gently; `flat` below 1 takes the hills away."""
    waves = []
    for length in (90.0, 160.0, 260.0):
        turn = rng.uniform(0, 2 * np.pi)
        k = 2 * np.pi / length
        amplitude = flat * rng.normal(0, 0.006) * length
        waves.append([amplitude, k * np.cos(turn), k * np.sin(turn), rng.uniform(0, 7)])
    slope = flat * rng.normal(0, 0.012, 2)
    return Terrain(
        float(rng.uniform(-np.pi, np.pi)),
        (float(slope[0]), float(slope[1])),
        np.array(waves),
        half_m,
        cross_m,
        cross_half_m,
        float(rng.uniform(3.0, 6.0)),
    )
