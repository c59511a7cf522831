"""Where data-collection cars carry their cameras: layouts that random rigs take after.

A row is (yaw in degrees, left positive; x ahead and y left of the rear axle in metres; focal length
over image width); `height_m` is the cameras' height over the road. Figures are round ones.
"""

from dataclasses import dataclass

import numpy as np

Row = tuple[str, float, tuple[float, float, float], float]  # name, yaw_deg, place_m, focal / width


@dataclass(frozen=True)
class Layout:
    """One kind of car: its cameras and their height."""

    height_m: float
    cameras: tuple[tuple[float, float, float, float], ...]


LAYOUTS = {
    "pandaset": Layout(
        2.0,
        (
            (0, 1.6, 0.0, 1.03), (-45, 1.5, -0.5, 0.485), (-95, 1.1, -0.6, 0.485),
            (180, 0.1, 0.0, 0.485), (95, 1.1, 0.6, 0.485), (45, 1.5, 0.5, 0.485),
        ),
    ),
    "ddad": Layout(
        1.6,
        (
            (0, 1.9, 0.0, 1.12), (-52, 1.8, -0.6, 0.55), (-120, 1.0, -0.6, 0.55),
            (180, 0.2, 0.0, 0.55), (120, 1.0, 0.6, 0.55), (52, 1.8, 0.6, 0.55),
        ),
    ),
    "waymo": Layout(
        2.1,
        (
            (0, 1.5, 0.0, 1.08), (-45, 1.5, -0.1, 1.08), (-90, 1.4, -0.1, 1.08),
            (90, 1.4, 0.1, 1.08), (45, 1.5, 0.1, 1.08),
        ),
    ),
    "argoverse2": Layout(
        1.6,
        (
            (0, 1.65, 0.0, 1.1), (-45, 1.55, -0.3, 0.87), (-100, 1.2, -0.4, 0.87),
            (-153, 1.0, -0.3, 0.87), (153, 1.0, 0.3, 0.87), (100, 1.2, 0.4, 0.87),
            (45, 1.55, 0.3, 0.87),
        ),
    ),
    "nuscenes": Layout(
        1.52,
        (
            (0, 1.7, 0.0, 0.79), (-56, 1.55, -0.5, 0.79), (-110, 1.02, -0.5, 0.79),
            (180, 0.05, 0.0, 0.505), (108, 1.02, 0.5, 0.79), (55, 1.55, 0.5, 0.79),
        ),
    ),
}  # fmt: skip
SHARES = {"pandaset": 0.36, "ddad": 0.2, "waymo": 0.14, "argoverse2": 0.16, "nuscenes": 0.14}
FRONT, SIDE = (0.53, 1.18), (0.45, 0.9)  # focal length over width where freely drawn
UNLIKE = 0.06  # how far each camera's own focal length strays
LOW_M, HIGH_M = 1.2, 2.3  # of all random cameras


def survey_cameras(rng: np.random.Generator) -> tuple[Row, ...]:
    """The cameras of a layout at random, of its focal lengths, or half the time of others.

    Each has its own focal length and its own place within 0.1 to 0.2 m.
    """
    layout = LAYOUTS[str(rng.choice(list(SHARES), p=list(SHARES.values())))]
    front, side = rng.uniform(*FRONT), rng.uniform(*SIDE)
    free = rng.random() < 0.5
    # the whole set stands on another roof, or higher on a rack
    height_m = layout.height_m + float(np.clip(rng.normal(0, 0.18), -0.4, 0.5))
    rows = []
    for k, (yaw_deg, x_m, y_m, focal) in enumerate(layout.cameras):
        if free:
            focal = front if yaw_deg == 0 else side
        focal = float(focal * rng.uniform(1 - UNLIKE, 1 + UNLIKE))
        place_m = np.array([x_m, y_m, height_m]) + rng.normal(0, (0.12, 0.06, 0.06))
        turned_deg = yaw_deg + float(rng.normal(0, 3.0))
        x, y, z = place_m.tolist()
        rows.append((f"CAM_{k}", turned_deg, (x, y, z), focal))
    return tuple(rows)
