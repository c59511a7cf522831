"""Photographs of brick, grass and gravel (CC0, see LICENCE.txt) as tileable tones about 1."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32

NAMES = ("brick", "grass", "gravel")
SIZE = 512
LEVELS = 10
LARGEST_WAVES = 1.5  # a repeat: structure as large as this counts as light and is divided out
STARTS = np.cumsum([0, *(4**k for k in range(LEVELS - 1, 0, -1))])


@cache
def load_textures() -> Float32[np.ndarray, "3 n"]:
    """All mip levels of each texture in a row, the finest first; level k starts at STARTS[k]."""
    return np.stack([_pyramid(_read(name)) for name in NAMES])


def _read(name: str) -> np.ndarray:
    """A photograph's fine structure: its large-scale light divided out, about 1, no seams."""
    grey = cv2.imread(str(Path(__file__).with_name(f"{name}.png")), cv2.IMREAD_GRAYSCALE)
    grey = grey.T if name == "brick" else grey  # its courses run upwards in the photograph
    tone = (grey.astype(np.float64) / 255) ** 2.2 + 0.01
    waves = np.fft.fftfreq(SIZE) * SIZE
    keep = np.exp(-(waves[:, None] ** 2 + waves**2) / 2 / LARGEST_WAVES**2)
    return tone / np.fft.ifft2(np.fft.fft2(tone) * keep).real


def _pyramid(tone: np.ndarray) -> np.ndarray:
    levels = [tone]
    while len(levels[-1]) > 1:
        last = levels[-1]
        levels.append((last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]) / 4)
    return np.concatenate([level.ravel() for level in levels]).astype(np.float32)
