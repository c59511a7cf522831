"""Training batches from generated clips: deterministic in (seed, step), augmented."""

import itertools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from driv3r.errors import ConfigError
from driv3r.geometry import transforms
from driv3r.network.inputs import Inputs, encode_rays
from driv3r.network.losses import Targets
from driv3r.types import Camera
from driv3r.world.clips import (
    FIRST_TRAIN_SEED,
    Clip,
    ClipRecipe,
    ensure_clip,
    read_clip,
    render_clip,
)


@dataclass(frozen=True)
class DataRecipe:
    """Which clips a step may draw: `start` at first, then `per_step` more each step up to `most`.

    They are numbered from `first` on.

    `shapes` are (clips, frames) of a batch, drawn in turn at random. With `fresh` each step
    renders clips that none before has seen, in memory, and nothing is kept on the disk. `jitter`
    is how wrong the told calibration is: degrees of each camera's turn, and percent of its focal
    length, one sigma. A share `calibration_drop` of clips is told none at all, and of the others
    the same share of cameras.
    """

    clips: ClipRecipe = ClipRecipe()
    first: int = 0
    start: int = 60
    per_step: float = 0.25
    most: int = 420
    shapes: tuple[tuple[int, int], ...] = ((2, 2), (2, 2), (1, 5))
    camera_drop: float = 0.06
    jitter: tuple[float, float] = (0.0, 0.0)
    calibration_drop: float = 0.0
    seed: int = 0
    fresh: bool = False

    def __post_init__(self):
        if self.first < 0 or self.first + self.most > FIRST_TRAIN_SEED:
            raise ConfigError(
                f"clips {self.first} to {self.first + self.most}; expected numbers of 0 to "
                f"{FIRST_TRAIN_SEED}: those after it are what training is judged by"
            )


def clip_cameras(clip: Clip, mirrored: bool) -> list[Camera]:
    """The clip's cameras, or those of its mirror image, left to right, in a mirrored world."""
    size_hw = (clip.depth_m.shape[-2], clip.depth_m.shape[-1])
    pairs = zip(clip.K, clip.ego_T_cam, strict=True)
    if not mirrored:
        return [Camera("", K, size_hw, ego_T_cam) for K, ego_T_cam in pairs]
    left, across = np.diag([1.0, -1, 1, 1]), np.diag([-1.0, 1, 1, 1])
    flip = np.array([[-1.0, 0, size_hw[1]], [0, 1, 0], [0, 0, 1]])
    return [Camera("", flip @ K @ across[:3, :3], size_hw, left @ T @ across) for K, T in pairs]


def ego_rates(world_T_ego: np.ndarray, time_us: np.ndarray) -> np.ndarray:
    """[t, 6] velocity (m/s) and rotation rate (rad/s) since the last frame, 0 on the first."""
    rates = np.zeros((len(time_us), 6))
    last_T_ego = transforms.invert(world_T_ego[:-1]) @ world_T_ego[1:]
    gap_s = np.diff(time_us)[:, None] * 1e-6
    rates[1:, :3] = last_T_ego[:, :3, 3] / gap_s
    rates[1:, 3:] = transforms.to_rotvec(last_T_ego) / gap_s
    return rates


