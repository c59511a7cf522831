"""Adapters that run window-based systems over surround frames."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn import functional as F

from driv3r.alignment.pnp import solve_pnp
from driv3r.errors import GeometryError
from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import invert
from driv3r.inference.metric_scale import UnscaledPrediction
from driv3r.models.driv3r.streaming import Streamer, StreamFrame
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.published.geometric_priors import GeometricPrior
from driv3r.models.published.mvdust3r import MvDust3r
from driv3r.models.published.pair_networks import PairNet
from driv3r.models.published.slam3r import ImagesToPoints
from driv3r.types import Camera, Rig

UNKNOWN_POSE = np.full((4, 4), np.nan)


class MonocularPointmaps:
    """Pointmaps of each camera from our own network's depth, at another image size."""

    def __init__(self, streamer: Streamer, rig: Rig):
        self.streamer = streamer
        self.rays_cam = np.stack([rays_of(camera) for camera in rig.cameras])

    @staticmethod
    def shrink_rig(rig: Rig, size_hw: tuple[int, int]) -> Rig:
        """The rig for images resized to `size_hw`, aspect ratio and all."""
        cameras = []
        for camera in rig.cameras:
            K = camera.K.copy()
            K[0] *= size_hw[1] / camera.size_hw[1]
            K[1] *= size_hw[0] / camera.size_hw[0]
            cameras.append(replace(camera, K=K, size_hw=size_hw))
        return Rig(tuple(cameras), rig.ego_T_lidar)

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> Float32[np.ndarray, "v h w 3"]:
        """Points (m) in each camera's frame; zeros for a camera without input."""
        rows, columns = self.streamer.model.config.size_hw
        pixels = (images.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        small = [
            cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) if here else None
            for image, here in zip(pixels, present, strict=True)
        ]
        depth_m = np.nan_to_num(self.streamer.step(StreamFrame(small, dt_s)).depth_m)
        size_wh = (images.shape[-1], images.shape[-2])
        fine = np.stack([cv2.resize(depth, size_wh) for depth in depth_m])
        return (self.rays_cam * fine[..., None]).astype(np.float32)


