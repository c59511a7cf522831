"""Training clips: short surround logs with exact truth, one .npz a seed, rendered on demand.

Clips lie in a folder for each recipe and each state of the world's code: no other's are ever read.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from filelock import FileLock
from jaxtyping import Bool, Float, Int, UInt8

from driv3r.errors import ConfigError, DatasetError
from driv3r.settings import fingerprint
from driv3r.simulator.identity import hash_world
from driv3r.simulator.rendering.renderer import Renderer, ViewTruth
from driv3r.simulator.scene.camera_rig import make_rig, trigger_offset_us
from driv3r.simulator.scene.world import make_world
from driv3r.types import Camera, Rig

FIRST_TRAIN_SEED = 1_000_000  # evaluated worlds are made from seeds below it
NOT_OF_CLIPS = (
    *(f"export/{name}.py" for name in ("conversion", "marker", "preview")),
    *(f"export/nuscenes_{name}.py" for name in ("tables", "writer")),
    "export/layouts",
)


@dataclass(frozen=True)
class ClipConfig:
    """How clips are rendered. `step_s` is drawn per clip from the given spacings.

    Cameras have up to `finest` times the resolution of the clip, drawn per clip; their images are
    shrunk as `process` shrinks real ones.
    """

    size_hw: tuple[int, int] = (128, 224)
    frames: int = 6
    steps_s: tuple[float, ...] = (1 / 12, 0.25, 0.5, 0.5, 0.5)
    plain_rig_share: float = 0.4
    finest: float = 1.0

    def __post_init__(self):
        if not 1.0 <= self.finest <= 8.0:
            raise ConfigError(f"finest is {self.finest}; expected 1 to 8 times the clip's size")


@dataclass(frozen=True, eq=False)
class Clip:
    """One rendered log. Depth 0 is sky. `world_T_cam` is at each camera's own time."""

    images: UInt8[np.ndarray, "t v h w 3"]
    depth_m: Float[np.ndarray, "t v h w"]
    moving: Bool[np.ndarray, "t v h w"]
    K: Float[np.ndarray, "v 3 3"]
    ego_T_cam: Float[np.ndarray, "v 4 4"]
    world_T_ego: Float[np.ndarray, "t 4 4"]
    world_T_cam: Float[np.ndarray, "t v 4 4"]
    time_us: Int[np.ndarray, "t"]

    @property
    def cameras(self) -> list[Camera]:
        """The rig's cameras, without names."""
        size_hw = (self.depth_m.shape[-2], self.depth_m.shape[-1])
        pairs = zip(self.K, self.ego_T_cam, strict=True)
        return [Camera("", K, size_hw, ego_T_cam) for K, ego_T_cam in pairs]


def render_clip(seed: int, recipe: ClipConfig) -> Clip:
    """The clip of a training seed (ConfigError for a seed kept for evaluation)."""
    if seed < FIRST_TRAIN_SEED:
        raise ConfigError(
            f"seed {seed} belongs to the evaluated worlds; training seeds start at "
            f"{FIRST_TRAIN_SEED}"
        )
    rng = np.random.default_rng([seed, 11])
    step_s = float(rng.choice(recipe.steps_s))
    times_s = 0.1 + np.arange(recipe.frames) * step_s
    plain = rng.random() < recipe.plain_rig_share
    finer = np.random.default_rng([seed, 12]).uniform(1.0, recipe.finest)
    size_hw = (round(recipe.size_hw[0] * finer), round(recipe.size_hw[1] * finer))
    rig = make_rig(size_hw, None if plain else rng)
    world = make_world(seed, float(times_s[-1]) + 0.5)
    renderer = Renderer(world, jpeg=True)
    frames = [render_frame(renderer, rig, float(time_s)) for time_s in times_s]
    views = [[shrink(view, recipe.size_hw) for view, _ in frame] for frame in frames]
    smaller = np.diag([recipe.size_hw[1] / size_hw[1], recipe.size_hw[0] / size_hw[0], 1.0])
    return Clip(
        images=np.stack([[image for image, _, _ in row] for row in views]),
        depth_m=np.stack([[depth_m for _, depth_m, _ in row] for row in views]),
        moving=np.stack([[moving for _, _, moving in row] for row in views]),
        K=np.stack([smaller @ camera.K for camera in rig.cameras]),
        ego_T_cam=np.stack([c.ego_T_cam for c in rig.cameras]),
        world_T_ego=np.stack([world.ego.world_T_ego(float(t)) for t in times_s]),
        world_T_cam=np.stack([[T for _, T in frame] for frame in frames]),
        time_us=np.round(times_s * 1e6).astype(np.int64),
    )


