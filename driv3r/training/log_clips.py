"""Clips of recorded logs: images at the working size, depth where LiDAR points fall.

reader = open_dataset("pandaset", Path("/data/pandaset"))
clips = read_log_clips(reader.read("002"), LogClipConfig(), torch.device("cpu"))
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8

from driv3r.datasets.preprocess import WorkRig, prepare_images, prepare_rig, prepare_shutters
from driv3r.errors import ConfigError
from driv3r.evaluation.metrics.lidar_projection import ViewTruth, project_sweep
from driv3r.evaluation.metrics.motion import label_motion
from driv3r.evaluation.metrics.protocol import DepthProtocol
from driv3r.geometry.transforms import apply
from driv3r.training.clip_pool import MOTION_VALID, MOVING, VALID, RawClip, ego_rates
from driv3r.types import Boxes, Camera, Frame, Scene, Transform, View

NO_DEPTH_M = 1.0  # of pixels that are not VALID: 0 would be sky


@dataclass(frozen=True)
class LogClipConfig:
    """How a log is cut into clips of `frames` frames, one starting every `stride` frames.

    `size_hw` is the working size, `min_m` to `max_m` the depths that are taken, `moments` the
    half-open range of the log's frame numbers to use, None for all. Without `lidar` clips have no
    depth, and logs need no LiDAR. Raises ConfigError where a value is out of range.
    """

    size_hw: tuple[int, int] = (256, 448)
    frames: int = 4
    stride: int = 2
    min_m: float = 0.5
    max_m: float = 80.0
    moments: tuple[int, int] | None = None
    lidar: bool = True

    def __post_init__(self):
        if min(self.size_hw) < 1:
            raise ConfigError(
                f"size_hw is {self.size_hw}; expected a height and width of 1 or more"
            )
        if self.frames < 2:
            raise ConfigError(f"frames is {self.frames}; expected 2 at least: motion needs two")
        if not 1 <= self.stride <= self.frames:
            raise ConfigError(
                f"stride is {self.stride}; expected 1 to frames, {self.frames}: a longer one would "
                "leave frames out"
            )
        if not 0 < self.min_m < self.max_m <= float(np.finfo(np.float16).max):
            raise ConfigError(
                f"depths of {self.min_m} to {self.max_m} m; expected 0 < min_m < max_m <= 65504"
            )
        if self.moments is not None and not 0 <= self.moments[0] < self.moments[1]:
            raise ConfigError(f"moments is {self.moments}; expected (first, end), 0 <= first < end")


@dataclass(frozen=True, eq=False)
class _Part:
    """One frame as a clip holds it."""

    images: UInt8[np.ndarray, "v 3 h w"]
    depth_m: Float[np.ndarray, "v h w"]
    labels: UInt8[np.ndarray, "v h w"]
    world_T_ego: Transform
    time_us: int


def read_log_clips(scene: Scene, config: LogClipConfig, device: torch.device) -> Iterator[RawClip]:
    """The clips of a log in order; each frame's files are read once. The last clip may overlap.

    Images are cropped and resized as `process` does; a missing one is black and has no labels.
    Depth is z (m) in each camera at its own time and pose, of the sweep's points that it can see,
    each in the pixel that holds it, the nearest where several fall into one. MOTION_VALID needs
    the scene's boxes. A log of fewer than `config.frames` frames is one shorter clip; a clip
    without any depth is left out, if clips have depth. Whether nuScenes' frames between keyframes
    are used is up to the reader.

    Raises ConfigError at once where there are fewer than 2 frames to use, no poses, no LiDAR that
    is wanted, or an assumed camera, and after the last frame where none had a depth.
    """
    _check_calibrated(scene)
    _check_sensors(scene, config)
    moments = _choose_moments(scene, config)
    work = prepare_rig(scene.rig, config.size_hw)
    protocol = DepthProtocol("training", config.min_m, config.max_m)

    def read(index: int) -> _Part:
        annotated = None if scene.boxes is None else scene.boxes(index)
        frame = scene.frames[index]
        frame = frame if config.lidar else replace(frame, sweep=None)
        return _read_part(frame, work, protocol, annotated)

    return _cut_clips(scene.id, work, config, moments, read, device)


def clip_starts(moments: range, config: LogClipConfig) -> list[int]:
    """Where clips start so that every moment is in one."""
    last = max(moments.stop - config.frames, moments.start)
    return sorted({*range(moments.start, last, config.stride), last})


def write_points(
    uv: Float[np.ndarray, "n 2"],
    depth_m: Float[np.ndarray, "n"],
    labels: UInt8[np.ndarray, "n"],
    size_hw: tuple[int, int],
) -> tuple[Float[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    """Depth (m) and labels of the pixels that hold a point; of several points the nearest.

    Other pixels have label 0. Raises IndexError on a point outside the image.
    """
    depth_image_m = np.full(size_hw, NO_DEPTH_M, np.float32)
    label_image = np.zeros(size_hw, np.uint8)
    order = np.argsort(-depth_m, kind="stable")  # what is written last stays
    column, row = np.floor(uv[order]).astype(int).T
    depth_image_m[row, column] = depth_m[order]
    label_image[row, column] = labels[order]
    return depth_image_m, label_image


def label_points(
    points_world: Float[np.ndarray, "n 3"], boxes: Boxes | None
) -> UInt8[np.ndarray, "n"]:
    """The labels of LiDAR points: VALID, and what the boxes tell of their motion.

    A point in a moving box is MOVING; one in a box of unknown speed is not MOTION_VALID; all
    others stand. Without boxes no motion is known.
    """
    labels = np.full(len(points_world), VALID, np.uint8)
    if boxes is None:
        return labels
    moves, known = label_motion(points_world, boxes)
    labels[known] |= MOTION_VALID
    labels[moves] |= MOVING
    return labels


def _check_sensors(scene: Scene, config: LogClipConfig) -> None:
    if config.lidar and scene.rig.ego_T_lidar is None:
        raise ConfigError(
            f"log {scene.id} has no LiDAR, and its depth was to be learned from: learn from its "
            "images (driv3r adapt --supervision images), or choose logs with LiDAR"
        )
    if not scene.poses_known:
        raise ConfigError(
            f"log {scene.id} has no poses; training on logs takes the car's motion from them: add "
            "a file of poses, or choose logs with poses"
        )


def _check_calibrated(scene: Scene) -> None:
    if not scene.calibrated:
        raise ConfigError(
            f"log {scene.id} is up to scale: not all of its cameras is known; training on logs "
            "takes its metres from them: give the whole calibration, or choose other logs"
        )


def _choose_moments(scene: Scene, config: LogClipConfig) -> range:
    count = len(scene.frames)
    moments = range(count)[slice(*(config.moments or (0, count)))]
    if len(moments) < 2:
        chosen = "all" if config.moments is None else f"moments {config.moments}"
        raise ConfigError(
            f"log {scene.id} has {count} frames, of which {chosen} are {len(moments)}; expected 2 "
            "at least: give a wider range of moments, or another log"
        )
    return moments


def _cut_clips(
    log_id: str,
    work: WorkRig,
    config: LogClipConfig,
    moments: range,
    read: Callable[[int], _Part],
    device: torch.device,
) -> Iterator[RawClip]:
    held: dict[int, _Part] = {}
    found = False
    for start in clip_starts(moments, config):
        run = range(start, min(start + config.frames, moments.stop))
        held = {i: held[i] if i in held else read(i) for i in run}
        if not config.lidar or any(part.labels.any() for part in held.values()):
            found = True
            yield _join(list(held.values()), work, device)
    if not found:
        raise ConfigError(
            f"log {log_id}: no frame of {moments.start} to {moments.stop - 1} has a LiDAR point "
            f"of {config.min_m:g} to {config.max_m:g} m in an image; the reader's repairs tell "
            "what is missing or broken: fetch it again, or give other moments"
        )


def _join(parts: Sequence[_Part], work: WorkRig, device: torch.device) -> RawClip:
    cameras = work.rig.cameras
    time_us = np.array([part.time_us for part in parts], np.int64)
    world_T_ego = np.stack([part.world_T_ego for part in parts])
    arrays = {
        "images": np.stack([part.images for part in parts]),
        "depth_m": np.stack([part.depth_m for part in parts]).astype(np.float16),
        "labels": np.stack([part.labels for part in parts]),
        "K": np.stack([camera.K for camera in cameras]).astype(np.float32),
        "ego_T_cam": np.stack([camera.ego_T_cam for camera in cameras]).astype(np.float32),
        "ego_rate": ego_rates(world_T_ego, time_us).astype(np.float32),
        "time_s": ((time_us - time_us[0]) * 1e-6).astype(np.float32),
    }
    return RawClip(**{f.name: torch.from_numpy(arrays[f.name]).to(device) for f in fields(RawClip)})


def _read_part(frame: Frame, work: WorkRig, protocol: DepthProtocol, boxes: Boxes | None) -> _Part:
    cameras = work.rig.cameras
    h, w = cameras[0].size_hw
    images = np.zeros((len(cameras), 3, h, w), np.uint8)
    depth_m = np.full((len(cameras), h, w), NO_DEPTH_M, np.float32)
    labels = np.zeros((len(cameras), h, w), np.uint8)
    fitted, shutters = prepare_images(frame, work), prepare_shutters(frame, work)
    for i, (camera, view) in enumerate(zip(cameras, frame.views, strict=True)):
        image = fitted[i]
        if view is None or image is None:
            continue
        images[i] = np.moveaxis(image, -1, 0)
        if frame.sweep is not None:
            truth = project_sweep(frame.sweep, camera, view.world_T_cam, protocol, shutters[i])
            depth_m[i], labels[i] = _write_truth(truth, camera, view, boxes)
    return _Part(images, depth_m, labels, frame.world_T_ego, frame.time_us)


def _write_truth(
    truth: ViewTruth, camera: Camera, view: View, boxes: Boxes | None
) -> tuple[Float[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    # Exact without a lens: the points where the sweep has them, whatever the camera's time.
    labels = label_points(apply(view.world_T_cam, truth.lift(camera)), boxes)
    return write_points(truth.uv, truth.depth_m, labels, camera.size_hw)
