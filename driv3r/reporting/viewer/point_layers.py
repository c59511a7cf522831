"""Points with what can be known of each, their colours, and which of them a click means."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int, Int64, UInt8

from driv3r.reporting.birds_eye import TRACK_RGB
from driv3r.reporting.images import (
    DEPTH_COLOURS,
    ERROR_COLOURS,
    MOVING_RGB,
    apply_colormap,
)

ColourBy = Literal["rgb", "height", "sigma", "error", "motion", "track"]
COLOURS: tuple[str, ...] = get_args(ColourBy)
HEIGHTS_M = (-0.5, 6.0)  # over the car's road, from one end of the colours to the other
WORST = 0.5  # sigma and relative error at the red end
NEAR_RAY = 0.012  # of the distance: how far from a click's ray a point may lie
NEAREST_M = 0.5
UNKNOWN_RGB = np.array([58, 62, 72], np.uint8)  # does not outshine what is known
_STILL_RGB = np.array([110.0, 115.0, 125.0])
_MOTION_COLOURS = np.linspace(_STILL_RGB, MOVING_RGB, 256).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class PointLayer:
    """n points in the viewer's frame: the world, moved to the log's first place.

    `values` are what can be told of each point, by name: height in metres over the car's first
    place, sigma and error as shares of the distance, motion as a probability, and others that are
    only read out. NaN is not known. `track` is -1 for what is no moving object.
    """

    name: str
    points_local: Float[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    values: dict[str, Float[np.ndarray, "n"]] = field(default_factory=dict)
    track: Int[np.ndarray, "n"] | None = None

    def thin(self, most: int) -> "PointLayer":
        """At most so many points, evenly chosen, in their order."""
        n = len(self.points_local)
        if n <= most:
            return self
        rows = np.linspace(0, n - 1, most).astype(int)
        values = {name: value[rows] for name, value in self.values.items()}
        track = None if self.track is None else self.track[rows]
        return PointLayer(self.name, self.points_local[rows], self.rgb[rows], values, track)

    def colours(self, by: ColourBy) -> UInt8[np.ndarray, "n 3"]:
        """Colours of every point; grey where the layer does not know what is asked for."""
        n = len(self.points_local)
        if by == "rgb":
            return self.rgb
        if by == "height":
            low_m, high_m = HEIGHTS_M
            share = (self.points_local[:, 2].astype(np.float64) - low_m) / (high_m - low_m)
            return apply_colormap(1 - share, DEPTH_COLOURS)
        if by == "track":
            return self._track_colours()
        value = self.values.get(by, np.full(n, np.nan)).astype(np.float64)
        scale, ramp = (1.0, _MOTION_COLOURS) if by == "motion" else (WORST, ERROR_COLOURS)
        known = np.isfinite(value)[:, None]
        return np.where(known, apply_colormap(value / scale, ramp), UNKNOWN_RGB)

    def _track_colours(self) -> UInt8[np.ndarray, "n 3"]:
        palette = np.array([*TRACK_RGB, UNKNOWN_RGB], np.uint8)
        if self.track is None:
            return np.tile(UNKNOWN_RGB, (len(self.points_local), 1))
        return palette[np.where(self.track < 0, len(TRACK_RGB), self.track % len(TRACK_RGB))]

    def describe(self, row: int) -> str:
        """What is known of a point, as a line."""
        known = [f"{name} {value[row]:.3g}" for name, value in self.values.items()]
        if self.track is not None and self.track[row] >= 0:
            known.append(f"track {self.track[row]}")
        red, green, blue = self.rgb[row]
        return ", ".join([self.name, f"rgb {red} {green} {blue}", *known])


def pick_point(
    layers: list[PointLayer], origin: Float[np.ndarray, "3"], direction: Float[np.ndarray, "3"]
) -> tuple[int, int] | None:
    """Layer and row of the nearest point that a ray passes; None where it passes none."""
    best, best_m = None, np.inf
    direction = direction / np.linalg.norm(direction)
    for number, layer in enumerate(layers):
        along_m, beside_m = _measure(layer, origin, direction)
        rows: Int64[np.ndarray, "k"] = np.flatnonzero(
            (along_m > NEAREST_M) & (beside_m < NEAR_RAY * along_m)
        )
        if len(rows):
            row = int(rows[np.argmin(along_m[rows])])
            if along_m[row] < best_m:
                best, best_m = (number, row), float(along_m[row])
    return best


def _measure(
    layer: PointLayer, origin: np.ndarray, direction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far along a ray every point lies, and how far from it (m)."""
    offset = layer.points_local.astype(np.float64) - origin
    along_m = offset @ direction
    beside_m = np.sqrt(np.maximum((offset**2).sum(-1) - along_m**2, 0.0))
    return along_m, beside_m
