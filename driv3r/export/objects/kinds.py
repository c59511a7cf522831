"""What an object may be by its size alone, for formats that want a class of every box."""

import numpy as np
from jaxtyping import Float

# Mean length, width and height (m) of nuScenes' training boxes (Zhu et al., Class-balanced Grouping
# and Sampling, 2019). Sizes alone tell no trailer from a bus, no construction vehicle from a truck.
MEAN_SIZE_M = {
    "car": (4.63, 1.97, 1.74),
    "truck": (6.93, 2.51, 2.84),
    "bus": (10.5, 2.94, 3.47),
    "pedestrian": (0.73, 0.67, 1.77),
    "motorcycle": (2.11, 0.77, 1.47),
    "bicycle": (1.70, 0.60, 1.28),
}
RULE = (
    "the class is the nearest of " + ", ".join(MEAN_SIZE_M) + " by the logarithms of length, width "
    "and height: nothing looked at what the object is"
)


def guess_kind(size_m: Float[np.ndarray, "3"]) -> str:
    """The class whose mean size is nearest in the logarithms; see RULE."""
    size = np.log(np.maximum(size_m, 0.05))
    distance = {
        kind: float(np.abs(size - np.log(mean)).sum()) for kind, mean in MEAN_SIZE_M.items()
    }
    return min(distance, key=lambda kind: distance[kind])
