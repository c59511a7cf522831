"""Light and air of a world: sun, sky, haze, wetness, lamps; by day, dusk and night."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOODS = ("sunny", "hazy", "overcast", "dusk", "night", "fog")
CHANCES = (0.42, 0.16, 0.2, 0.08, 0.09, 0.05)
ELEVATION_DEG = ((16, 68), (15, 50), (50, 85), (3, 12), (30, 70), (40, 80))
SUN = (
    (2.6, 2.4, 2.1),
    (1.5, 1.4, 1.2),
    (0.16, 0.16, 0.16),
    (1.2, 0.7, 0.4),
    (0.012, 0.013, 0.018),
    (0.2, 0.2, 0.2),
)
ZENITH = (
    (0.22, 0.4, 0.78),
    (0.4, 0.5, 0.65),
    (0.72, 0.76, 0.8),
    (0.12, 0.2, 0.4),
    (0.006, 0.007, 0.012),
    (0.7, 0.72, 0.74),
)
HORIZON = (
    (0.75, 0.86, 0.97),
    (0.85, 0.86, 0.87),
    (0.86, 0.88, 0.9),
    (0.62, 0.42, 0.3),
    (0.03, 0.022, 0.018),
    (0.74, 0.75, 0.77),
)
HAZE = ((0.0, 0.0012), (0.001, 0.004), (0.0, 0.003), (0.0, 0.003), (0.0, 0.003), (0.008, 0.025))
PACKED = 20


@dataclass(frozen=True, eq=False)
class Light:
    """One world's light, packed for the shading kernel.

    0-2 direction to the sun, 3-5 its colour, 6-8 zenith, 9-11 horizon, 12 haze per metre,
    13 wetness, 14 cloud cover, 15 cloud seed, 16 how far lamps are on (0..1), 17 softness of the
    sun's disc (rad). `lamps` are points of light in the world: x y z, then r g b.
    """

    mood: str
    packed: Float[np.ndarray, "20"]
    lamps: Float[np.ndarray, "k 6"]

    @property
    def sun_direction(self) -> Float[np.ndarray, "3"]:
        """Unit vector towards the sun."""
        return self.packed[:3]

    @property
    def has_lamps_on(self) -> bool:
        """Whether street lamps and headlights shine."""
        return bool(self.packed[16] > 0)


def make_light(rng: np.random.Generator, lamps: Float[np.ndarray, "k 6"]) -> Light:
    """A mood at random, tinted a little."""
    mood = int(rng.choice(len(MOODS), p=CHANCES))
    elevation = np.radians(rng.uniform(*ELEVATION_DEG[mood]))
    azimuth = rng.uniform(0, 2 * np.pi)
    flat = np.cos(elevation)
    tint = 1 + rng.normal(0, 0.05, 3)
    packed = np.zeros(PACKED)
    packed[:3] = flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)
    packed[3:6] = np.array(SUN[mood]) * tint
    packed[6:9] = np.array(ZENITH[mood]) * tint
    packed[9:12] = HORIZON[mood]
    packed[12] = rng.uniform(*HAZE[mood])
    packed[13] = (
        rng.uniform(0.2, 0.9) if rng.random() < (0.15, 0.1, 0.3, 0.2, 0.4, 0.3)[mood] else 0
    )
    packed[14] = (rng.uniform(0, 0.55), 0.5, 0.9, 0.4, 0.3, 1.0)[mood]
    packed[15] = rng.uniform(0, 50)
    packed[16] = (0.0, 0.0, 0.0, 0.4, 1.0, 0.0)[mood]
    packed[17] = (0.008, 0.015, 0.4, 0.015, 0.02, 0.4)[mood]
    return Light(MOODS[mood], packed, lamps)
