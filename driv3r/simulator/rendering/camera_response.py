"""Camera response, from radiance to pixels: blur, glare, exposure, noise, tone curve, JPEG."""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from driv3r.simulator.rendering.jit import kernel
from driv3r.simulator.scene.lighting import Light

GLARING = ("sunny", "hazy", "dusk")  # moods in which the sun itself is seen
DARKEST = 0.05  # keeps night dark: exposure rises no further below this radiance


@dataclass(frozen=True)
class Lens:
    """One camera's imaging: exposure time, sharpness, colour response, glare and dirt.

    `vignette` is how light falls off (half of it goes in the corners at 0.5), `veil` the share of
    haze from stray light, `flare` that added when the sun stands before the camera. `halo` is the
    strength of the camera's own sharpening, over `halo_px` of an image 392 pixels wide.
    """

    exposure_s: float
    blur_px: float
    exposure: float
    balance: tuple[float, float, float]
    saturation: float
    contrast: float
    gamma: float
    noise: float
    vignette: float
    veil: float
    flare: float
    halo: float
    halo_px: float
    dirt_seed: int | None
    jpeg_quality: int | None


def make_lens(rng: np.random.Generator, dark: bool, jpeg: bool) -> Lens:
    """A camera at random; night asks for longer exposures and gives more noise."""
    balance = 1 + np.clip(rng.normal(0, 0.08, 3), -0.2, 0.2)
    hazy, sharpened = rng.random() < 0.1, rng.random() < 0.4
    return Lens(
        exposure_s=float(rng.uniform(0.002, 0.01) * (3.0 if dark else 1.0)),
        blur_px=float(rng.uniform(0.1, 0.65)),
        exposure=float(np.exp(rng.uniform(np.log(0.5), np.log(1.3)))),
        balance=(float(balance[0]), float(balance[1]), float(balance[2])),
        saturation=float(rng.uniform(0.5, 1.3)),
        contrast=float(rng.uniform(0.75, 1.35)),
        gamma=float(np.exp(np.clip(rng.normal(0, 0.1), -0.2, 0.2))),
        noise=float(rng.uniform(0.5, 1.5) * (3.0 if dark else 1.0)),
        vignette=float(rng.uniform(0.05, 0.5)),
        veil=float(rng.uniform(0.08, 0.35)) if hazy else float(rng.uniform(0.0, 0.03)),
        flare=float(rng.uniform(0.02, 0.3)),
        halo=float(rng.uniform(0.0, 0.8)) if sharpened else 0.0,
        halo_px=float(rng.uniform(0.8, 2.4)),
        dirt_seed=int(rng.integers(1 << 31)) if rng.random() < 0.08 else None,
        jpeg_quality=int(rng.integers(35, 97)) if jpeg and rng.random() < 0.7 else None,
    )


def sun_before(world_T_cam: Float[np.ndarray, "4 4"], light: Light) -> float:
    """How far a clear sun stands before a camera: 1 in its middle, 0 beyond 60 degrees from it."""
    if light.mood not in GLARING:
        return 0.0
    return float(np.clip(2 * (world_T_cam[:3, 2] @ light.sun_direction) - 1, 0, 1) ** 2)


@kernel
def motion_blur(rgb, flow_px_per_s, exposure_s, out):
    """Motion blur: each pixel is the mean along its image motion during the exposure."""
    h, w = rgb.shape[:2]
    for y in range(h):
        for x in range(w):
            dx, dy = flow_px_per_s[y, x, 0] * exposure_s, flow_px_per_s[y, x, 1] * exposure_s
            length = (dx * dx + dy * dy) ** 0.5
            taps = min(max(int(length * 1.5), 1), 15)
            if taps == 1:
                for c in range(3):
                    out[y, x, c] = rgb[y, x, c]
                continue
            for c in range(3):
                out[y, x, c] = 0.0
            for k in range(taps):
                t = (k + 0.5) / taps - 0.5
                i = min(max(int(round(y + t * dy)), 0), h - 1)
                j = min(max(int(round(x + t * dx)), 0), w - 1)
                for c in range(3):
                    out[y, x, c] += rgb[i, j, c] / taps


@kernel
def expose(light, gain, vignette, haze):
    """Scale light in place, the less the farther from the image's middle, and add haze to it."""
    h, w = light.shape[:2]
    for y in range(h):
        for x in range(w):
            v, u = 2 * y / (h - 1) - 1, 2 * x / (w - 1) - 1
            fall = np.float32(1 / (1 + vignette * (u * u + v * v)))
            for c in range(3):
                light[y, x, c] = gain[c] * (fall * light[y, x, c] + haze)


