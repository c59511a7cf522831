"""SLAM3R adapter: each window's points are registered to a growing scene of its camera.

Registration uses the paper's second network where its weights are given (Liu et al. 2025, section
3.3), else a robust similarity between points that window and scene share (alignment/similarity.py).
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from driv3r.alignment.similarity import register_points
from driv3r.errors import GeometryError
from driv3r.geometry.transforms import apply, invert
from driv3r.inference.metric_scale import UnscaledPrediction
from driv3r.inference.window_adapters import UNKNOWN_POSE, Slam3rWindowAdapter, to_numpy
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.published.slam3r import ImagesToPoints, LocalToWorld, select_scene_frames
from driv3r.types import Rig, Transform

MAX_FRAMES = 20  # frames that a scene remembers; the oldest goes first
REFERENCES = 10  # frames of it that a new one is registered to (the published pipeline's)
MIN_CONFIDENCE = 1.5  # confidence below which the published pipeline takes no local point


@dataclass(frozen=True, eq=False)
class Scene:
    """One camera's registered frames, newest first.

    `tokens` are the encoder's, `used` counts how often a frame was a reference.
    """

    scene_T_last: Transform
    points_scene: Float[Tensor, "k h w 3"]
    confidence: Float[Tensor, "k h w"]
    tokens: Float[Tensor, "k n e"]
    used: Int[Tensor, "k"]


@dataclass(frozen=True, eq=False)
class RegisteredFrame:
    """A frame in its scene, and which remembered frames it was registered to."""

    scene_T_cam: Transform
    points_scene: Float[Tensor, "h w 3"]
    references: list[int] = field(default_factory=list)


class Slam3rAdapter(Slam3rWindowAdapter):
    """Depth and motion from points in the scene of each camera, in the unit of its first window.

    A camera without an image, or whose window does not fit its scene, starts a new scene.
    """

    def __init__(
        self, network: ImagesToPoints, world: LocalToWorld | None, rig: Rig, device: torch.device
    ):
        super().__init__(network, rig, device)
        self.world = None if world is None else world.to(device)
        self.scenes: dict[int, Scene] = {}

    def predict(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], dt_s: float
    ) -> UnscaledPrediction:
        """Predict the next frame."""
        self.scenes = {v: scene for v, scene in self.scenes.items() if present[v]}
        return super().predict(images, present, dt_s)

    def _predict_view(self, v: int, image: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth, confidence, and the camera's motion since its last image."""
        size_hw = (image.shape[-2], image.shape[-1])
        window = torch.stack([image, *(self.windows[v] or [image])])
        tokens = self.network.encode(2 * window[None] - 1)
        local = self.network.relate(tokens, [0], size_hw)
        scene = self.scenes.get(v)
        registered, last_T_cam = RegisteredFrame(np.eye(4), local.points[0, 0]), UNKNOWN_POSE
        if scene is not None:
            try:
                registered = self._register(scene, tokens[0, 0], local, size_hw)
                last_T_cam = invert(scene.scene_T_last) @ registered.scene_T_cam
            except GeometryError:
                scene = None
        self.scenes[v] = append_frame(scene, registered, tokens[0, 0], local.confidence[0, 0])
        points_cam = apply(invert(registered.scene_T_cam), to_numpy(registered.points_scene))
        return points_cam[..., 2], to_numpy(local.confidence[0, 0]), last_T_cam

    def _register(
        self,
        scene: Scene,
        tokens: Float[Tensor, "n e"],
        local: PointAnswer,
        size_hw: tuple[int, int],
    ) -> RegisteredFrame:
        """The window's newest frame in its scene; GeometryError where it does not fit there."""
        if self.world is None:
            return register_window(scene, local)
        candidates = torch.cat([tokens[None], scene.tokens])[None]
        scores = self.network.compare(candidates, 0, size_hw)
        chosen = select_scene_frames(scores, REFERENCES, scene.confidence, scene.used)
        points_local, sure = local.points[0, 0], local.confidence[0, 0] > MIN_CONFIDENCE
        valid = torch.ones(len(chosen) + 1, *size_hw, dtype=torch.bool, device=sure.device)
        valid[-1] = sure | ~sure.any()
        answer = self.world.register(
            torch.cat([scene.tokens[chosen], tokens[None]])[None],
            torch.cat([scene.points_scene[chosen], points_local[None]])[None],
            list(range(len(chosen))),
            valid[None],
        )
        points_scene = answer.points[0, -1]
        found = register_points(
            to_numpy(points_scene), to_numpy(points_local), to_numpy(local.confidence[0, 0])
        )
        return RegisteredFrame(found.ref_T_local, points_scene, chosen.tolist())

    def save_state(self) -> dict[str, np.ndarray]:
        """Also the scenes."""
        state = super().save_state()
        for v, scene in self.scenes.items():
            state[f"scene_{v}.scene_T_last"] = scene.scene_T_last
            for name in ("points_scene", "confidence", "tokens", "used"):
                state[f"scene_{v}.{name}"] = getattr(scene, name).cpu().numpy()
        return state

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the state of `save_state`."""
        super().load_state(arrays)
        self.scenes = {}
        for v in range(len(self.windows)):
            if f"scene_{v}.used" in arrays:
                points, confidence, tokens, used = (
                    torch.from_numpy(arrays[f"scene_{v}.{name}"]).to(self.device)
                    for name in ("points_scene", "confidence", "tokens", "used")
                )
                at = arrays[f"scene_{v}.scene_T_last"]
                self.scenes[v] = Scene(at, points, confidence, tokens, used)


def register_window(scene: Scene, local: PointAnswer) -> RegisteredFrame:
    """By the similarity between the window's older images and what the scene has of them."""
    shared = min(local.points.shape[1] - 1, len(scene.points_scene))
    found = register_points(
        to_numpy(scene.points_scene[:shared]),
        to_numpy(local.points[0, 1 : 1 + shared]),
        to_numpy(local.confidence[0, 1 : 1 + shared]),
    )
    points_scene = found.move(to_numpy(local.points[0, 0]))
    return RegisteredFrame(found.ref_T_local, torch.from_numpy(points_scene).to(local.points))


def append_frame(
    scene: Scene | None,
    registered: RegisteredFrame,
    tokens: Float[Tensor, "n e"],
    confidence: Float[Tensor, "h w"],
) -> Scene:
    """The scene with one more frame, without the oldest where it is full."""
    new = (
        registered.points_scene,
        confidence,
        tokens,
        torch.zeros((), dtype=torch.int64, device=tokens.device),
    )
    if scene is None:
        return Scene(registered.scene_T_cam, *(part[None] for part in new))
    used = scene.used.clone()
    used[registered.references] += 1
    old = (scene.points_scene, scene.confidence, scene.tokens, used)
    grown = (torch.cat([one[None], many])[:MAX_FRAMES] for one, many in zip(new, old, strict=True))
    return Scene(registered.scene_T_cam, *grown)
