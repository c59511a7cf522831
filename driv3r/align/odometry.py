"""Ego motion between surround frames from tracked features and predicted metric depth.

The current image is drawn as the last camera would have seen it, had the car moved as guessed (by
the last frame's depth). Features then move by a few pixels only: neither speed nor turning nor the
growth of things ahead is in the tracker's way. What they still move by corrects the guess.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.cameras import project, rays_of, unproject
from driv3r.geometry.pnp import Sightings, find_inliers, hypothesise_motions, refine_motion
from driv3r.geometry.transforms import apply, from_rotvec, invert, to_rotvec
from driv3r.types import Camera, Rig, Transform

PASSES = 2  # after a poor guess, track again in images drawn with the first answer
ROUND_TRIP_PX = 1.5  # a feature tracked there and back must return this close
MAX_BEND = 0.1  # of inverse depth, relative: flat surfaces have none, edges of things much
START_MPS = (0.0, 3.0, 6.0, 10.0, 15.0, 22.0, 32.0)  # tried where nothing is known
CORNER_QUALITY = 0.005
CORNER_GAP_PX = 6
LK: dict[str, Any] = {"winSize": (17, 17), "maxLevel": 3, "criteria": (3, 20, 0.03)}

Images = Sequence[UInt8[np.ndarray, "h w 3"] | None]


@dataclass(frozen=True)
class OdometryConfig:
    """Which features count and when they support a motion.

    Up to `max_features` a camera are tracked, in images of at most `max_width_px`, where depth is
    below `max_depth_m`, its `sigma` below `max_sigma` and motion below `moving_above`. A motion
    needs `min_inliers` over the whole rig and `min_share` of the features tracked.
    """

    max_features: int = 200
    max_width_px: int = 640
    max_depth_m: float = 50.0
    max_sigma: float = 0.5
    moving_above: float = 0.5
    reprojection_px: float = 2.0
    min_inliers: int = 12
    min_share: float = 0.2
    seed: int = 0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not math.isfinite(value) or value < 0 or (value == 0 and name != "seed"):
                raise ConfigError(f"odometry: {name} is {value}; expected a finite number above 0")


@dataclass(frozen=True, eq=False)
class Glance:
    """What odometry keeps of a surround frame. `present` tells the cameras that gave an image."""

    grey: UInt8[np.ndarray, "v h w"]
    present: Bool[np.ndarray, "v"]
    depth_m: Float32[np.ndarray, "v dh dw"]
    sigma: Float32[np.ndarray, "v dh dw"]
    motion: Float32[np.ndarray, "v dh dw"]


@dataclass(frozen=True, eq=False)
class Features:
    """Corners (u, v) in the last image of one camera, and where they lie by its depth."""

    view: int
    inverse_depth: Float32[np.ndarray, "dh dw"]
    corners: Float32[np.ndarray, "n 2"]
    points_last: Float[np.ndarray, "n 3"]
    sigma: Float[np.ndarray, "n"]


class RigOdometry:
    """Ego motion from frame to frame. Cameras of `rig` have the size of the images given.

    Depth, sigma and motion may be of any other size that covers the same field of view.
    """

    def __init__(self, rig: Rig, config: OdometryConfig | None = None):
        self.config = config or OdometryConfig()
        self.size_hw = rig.cameras[0].size_hw
        if any(camera.size_hw != self.size_hw for camera in rig.cameras):
            sizes = [camera.size_hw for camera in rig.cameras]
            raise GeometryError(f"cameras are {sizes}; odometry needs one size: resize them")
        shrink = min(1.0, self.config.max_width_px / self.size_hw[1])
        small_hw = (round(self.size_hw[0] * shrink), round(self.size_hw[1] * shrink))
        self.rig = Rig(tuple(_resize_camera(camera, small_hw) for camera in rig.cameras))
        self._last: Glance | None = None
        self._rate: Float[np.ndarray, "6"] | None = None  # turn and shift a second
        self._depth_cameras: tuple[Camera, ...] = ()
        self._rays: tuple[Float32[np.ndarray, "dh dw 3"], ...] = ()

    def step(
        self,
        images: Images,
        depth_m: Float[np.ndarray, "v dh dw"],
        sigma: Float[np.ndarray, "v dh dw"],
        motion: Float[np.ndarray, "v dh dw"],
        gap_s: float,
        prior: Transform | None,
    ) -> Transform | None:
        """last_T_ego, which maps the current ego frame to the last frame's.

        None on the first frame, and where too few features support a motion: nothing in sight,
        no texture, no depth, or a guess too far off. The guess is `prior`, else the last answer's
        speed kept up; with neither, START_MPS are tried and the best supported answer counts.
        GeometryError for arrays that do not fit the rig.
        """
        self._check(images, depth_m, sigma, motion, gap_s, prior)
        now = self._glance(images, depth_m, sigma, motion)
        last, rate = self._last, self._rate
        self._last, self._rate = now, None
        if last is None:
            return None
        self._prepare_rays((last.depth_m.shape[1], last.depth_m.shape[2]))
        views = np.flatnonzero(last.present & now.present)
        features = [self._find_features(last, int(view)) for view in views]
        guesses = _guess_motions(prior, rate, gap_s)
        answers = [self._solve(features, last, now, invert(guess)) for guess in guesses]
        ego_T_last, support = max(answers, key=lambda answer: answer[1])
        if support == 0:
            return None
        last_T_ego = invert(ego_T_last)
        if gap_s > 0:
            self._rate = np.concatenate([to_rotvec(last_T_ego), last_T_ego[:3, 3]]) / gap_s
        return last_T_ego

    def save_state(self) -> dict[str, np.ndarray]:
        """The last frame as arrays, exactly, so that a killed log can go on; empty before one."""
        if self._last is None:
            return {}
        arrays = {f.name: getattr(self._last, f.name) for f in dataclasses.fields(Glance)}
        return arrays if self._rate is None else arrays | {"rate": self._rate}

    def load_state(self, arrays: dict[str, np.ndarray]) -> None:
        """Take up what `save_state` gave; GeometryError where it is of another rig."""
        if not arrays:
            self._last, self._rate = None, None
            return
        names = {field.name for field in dataclasses.fields(Glance)}
        shape = (len(self.rig.cameras), *self.rig.cameras[0].size_hw)
        if not names <= set(arrays) or arrays["grey"].shape != shape:
            given = {name: array.shape for name, array in arrays.items()}
            raise GeometryError(
                f"odometry state holds {given}; expected {sorted(names)} with grey of {shape}: "
                "start the log anew"
            )
        self._last = Glance(**{name: arrays[name] for name in names})
        self._rate = arrays.get("rate")

    def _check(self, images: Images, depth_m, sigma, motion, gap_s, prior) -> None:
        views = len(self.rig.cameras)
        shapes = {image.shape for image in images if image is not None}
        if len(images) != views or shapes - {(*self.size_hw, 3)}:
            raise GeometryError(
                f"{len(images)} images of {sorted(shapes)}; the rig has {views} cameras of "
                f"{(*self.size_hw, 3)}"
            )
        fits = depth_m.shape == sigma.shape == motion.shape
        if not fits or len(depth_m) != views or depth_m.ndim != 3 or depth_m.size == 0:
            raise GeometryError(
                f"depth_m, sigma, motion are {depth_m.shape}, {sigma.shape}, {motion.shape}; "
                f"expected one shape ({views}, h, w)"
            )
        if not math.isfinite(gap_s) or gap_s < 0:
            raise GeometryError(f"gap_s is {gap_s}; expected seconds since the last frame")
        if prior is not None and not np.isfinite(prior).all():
            raise GeometryError(f"prior is {prior}; expected a finite last_T_ego, or None")

    def _glance(self, images: Images, depth_m, sigma, motion) -> Glance:
        h, w = self.rig.cameras[0].size_hw
        grey = np.zeros((len(images), h, w), np.uint8)
        for view, image in enumerate(images):
            if image is not None:
                full = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
                grey[view] = cv2.resize(full, (w, h), interpolation=cv2.INTER_AREA)
        present = np.array([image is not None for image in images])
        maps = (np.array(a, np.float32) for a in (depth_m, sigma, motion))  # copies: kept
        return Glance(grey, present, *maps)

    def _solve(
        self, features: list[Features], last: Glance, now: Glance, ego_T_last: Transform
    ) -> tuple[Transform, int]:
        """The best supported motion near a guess, or of any one camera; inliers, 0 if too few."""
        config, rig = self.config, self.rig
        px = config.reprojection_px
        inliers = np.zeros(0, bool)
        for _ in range(PASSES):
            seen = _join([self._track_features(f, last, now, ego_T_last) for f in features])
            hypotheses = [ego_T_last, *hypothesise_motions(rig, seen, px, config.seed)]
            support = [np.count_nonzero(find_inliers(rig, seen, T, px)) for T in hypotheses]
            ego_T_last = refine_motion(rig, seen, hypotheses[int(np.argmax(support))], px)
            inliers = find_inliers(rig, seen, ego_T_last, px)
            if support[0] >= 0.5 * len(inliers):  # the guess was near: nothing to gain
                break
        count = int(np.count_nonzero(inliers))
        enough = count >= max(config.min_inliers, config.min_share * len(inliers))
        return ego_T_last, count if enough else 0

    def _prepare_rays(self, depth_hw: tuple[int, int]) -> None:
        if self._depth_cameras and self._depth_cameras[0].size_hw == depth_hw:
            return
        cameras = [_resize_camera(camera, depth_hw) for camera in self.rig.cameras]
        self._rays = tuple(rays_of(camera).astype(np.float32) for camera in cameras)
        self._depth_cameras = tuple(
            dataclasses.replace(camera, K=camera.K.astype(np.float32)) for camera in cameras
        )

    def _find_features(self, last: Glance, view: int) -> Features:
        """Corners of the last image on still, flat, near surfaces of certain depth."""
        config, camera = self.config, self.rig.cameras[view]
        inverse = _invert_depth(last.depth_m[view])
        usable = (
            (inverse >= 1.0 / config.max_depth_m)
            & (last.sigma[view] <= config.max_sigma)
            & (last.motion[view] < config.moving_above)
            & (np.abs(cv2.Laplacian(inverse, cv2.CV_32F)) < MAX_BEND * inverse)
        )
        inner = cv2.erode(usable.astype(np.uint8), np.ones((3, 3), np.uint8))
        h, w = camera.size_hw
        mask = cv2.resize(inner, (w, h), interpolation=cv2.INTER_NEAREST_EXACT)
        found = cv2.goodFeaturesToTrack(
            last.grey[view], config.max_features, CORNER_QUALITY, CORNER_GAP_PX, mask=mask
        )
        pixels = np.zeros((0, 2), np.float32) if found is None else found[:, 0]
        column, row = pixels.astype(int).T
        depth_m = 1.0 / cv2.resize(inverse, (w, h), interpolation=cv2.INTER_LINEAR)[row, column]
        corners = pixels + np.float32(0.5)  # OpenCV counts pixel centres as integers
        points_cam = unproject(camera, corners.astype(np.float64)) * depth_m[:, None]
        sigma = _sample_cells(last.sigma[view], corners, camera.size_hw)
        points_last = apply(camera.ego_T_cam, points_cam)
        return Features(view, inverse, corners, points_last, sigma.astype(np.float64))

    def _track_features(
        self, features: Features, last: Glance, now: Glance, ego_T_last: Transform
    ) -> Sightings:
        view = features.view
        camera = self.rig.cameras[view]
        cam_T_last = invert(camera.ego_T_cam) @ ego_T_last @ camera.ego_T_cam
        then_to_now = self._map_pixels(view, features.inverse_depth, cam_T_last)
        uv, kept = _track_through(last.grey[view], now.grey[view], features.corners, then_to_now)
        kept &= _sample_cells(now.motion[view], uv, camera.size_hw) < self.config.moving_above
        return Sightings(
            features.points_last[kept],
            unproject(camera, uv[kept].astype(np.float64))[:, :2],
            np.full(np.count_nonzero(kept), view),
            features.sigma[kept],
        )

    def _map_pixels(
        self, view: int, inverse: Float32[np.ndarray, "dh dw"], cam_T_last: Transform
    ) -> Float32[np.ndarray, "h w 2"]:
        """(u, v) in the current image of what every pixel of the last one saw; -1 where behind."""
        camera, (h, w) = self._depth_cameras[view], self.rig.cameras[view].size_hw
        turn, shift = cam_T_last[:3, :3].astype(np.float32), cam_T_last[:3, 3].astype(np.float32)
        scaled = self._rays[view] @ turn.T + inverse[..., None] * shift  # sky is at infinity
        uv, ahead, _ = project(camera, scaled)
        uv = np.where((ahead > 1e-3)[..., None], uv, -1.0).astype(np.float32)
        full = cv2.resize(uv, (w, h), interpolation=cv2.INTER_LINEAR)
        return full * np.array([w / uv.shape[1], h / uv.shape[0]], np.float32)


def _guess_motions(
    prior: Transform | None, rate: Float[np.ndarray, "6"] | None, gap_s: float
) -> list[Transform]:
    if prior is not None:
        return [prior]
    if rate is not None:
        return [from_rotvec(rate[:3] * gap_s, rate[3:] * gap_s)]
    ahead = np.array([1.0, 0.0, 0.0])
    return [from_rotvec(np.zeros(3), ahead * mps * gap_s) for mps in START_MPS]


def _join(parts: list[Sightings]) -> Sightings:
    empty = Sightings(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0, int), np.zeros(0))
    names = [field.name for field in dataclasses.fields(Sightings)]
    return Sightings(*(np.concatenate([getattr(p, n) for p in (empty, *parts)]) for n in names))


def _track_through(
    last_grey: UInt8[np.ndarray, "h w"],
    grey: UInt8[np.ndarray, "h w"],
    corners: Float32[np.ndarray, "n 2"],
    then_to_now: Float32[np.ndarray, "h w 2"],
) -> tuple[Float32[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
    """(u, v) of the corners in the current image, and which of them were tracked there and back.

    OpenCV counts pixel centres as integers, hence the halves.
    """
    if len(corners) == 0:
        return corners, np.zeros(0, bool)
    half = np.float32(0.5)
    none: Any = None  # OpenCV's stubs do not know that these arguments may be left out
    drawn = cv2.remap(grey, then_to_now - half, none, cv2.INTER_LINEAR)
    start = (corners - half)[:, None]
    there, found, _ = cv2.calcOpticalFlowPyrLK(last_grey, drawn, start, none, **LK)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(drawn, last_grey, there, none, **LK)
    kept = (found[:, 0] > 0) & (found_back[:, 0] > 0)
    kept &= np.abs(back - start).max((1, 2)) < ROUND_TRIP_PX
    uv = cv2.remap(then_to_now, there, none, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    uv = uv[:, 0]
    h, w = grey.shape
    kept &= (uv > 0).all(-1) & (uv[:, 0] < w) & (uv[:, 1] < h)
    return uv, kept


def _invert_depth(depth_m: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """1 / depth, 0 where there is none: linear on a plane, and the sky is a number."""
    known = np.isfinite(depth_m) & (depth_m > 0)
    return np.divide(1.0, depth_m, out=np.zeros_like(depth_m), where=known)


def _sample_cells(
    values: Float32[np.ndarray, "dh dw"],
    uv: Float32[np.ndarray, "n 2"],
    size_hw: tuple[int, int],
) -> Float32[np.ndarray, "n"]:
    """Values of a map at pixel positions of an image of another size; positions are clamped."""
    per_pixel = np.array([values.shape[1] / size_hw[1], values.shape[0] / size_hw[0]])
    last_cell = np.array([values.shape[1], values.shape[0]]) - 1
    column, row = np.clip((uv * per_pixel).astype(int), 0, last_cell).T
    return values[row, column]


def _resize_camera(camera: Camera, size_hw: tuple[int, int]) -> Camera:
    """The same field of view at another size; unlike crop_resize, the aspect ratio may change."""
    K = camera.K.astype(np.float64)
    K[0] *= size_hw[1] / camera.size_hw[1]
    K[1] *= size_hw[0] / camera.size_hw[0]
    return dataclasses.replace(camera, K=K, size_hw=size_hw)
