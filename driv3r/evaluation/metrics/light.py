"""Depth errors by how bright an image is: by day, at dusk or in a tunnel, at night."""

import numpy as np
from jaxtyping import Float, UInt8

from driv3r.evaluation.metrics.depth import DepthTable
from driv3r.types import Score

PROTOCOL = "light"
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
BANDS = {"dark": (0.0, 50.0), "dim": (50.0, 90.0), "bright": (90.0, 256.0)}
CARD = {
    "protocol": PROTOCOL,
    "brightness": "mean luma (BT.601, 0 to 255) of the image at the working size: "
    + ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in BANDS.items()),
    "figures": "means over images of the depth protocol's own, without scaling",
}


def measure_brightness(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Mean luma of an image, 0 to 255."""
    return float(image.reshape(-1, 3).mean(0) @ LUMA)


def score_by_light(table: DepthTable, brightness: Float[np.ndarray, "t v"]) -> list[Score]:
    """Abs Rel of the images of each band of brightness; bands without an image are left out."""
    abs_rel = table.figures["metric"]["abs_rel"]
    scores = []
    for name, (low, high) in BANDS.items():
        inside = np.isfinite(abs_rel) & (brightness >= low) & (brightness < high)
        if inside.any():
            images, points = int(inside.sum()), int(table.n[inside].sum())
            value = float(abs_rel[inside].mean())
            scores.append(
                Score(f"abs_rel_{name}", value, "", points, PROTOCOL, table.subject, images=images)
            )
    return scores
