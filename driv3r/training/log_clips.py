"""Clips of recorded logs: images at the working size, depth where LiDAR points fall.

reader = open_dataset("pandaset", Path("/data/pandaset"))
scene = reader.read("002")
clips = read_log_clips(scene, LogClipConfig(), torch.device("cpu"), find_boxes(reader, scene))
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial

import numpy as np
import torch
from jaxtyping import Float, UInt8

from driv3r.datasets.pandaset import Cuboids, PandaSetReader
from driv3r.datasets.preprocess import WorkRig, prepare_images, prepare_rig
from driv3r.datasets.reader import Reader
from driv3r.errors import ConfigError
from driv3r.evaluation.metrics.lidar_projection import project_sweep
from driv3r.evaluation.metrics.protocol import DepthProtocol
from driv3r.geometry.cameras import unproject
from driv3r.geometry.transforms import apply, from_rotvec, invert
from driv3r.training.clip_pool import MOTION_VALID, MOVING, VALID, RawClip, ego_rates
from driv3r.types import Camera, Frame, Scene, Sweep, Transform, View

MOVES_MPS, STANDS_MPS = 0.5, 0.2  # faster moves, slower stands, between them nobody knows
BOX_MARGIN_M = 0.1  # annotators draw tight; a box is of one time, a sweep of a tenth second
NO_DEPTH_M = 1.0  # of pixels that are not VALID: 0 would be sky


@dataclass(frozen=True)
class LogClipConfig:
    """How a log is cut into clips of `frames` frames, one starting every `stride` frames.

    `size_hw` is the working size, `min_m` to `max_m` the depths that are taken, `moments` the
    half-open range of the log's frame numbers to use, None for all. Raises ConfigError where a
    value is out of range.
    """

    size_hw: tuple[int, int] = (256, 448)
    frames: int = 4
    stride: int = 2
    min_m: float = 0.5
    max_m: float = 80.0
    moments: tuple[int, int] | None = None

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
        if not 0 < self.min_m < self.max_m <= np.finfo(np.float16).max:
            raise ConfigError(
                f"depths of {self.min_m} to {self.max_m} m; expected 0 < min_m < max_m <= 65504"
            )
        if self.moments is not None and not 0 <= self.moments[0] < self.moments[1]:
            raise ConfigError(f"moments is {self.moments}; expected (first, end), 0 <= first < end")


@dataclass(frozen=True, eq=False)
class Boxes:
    """The n annotated boxes of one frame, at the time of its sweep.

    `size_m` is along the box's own x, y and z, its centre at the origin; `speed_mps` over the
    ground, NaN where nobody knows.
    """

    world_T_box: Float[np.ndarray, "n 4 4"]
    size_m: Float[np.ndarray, "n 3"]
    speed_mps: Float[np.ndarray, "n"]


BoxesOf = Callable[[int], Boxes | None]  # of a log's frame number; None where it is not annotated


@dataclass(frozen=True, eq=False)
class _Part:
    """One frame as a clip holds it."""

    images: UInt8[np.ndarray, "v 3 h w"]
    depth_m: Float[np.ndarray, "v h w"]
    labels: UInt8[np.ndarray, "v h w"]
    world_T_ego: Transform
    time_us: int


def read_log_clips(
    scene: Scene, config: LogClipConfig, device: torch.device, boxes: BoxesOf | None = None
) -> Iterator[RawClip]:
    """The clips of a log in order; each frame's files are read once. The last clip may overlap.

    Images are cropped and resized as `process` does; a missing one is black and has no labels.
    Depth is z (m) in each camera at its own time and pose, of the sweep's points that it can see,
    each in the pixel that holds it, the nearest where several fall into one. MOTION_VALID needs
    `boxes`. A log of fewer than `config.frames` frames is one shorter clip; a clip without any
    depth is left out. Whether nuScenes' frames between keyframes are used is up to the reader.

    Raises ConfigError at once where there are fewer than 2 frames to use, no LiDAR, or a camera
    that is no pinhole, and after the last frame where none had a depth.
    """
    _check_sensors(scene)
    moments = _choose_moments(scene, config)
    work = prepare_rig(scene.rig, config.size_hw)
    protocol = DepthProtocol("training", config.min_m, config.max_m)

    def read(index: int) -> _Part:
        annotated = None if boxes is None else boxes(index)
        return _read_part(scene.frames[index], work, protocol, annotated)

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
    labels |= MOTION_VALID
    moving = boxes.speed_mps > MOVES_MPS
    unknown = ~moving & ~(boxes.speed_mps < STANDS_MPS)  # NaN is unknown
    for kind, label in ((unknown, VALID), (moving, VALID | MOVING | MOTION_VALID)):
        for i in np.flatnonzero(kind):
            points_box = apply(invert(boxes.world_T_box[i]), points_world)
            half_m = boxes.size_m[i] / 2 + BOX_MARGIN_M
            labels[(np.abs(points_box) <= half_m).all(-1)] = label
    return labels


def find_boxes(reader: Reader, scene: Scene) -> BoxesOf | None:
    """The boxes of a reader's scene, where it is one that offers them (PandaSet), else None."""
    return pandaset_boxes(reader, scene) if isinstance(reader, PandaSetReader) else None


