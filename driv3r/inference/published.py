"""Streaming of published systems: their unscaled predictions are made metric by the rig."""

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from driv3r.alignment.motion_segmentation import score_motion
from driv3r.geometry.transforms import from_rotvec, invert, to_rotvec
from driv3r.inference.metric_scale import ScaleEstimator, UnscaledPrediction
from driv3r.inference.optical_flow import Flow
from driv3r.models.driv3r.streaming import StreamFrame
from driv3r.types import Images, Prediction, Rig, Transform

FLOW_THRESHOLD = 0.015  # of the image's width: a difference of flow by which a thing moves
CONFIDENCE_WEIGHT = 0.2  # alpha of DUSt3R's loss (Wang et al. 2024, eq. 4)


@runtime_checkable
class ModelAdapter(Protocol):
    """Runs a system over a log, one surround frame after another."""

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> UnscaledPrediction:
        """Predict the next frame; images lie in 0..1."""
        ...

    def save_state(self) -> dict[str, np.ndarray]:
        """The exact state that the next frame needs; empty before the first."""
        ...

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        ...


class FlowMotionSegmenter:
    """Motion segmentation: where optical flow disagrees with depth and camera motion."""

    def __init__(self, rig: Rig, flow: Flow):
        self.rig, self.flow = rig, flow
        self.last: dict[int, UInt8[np.ndarray, "h w 3"]] = {}

    def segment(
        self,
        images: Images,
        depth: Float[np.ndarray, "v h w"],
        last_T_cam: Float[np.ndarray, "v 4 4"],
    ) -> Float[np.ndarray, "v h w"]:
        """Probability of motion from depth and motion in one unit; 0 where it is undetermined."""
        motion = np.zeros(depth.shape)
        for v, (image, camera) in enumerate(zip(images, self.rig.cameras, strict=True)):
            if image is not None and v in self.last and np.isfinite(last_T_cam[v]).all():
                flow_px = self.flow(image, self.last[v]).astype(np.float64)
                off_px = score_motion(camera, depth[v], last_T_cam[v], np.eye(4), flow_px)
                limit_px = FLOW_THRESHOLD * camera.size_hw[1]
                motion[v] = np.nan_to_num(1 / (1 + np.exp(limit_px - off_px)))
        self.last = {v: image for v, image in enumerate(images) if image is not None}
        return motion


class PublishedModelStreamer:
    """A published system behind the interface of our own network's Streamer."""

    def __init__(
        self,
        adapter: ModelAdapter,
        rig: Rig,
        device: torch.device,
        scale_estimator: ScaleEstimator,
        flow: FlowMotionSegmenter,
    ):
        self.adapter, self.rig, self.device = adapter, rig, device
        self.scale_estimator, self.flow = scale_estimator, flow

    @torch.no_grad()
    def step(self, frame: StreamFrame) -> Prediction:
        """Predict one frame in metres."""
        size_hw = self.rig.cameras[0].size_hw
        blank = np.zeros((*size_hw, 3), np.uint8)
        stack = np.stack([blank if image is None else image for image in frame.images])
        images = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).float() / 255
        present = np.array([image is not None for image in frame.images])
        raw = self.adapter.predict(images, present, frame.dt_s)
        metres = self.scale_estimator.update(raw, frame.world_T_cam)
        absent = ~present[:, None, None]
        depth = np.where(absent, np.nan, raw.depth)
        confidence = np.nan_to_num(raw.confidence, nan=1.0)
        sigma = CONFIDENCE_WEIGHT / np.maximum(confidence, 1e-3)
        moves = self.flow.segment(frame.images, depth, raw.last_T_cam)  # in any unit the same
        last_T_cam = raw.last_T_cam.copy()
        last_T_cam[:, :3, 3] *= metres[:, None]
        return Prediction(
            cameras=self.rig.cameras,
            depth_m=(depth * metres[:, None, None]).astype(np.float32),
            sigma=np.where(absent, np.nan, sigma).astype(np.float32),
            motion=np.where(absent, np.nan, moves).astype(np.float32),
            prev_T_curr=median_ego_motion(last_T_cam, self.scale_estimator.ego_T_cam),
            unscaled_views=frozenset(np.flatnonzero(present & ~np.isfinite(metres)).tolist()),
        )

    def save_state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on."""
        parts = (
            ("adapter", self.adapter.save_state()),
            ("scale", self.scale_estimator.save_state()),
        )
        state = {f"{part}.{name}": a for part, arrays in parts for name, a in arrays.items()}
        return state | {f"image.{v}": image for v, image in self.flow.last.items()}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        for part, owner in (("adapter.", self.adapter), ("scale.", self.scale_estimator)):
            owner.load_state(
                {k.removeprefix(part): a for k, a in arrays.items() if k.startswith(part)}
            )
        images = {k.removeprefix("image."): a for k, a in arrays.items() if k.startswith("image.")}
        self.flow.last = {int(v): image for v, image in images.items()}


def median_ego_motion(
    last_T_cam: Float[np.ndarray, "v 4 4"], ego_T_cam: Float[np.ndarray, "v 4 4"]
) -> Transform | None:
    """The ego motion as the median over cameras (in metres); None where no camera has one."""
    known = np.isfinite(last_T_cam).all((-1, -2))
    if not known.any():
        return None
    of_ego = ego_T_cam[known] @ last_T_cam[known] @ invert(ego_T_cam[known])
    return from_rotvec(np.median(to_rotvec(of_ego), axis=0), np.median(of_ego[:, :3, 3], axis=0))
