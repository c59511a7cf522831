"""Feature tracking between surround frames under large motion.

The other image is warped into the first one's camera by the first frame's depth and a guessed
motion. Features then move by a few pixels only, at any speed, turn or change of scale; the residual
motion corrects the guess.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.cameras import project, rays_of, resize_camera, sees_the_same, unproject
from driv3r.geometry.transforms import apply, invert
from driv3r.tracking.rig_pnp import RigObservations
from driv3r.types import Camera, Images, Prediction, Rig, Transform

ROUND_TRIP_PX = 1.5  # a feature tracked there and back must return this close
MAX_BEND = 0.1  # of inverse depth, relative: flat surfaces have none, edges of things much
LK: dict[str, Any] = {"winSize": (17, 17), "maxLevel": 3, "criteria": (3, 20, 0.03)}

Rows = TypeVar("Rows", bound=Any)


@dataclass(frozen=True)
class TrackerConfig:
    """Which features count.

    Up to `max_features` corners a camera, `gap_px` apart and of at least `quality` of the strongest
    one's, are tracked in images of at most `max_width_px`, where depth is below `max_depth_m`, its
    `sigma` below `max_sigma` and motion below `moving_above`.
    """

    max_features: int = 200
    max_width_px: int = 640
    quality: float = 0.005
    gap_px: int = 6
    max_depth_m: float = 50.0
    max_sigma: float = 0.5
    moving_above: float = 0.5

    def __post_init__(self):
        check_positive("tracking", dataclasses.asdict(self))


@dataclass(frozen=True, eq=False)
class TrackerFrame:
    """What tracking needs of a surround frame. `present` tells the cameras that gave an image."""

    grey: UInt8[np.ndarray, "v h w"]
    present: Bool[np.ndarray, "v"]
    depth_m: Float32[np.ndarray, "v dh dw"]
    sigma: Float32[np.ndarray, "v dh dw"]
    motion: Float32[np.ndarray, "v dh dw"]


@dataclass(frozen=True, eq=False)
class Features:
    """Corners (u, v) in one camera's image, and where they lie in the ego frame by its depth."""

    view: int
    inverse_depth: Float32[np.ndarray, "dh dw"]
    corners: Float32[np.ndarray, "n 2"]
    points_src: Float[np.ndarray, "n 3"]
    sigma: Float[np.ndarray, "n"]


