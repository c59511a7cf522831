"""Library interface of a loaded system: full-size images to predictions with their cameras."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from driv3r.config import build_config
from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.errors import ConfigError
from driv3r.inference.refinement import FrameRefiner
from driv3r.inference.registry import System, load_system, resolve_model
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.settings import Settings
from driv3r.types import Camera, Frame, Prediction, Rig, View

Image = np.ndarray | torch.Tensor  # [h w 3] uint8, or of torch also [3 h w], uint8 or 0..1
Images = Sequence[Image | None]
NOT_OF_MODELS = {"dataset": "images", "root": Path()}


class Model:
    """A network with its weights, refinement and metric scale."""

    def __init__(self, settings: Settings, system: System):
        self.settings, self.system = settings, system

    @property
    def size_hw(self) -> tuple[int, int]:
        """The size that images are cropped and resized to; that of predictions."""
        return self.system.size_hw

    def stream(self, rig: Rig, frames: Iterable[tuple[int, Images]]) -> Iterator[Prediction]:
        """Predict a log's surround frames in order, with memory of earlier ones.

        Each frame is its time in microseconds and its images in the rig's order, None for a camera
        without an image. Images have their cameras' full size; they are cropped and resized, and
        `Prediction.cameras` are the cameras of the maps. ConfigError for images that do not fit the
        rig, and times that do not increase.
        """
        work = prepare_rig(rig, self.size_hw)
        predictor = self.system.stream(work.rig, self.settings)
        refiner = FrameRefiner(work, self.settings.refine, self.settings.ego_poses)
        last_us: int | None = None
        for time_us, images in frames:
            if last_us is not None and time_us <= last_us:
                raise ConfigError(f"a frame at {time_us} us follows one at {last_us} us: sort them")
            dt_s = 0.0 if last_us is None else (time_us - last_us) * 1e-6
            frame, last_us = make_frame(rig, time_us, images), time_us
            fitted = prepare_images(frame, work)
            prediction = predictor.step(StreamFrame(fitted, dt_s))
            yield refiner.refine(refiner.prepare(frame, fitted), prediction, dt_s, None)[0]

    def infer(self, images: Images, rig: Rig) -> Prediction:
        """Predict a single surround frame without history; it has no ego motion."""
        return next(self.stream(rig, [(0, images)]))


def load_model(name: str = "driv3r-s", weights: str | Path | None = None, **options: Any) -> Model:
    """A system of `driv3r models` with its weights, ours or a published one's.

    `weights` may be left out where they are shipped. `options` are fields of Settings: device,
    precision, aligner, second_weights, flow, calibration, refine, threads. ConfigError for what can
    not be, CheckpointError where weights do not fit.
    """
    plain = {"model": name, "weights": weights} | options | NOT_OF_MODELS
    settings = resolve_model(build_config(plain, Settings, "load_model"))
    return Model(settings, load_system(settings))


def make_frame(rig: Rig, time_us: int, images: Images) -> Frame:
    """Images as a frame of a log without poses."""
    if len(images) != len(rig.cameras):
        raise ConfigError(
            f"{len(images)} images for a rig of {len(rig.cameras)} cameras; give one each, in the "
            "rig's order, None for a camera without an image"
        )
    views = tuple(
        None if image is None else View(to_pixels(image, camera), time_us, camera.ego_T_cam)
        for image, camera in zip(images, rig.cameras, strict=True)
    )
    return Frame(time_us, np.eye(4), views)


def to_pixels(image: Image, camera: Camera) -> UInt8[np.ndarray, "h w 3"]:
    """An image of numpy or torch as RGB bytes; ConfigError unless it is its camera's size."""
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu()
        if image.ndim == 3 and image.shape[-1] != 3:
            image = image.movedim(0, -1)
        if image.is_floating_point():
            image = (image * 255).round().clamp(0, 255).byte()
        image = image.numpy()
    if image.dtype != np.uint8 or image.shape != (*camera.size_hw, 3):
        raise ConfigError(
            f"camera {camera.name} has an image of {image.dtype} {image.shape}; expected uint8 "
            f"{(*camera.size_hw, 3)} (h, w, RGB), the size that its K belongs to"
        )
    return image
