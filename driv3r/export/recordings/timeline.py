"""What recordings share: colours of tracks, cameras whose pixel centres are integers."""

import colorsys

import numpy as np
from jaxtyping import Float

from driv3r.types import Camera

GOLDEN = 0.618033988749895  # steps of hue by which neighbours differ most


def colour_track(track_id: int) -> tuple[float, float, float]:
    """Red, green and blue, 0 to 1, that tell a track from the ones before and after."""
    return colorsys.hsv_to_rgb((track_id * GOLDEN) % 1.0, 0.75, 1.0)


def centred_K(camera: Camera) -> Float[np.ndarray, "3 3"]:
    """Intrinsics for pixels whose centres are integers, as ROS and OpenCV count: ours minus 0.5."""
    K = camera.K.astype(np.float64)
    K[:2, 2] -= 0.5
    return K
