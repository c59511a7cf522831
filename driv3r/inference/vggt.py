"""VGGT adapter."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from driv3r.geometry.transforms import invert
from driv3r.inference.metric_scale import UnscaledPrediction
from driv3r.inference.window_adapters import LastImages
from driv3r.models.published.vggt import Vggt
from driv3r.models.published.vggt_camera_head import decode_cameras
from driv3r.types import Rig


class VggtAdapter(LastImages):
    """All cameras' images and their last ones at once, in one unit of length.

    Depth and motion are the network's own; the rig's calibration is not used.
    """

    def __init__(self, network: Vggt, rig: Rig, device: torch.device):
        super().__init__(device)
        self.network = network.to(device)

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> UnscaledPrediction:
        """Predict the next frame; ConfigError where images are no multiples of the patch."""
        here = np.flatnonzero(present).tolist()
        depth, confidence = np.full((2, len(images), *images.shape[-2:]), np.nan)
        last_T_cam, ref_T_cam = np.full((2, len(images), 4, 4), np.nan)
        if here:
            before = [v for v in here if v in self.last]
            window = torch.stack([images[v] for v in here] + [self.last[v] for v in before])
            found = self._predict_window(window, len(here))
            depth[here], confidence[here], cam_T_ref = found
            ref_T_cam[here] = invert(cam_T_ref[: len(here)])
            now, then = cam_T_ref[: len(here)], cam_T_ref[len(here) :]
            for v, last_T_ref in zip(before, then, strict=True):
                last_T_cam[v] = last_T_ref @ invert(now[here.index(v)])
        self.last = {v: images[v] for v in here}
        return UnscaledPrediction(depth, confidence, last_T_cam, True, ref_T_cam)

    @torch.no_grad()
    def _predict_window(
        self, window: Float[Tensor, "k 3 h w"], now: int
    ) -> tuple[Float[np.ndarray, "n h w"], Float[np.ndarray, "n h w"], Float[np.ndarray, "k 4 4"]]:
        """Depth and confidence of the first `now` images, and the cameras of all."""
        size_hw = (window.shape[-2], window.shape[-1])
        layers = self.network.see(window[None])
        cam_T_ref, _ = decode_cameras(self.network.predict_cameras(layers)[-1].double(), size_hw)
        answer = self.network.predict_depth([layer[:, :now] for layer in layers], size_hw)
        depth, confidence, cameras = (x[0].double().cpu().numpy() for x in (*answer, cam_T_ref))
        return depth, confidence, cameras
