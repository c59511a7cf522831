"""Spann3R and Driv3R adapter: each camera is a separate sequence with a memory."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from driv3r.geometry.transforms import invert
from driv3r.inference.metric_scale import UnscaledPrediction
from driv3r.inference.window_adapters import UNKNOWN_POSE, pose_from_points, to_numpy
from driv3r.models.published.spann3r import MemoryNet, MemoryState
from driv3r.models.published.spatial_memory import TokenMemory
from driv3r.types import Camera, Rig

Part = tuple[np.ndarray, np.ndarray, np.ndarray]  # depth, confidence, last_T_cam


class Spann3rAdapter:
    """Depth and motion from points in a sequence's first camera, in which PnP places each image.

    An image that is wider than high is cut into a left and a right square, each a sequence of its
    own as in Driv3R; the right one's unit of length is made the left one's where both see.
    """

    def __init__(self, network: MemoryNet, rig: Rig, device: torch.device):
        self.network, self.rig, self.device = network.to(device), rig, device
        rows, columns = rig.cameras[0].size_hw
        self.starts = [0] if columns <= rows else [0, columns - rows]
        self.side = min(rows, columns)
        self.states: dict[tuple[int, int], MemoryState] = {}

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> UnscaledPrediction:
        """Predict the next frame; a camera without an image starts a new sequence after it."""
        blank = np.full(images.shape[-2:], np.nan)
        views: list[Part] = [(blank, blank, UNKNOWN_POSE)] * len(images)
        for v, here in enumerate(present):
            if here:
                views[v] = self._join([self._step(v, x0, images[v]) for x0 in self.starts])
                continue
            for x0 in self.starts:
                self.states.pop((v, x0), None)
        depth, confidence, last_T_cam = (np.stack(part) for part in zip(*views, strict=True))
        return UnscaledPrediction(depth, confidence, last_T_cam)

    def _step(self, v: int, x0: int, image: Float[Tensor, "3 h w"]) -> Part:
        """One square of one camera, and its sequence moved on."""
        square = 2 * image[None, :, :, x0 : x0 + self.side] - 1
        state = self.states.get((v, x0))
        if state is None:
            self.states[v, x0] = self.network.start(square)
            alone = self.network.step(square, self.states[v, x0])[0].last
            return to_numpy(alone.points[0, ..., 2]), to_numpy(alone.confidence[0]), UNKNOWN_POSE
        step, self.states[v, x0] = self.network.step(square, state)
        camera = cut(self.rig.cameras[v], x0, self.side)
        ref_T_last, ref_T_cam = (
            pose_from_points(to_numpy(a.points[0]), to_numpy(a.confidence[0]), camera)
            for a in (step.last, step.now)
        )
        points_ref = to_numpy(step.now.points[0])
        points_cam = points_ref @ ref_T_cam[:3, :3] - ref_T_cam[:3, 3] @ ref_T_cam[:3, :3]
        return points_cam[..., 2], to_numpy(step.now.confidence[0]), invert(ref_T_last) @ ref_T_cam

    def _join(self, parts: list[Part]) -> Part:
        """The squares of an image side by side, in the first one's unit."""
        if len(parts) == 1:
            return parts[0]
        (left, left_sure, left_motion), (right, right_sure, right_motion) = parts
        x0 = self.starts[1]
        both = np.stack([left[:, x0:], right[:, : self.side - x0]])
        seen = np.isfinite(both).all(0) & (both > 0).all(0)
        factor = float(np.median(both[0][seen] / both[1][seen])) if seen.any() else 1.0
        middle = (x0 + self.side) // 2
        scaled = right_motion.copy()
        scaled[:3, 3] *= factor
        return (
            np.concatenate([left[:, :middle], factor * right[:, middle - x0 :]], axis=1),
            np.concatenate([left_sure[:, :middle], right_sure[:, middle - x0 :]], axis=1),
            left_motion if np.isfinite(left_motion).all() else scaled,
        )

    def save_state(self) -> dict[str, np.ndarray]:
        """Every sequence's tokens, exactly."""
        arrays: dict[str, np.ndarray] = {}
        for (v, x0), state in self.states.items():
            tensors = {"encoded": state.encoded}
            if state.query is not None and state.memory is not None:
                names = ("keys", "values", "attention", "age")
                tensors |= {"query": state.query} | {n: getattr(state.memory, n) for n in names}
                counts = [state.memory.frames, state.memory.frame_tokens]
                arrays[f"{v}.{x0}.counts"] = np.array(counts)
            arrays |= {f"{v}.{x0}.{n}": t.cpu().numpy() for n, t in tensors.items()}
        return arrays

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        self.states = {}
        for name in arrays:
            v, x0, what = name.split(".")
            if what != "encoded":
                continue
            mine = {
                n: torch.from_numpy(arrays[f"{v}.{x0}.{n}"]).to(self.device)
                for n in ("encoded", "query", "keys", "values", "attention", "age")
                if f"{v}.{x0}.{n}" in arrays
            }
            memory = None
            if "keys" in mine:
                frames, frame_tokens = arrays[f"{v}.{x0}.counts"].tolist()
                keys, values, attention, age = (
                    mine[n] for n in ("keys", "values", "attention", "age")
                )
                memory = TokenMemory(keys, values, attention, age, frames, frame_tokens)
            state = MemoryState(mine["encoded"], (self.side, self.side), mine.get("query"), memory)
            self.states[int(v), int(x0)] = state


def cut(camera: Camera, x0: int, side: int) -> Camera:
    """The camera of a square of its image that begins at column x0."""
    K = camera.K.copy()
    K[0, 2] -= x0
    return replace(camera, K=K, size_hw=(side, side))
