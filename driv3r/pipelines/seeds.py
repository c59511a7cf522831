"""A published system in our network's place: what it sees is put into metres by the rig."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from driv3r.align.dynamic_mask import estimate_flow, score_motion
from driv3r.geometry.transforms import from_rotvec, invert, to_rotvec
from driv3r.network.baselines import predict_ground_plane
from driv3r.network.stream import StreamFrame
from driv3r.types import Prediction, Rig, Transform

ROAD_M = (3.0, 15.0)  # where the road is seen well and is flat
REMEMBERED = 15  # frames that the unit of length is a median over
MOVED_M = 0.5
FLOW = "dis"
MOVES_SHARE = 0.015  # of the image's width: a difference of flow by which a thing moves
CONFIDENCE_WEIGHT = 0.2  # alpha of DUSt3R's loss (Wang et al. 2024, eq. 4)

Images = Sequence[UInt8[np.ndarray, "h w 3"] | None]


@dataclass(frozen=True, eq=False)
class Sight:
    """A system's answer for one surround frame in units of its own, one unit a camera.

    `last_T_cam` is each camera's motion since its last image, NaN where there is none. With
    `one_unit` all cameras share their unit of length. A camera without input has NaN depth.
    """

    depth: Float[np.ndarray, "v h w"]
    confidence: Float[np.ndarray, "v h w"]
    last_T_cam: Float[np.ndarray, "v 4 4"]
    one_unit: bool = False


@runtime_checkable
class Looker(Protocol):
    """Runs a system over a log, one surround frame after another."""

    def look(
        self, images: Float[Tensor, "v 3 h w"], present: Bool[np.ndarray, "v"], gap_s: float
    ) -> Sight:
        """Answer the next frame; images lie in 0..1."""
        ...

    def save_state(self) -> dict[str, np.ndarray]:
        """What the next frame will need, exactly; empty before the first."""
        ...

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave."""
        ...