class RigTracker:
    """Finds corners of one frame of a rig in another frame. All cameras of `rig` have one size.

    Depth, sigma and motion may be of any other size that covers the same field of view.
    GeometryError for cameras of several sizes.
    """

    def __init__(self, rig: Rig, config: TrackerConfig):
        self.config = config
        self.size_hw = rig.cameras[0].size_hw
        if any(camera.size_hw != self.size_hw for camera in rig.cameras):
            sizes = [camera.size_hw for camera in rig.cameras]
            raise GeometryError(f"cameras are {sizes}; tracking needs one size: resize them")
        shrink = min(1.0, config.max_width_px / self.size_hw[1])
        small_hw = (round(self.size_hw[0] * shrink), round(self.size_hw[1] * shrink))
        cameras = tuple(resize_camera(camera, small_hw) for camera in rig.cameras)
        self.rig = Rig(cameras, ground_z_m=rig.ground_z_m)
        self._depth_cameras: tuple[Camera, ...] = ()
        self._rays: tuple[Float32[np.ndarray, "dh dw 3"], ...] = ()

    def make_frame(self, images: Images, prediction: Prediction) -> TrackerFrame:
        """Take a surround frame in; GeometryError for what does not fit the rig."""
        self._check(images, prediction)
        h, w = self.rig.cameras[0].size_hw
        grey = np.zeros((len(images), h, w), np.uint8)
        for view, image in enumerate(images):
            if image is not None:
                full = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
                grey[view] = cv2.resize(full, (w, h), interpolation=cv2.INTER_AREA)
        present = np.array([image is not None for image in images])
        maps = (prediction.depth_m, prediction.sigma, prediction.motion)
        maps = (np.array(a, np.float32) for a in maps)  # copies: kept
        return TrackerFrame(grey, present, *maps)

    def find_features(
        self,
        src: TrackerFrame,
        view: int,
        parts: Sequence[Bool[np.ndarray, "dh dw"]] | None = None,
    ) -> Features:
        """Corners of one camera's image on still, flat, near surfaces of certain depth.

        Of each of `parts` apart, so that the strong corners of one do not hide the weak of another.
        """
        camera = self.rig.cameras[view]
        inverse = _invert_depth(src.depth_m[view])
        usable = self._find_usable(src, view, inverse)
        masks = [usable] if parts is None else [usable & part for part in parts]
        pixels = np.concatenate([self._find_corners(src.grey[view], mask) for mask in masks])
        h, w = camera.size_hw
        column, row = pixels.astype(int).T
        depth_m = 1.0 / cv2.resize(inverse, (w, h), interpolation=cv2.INTER_LINEAR)[row, column]
        corners = pixels + np.float32(0.5)  # OpenCV counts pixel centres as integers
        points_cam = unproject(camera, corners.astype(np.float64)) * depth_m[:, None]
        sigma = sample_cells(src.sigma[view], corners, camera.size_hw)
        points_src = apply(camera.ego_T_cam, points_cam)
        return Features(view, inverse, corners, points_src, sigma.astype(np.float64))

    def track(
        self,
        features: Sequence[Features],
        src: TrackerFrame,
        dst: TrackerFrame,
        dst_T_src: Transform,
    ) -> RigObservations:
        """Where the cameras of another frame see the features; `dst_T_src` is a guess."""
        parts = [self._track_camera(f, src, dst, dst_T_src) for f in features]
        empty = RigObservations(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0, int), np.zeros(0))
        names = [field.name for field in dataclasses.fields(RigObservations)]
        return RigObservations(
            *(np.concatenate([getattr(p, n) for p in (empty, *parts)]) for n in names)
        )

    def pack(self, frame: TrackerFrame) -> dict[str, np.ndarray]:
        """A frame as arrays, exactly, so that a killed log can go on."""
        return {
            field.name: getattr(frame, field.name) for field in dataclasses.fields(TrackerFrame)
        }

    def unpack(self, arrays: dict[str, np.ndarray]) -> TrackerFrame:
        """Restore the output of `pack`; GeometryError where it is of another rig."""
        names = {field.name for field in dataclasses.fields(TrackerFrame)}
        shape = (len(self.rig.cameras), *self.rig.cameras[0].size_hw)
        if not names <= set(arrays) or arrays["grey"].shape != shape:
            given = {name: array.shape for name, array in arrays.items()}
            raise GeometryError(
                f"tracking state holds {given}; expected {sorted(names)} with grey of {shape}: "
                "restart the log"
            )
        return TrackerFrame(**{name: arrays[name] for name in names})

    def _check(self, images: Images, prediction: Prediction) -> None:
        views = len(self.rig.cameras)
        shapes = {image.shape for image in images if image is not None}
        if len(images) != views or shapes - {(*self.size_hw, 3)}:
            raise GeometryError(
                f"{len(images)} images of {sorted(shapes)}; the rig has {views} cameras of "
                f"{(*self.size_hw, 3)}"
            )
        maps = (prediction.depth_m, prediction.sigma, prediction.motion)
        shapes = {a.shape for a in maps}
        if len(shapes) != 1 or len(maps[0]) != views or maps[0].ndim != 3 or maps[0].size == 0:
            raise GeometryError(
                f"depth_m, sigma, motion are {[a.shape for a in maps]}; "
                f"expected one shape ({views}, h, w)"
            )
        for own, camera in zip(self.rig.cameras, prediction.cameras, strict=True):
            if not sees_the_same(own, camera):
                raise GeometryError(
                    f"depth of {camera.name} is of K {camera.K.tolist()} at {camera.size_hw}, the "
                    f"images of {own.K.tolist()} at {own.size_hw}: another crop, so that each "
                    "depth would be read at a wrong pixel; crop both alike"
                )

    def heights_m(self, src: TrackerFrame, view: int) -> Float32[np.ndarray, "dh dw"]:
        """How high above the flat road each pixel's point lies."""
        depth_m = src.depth_m[view]
        self._prepare_rays((depth_m.shape[0], depth_m.shape[1]))
        up_cam = self.rig.cameras[view].ego_T_cam[2].astype(np.float32)
        height_m = np.float32(up_cam[3] - self.rig.ground_z_m)
        return self._rays[view] @ up_cam[:3] * depth_m + height_m

    def _prepare_rays(self, depth_hw: tuple[int, int]) -> None:
        if self._depth_cameras and self._depth_cameras[0].size_hw == depth_hw:
            return
        cameras = [resize_camera(camera, depth_hw) for camera in self.rig.cameras]
        self._rays = tuple(rays_of(camera).astype(np.float32) for camera in cameras)
        self._depth_cameras = tuple(
            dataclasses.replace(camera, K=camera.K.astype(np.float32)) for camera in cameras
        )

    def _find_usable(
        self, src: TrackerFrame, view: int, inverse: Float32[np.ndarray, "dh dw"]
    ) -> Bool[np.ndarray, "dh dw"]:
        """Pixels of still, flat, near surfaces of certain depth."""
        config = self.config
        return (
            (inverse >= 1.0 / config.max_depth_m)
            & (src.sigma[view] <= config.max_sigma)
            & (src.motion[view] < config.moving_above)
            & (np.abs(cv2.Laplacian(inverse, cv2.CV_32F)) < MAX_BEND * inverse)
        )

    def _find_corners(
        self, grey: UInt8[np.ndarray, "h w"], among: Bool[np.ndarray, "dh dw"]
    ) -> Float32[np.ndarray, "n 2"]:
        """Corners well inside of what is usable; the strongest sets the measure of the others."""
        config, (h, w) = self.config, grey.shape
        inner = cv2.erode(among.astype(np.uint8), np.ones((3, 3), np.uint8))
        mask = cv2.resize(inner, (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
        found = cv2.goodFeaturesToTrack(
            grey, config.max_features, config.quality, config.gap_px, mask=mask
        )
        return np.zeros((0, 2), np.float32) if found is None else found[:, 0]

    def _track_camera(
        self, features: Features, src: TrackerFrame, dst: TrackerFrame, dst_T_src: Transform
    ) -> RigObservations:
        view = features.view
        camera = self.rig.cameras[view]
        dst_T_cam = invert(camera.ego_T_cam) @ dst_T_src @ camera.ego_T_cam
        there = self._map_pixels(view, features.inverse_depth, dst_T_cam)
        uv, kept = _track_through(src.grey[view], dst.grey[view], features.corners, there)
        kept &= sample_cells(dst.motion[view], uv, camera.size_hw) < self.config.moving_above
        return RigObservations(
            features.points_src[kept],
            unproject(camera, uv[kept].astype(np.float64))[:, :2],
            np.full(np.count_nonzero(kept), view),
            features.sigma[kept],
        )

    def _map_pixels(
        self, view: int, inverse: Float32[np.ndarray, "dh dw"], dst_T_cam: Transform
    ) -> Float32[np.ndarray, "h w 2"]:
        """(u, v) in the other image of what every pixel saw; -1 where behind the camera."""
        self._prepare_rays((inverse.shape[0], inverse.shape[1]))
        camera, (h, w) = self._depth_cameras[view], self.rig.cameras[view].size_hw
        turn, shift = dst_T_cam[:3, :3].astype(np.float32), dst_T_cam[:3, 3].astype(np.float32)
        scaled = self._rays[view] @ turn.T + inverse[..., None] * shift  # sky is at infinity
        uv, ahead, _ = project(camera, scaled)
        uv = np.where((ahead > 1e-3)[..., None], uv, -1.0).astype(np.float32)
        full = cv2.resize(uv, (w, h), interpolation=cv2.INTER_LINEAR)
        return full * np.array([w / uv.shape[1], h / uv.shape[0]], np.float32)


def check_positive(what: str, values: dict[str, Any], may_be_zero: tuple[str, ...] = ()) -> None:
    """ConfigError for a number that is not finite, or not above 0."""
    for name, value in values.items():
        if not math.isfinite(value) or value < 0 or (value == 0 and name not in may_be_zero):
            raise ConfigError(f"{what}: {name} is {value}; expected a finite number above 0")


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Dataclasses of arrays of one kind as one, row after row."""
    names = [field.name for field in dataclasses.fields(parts[0])]
    return type(parts[0])(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def _track_through(
    src_grey: UInt8[np.ndarray, "h w"],
    dst_grey: UInt8[np.ndarray, "h w"],
    corners: Float32[np.ndarray, "n 2"],
    there: Float32[np.ndarray, "h w 2"],
) -> tuple[Float32[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
    """(u, v) of the corners in the other image, and which of them were tracked there and back.

    OpenCV counts pixel centres as integers, hence the halves.
    """
    if len(corners) == 0:
        return corners, np.zeros(0, bool)
    half = np.float32(0.5)
    none: Any = None  # OpenCV's stubs do not know that these arguments may be left out
    drawn = cv2.remap(dst_grey, there - half, none, cv2.INTER_LINEAR)
    start = (corners - half)[:, None]
    moved, found, _ = cv2.calcOpticalFlowPyrLK(src_grey, drawn, start, none, **LK)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(drawn, src_grey, moved, none, **LK)
    kept = (found[:, 0] > 0) & (found_back[:, 0] > 0)
    kept &= np.abs(back - start).max((1, 2)) < ROUND_TRIP_PX
    uv = cv2.remap(there, moved, none, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    uv = uv[:, 0]
    h, w = dst_grey.shape
    kept &= (uv > 0).all(-1) & (uv[:, 0] < w) & (uv[:, 1] < h)
    return uv, kept


def _invert_depth(depth_m: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """1 / depth, 0 where there is none: linear on a plane, and the sky is a number."""
    known = np.isfinite(depth_m) & (depth_m > 0)
    return np.divide(1.0, depth_m, out=np.zeros_like(depth_m), where=known)


def sample_cells(
    values: Float32[np.ndarray, "dh dw"],
    uv: Float[np.ndarray, "n 2"],
    size_hw: tuple[int, int],
) -> Float32[np.ndarray, "n"]:
    """Values of a map at pixel positions of an image of another size; positions are clamped."""
    per_pixel = np.array([values.shape[1] / size_hw[1], values.shape[0] / size_hw[0]])
    last_cell = np.array([values.shape[1], values.shape[0]]) - 1
    column, row = np.clip((uv * per_pixel).astype(int), 0, last_cell).T
    return values[row, column]
