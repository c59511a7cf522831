"""How dense values become small integers: logarithmic for depth and sigma, linear for motion."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped, UInt8, UInt16

OK, NO_INPUT, NON_FINITE, OUT_OF_RANGE, UNSCALED = range(5)  # views/valid_reason
NO_MOTION = 255


@dataclass(frozen=True)
class LogCode:
    """Codes 1..`last` spaced evenly in the logarithm from `low` to `high`; 0 is no value."""

    low: float
    high: float
    last: int

    @property
    def step(self) -> float:
        """Distance of two codes in the logarithm; half of it bounds the relative error."""
        return math.log(self.high / self.low) / (self.last - 1)

    @cached_property
    def values(self) -> Float32[np.ndarray, "k"]:
        """The value of every code."""
        codes = np.arange(self.last + 1)
        values = (self.low * np.exp(self.step * (codes - 1))).astype(np.float32)
        values[0] = np.nan
        return values

    def encode(self, value: Float[np.ndarray, "*b"]) -> Shaped[np.ndarray, "*b"]:
        """Nearest code; 0 for NaN, infinities and whatever lies outside [low, high]."""
        inside = (value >= self.low) & (value <= self.high)
        # single precision is 150 times finer than a depth code, and twice as quick
        ratio = np.where(inside, value, self.low).astype(np.float32) / np.float32(self.low)
        codes = np.where(inside, 1 + np.rint(np.log(ratio) / np.float32(self.step)), 0)
        return codes.astype(np.min_scalar_type(self.last))

    def decode(self, codes: Shaped[np.ndarray, "*b"]) -> Float32[np.ndarray, "*b"]:
        """Values of codes, NaN for 0."""
        return self.values[codes]


DEPTH = LogCode(low=0.05, high=1000.0, last=65535)
SIGMA = LogCode(low=1e-3, high=10.0, last=255)


def encode_depth(depth_m: Float[np.ndarray, "*b"]) -> UInt16[np.ndarray, "*b"]:
    """Log-coded depth, 0.05 to 1000 m within 7.6e-5 relative; 0 where it is anything else."""
    return DEPTH.encode(depth_m)


def explain_depth(
    depth_m: Float[np.ndarray, "v h w"],
    present: Bool[np.ndarray, "v"],
    scaled: Bool[np.ndarray, "v"],
) -> UInt8[np.ndarray, "v h w"]:
    """Why a pixel has no depth: OK, NO_INPUT (its camera gave none), NON_FINITE, OUT_OF_RANGE.

    UNSCALED where nothing has told the unit of length of its camera's answers.
    """
    reason = np.where(np.isfinite(depth_m), OUT_OF_RANGE, NON_FINITE)
    reason = np.where((depth_m >= DEPTH.low) & (depth_m <= DEPTH.high), OK, reason)
    reason = np.where(scaled[:, None, None], reason, UNSCALED)
    return np.where(present[:, None, None], reason, NO_INPUT).astype(np.uint8)


def encode_sigma(sigma: Float[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b"]:
    """Log-coded sigma within 1.9 %, clamped to 0.001..10; 0 where it is not a positive number."""
    meant = np.isfinite(sigma) & (sigma > 0)
    return SIGMA.encode(np.where(meant, np.clip(sigma, SIGMA.low, SIGMA.high), np.nan))


def encode_motion(motion: Float[np.ndarray, "*b"]) -> UInt8[np.ndarray, "*b"]:
    """Probability times 254 to the nearest, clamped to 0..1; 255 where it is not finite."""
    meant = np.isfinite(motion)
    codes = np.rint(np.clip(np.where(meant, motion, 0.0), 0.0, 1.0) * 254)
    return np.where(meant, codes, NO_MOTION).astype(np.uint8)


def decode_motion(codes: UInt8[np.ndarray, "*b"]) -> Float32[np.ndarray, "*b"]:
    """Inverse of `encode_motion` within 1/508, NaN for 255."""
    return np.where(codes == NO_MOTION, np.nan, codes / 254).astype(np.float32)