class Ruler:
    """Metres per unit of a system's answers, for each camera.

    From the road where it is flat under the cameras, whose heights the rig knows, and from the
    known motion of the car where that is given and longer than MOVED_M. Both are medians over the
    last frames, so that one bad frame changes little.
    """

    def __init__(self, rig: Rig):
        self.road_m = predict_ground_plane(rig)
        near, far = ROAD_M
        self.on_road = (self.road_m > near) & (self.road_m < far)
        count = len(rig.cameras)
        self.ego_T_cam = np.stack([camera.ego_T_cam for camera in rig.cameras])
        self.road: list[deque[float]] = [deque(maxlen=REMEMBERED) for _ in range(count)]
        self.driven: list[deque[float]] = [deque(maxlen=REMEMBERED) for _ in range(count)]

    def measure(self, sight: Sight, last_T_ego: Transform | None) -> Float[np.ndarray, "v"]:
        """Metres per unit after one more frame; 1 where nothing has told yet."""
        for v, depth in enumerate(sight.depth):
            seen = self.on_road[v] & np.isfinite(depth) & (depth > 0)
            if seen.sum() > 50:
                self.road[v].append(float(np.median(np.log(self.road_m[v][seen] / depth[seen]))))
        if last_T_ego is not None:
            moved = invert(self.ego_T_cam) @ last_T_ego @ self.ego_T_cam
            lengths = np.linalg.norm(moved[:, :3, 3], axis=-1)
            raw = np.linalg.norm(sight.last_T_cam[:, :3, 3], axis=-1)
            for v in np.flatnonzero((lengths > MOVED_M) & (raw > 1e-6)):
                self.driven[v].append(float(np.log(lengths[v] / raw[v])))
        told = [driven or road for driven, road in zip(self.driven, self.road, strict=True)]
        logs = np.array([np.median(t) if t else np.nan for t in told])
        everyone = float(np.nanmedian(logs)) if np.isfinite(logs).any() else 0.0
        logs = np.where(np.isfinite(logs) & (not sight.one_unit), logs, everyone)
        return np.exp(logs)

    def save_state(self) -> dict[str, np.ndarray]:
        """What was measured so far."""
        return {
            f"{name}_{v}": np.array(values)
            for name, cameras in (("road", self.road), ("driven", self.driven))
            for v, values in enumerate(cameras)
        }

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave."""
        for name, cameras in (("road", self.road), ("driven", self.driven)):
            for v, values in enumerate(cameras):
                values.clear()
                values.extend(arrays.get(f"{name}_{v}", np.zeros(0)).tolist())


class FlowMotion:
    """What moves by itself: where a classical flow disagrees with depth and camera motion."""

    def __init__(self, rig: Rig):
        self.rig = rig
        self.last: dict[int, UInt8[np.ndarray, "h w 3"]] = {}

    def judge(
        self,
        images: Images,
        depth_m: Float[np.ndarray, "v h w"],
        last_T_cam: Float[np.ndarray, "v 4 4"],
    ) -> Float[np.ndarray, "v h w"]:
        """Probability of motion from metric depth and motion; 0 where nothing can be said."""
        motion = np.zeros(depth_m.shape)
        for v, (image, camera) in enumerate(zip(images, self.rig.cameras, strict=True)):
            if image is not None and v in self.last and np.isfinite(last_T_cam[v]).all():
                flow_px = estimate_flow(FLOW, image, self.last[v]).astype(np.float64)
                off_px = score_motion(camera, depth_m[v], last_T_cam[v], np.eye(4), flow_px)
                limit_px = MOVES_SHARE * camera.size_hw[1]
                motion[v] = np.nan_to_num(1 / (1 + np.exp(limit_px - off_px)))
        self.last = {v: image for v, image in enumerate(images) if image is not None}
        return motion


class SeedStreamer:
    """A published system behind the interface of our own network's Streamer."""

    scale_source = (
        "similarity made metric per camera: by the given ego motion where there is one and the car "
        "moves, else by the cameras' heights over the flat road"
    )

    def __init__(self, looker: Looker, rig: Rig, device: torch.device):
        self.looker, self.rig, self.device = looker, rig, device
        self.ruler, self.flow = Ruler(rig), FlowMotion(rig)

    @torch.no_grad()
    def step(self, frame: StreamFrame) -> Prediction:
        """Answer one frame in metres."""
        size_hw = self.rig.cameras[0].size_hw
        blank = np.zeros((*size_hw, 3), np.uint8)
        stack = np.stack([blank if image is None else image for image in frame.images])
        images = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2).float() / 255
        present = np.array([image is not None for image in frame.images])
        sight = self.looker.look(images, present, frame.gap_s)
        metres = self.ruler.measure(sight, frame.last_T_ego)
        depth_m = np.where(present[:, None, None], sight.depth, np.nan) * metres[:, None, None]
        confidence = np.nan_to_num(sight.confidence, nan=1.0)
        last_T_cam = sight.last_T_cam.copy()
        last_T_cam[:, :3, 3] *= metres[:, None]
        return Prediction(
            depth_m=depth_m.astype(np.float32),
            sigma=(CONFIDENCE_WEIGHT / np.maximum(confidence, 1e-3)).astype(np.float32),
            motion=self.flow.judge(frame.images, depth_m, last_T_cam).astype(np.float32),
            last_T_ego=agree_on_motion(last_T_cam, self.ruler.ego_T_cam),
        )

    def save_state(self) -> dict[str, np.ndarray]:
        """All that the next frame depends on."""
        parts = (("looker", self.looker.save_state()), ("ruler", self.ruler.save_state()))
        state = {f"{part}.{name}": a for part, arrays in parts for name, a in arrays.items()}
        return state | {f"image.{v}": image for v, image in self.flow.last.items()}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up the state of `save_state`."""
        for part, owner in (("looker.", self.looker), ("ruler.", self.ruler)):
            owner.load_state(
                {k.removeprefix(part): a for k, a in arrays.items() if k.startswith(part)}
            )
        images = {k.removeprefix("image."): a for k, a in arrays.items() if k.startswith("image.")}
        self.flow.last = {int(v): image for v, image in images.items()}


def agree_on_motion(
    last_T_cam: Float[np.ndarray, "v 4 4"], ego_T_cam: Float[np.ndarray, "v 4 4"]
) -> Transform | None:
    """The car's motion as the median of what cameras (in metres) say; None where none says."""
    told = np.isfinite(last_T_cam).all((-1, -2))
    if not told.any():
        return None
    of_ego = ego_T_cam[told] @ last_T_cam[told] @ invert(ego_T_cam[told])
    return from_rotvec(np.median(to_rotvec(of_ego), axis=0), np.median(of_ego[:, :3, 3], axis=0))
