"""Inputs and outputs of aligners: pairwise pointmaps to cameras and depths in one frame."""

import dataclasses
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from driv3r.errors import GeometryError
from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import apply
from driv3r.types import Camera, Scale


@dataclass(frozen=True, eq=False)
class PairPoints:
    """Predictions of a two-image network for e pairs out of v images of one size.

    `points[k]` are the points of both images of `pairs[k]`, in the frame of the first one's camera
    and in a unit of that pair's own. `confidence` is 1 or more, as DUSt3R has it. GeometryError
    where the arrays do not fit each other or a pair is of one image with itself.
    """

    pairs: Int[np.ndarray, "e 2"]
    points: Float[np.ndarray, "e 2 h w 3"]
    confidence: Float[np.ndarray, "e 2 h w"]

    def __post_init__(self):
        expected = (len(self.pairs), 2, *self.points.shape[2:4])
        if self.points.shape != (*expected, 3) or self.confidence.shape != expected:
            raise GeometryError(
                f"{len(self.pairs)} pairs, points {self.points.shape}, confidence "
                f"{self.confidence.shape}; expected (e, 2, h, w, 3) and (e, 2, h, w)"
            )
        if len(self.pairs) == 0 or self.pairs.min() < 0:
            raise GeometryError(f"pairs are {self.pairs}; expected indices of images, from 0")
        if (self.pairs[:, 0] == self.pairs[:, 1]).any():
            raise GeometryError(f"pairs are {self.pairs}; expected two images in each")

    @property
    def images(self) -> int:
        """How many images there are."""
        return int(self.pairs.max()) + 1

    @property
    def size_hw(self) -> tuple[int, int]:
        """Size of every image."""
        return self.points.shape[2], self.points.shape[3]

    def weights(self) -> Float[np.ndarray, "e 2 h w"]:
        """log of confidence (Wang et al. 2024, eq. 5), 0 for points that are not finite."""
        usable = np.isfinite(self.points).all(-1) & np.isfinite(self.confidence)
        return np.where(usable, np.log(np.where(usable, self.confidence, 1.0).clip(1.0)), 0.0)


@dataclass(frozen=True, eq=False)
class FixedCameras:
    """Known intrinsics and poses of v cameras, kept fixed; NaN where unknown.

    With two known places that differ, the answer has their unit of length.
    """

    K: Float[np.ndarray, "v 3 3"] | None = None
    world_T_cam: Float[np.ndarray, "v 4 4"] | None = None

    def known_masks(
        self, images: int
    ) -> tuple[Bool[np.ndarray, "{images}"], Bool[np.ndarray, "{images}"]]:
        """Whose K and whose pose is known; GeometryError where the arrays are of other cameras."""
        for name, known in (("K", self.K), ("world_T_cam", self.world_T_cam)):
            if known is not None and len(known) != images:
                raise GeometryError(
                    f"{name} is given for {len(known)} cameras, there are {images}; expected one "
                    "row for each, NaN where it is not known"
                )
        nothing = np.zeros(images, bool)
        has_K = nothing if self.K is None else np.isfinite(self.K).all((1, 2))
        if self.world_T_cam is None:
            return has_K, nothing
        return has_K, np.isfinite(self.world_T_cam).all((1, 2))


@dataclass(frozen=True, eq=False)
class InitialCameras:
    """Initial cameras; known parts are kept fixed."""

    K: Float[np.ndarray, "v 3 3"]
    world_T_cam: Float[np.ndarray, "v 4 4"]
    has_K: Bool[np.ndarray, "v"]
    has_pose: Bool[np.ndarray, "v"]

    @property
    def has_scale(self) -> bool:
        """Whether known cameras stand in different places."""
        centres = self.world_T_cam[self.has_pose, :3, 3]
        return len(centres) > 1 and bool(np.ptp(centres, axis=0).max() > 1e-6)