@kernel
def film_response(light, grain, noise, saturation, tones, image):
    """Exposed light with noise (`grain` is normal) through film's response to bytes.

    `tones` are the bytes of squares, evenly from 0 to 1: of the roots of the film's values.
    """
    film = np.zeros(3, np.float32)
    last, third = np.float32(len(tones) - 1), np.float32(1 / 3)
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    a, b, c1 = np.float32(2.51), np.float32(0.03), np.float32(2.43)
    d, e = np.float32(0.59), np.float32(0.14)
    slope, floor = np.float32(3e-4), np.float32(4e-5)
    h, w = light.shape[:2]
    for y in range(h):
        for x in range(w):
            grey = zero
            for c in range(3):
                value = max(light[y, x, c], zero)
                value += grain[y, x, c] * math.sqrt(value * slope + floor) * noise
                value = max(value, zero)
                film[c] = value * (a * value + b) / (value * (c1 * value + d) + e)
                grey += film[c] * third
            for c in range(3):
                value = min(max(grey + saturation * (film[c] - grey), zero), one)
                image[y, x, c] = tones[int(math.sqrt(value) * last + half)]


@lru_cache(maxsize=2)
def _grain(size: int) -> Float32[np.ndarray, "n"]:
    """Normal noise, from which every image takes a stretch of `size` at another place."""
    return np.random.default_rng(0).standard_normal(2 * size, np.float32)


def _tones(contrast: float, gamma: float) -> UInt8[np.ndarray, "4096"]:
    """Bytes of the squares of 0..1, after gamma (beside 1 / 2.2) and contrast."""
    film = np.linspace(0, 1, 4096) ** (2 * gamma / 2.2)
    return (np.clip((film - 0.45) * contrast + 0.45, 0, 1) * 255 + 0.5).astype(np.uint8)


def camera_response(
    rgb: Float[np.ndarray, "h w 3"],
    flow_px_per_s: Float[np.ndarray, "h w 2"],
    lens: Lens,
    rng: np.random.Generator,
    sun: float = 0.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """The 8-bit image of linear radiance under image motion `flow_px_per_s`.

    `sun` (0..1) is the sun's closeness to the optical axis (sun_before).
    """
    h, w, _ = rgb.shape
    light = np.empty(rgb.shape, np.float32)
    motion_blur(rgb, flow_px_per_s, lens.exposure_s, light)
    scale = w / 392
    light = cv2.GaussianBlur(light, (0, 0), max(lens.blur_px * scale, 0.2))
    bright = np.maximum(light - 2.0, 0.0)
    if bright.any():
        light += 0.12 * cv2.GaussianBlur(bright, (0, 0), 5 * scale)
    bright = float(np.percentile(light[::3, ::3].mean(-1), 70))
    haze = (lens.veil + lens.flare * sun) * bright
    gain = np.array(lens.balance, np.float32) * (0.36 / (bright + haze + DARKEST) * lens.exposure)
    expose(light, gain.astype(np.float32), np.float32(lens.vignette), np.float32(haze))
    if lens.dirt_seed is not None:
        light = lens_dirt(light, lens.dirt_seed)
    image = np.empty(light.shape, np.uint8)
    grain = _grain(light.size)[int(rng.integers(light.size)) :][: light.size].reshape(light.shape)
    noise, saturation = np.float32(lens.noise), np.float32(lens.saturation)
    film_response(light, grain, noise, saturation, _tones(lens.contrast, lens.gamma), image)
    if lens.halo:
        soft = cv2.GaussianBlur(image, (0, 0), max(lens.halo_px * scale, 0.4))
        image = cv2.addWeighted(image, 1 + lens.halo, soft, -lens.halo, 0)
    if lens.jpeg_quality is None:
        return np.asarray(image, np.uint8)
    packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, lens.jpeg_quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


def lens_dirt(light: np.ndarray, seed: int) -> np.ndarray:
    """Blurred spots on the lens that darken and grey what is behind them; they stay in place."""
    rng = np.random.default_rng(seed)
    h, w, _ = light.shape
    veil = np.zeros((h, w), np.float32)
    for _ in range(int(rng.integers(2, 9))):
        centre = (int(rng.uniform(0, w)), int(rng.uniform(0, h)))
        cv2.circle(
            veil, centre, int(rng.uniform(0.01, 0.06) * w) + 1, (float(rng.uniform(0.2, 0.7)),), -1
        )
    veil = cv2.GaussianBlur(veil, (0, 0), 0.012 * w + 0.5)[..., None]
    return light * (1 - veil) + veil * 0.5 * light.mean()
