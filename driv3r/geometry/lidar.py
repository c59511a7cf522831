"""How a LiDAR sweep samples directions."""

import numpy as np
from jaxtyping import Float

SLICE_RAD = np.deg2rad(2.0)  # several azimuth steps of any spinning LiDAR
SAME_BEAM_RAD = np.deg2rad(0.05)  # jitter of one beam; beams lie further apart


def measure_spacing(points_lidar: Float[np.ndarray, "n 3"]) -> tuple[float, float]:
    """Radians between a sweep's neighbours along a beam (azimuth) and across beams (elevation).

    Elevations are sorted within slices of azimuth; the median jump is the distance between beams,
    the count of jumps the number of beams that share a slice's points.
    """
    points = points_lidar[np.isfinite(points_lidar).all(-1)].astype(float)
    points = points[np.linalg.norm(points, axis=-1) > 2.0]  # not the car's own roof
    if len(points) < 2:
        return SLICE_RAD, SLICE_RAD
    elevation = np.arctan2(points[:, 2], np.linalg.norm(points[:, :2], axis=-1))
    slices = np.floor(np.arctan2(points[:, 1], points[:, 0]) / SLICE_RAD).astype(int)
    order = np.lexsort((elevation, slices))
    same_slice = np.diff(slices[order]) == 0
    jumps = np.diff(elevation[order])[same_slice]
    jumps = jumps[jumps > SAME_BEAM_RAD]
    beams = len(jumps) + np.count_nonzero(~same_slice) + 1
    across = float(np.median(jumps)) if len(jumps) else SLICE_RAD
    return float(SLICE_RAD * beams / len(points)), min(across, SLICE_RAD)
