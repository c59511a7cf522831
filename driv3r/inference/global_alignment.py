"""Global alignment adapter: a camera's last images aligned by their pairs instead of by PnP."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from driv3r.alignment.motion_segmentation import score_motion
from driv3r.alignment.pairwise import align_pairs
from driv3r.alignment.pointmaps import Alignment, FixedCameras, PairPoints
from driv3r.alignment.sparse import align_sparse, match_pairs
from driv3r.alignment.video_terms import Video
from driv3r.errors import GeometryError
from driv3r.geometry.transforms import invert
from driv3r.inference.optical_flow import Flow
from driv3r.inference.published import FLOW_THRESHOLD
from driv3r.inference.window_adapters import (
    UNKNOWN_POSE,
    MonocularPointmaps,
    PairwiseAdapter,
    pose_from_points,
    to_numpy,
)
from driv3r.models.layers.point_heads import PointAnswer
from driv3r.models.published.pair_networks import PairNet
from driv3r.models.registry import Aligner
from driv3r.types import Camera, Rig


@dataclass(frozen=True, eq=False)
class Window:
    """n images of one camera, newest first, and the predictions of every ordered pair."""

    images: UInt8[np.ndarray, "n h w 3"]
    camera: Camera
    answers: dict[tuple[int, int], tuple[PointAnswer, PointAnswer]]
    flow: Flow

    @cached_property
    def pairs(self) -> PairPoints:
        """The predictions as an aligner's input."""
        return PairPoints(
            np.array(list(self.answers)), self.gather("points"), self.gather("confidence")
        )

    def gather(self, part: str) -> Float[np.ndarray, "e 2 h w *c"]:
        """One array of all answers."""
        return np.stack(
            [[to_numpy(getattr(side, part)[0]) for side in two] for two in self.answers.values()]
        )

    @property
    def given(self) -> FixedCameras:
        """The calibration; where the camera was is to be found."""
        return FixedCameras(K=np.stack([self.camera.K] * len(self.images)))

    def video_terms(self) -> Video:
        """The order of the images, and their flow where it is that of still things."""
        steps = [(i, i + 1) for i in range(len(self.images) - 1)]
        both_ways = [pair for step in steps for pair in (step, step[::-1])]
        flows, still = zip(*(self._static_flow(i, j) for i, j in both_ways), strict=True)
        return Video(np.array(steps), np.array(both_ways), np.stack(flows), np.stack(still))

    def _static_flow(self, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
        """Flow from one image to another, and where depth and camera motion explain it."""
        flow_px = self.flow(self.images[first], self.images[second]).astype(np.float64)
        one, two = self.answers[first, second]
        first_T_second = pose_from_points(
            to_numpy(two.points[0]), to_numpy(two.confidence[0]), self.camera
        )
        depth = to_numpy(one.points[0, ..., 2])
        off_px = score_motion(self.camera, depth, np.eye(4), first_T_second, flow_px)
        return flow_px, off_px < FLOW_THRESHOLD * self.camera.size_hw[1]


def align_pairwise(window: Window) -> Alignment:
    """DUSt3R's global alignment."""
    return align_pairs(window.pairs, window.given).views


def align_with_flow(window: Window) -> Alignment:
    """MonST3R's: also smooth motion, and flow."""
    return align_pairs(window.pairs, window.given, window.video_terms()).views


def align_matches(window: Window) -> Alignment:
    """MASt3R's sparse alignment over reciprocal matches of descriptors."""
    matches = match_pairs(window.gather("descriptors"), window.gather("descriptor_confidence"))
    return align_sparse(window.pairs, matches, window.given)


ALIGN: dict[Aligner, Callable[[Window], Alignment]] = {
    "pairwise": align_pairwise,
    "pairwise-flow": align_with_flow,
    "sparse": align_matches,
}


class GlobalAlignmentAdapter(PairwiseAdapter):
    """DUSt3R's family, each camera's newest images aligned with each other in both orders."""

    past = 2

    def __init__(
        self,
        network: PairNet,
        rig: Rig,
        device: torch.device,
        mono: MonocularPointmaps | None,
        align: Callable[[Window], Alignment],
        flow: Flow,
    ):
        super().__init__(network, rig, device, mono)
        self.align, self.flow = align, flow

    def _predict_view(self, v: int, image: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Depth, confidence, and the camera's motion since its last image."""
        images = torch.stack([image, *self.windows[v]])
        if len(images) == 1:
            return super()._predict_view(v, image)
        answers = {
            (i, j): self.predict_pair(v, 2 * images - 1, i, j)
            for i, j in permutations(range(len(images)), 2)
        }
        pixels = (images.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        try:
            with torch.enable_grad():
                found = self.align(Window(pixels, self.rig.cameras[v], answers, self.flow))
        except GeometryError:  # nothing to align: depth as the newest pair has it, motion unknown
            newest = answers[0, 1][0]
            return to_numpy(newest.points[0, ..., 2]), to_numpy(newest.confidence[0]), UNKNOWN_POSE
        last_T_cam = invert(found.world_T_cam[1]) @ found.world_T_cam[0]
        return found.depth[0], found.confidence[0], last_T_cam