class SlidingWindowAdapter:
    """Each camera separately: its image and up to `past` earlier ones, newest first.

    Depth is that of the first's points, motion comes by PnP from the second's. A camera's first
    image is paired with itself. Subclasses run their network on a window.
    """

    past = 1

    def __init__(self, rig: Rig, device: torch.device):
        self.rig, self.device = rig, device
        self.windows: list[list[Float[Tensor, "3 h w"]]] = [[] for _ in rig.cameras]

    def predict_window(self, v: int, window: Float[Tensor, "k 3 h w"]) -> PointAnswer:
        """Points and confidence of a camera's window, in the first image's camera."""
        raise NotImplementedError

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> UnscaledPrediction:
        """Predict the next frame."""
        blank = np.full(images.shape[-2:], np.nan)
        views = [(blank, blank, UNKNOWN_POSE)] * len(images)
        for v in np.flatnonzero(present):
            views[v] = self._predict_view(int(v), images[v])
        for v, image in enumerate(images):
            self.windows[v] = [image, *self.windows[v]][: self.past] if present[v] else []
        depth, confidence, last_T_cam = (np.stack(part) for part in zip(*views, strict=True))
        return UnscaledPrediction(depth, confidence, last_T_cam)

    def _predict_view(self, v: int, image: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth, confidence, and the camera's motion since its last image."""
        earlier = self.windows[v]
        answer = self.predict_window(v, 2 * torch.stack([image, *(earlier or [image])]) - 1)
        last_T_cam = UNKNOWN_POSE
        if earlier:
            last_T_cam = last_pose_from_points(
                answer.points[1], answer.confidence[1], self.rig.cameras[v]
            )
        return to_numpy(answer.points[0, ..., 2]), to_numpy(answer.confidence[0]), last_T_cam

    def save_state(self) -> dict[str, np.ndarray]:
        """The last images, exactly."""
        return {
            f"window_{v}": torch.stack(window).cpu().numpy()
            for v, window in enumerate(self.windows)
            if window
        }

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        for v in range(len(self.windows)):
            kept = torch.from_numpy(arrays.get(f"window_{v}", np.zeros((0, 3, 1, 1), np.float32)))
            self.windows[v] = list(kept.to(self.device))


class PairwiseAdapter(SlidingWindowAdapter):
    """DUSt3R's family. Pow3R gets the rays as prior, Align3R the points of monocular depth."""

    def __init__(
        self, network: PairNet, rig: Rig, device: torch.device, mono: MonocularPointmaps | None
    ):
        super().__init__(rig, device)
        self.network, self.mono = network.to(device), mono
        rays = torch.from_numpy(np.stack([rays_of(camera) for camera in rig.cameras]))
        self.rays = F.normalize(rays.float().movedim(-1, 1), dim=1).to(device)
        self.points: list[Float32[np.ndarray, "v h w 3"]] = []

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> UnscaledPrediction:
        """Predict the next frame."""
        if self.mono is not None:
            points = self.mono.predict(images, present, dt_s)
            self.points = [points, *self.points][: self.past + 1]
        return super().predict(images, present, dt_s)

    def predict_window(self, v: int, window: Float[Tensor, "k 3 h w"]) -> PointAnswer:
        """Both newest images' points in the first camera."""
        answers = self.predict_pair(v, window, 0, 1)
        return PointAnswer(
            torch.cat([answer.points for answer in answers]),
            torch.cat([answer.confidence for answer in answers]),
        )

    def predict_pair(
        self, v: int, window: Float[Tensor, "k 3 h w"], first: int, second: int
    ) -> tuple[PointAnswer, PointAnswer]:
        """Predictions of two images of a camera's window."""
        rays = (self.rays[v : v + 1], self.rays[v : v + 1])
        mono = None
        if self.points:
            seen = [self.points[min(k, len(self.points) - 1)] for k in (first, second)]
            one, two = (torch.from_numpy(points[v : v + 1]).to(self.device) for points in seen)
            mono = (one, two)
        priors = GeometricPrior(
            rays=rays if self.network.prior_embedding is not None else None, points=mono
        )
        return self.network(window[first : first + 1], window[second : second + 1], priors)

    def save_state(self) -> dict[str, np.ndarray]:
        """Also the last monocular points and the state of their network."""
        state = super().save_state()
        if self.mono is not None and self.points:
            state["points"] = np.stack(self.points)
            state |= {f"mono.{k}": a for k, a in self.mono.streamer.save_state().items()}
        return state

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        super().load_state(arrays)
        self.points = list(arrays.get("points", []))
        if self.mono is not None:
            mono = {k[5:]: a for k, a in arrays.items() if k.startswith("mono.")}
            self.mono.streamer.load_state(mono)


class Slam3rWindowAdapter(SlidingWindowAdapter):
    """SLAM3R's inner-window network: the newest image is the reference of a short window."""

    past = 4

    def __init__(self, network: ImagesToPoints, rig: Rig, device: torch.device):
        super().__init__(rig, device)
        self.network = network.to(device)

    def predict_window(self, v: int, window: Float[Tensor, "k 3 h w"]) -> PointAnswer:
        """All images' points in the newest's camera."""
        answer = self.network(window[None], 0)
        return PointAnswer(answer.points[0], answer.confidence[0])


class LastImages:
    """Keeps each camera's last image."""

    def __init__(self, device: torch.device):
        self.device = device
        self.last: dict[int, Float[Tensor, "3 h w"]] = {}

    def save_state(self) -> dict[str, np.ndarray]:
        """The last images, exactly."""
        return {f"last_{v}": image.cpu().numpy() for v, image in self.last.items()}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        self.last = {
            int(name.removeprefix("last_")): torch.from_numpy(image).to(self.device)
            for name, image in arrays.items()
        }


class MvDust3rAdapter(LastImages):
    """MV-DUSt3R: all cameras' images and their last ones at once, in one unit of length.

    Points come in the first camera's frame; every image is placed in it by PnP.
    """

    def __init__(self, network: MvDust3r, rig: Rig, device: torch.device, references: int):
        super().__init__(device)
        self.network, self.rig, self.references = network.to(device), rig, references

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> UnscaledPrediction:
        """Predict the next frame."""
        here = np.flatnonzero(present).tolist()
        depth, confidence = (np.full((len(images), *images.shape[-2:]), np.nan) for _ in "dc")
        last_T_cam, ref_T_cam = np.full((2, len(images), 4, 4), np.nan)
        if here:
            before = [v for v in here if v in self.last]
            window = [images[v] for v in here] + [self.last[v] for v in before]
            window = window if len(window) > 1 else window * 2
            places = self._place(torch.stack(window), here + before)
            for i, v in enumerate(here):
                depth[v], confidence[v], ref_T_cam[v] = places[i]
            for i, v in enumerate(before, len(here)):
                last_T_cam[v] = invert(places[i][2]) @ places[here.index(v)][2]
        self.last = {v: images[v] for v in here}
        return UnscaledPrediction(depth, confidence, last_T_cam, True, ref_T_cam)

    def _place(
        self, window: Float[Tensor, "k 3 h w"], cameras: list[int]
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Depth in each image's own camera, confidence, and ref_T_cam (NaN where not found)."""
        answer = self.network(2 * window[None] - 1, min(self.references, len(window)))
        out = []
        for points, sure, v in zip(answer.points[0], answer.confidence[0], cameras, strict=False):
            points_ref = to_numpy(points)
            ref_T_cam = pose_from_points(points_ref, to_numpy(sure), self.rig.cameras[v])
            points_cam = points_ref @ ref_T_cam[:3, :3] - ref_T_cam[:3, 3] @ ref_T_cam[:3, :3]
            out.append((points_cam[..., 2], to_numpy(sure), ref_T_cam))
        return out


def last_pose_from_points(
    points_now: Float[Tensor, "h w 3"], confidence: Float[Tensor, "h w"], camera: Camera
) -> Float[np.ndarray, "4 4"]:
    """last_T_cam by PnP of the last image's pixels with their points in the present camera."""
    return invert(pose_from_points(to_numpy(points_now), to_numpy(confidence), camera))


def pose_from_points(
    points_ref: Float[np.ndarray, "h w 3"], confidence: Float[np.ndarray, "h w"], camera: Camera
) -> Float[np.ndarray, "4 4"]:
    """ref_T_cam of the camera that took the pixels of these points; NaN where it is not found."""
    try:
        return solve_pnp(points_ref, camera.K, confidence).ref_T_cam
    except GeometryError:
        return UNKNOWN_POSE


def to_numpy(x: Tensor) -> np.ndarray:
    """As float64 on the CPU."""
    return x.detach().double().cpu().numpy()