def shrink(
    view: ViewTruth, size_hw: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Image (area means), depth and motion (at pixels' centres) at another size."""
    rows, columns = view.depth_m.shape
    if (rows, columns) == size_hw:
        return view.image, view.depth_m, view.moving
    image = cv2.resize(view.image, size_hw[::-1], interpolation=cv2.INTER_AREA)
    y = ((np.arange(size_hw[0]) + 0.5) * rows / size_hw[0]).astype(int)
    x = ((np.arange(size_hw[1]) + 0.5) * columns / size_hw[1]).astype(int)
    at = np.ix_(y, x)
    return np.asarray(image, np.uint8), view.depth_m[at], view.moving[at]


def render_frame(
    renderer: Renderer, rig: Rig, time_s: float
) -> list[tuple[ViewTruth, Float[np.ndarray, "4 4"]]]:
    """All cameras of a surround frame, each at its own trigger time, with its world_T_cam."""
    out = []
    for look, camera in enumerate(rig.cameras):
        at_s = time_s + trigger_offset_us(camera) * 1e-6
        world_T_cam = renderer.world.ego.world_T_ego(at_s) @ camera.ego_T_cam
        out.append((renderer.render_view(camera, at_s, look), world_T_cam))
    return out


def write_clip(clip: Clip, path: Path) -> None:
    """Save a clip so that a kill leaves no half file (depth as float16, masks as bits)."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        images=clip.images,
        depth_m=clip.depth_m.astype(np.float16),
        moving=np.packbits(clip.moving),
        K=clip.K,
        ego_T_cam=clip.ego_T_cam,
        world_T_ego=clip.world_T_ego,
        world_T_cam=clip.world_T_cam,
        time_us=clip.time_us,
    )
    partial = path.with_suffix(f".{os.getpid()}.partial")
    partial.write_bytes(buffer.getvalue())
    partial.replace(path)


def read_clip(path: Path) -> Clip:
    """Load a clip; DatasetError when the file is not one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        shape = arrays["depth_m"].shape
        arrays["moving"] = np.unpackbits(arrays["moving"], count=int(np.prod(shape))).astype(bool)
        arrays["moving"] = arrays["moving"].reshape(shape)
        arrays["depth_m"] = arrays["depth_m"].astype(np.float32)
        return Clip(**arrays)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{path} is not a training clip ({error}); delete it to render it again"
        ) from error


def clip_folder(folder: Path, recipe: ClipConfig) -> Path:
    """Where below `folder` the clips of a recipe are kept, as today's code renders them."""
    return folder / fingerprint([fingerprint(recipe), hash_world(NOT_OF_CLIPS)])[:16]


def clip_path(folder: Path, seed: int, recipe: ClipConfig) -> Path:
    """Where below `folder` the clip of a seed is kept."""
    return clip_folder(folder, recipe) / f"{seed}.npz"


def ensure_clip(folder: Path, seed: int, recipe: ClipConfig) -> Path:
    """Render the clip of a seed unless it is there.

    Of several processes that ask for it one renders, and the others wait.
    """
    path = clip_path(folder, seed, recipe)
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with FileLock(lock):
        if not path.exists():
            write_clip(render_clip(seed, recipe), path)
        lock.unlink(missing_ok=True)  # whoever still waits for it finds the clip
    return path
