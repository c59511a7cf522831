"""Depth errors by distance: sums over a log, and their picture."""

import cv2
import numpy as np
from jaxtyping import Float, Int64, UInt8

from driv3r.reporting.images import draw_text

EDGES_M = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0)
SIZE_HW, BAR_PX, BASE_PX, TOP_PX = (300, 880), 74, 236, 44
BAR_RGB, AXIS_RGB, PAPER = (36, 87, 214), (138, 147, 163), 255


class DistanceErrors:
    """Mean relative error |p - g| / g of points in bands of true depth g (z in the camera)."""

    def __init__(self) -> None:
        bands = len(EDGES_M) - 1
        self.n: Int64[np.ndarray, "b"] = np.zeros(bands, np.int64)
        self.sums: Float[np.ndarray, "b"] = np.zeros(bands)

    def add(self, truth_m: Float[np.ndarray, "n"], share: Float[np.ndarray, "n"]) -> None:
        """Sort points into the bands; those outside of all are left out."""
        bands = len(self.n)
        band = np.searchsorted(EDGES_M, truth_m, side="right") - 1
        inside = (band >= 0) & (band < bands)
        self.n += np.bincount(band[inside], minlength=bands)
        self.sums += np.bincount(band[inside], share[inside], minlength=bands)

    @property
    def means(self) -> Float[np.ndarray, "b"]:
        """Mean of every band, NaN where it has no point."""
        return self.sums / np.where(self.n > 0, self.n, np.nan)


def draw_distance_chart(errors: DistanceErrors) -> UInt8[np.ndarray, "h w 3"] | None:
    """A bar a band, with its mean and how many points it rests on; None without any point."""
    if not errors.n.any():
        return None
    canvas = np.full((*SIZE_HW, 3), PAPER, np.uint8)
    draw_text(canvas, "mean |depth - truth| / truth, by true depth; below: points", 13, (24, 10))
    means = errors.means
    highest = max(float(np.nanmax(means)), 1e-6)
    step_px = (SIZE_HW[1] - 48) // len(means)
    for band, mean in enumerate(means):
        left = 24 + band * step_px
        low_m, high_m = EDGES_M[band : band + 2]
        draw_text(canvas, f"{low_m:g} - {high_m:g} m", 13, (left, BASE_PX + 8))
        draw_text(canvas, f"{errors.n[band]:,}", 11, (left, BASE_PX + 30))
        if np.isfinite(mean):
            top = BASE_PX - round(float(mean) / highest * (BASE_PX - TOP_PX - 26))
            cv2.rectangle(canvas, (left, top), (left + BAR_PX, BASE_PX), BAR_RGB, -1)
            draw_text(canvas, f"{mean:.1%}", 13, (left, top - 20))
    cv2.line(canvas, (16, BASE_PX), (SIZE_HW[1] - 16, BASE_PX), AXIS_RGB, 1)
    return canvas