def augment(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Per-view exposure, contrast, colour and noise on [t v h w 3] images in 0..1."""
    v = images.shape[1]
    gain = rng.uniform(0.7, 1.35, (1, v, 1, 1, 1)) * rng.uniform(0.94, 1.06, (1, v, 1, 1, 3))
    gamma = rng.uniform(0.75, 1.35, (1, v, 1, 1, 1))
    grey = images.mean(-1, keepdims=True)
    colour = rng.uniform(0.3, 1.4)
    images = np.clip(grey + colour * (images - grey), 1e-3, 1) ** gamma.astype(np.float32)
    noise = rng.normal(0, rng.uniform(0, 0.03), images.shape).astype(np.float32)
    return np.clip(images * gain.astype(np.float32) + noise, 0, 1)


def choose_views(clip: Clip, views: int, rng: np.random.Generator) -> Clip:
    """The clip as seen by some of its cameras."""
    if views >= clip.K.shape[0]:
        return clip
    kept = np.sort(rng.permutation(clip.K.shape[0])[:views])
    by_frame = {
        k: getattr(clip, k)[:, kept] for k in ("images", "depth_m", "moving", "world_T_cam")
    }
    return replace(clip, **by_frame, K=clip.K[kept], ego_T_cam=clip.ego_T_cam[kept])


def make_example(
    clip: Clip, frames: int, camera_drop: float, rng: np.random.Generator, plain: bool = False
) -> dict[str, np.ndarray]:
    """A run of `frames` (or all that there are) from a clip; `plain` switches augmentation off."""
    frames = min(frames, len(clip.time_us))
    start = 0 if plain else int(rng.integers(len(clip.time_us) - frames + 1))
    run = slice(start, start + frames)
    mirrored = bool(not plain and rng.random() < 0.5)
    images = clip.images[run].astype(np.float32) / 255
    if not plain:
        images = augment(images, rng)
    rates = ego_rates(clip.world_T_ego[run], clip.time_us[run])
    depth_m, moving = clip.depth_m[run], clip.moving[run]
    if mirrored:
        images, depth_m, moving = images[..., ::-1, :], depth_m[..., ::-1], moving[..., ::-1]
        rates = rates * np.array([1, -1, 1, -1, 1, -1])
    cameras = clip_cameras(clip, mirrored)
    present = rng.random(images.shape[:2]) >= (0.0 if plain else camera_drop)
    return {
        "images": np.moveaxis(images, -1, -3).copy(),
        "present": present,
        "rays": np.stack([encode_rays(camera) for camera in cameras]),
        "K": np.stack([camera.K for camera in cameras]),
        "ego_T_cam": np.stack([camera.ego_T_cam for camera in cameras]),
        "calibrated": np.ones(len(cameras), bool),
        "gap_s": np.diff(clip.time_us[run], prepend=clip.time_us[start]) * 1e-6,
        "depth_m": depth_m.copy(),
        "moving": moving.copy(),
        "ego_rate": rates,
        "has_last": np.arange(frames) > 0,
    }


def collate(examples: list[dict[str, np.ndarray]], device: torch.device) -> tuple[Inputs, Targets]:
    """Stack examples into a batch on a device."""
    stacked = {key: torch.from_numpy(np.stack([e[key] for e in examples])) for key in examples[0]}
    moved = {k: (v.float() if v.is_floating_point() else v).to(device) for k, v in stacked.items()}
    seen = ("images", "present", "rays", "K", "ego_T_cam", "gap_s", "calibrated")
    inputs = Inputs(*(moved[k] for k in seen))
    return inputs, Targets(*(moved[k] for k in ("depth_m", "moving", "ego_rate", "has_last")))


def make_batch(step: int, recipe: DataRecipe, folder: Path) -> list[dict[str, np.ndarray]]:
    """The examples of a step; the same for the same seed, whatever ran before."""
    rng = np.random.default_rng([recipe.seed, step])
    count, frames = recipe.shapes[rng.integers(len(recipe.shapes))]
    if recipe.fresh:
        first = FIRST_TRAIN_SEED + recipe.first + step * max(clips for clips, _ in recipe.shapes)
        clips = [render_clip(first + i, recipe.clips) for i in range(count)]
    else:
        pool = min(int(recipe.start + recipe.per_step * step), recipe.most)
        seeds = FIRST_TRAIN_SEED + recipe.first + rng.integers(pool, size=count)
        clips = [read_clip(ensure_clip(folder, int(seed), recipe.clips)) for seed in seeds]
    views = min(clip.K.shape[0] for clip in clips)
    chosen = [misjudge(choose_views(clip, views, rng), recipe.jitter, rng) for clip in clips]
    examples = [make_example(clip, frames, recipe.camera_drop, rng) for clip in chosen]
    hidden = np.random.default_rng([recipe.seed, step, 1])
    return [hide_calibration(example, recipe.calibration_drop, hidden) for example in examples]


def hide_calibration(
    example: dict[str, np.ndarray], share: float, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The example with its rig's calibration untold by a chance `share`, else each camera's."""
    views = len(example["calibrated"])
    untold = np.full(views, rng.random() < share) | (rng.random(views) < share)
    return example | {"calibrated": ~untold}


def misjudge(clip: Clip, jitter: tuple[float, float], rng: np.random.Generator) -> Clip:
    """The clip with a calibration that is a little off; what the cameras saw stays."""
    turn_deg, focal_percent = jitter
    if turn_deg == 0 and focal_percent == 0:
        return clip
    views = len(clip.K)
    turn_rad = np.radians(rng.normal(0, turn_deg, (views, 3)))
    turns = transforms.from_rotvec(turn_rad, np.zeros((views, 3)))
    K = clip.K.copy()
    K[:, [0, 1], [0, 1]] *= np.exp(rng.normal(0, focal_percent / 100, (views, 1)))
    return replace(clip, K=K, ego_T_cam=clip.ego_T_cam @ turns)


def stream_batches(
    first: int,
    recipe: DataRecipe,
    folder: Path,
    device: torch.device,
    helpers: int = 1,
    stride: int = 1,
) -> Iterator[tuple[Inputs, Targets]]:
    """Every `stride`-th batch from number `first` on, prepared ahead.

    In a thread, or rendered by `helpers` processes.
    """
    pool: Executor = ThreadPoolExecutor(1)
    if recipe.fresh:
        spawn = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(max(helpers, 1), mp_context=spawn)
    with pool:
        numbers = itertools.count(first, stride)
        ahead = [pool.submit(make_batch, next(numbers), recipe, folder) for _ in range(3 + helpers)]
        while True:
            yield collate(ahead.pop(0).result(), device)
            ahead.append(pool.submit(make_batch, next(numbers), recipe, folder))


def render_ahead(folder: Path, recipe: DataRecipe) -> None:
    """Fill the pool in seed order: the body of a helper process."""
    for i in range(recipe.most):
        ensure_clip(folder, FIRST_TRAIN_SEED + recipe.first + i, recipe.clips)