def pandaset_boxes(reader: PandaSetReader, scene: Scene) -> BoxesOf:
    """Boxes of a PandaSet sequence by frame number, speeds from the neighbouring frames' boxes.

    Calling it raises DatasetError where a moment's or its neighbours' cuboids are missing or
    broken.
    """
    read = lru_cache(maxsize=3)(partial(reader.read_cuboids, scene.id))

    def boxes(index: int) -> Boxes:
        cuboids = read(index)
        moments = range(max(index - 1, 0), min(index + 2, len(scene.time_us)))
        speed_mps = _measure_speeds(
            cuboids, [read(i) for i in moments], scene.time_us[list(moments)]
        )
        turn_rad = np.zeros_like(cuboids.center_world)
        turn_rad[:, 2] = cuboids.yaw_rad
        return Boxes(from_rotvec(turn_rad, cuboids.center_world), cuboids.size_m, speed_mps)

    return boxes


def _measure_speeds(
    cuboids: Cuboids, run: Sequence[Cuboids], time_us: np.ndarray
) -> Float[np.ndarray, "n"]:
    """Of each object the way between its first and last centre in a run of moments, over the time.

    0 for what is said never to move, NaN for what is in one moment only.
    """
    places: dict[str, list[tuple[int, np.ndarray]]] = {}
    for at_us, moment in zip(time_us.tolist(), run, strict=True):
        for uuid, center_world in zip(moment.uuid, moment.center_world, strict=True):
            places.setdefault(uuid, []).append((at_us, center_world))
    speed_mps = np.full(len(cuboids.uuid), np.nan)
    for i, uuid in enumerate(cuboids.uuid):
        (first_us, start), (last_us, end) = places[uuid][0], places[uuid][-1]
        if last_us > first_us:
            speed_mps[i] = np.linalg.norm(end - start) / ((last_us - first_us) * 1e-6)
    return np.where(cuboids.is_stationary, 0.0, speed_mps)


def _check_sensors(scene: Scene) -> None:
    if scene.rig.ego_T_lidar is None:
        raise ConfigError(
            f"log {scene.id} has no LiDAR; training on logs takes its depth from one: choose logs "
            "with LiDAR, or train on generated worlds alone"
        )
    bent = [camera.name for camera in scene.rig.cameras if any(camera.distortion)]
    if bent:
        raise ConfigError(
            f"log {scene.id}: the images of {', '.join(bent)} have lens distortion; training takes "
            "pinhole cameras: undistort the images, and give their new K without distortion"
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
        if any(part.labels.any() for part in held.values()):
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
    fitted = prepare_images(frame, work)
    for i, (camera, view) in enumerate(zip(cameras, frame.views, strict=True)):
        image = fitted[i]
        if view is None or image is None:
            continue
        images[i] = np.moveaxis(image, -1, 0)
        if frame.sweep is not None:
            depth_m[i], labels[i] = _see_sweep(frame.sweep, camera, view, protocol, boxes)
    return _Part(images, depth_m, labels, frame.world_T_ego, frame.time_us)


def _see_sweep(
    sweep: Sweep, camera: Camera, view: View, protocol: DepthProtocol, boxes: Boxes | None
) -> tuple[Float[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]]:
    truth = project_sweep(sweep, camera, view.world_T_cam, protocol)
    # Exact without a lens: the points where the sweep has them, whatever the camera's time.
    points_cam = unproject(camera, truth.uv) * truth.depth_m[:, None]
    labels = label_points(apply(view.world_T_cam, points_cam), boxes)
    return write_points(truth.uv, truth.depth_m, labels, camera.size_hw)
