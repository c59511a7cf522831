"""How each family of systems looks at a surround frame."""

from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from driv3r.align.resection import resect
from driv3r.errors import GeometryError
from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import invert
from driv3r.network.pairs import PairNet
from driv3r.network.priors import Known
from driv3r.network.stream import Streamer, StreamFrame
from driv3r.pipelines.seeds import Sight
from driv3r.types import Camera, Rig

NOWHERE = np.full((4, 4), np.nan)


class MonoPoints:
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

    def look(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], gap_s: float
    ) -> Float32[np.ndarray, "v h w 3"]:
        """Points (m) in each camera's frame; zeros for a camera without input."""
        rows, columns = self.streamer.model.config.size_hw
        pixels = (images.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        small = [
            cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA) if here else None
            for image, here in zip(pixels, present, strict=True)
        ]
        depth_m = np.nan_to_num(self.streamer.step(StreamFrame(small, gap_s)).depth_m)
        size_wh = (images.shape[-1], images.shape[-2])
        fine = np.stack([cv2.resize(depth, size_wh) for depth in depth_m])
        return (self.rays_cam * fine[..., None]).astype(np.float32)


class PairLooker:
    """Each camera's image with its last one: depth from the first's points, motion by PnP.

    A camera's first image is paired with itself. Pow3R is told the rays, Align3R the points of
    monocular depth.
    """

    def __init__(self, network: PairNet, rig: Rig, device: torch.device, mono: MonoPoints | None):
        self.network, self.rig, self.device, self.mono = network.to(device), rig, device, mono
        unit = [
            rays_of(c) / np.linalg.norm(rays_of(c), axis=-1, keepdims=True) for c in rig.cameras
        ]
        self.rays = torch.from_numpy(np.stack(unit)).float().movedim(-1, 1).to(device)
        self.last_images: Float[Tensor, "v 3 h w"] | None = None
        self.last_points: Float[np.ndarray, "v h w 3"] | None = None
        self.had = np.zeros(len(rig.cameras), bool)

    def look(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], gap_s: float
    ) -> Sight:
        """Answer the next frame."""
        points = None if self.mono is None else self.mono.look(images, present, gap_s)
        views = [
            self._look_at(v, images, points, bool(self.had[v])) if present[v] else None
            for v in range(len(images))
        ]
        self.last_images, self.last_points, self.had = images, points, present.copy()
        blank = np.full(images.shape[-2:], np.nan)
        depth, confidence, last_T_cam = zip(
            *[(blank, blank, NOWHERE) if view is None else view for view in views], strict=True
        )
        return Sight(np.stack(depth), np.stack(confidence), np.stack(last_T_cam))

    def _look_at(
        self, v: int, images: Tensor, points: np.ndarray | None, paired: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth, confidence, and the camera's motion since its last image."""
        last = self.last_images[v] if paired and self.last_images is not None else images[v]
        now, then = self.network(
            2 * images[v][None] - 1, 2 * last[None] - 1, self._known(v, points, paired)
        )
        last_T_cam = NOWHERE
        if paired:
            last_T_cam = place_last(then.points[0], then.confidence[0], self.rig.cameras[v])
        return to_numpy(now.points[0, ..., 2]), to_numpy(now.confidence[0]), last_T_cam

    def _known(self, v: int, points: np.ndarray | None, paired: bool) -> Known:
        """What this network is told beforehand."""
        rays = self.rays[v : v + 1]
        mono = None
        if points is not None:
            last = self.last_points if paired and self.last_points is not None else points
            mono = tuple(torch.from_numpy(p[v : v + 1]).to(self.device) for p in (points, last))
        return Known(
            rays=(rays, rays) if self.network.known is not None else None,
            points=None if mono is None else (mono[0], mono[1]),
        )

    def save_state(self) -> dict[str, np.ndarray]:
        """The last images (and points), exactly."""
        if self.last_images is None:
            return {}
        state = {"images": self.last_images.cpu().numpy(), "had": self.had}
        if self.last_points is not None and self.mono is not None:
            state["points"] = self.last_points
            state |= {f"mono.{k}": a for k, a in self.mono.streamer.save_state().items()}
        return state

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave."""
        if not arrays:
            return
        self.last_images = torch.from_numpy(arrays["images"]).to(self.device)
        self.had, self.last_points = arrays["had"].astype(bool), arrays.get("points")
        if self.mono is not None:
            mono = {k[5:]: a for k, a in arrays.items() if k.startswith("mono.")}
            self.mono.streamer.load_state(mono)


def place_last(
    points_now: Float[Tensor, "h w 3"], confidence: Float[Tensor, "h w"], camera: Camera
) -> Float[np.ndarray, "4 4"]:
    """last_T_cam by PnP of the last image's pixels with their points in the present camera.

    NaN where the points do not determine it.
    """
    try:
        now_T_last = resect(to_numpy(points_now), camera.K, to_numpy(confidence)).ref_T_cam
    except GeometryError:
        return NOWHERE
    return invert(now_T_last)


def to_numpy(x: Tensor) -> np.ndarray:
    """As float64 on the CPU."""
    return x.detach().double().cpu().numpy()
