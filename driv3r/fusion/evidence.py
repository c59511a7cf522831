"""What a pixel is worth to fusion: the settings, the input, which pixels count and how much."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, UInt8

from driv3r.errors import ConfigError, GeometryError

FULL_WEIGHT = 16
_MAY_BE_ZERO = {"moving_above", "max_gap_frames", "velocity_window_s"}


@dataclass(frozen=True)
class FusionConfig:
    """Which pixels count, how points become clusters and how clusters become tracks.

    A pixel counts up to `max_depth_m` and `max_sigma` (Laplace b of log depth: relative error); it
    moves from a motion probability of `moving_above` on. Voxels of fewer than `min_hits` pixels are
    noise. Points within `cluster_gap_m` are one cluster; the gap grows with depth beyond
    `gap_grows_from_m`. Clusters of fewer than `min_cluster_points` are noise; `max_points` of the
    others are kept. A track survives `max_gap_frames` missed frames; `gate_m` is the error allowed
    to a centre, `max_size_ratio` that of the boxes' diagonals from state to state. Velocity is
    fitted to the states within `velocity_window_s` and the two neighbours.
    """

    voxel_m: float = 0.2
    max_depth_m: float = 40.0
    max_sigma: float = 0.15
    moving_above: float = 0.5
    min_hits: int = 2
    cluster_gap_m: float = 0.8
    gap_grows_from_m: float = 20.0
    min_cluster_points: int = 12
    max_points: int = 512
    max_speed_mps: float = 45.0
    max_accel_mps2: float = 5.0
    max_gap_frames: int = 2
    gate_m: float = 2.0
    max_size_ratio: float = 3.0
    velocity_window_s: float = 0.75

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value) or value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
                raise ConfigError(f"fusion: {name} is {value}; expected a finite number above 0")
        if not 0.01 <= self.voxel_m <= 25.6:
            raise ConfigError(f"fusion: voxel_m is {self.voxel_m}; expected 0.01 to 25.6 metres")
        if self.max_size_ratio < 1:
            raise ConfigError(
                f"fusion: max_size_ratio is {self.max_size_ratio}; expected 1 or more"
            )


@dataclass(frozen=True, eq=False)
class FusedFrame:
    """One surround frame's prediction placed in the world, as fusion takes it.

    `time_us` is each camera's own; `sigma` and `motion` are those of `types.Prediction`. Pixels of
    NaN depth count nowhere. GeometryError for shapes that disagree, a negative index, and depth of
    a camera whose time is negative (absent).
    """

    index: int
    time_us: Int[np.ndarray, "v"]
    points_world: Float[np.ndarray, "v h w 3"]
    depth_m: Float[np.ndarray, "v h w"]
    sigma: Float[np.ndarray, "v h w"]
    motion: Float[np.ndarray, "v h w"]
    rgb: UInt8[np.ndarray, "v h w 3"]

    def __post_init__(self):
        vhw = self.depth_m.shape
        expected = (vhw[:1], (*vhw, 3), vhw, vhw, (*vhw, 3))
        given = (self.time_us, self.points_world, self.sigma, self.motion, self.rgb)
        if len(vhw) != 3 or tuple(a.shape for a in given) != expected or self.rgb.dtype != np.uint8:
            raise GeometryError(
                f"frame {self.index}: depth_m is {vhw}, so time_us, points_world, sigma, motion "
                f"and rgb (uint8) must be {expected}; got {[a.shape for a in given]}, rgb "
                f"{self.rgb.dtype}"
            )
        if not 0 <= self.index < 2**31:
            raise GeometryError(f"frame index is {self.index}; expected 0 to 2^31 - 1")
        timeless = np.flatnonzero((self.time_us < 0) & np.isfinite(self.depth_m).any((1, 2)))
        if len(timeless):
            raise GeometryError(
                f"frame {self.index}: cameras {timeless.tolist()} have depth but times "
                f"{self.time_us[timeless].tolist()} us; expected the time or NaN depth"
            )


def find_reliable(frame: FusedFrame, config: FusionConfig) -> Bool[np.ndarray, "v h w"]:
    """Pixels near and sure enough to count; a NaN anywhere in a pixel excludes it."""
    return np.asarray(
        (frame.depth_m > 0)
        & (frame.depth_m <= config.max_depth_m)
        & (frame.sigma >= 0)
        & (frame.sigma <= config.max_sigma)
        & np.isfinite(frame.points_world).all(-1)
    )


def find_still(frame: FusedFrame, config: FusionConfig) -> Bool[np.ndarray, "v h w"]:
    """Reliable pixels whose surface does not move."""
    return find_reliable(frame, config) & (frame.motion < config.moving_above)


def find_moving(frame: FusedFrame, config: FusionConfig) -> Bool[np.ndarray, "v h w"]:
    """Reliable pixels whose surface moves."""
    return find_reliable(frame, config) & (frame.motion >= config.moving_above)


def weigh(
    sigma: Float[np.ndarray, "n"], depth_m: Float[np.ndarray, "n"], voxel_m: float
) -> Int64[np.ndarray, "n"]:
    """Integer confidence, 1 to 16: inverse variance, full where the error stays within a voxel.

    The error along the ray is sigma * depth_m to first order.
    """
    error_m = np.maximum(sigma.astype(np.float64) * depth_m, voxel_m)
    return np.maximum(np.rint(FULL_WEIGHT * (voxel_m / error_m) ** 2), 1).astype(np.int64)