@dataclass(frozen=True, eq=False)
class NormalisedFrame:
    """The world from `origin_world` in lengths of `unit`, so that a descent's steps suit it."""

    origin_world: Float[np.ndarray, "3"]
    unit: float

    def enter(self, start: InitialCameras) -> InitialCameras:
        """Cameras, in this frame."""
        return dataclasses.replace(start, world_T_cam=self.enter_poses(start.world_T_cam))

    def enter_poses(self, world_T_src: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 4 4"]:
        """work_T_src."""
        work_T_src = world_T_src.copy()
        work_T_src[:, :3, 3] = (work_T_src[:, :3, 3] - self.origin_world) / self.unit
        return work_T_src

    def leave_poses(self, work_T_src: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 4 4"]:
        """world_T_src."""
        world_T_src = work_T_src.copy()
        world_T_src[:, :3, 3] = world_T_src[:, :3, 3] * self.unit + self.origin_world
        return world_T_src


def normalise_frame(start: InitialCameras, depth: Float[np.ndarray, "v h w"]) -> NormalisedFrame:
    """From a known camera, else the first; the unit is the median depth."""
    first = int(np.argmax(start.has_pose))
    return NormalisedFrame(start.world_T_cam[first, :3, 3].copy(), float(np.median(depth)))


@dataclass(frozen=True, eq=False)
class Alignment:
    """Cameras and depths of v images in one frame.

    `scale` is "metric" where the unit came with known poses, else "similarity" (any unit; without
    known poses the frame is image 0's camera). `loss` is what the descent ended at, in its unit.
    """

    world_T_cam: Float[np.ndarray, "v 4 4"]
    K: Float[np.ndarray, "v 3 3"]
    depth: Float[np.ndarray, "v h w"]
    confidence: Float[np.ndarray, "v h w"]
    scale: Scale
    loss: float

    def lift(self) -> Float[np.ndarray, "v h w 3"]:
        """World points of every pixel."""
        size_hw = self.depth.shape[1], self.depth.shape[2]
        points_cam = cast_rays(self.K, size_hw) * self.depth[..., None]
        moved = [apply(T, p) for T, p in zip(self.world_T_cam, points_cam, strict=True)]
        return np.stack(moved)


def cast_rays(
    K: Float[np.ndarray, "v 3 3"], size_hw: tuple[int, int]
) -> Float[np.ndarray, "v h w 3"]:
    """Viewing rays with z = 1 of every pixel's centre."""
    return np.stack([rays_of(Camera("", each, size_hw, np.eye(4))) for each in K])


def centre_of(size_hw: tuple[int, int]) -> Float[np.ndarray, "2"]:
    """(u, v) of the image centre, the default principal point."""
    return np.array([size_hw[1] / 2, size_hw[0] / 2])


def make_K(focal_px: float, principal_px: Float[np.ndarray, "2"]) -> Float[np.ndarray, "3 3"]:
    """Intrinsics of square pixels."""
    (cx, cy) = principal_px
    return np.array([[focal_px, 0.0, cx], [0.0, focal_px, cy], [0.0, 0.0, 1.0]])


def fill_depth(depth: Float[np.ndarray, "v h w"]) -> Float[np.ndarray, "v h w"]:
    """Depth with its median wherever there is none ahead of the camera."""
    ahead = np.isfinite(depth) & (depth > 0)
    if not ahead.any():
        raise GeometryError("no point lies ahead of its camera: the pointmaps fit no cameras")
    return np.where(ahead, depth, np.median(depth[ahead]))


def merge_confidence(pairs: PairPoints) -> Float[np.ndarray, "v h w"]:
    """The highest confidence that any pair has of a pixel."""
    merged = np.ones((pairs.images, *pairs.size_hw))
    for ends, seen in zip(pairs.pairs, pairs.confidence, strict=True):
        merged[ends] = np.maximum(merged[ends], np.nan_to_num(seen, nan=1.0))
    return merged
