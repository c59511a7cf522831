"""Streaming inference: a trained network over a log, one surround frame at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from driv3r.errors import ConfigError
from driv3r.geometry.cameras import place_on_road
from driv3r.geometry.transforms import from_rotvec, invert
from driv3r.models.driv3r.inputs import Inputs, encode_rays
from driv3r.models.driv3r.network import Driv3r, StreamState
from driv3r.types import Precision, Prediction, Rig, Transform

LAST = ("last_images", "last_features", "last_fine", "last_sweep", "last_rate")


def fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 faster than fp32, so that autocast pays."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # AVX512-BF16 without AMX tiles is slower than fp32: 0.20 against 0.37 TFLOP/s in a product.
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)  # torch 2.4 has no such question
    return device.type == "cpu" and has_amx is not None and has_amx()


def choose_device(name: str) -> torch.device:
    """The device of a name; ConfigError where it is not available."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {name!r} can not be used here ({str(error).splitlines()[0]}); try cpu"
        ) from error
    return device


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """One surround frame at the working size; None for a camera without an image.

    `world_T_cam` are the cameras' poses at their own times, where given.
    """

    images: Sequence[UInt8[np.ndarray, "h w 3"] | None]
    dt_s: float
    world_T_cam: Float[np.ndarray, "v 4 4"] | None = None


class Streamer:
    """Feeds frames to a network and keeps its bounded memory. Cameras of `rig` have its size.

    `sigma_scale` is the factor on sigma that was fitted on held-out worlds. If not `calibrated` the
    network does not use the rig's calibration.
    """

    def __init__(
        self,
        model: Driv3r,
        rig: Rig,
        device: str = "cpu",
        precision: Precision = "auto",
        sigma_scale: float = 1.0,
        calibrated: bool = True,
    ):
        self.device = choose_device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.cameras, self.road_T_ego = rig.cameras, np.eye(4)
        self.road_T_ego[2, 3] = -rig.ground_z_m
        rig = place_on_road(rig)  # as in training
        rays = np.stack([encode_rays(camera) for camera in rig.cameras])
        self.rays = torch.from_numpy(rays)[None].to(self.device)
        self.K = self._stack([camera.K for camera in rig.cameras])
        self.ego_T_cam = self._stack([camera.ego_T_cam for camera in rig.cameras])
        self.bf16 = precision == "bf16" or (precision == "auto" and fast_bf16(self.device))
        self.sigma_scale = sigma_scale
        self.calibrated = torch.full((1, len(rig.cameras)), calibrated).to(self.device)
        self.state: StreamState | None = None

    def _stack(self, matrices: list[np.ndarray]) -> Float[torch.Tensor, "1 v _ _"]:
        return torch.from_numpy(np.stack(matrices)[None]).float().to(self.device)

    @torch.no_grad()
    def step(self, frame: StreamFrame) -> Prediction:
        """Predict one frame. The first of a log has no ego motion."""
        size_hw = self.model.config.size_hw
        blank = np.zeros((*size_hw, 3), np.uint8)
        stack = np.stack([blank if image is None else image for image in frame.images])
        present = [[[image is not None for image in frame.images]]]
        images = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).float() / 255
        inputs = Inputs(
            images[None, None],
            torch.tensor(present, device=self.device),
            self.rays,
            self.K,
            self.ego_T_cam,
            torch.tensor([[frame.dt_s]], dtype=torch.float32, device=self.device),
            self.calibrated,
        )
        is_first = self.state is None
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            outputs, self.state = self.model(inputs, self.state)
        maps = [
            outputs.log_depth[0, 0].float().exp().cpu().numpy(),
            outputs.log_sigma[0, 0].float().exp().cpu().numpy() * self.sigma_scale,
            outputs.motion_logit[0, 0].float().sigmoid().cpu().numpy(),
        ]
        absent = [image is None for image in frame.images]
        for values in maps:
            values[absent] = np.nan
        rate = outputs.ego_rate[0, 0].double().cpu().numpy() * frame.dt_s
        known = not is_first and not all(absent)  # of a blind frame the network can only guess
        motion = self._to_ego(from_rotvec(rate[3:], rate[:3])) if known else None
        return Prediction(self.cameras, *maps, prev_T_curr=motion)

    def _to_ego(self, last_T_road: Transform) -> Transform:
        """A motion of the road frame as one of the ego frame above it."""
        if self.road_T_ego[2, 3] == 0.0:
            return last_T_road
        return invert(self.road_T_ego) @ last_T_road @ self.road_T_ego

    def save_state(self) -> dict[str, np.ndarray]:
        """The memory as arrays, exactly, so that a killed log can go on; empty before a frame."""
        if self.state is None:
            return {}
        tensors = {f"memory_{i}": m for i, m in enumerate(self.state.memory)}
        tensors |= {name: getattr(self.state, name) for name in LAST}
        return {name: tensor.float().cpu().numpy() for name, tensor in tensors.items()}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the memory of `save_state`."""
        if not arrays:
            self.state = None
            return
        tensors = {k: torch.from_numpy(v).to(self.device) for k, v in arrays.items()}
        memory = [tensors[f"memory_{i}"] for i in range(self.model.config.stages)]
        self.state = StreamState(memory, *(tensors[name] for name in LAST))
