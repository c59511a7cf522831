"""What fusion takes: its settings, and the surround frames of a log by number."""

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
from jaxtyping import Float, Int, Int64, UInt8

from driv3r.errors import ConfigError, GeometryError
from driv3r.fusion.sweeps import PlacedSweep
from driv3r.geometry.cameras import is_pinhole
from driv3r.geometry.transforms import invert
from driv3r.kernels.view_consistency import find_pixels, range_around
from driv3r.store.schema import FrameRecord
from driv3r.types import Camera, FusionSource, Images, RollingShutter, Transform

_MAY_BE_ZERO = {"moving_above", "max_gap_frames", "min_through"}


@dataclass(frozen=True)
class FusionConfig:
    """Settings of the 4D fusion, chosen on the demo's val logs unless said otherwise.

    Pixels: every `pixel_stride`-th of a row and column counts, up to `max_depth_m`. Views compare
    within `tolerance` times their stated errors (Laplace b) and `base_error_m`; frames are compared
    with those `offsets` before and after.

    Static map: a pixel counts where its error along the ray, after other views have corrected it,
    is within `max_error_m`, unless `min_through` other views look through it and fewer see it, or
    inverse depth around it is further than a share of `max_edge` from a plane (an edge, across
    which a network's depth is smooth) and its own error, too. A voxel of `voxel_m` needs `min_hits`
    pixels, and at most `max_misses` views that look through it for each that sees it.

    Moving objects (chosen on the demo's val logs and PandaSet 002): a pixel may move from a motion
    probability of `moving_above` on. Such pixels are one detection where neighbours differ in range
    by less than a share of `segment_step`, or lie within `cluster_gap_m` in different cameras; it
    needs `min_cluster_points`, and a median of `high_confidence` to start a track. A track may miss
    `max_gap_frames` frames, is at most `max_speed_mps` fast and changes its speed by `accel_mps2`
    a second (standard deviation). It is kept where its own way is `min_travel_sigmas` times its
    uncertainty and faster than `min_speed_mps`, and `max_points` of its points with it.

    `source` is what the static map is of: cameras, lidar, or both.
    """

    voxel_m: float = 0.2
    pixel_stride: int = 2
    max_depth_m: float = 50.0
    tolerance: float = 2.5
    base_error_m: float = 0.2
    offsets: tuple[int, ...] = (1, 2, 3, 5, 8, 13, 21)
    max_error_m: float = 0.5
    max_edge: float = 0.006
    min_hits: int = 2
    max_misses: float = 0.25
    moving_above: float = 0.6
    high_confidence: float = 0.75
    min_through: int = 2
    segment_step: float = 0.12
    cluster_gap_m: float = 0.5
    min_cluster_points: int = 12
    max_points: int = 512
    max_gap_frames: int = 2
    max_speed_mps: float = 45.0
    accel_mps2: float = 1.0
    min_travel_sigmas: float = 1.5
    min_speed_mps: float = 0.3
    source: FusionSource = "cameras"

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if name in ("offsets", "source"):
                continue
            if not math.isfinite(value) or value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
                raise ConfigError(f"fusion: {name} is {value}; expected a finite number above 0")
        if not 0.01 <= self.voxel_m <= 25.6:
            raise ConfigError(f"fusion: voxel_m is {self.voxel_m}; expected 0.01 to 25.6 metres")
        if min(self.offsets, default=1) < 1:
            raise ConfigError(f"fusion: offsets are {self.offsets}; expected 1 or more each")


ANYWHERE = np.zeros((0, 3))


@dataclass(frozen=True, eq=False)
class PlacedViews:
    """What points are compared with: the p placed views of a frame, their images flat.

    `nearest_m` and `farthest_m` are the least and greatest depth of a pixel and those around it.
    `lines` are the views' rolling shutters as `find_pixels` takes them.
    """

    view: Int[np.ndarray, "p"]
    size_hw: tuple[int, int]
    cam_T_world: Float[np.ndarray, "p 4 4"]
    K: Float[np.ndarray, "p 3 3"]
    depth_m: Float[np.ndarray, "p hw"]
    nearest_m: Float[np.ndarray, "p hw"]
    farthest_m: Float[np.ndarray, "p hw"]
    sigma: Float[np.ndarray, "p hw"]
    lines: Float[np.ndarray, "p 10"]

    @property
    def maps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What the kernels compare with."""
        return self.depth_m, self.nearest_m, self.farthest_m, self.sigma

    def locate(
        self,
        points_world: Float[np.ndarray, "n 3"],
        hull_world: Float[np.ndarray, "m 3"] = ANYWHERE,
    ) -> tuple[Int[np.ndarray, "p n"], Float[np.ndarray, "p n"]]:
        """The pixel that each point falls into, -1 without depth there, and the point's depth.

        All points lie within the convex hull of `hull_world`, where one is given.
        """
        height, width = self.size_hw
        shape = len(self.view), len(points_world)
        pixel, z_m = np.empty(shape, np.int32), np.empty(shape, np.float32)
        placing = hull_world, self.cam_T_world, self.K, width, height, self.lines, self.depth_m
        find_pixels(points_world, *placing, pixel, z_m)
        return pixel, z_m


@dataclass(frozen=True, eq=False)
class FusedFrame:
    """One surround frame's prediction placed in the world, as fusion takes it.

    `time_us` is the frame's own, `time_cam_us` each camera's (negative: absent); `depth_m`, `sigma`
    and `motion` are those of `types.Prediction`. Pixels of NaN depth count nowhere. GeometryError
    for cameras that are no pinholes, shapes that disagree, a negative index, and depth of a camera
    without time or pose. Of cameras with `shutters` depth is of the time of each pixel's line.
    """

    index: int
    time_us: int
    cameras: tuple[Camera, ...]
    time_cam_us: Int[np.ndarray, "v"]
    world_T_ego: Transform
    world_T_cam: Float[np.ndarray, "v 4 4"]
    depth_m: Float[np.ndarray, "v h w"]
    sigma: Float[np.ndarray, "v h w"]
    motion: Float[np.ndarray, "v h w"]
    rgb: UInt8[np.ndarray, "v h w 3"]
    sweep: PlacedSweep | None = None
    shutters: tuple[RollingShutter | None, ...] = ()

    @classmethod
    def of_record(
        cls,
        index: int,
        time_us: int,
        cameras: tuple[Camera, ...],
        record: FrameRecord,
        images: Images,
        sweep: PlacedSweep | None = None,
    ) -> "FusedFrame":
        """A written frame, placed by the log's own path; black where there is no image."""
        prediction = record.prediction
        blank = np.zeros((*prediction.depth_m.shape[1:], 3), np.uint8)
        ego_T_cam = np.stack([camera.ego_T_cam for camera in cameras])
        return cls(
            index=index,
            time_us=time_us,
            cameras=cameras,
            time_cam_us=record.time_cam_us,
            world_T_ego=record.world_T_ego,
            world_T_cam=record.world_T_ego_cam @ ego_T_cam,
            depth_m=prediction.depth_m,
            sigma=prediction.sigma,
            motion=prediction.motion,
            rgb=np.stack([blank if image is None else image for image in images]),
            sweep=sweep,
            shutters=record.shutters,
        )

    def shutter(self, view: int) -> RollingShutter | None:
        """A view's; None where all lines are read at one time."""
        return self.shutters[view] if self.shutters else None

    def __post_init__(self):
        vhw = self.depth_m.shape
        v = vhw[:1]
        expected = (v, (*v, 4, 4), vhw, vhw, (*vhw, 3))
        given = (self.time_cam_us, self.world_T_cam, self.sigma, self.motion, self.rgb)
        shapes = tuple(array.shape for array in given)
        if len(vhw) != 3 or shapes != expected or (len(self.cameras),) != v:
            raise GeometryError(
                f"frame {self.index}: depth_m is {vhw}, so time_cam_us, world_T_cam, sigma, motion "
                f"and rgb must be {expected}; got {shapes} and {len(self.cameras)} cameras"
            )
        bent = [camera.name for camera in self.cameras if not is_pinhole(camera)]
        if bent:
            raise GeometryError(
                f"frame {self.index}: cameras {', '.join(bent)} are no pinholes; look at them "
                "through one (geometry.pinholes.pinhole_of)"
            )
        if not 0 <= self.index < 2**31:
            raise GeometryError(f"frame index is {self.index}; expected 0 to 2^31 - 1")
        placed = (self.time_cam_us >= 0) & np.isfinite(self.world_T_cam).all((1, 2))
        lost = np.flatnonzero(~placed & np.isfinite(self.depth_m).any((1, 2)))
        if len(lost):
            raise GeometryError(
                f"frame {self.index}: cameras {lost.tolist()} have depth but times "
                f"{self.time_cam_us[lost].tolist()} us or poses that are not finite; expected "
                "time and pose, or NaN depth"
            )

    @cached_property
    def placed(self) -> PlacedViews:
        """The views that have a time and a pose."""
        chosen = np.flatnonzero((self.time_cam_us >= 0) & np.isfinite(self.world_T_cam).all((1, 2)))
        cameras = [self.cameras[view] for view in chosen]
        every = len(chosen) == len(self.cameras)  # then nothing is copied
        depth_m = self.depth_m if every else self.depth_m[chosen]
        sigma = self.sigma if every else self.sigma[chosen]
        nearest_m, farthest_m = np.empty_like(depth_m), np.empty_like(depth_m)
        range_around(depth_m, nearest_m, farthest_m)
        flat = len(chosen), math.prod(depth_m.shape[1:])
        return PlacedViews(
            view=chosen,
            size_hw=(depth_m.shape[1], depth_m.shape[2]),
            cam_T_world=invert(self.world_T_cam[chosen]),
            K=np.array([camera.K for camera in cameras], np.float64).reshape(-1, 3, 3),
            depth_m=depth_m.reshape(flat),
            nearest_m=nearest_m.reshape(flat),
            farthest_m=farthest_m.reshape(flat),
            sigma=sigma.reshape(flat),
            lines=np.array([_pack(self.shutter(view)) for view in chosen.tolist()]).reshape(-1, 10),
        )


def _pack(shutter: RollingShutter | None) -> list[float]:
    """Whether there is one, the axis and sense of reading, first and last time (s), motion."""
    if shutter is None:
        return [0.0] * 10
    axis, onward = 1.0 + shutter.by_rows, float(not shutter.backwards)
    moved = (*shutter.velocity_cam_mps.tolist(), *shutter.turn_cam_radps.tolist())
    return [axis, onward, shutter.first_us * 1e-6, shutter.last_us * 1e-6, *moved]


class FrameWindow:
    """A log's frames by number, read when asked for; the last `held` stay in memory.

    `time_us` are the frames' own times.
    """

    def __init__(
        self,
        time_us: Int64[np.ndarray, "t"],
        read: Callable[[int], FusedFrame],
        held: int = 48,
    ):
        self.time_us = time_us
        self._read, self._held = read, held
        self._frames: OrderedDict[int, FusedFrame] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self.time_us)

    def __getitem__(self, index: int) -> FusedFrame:
        with self._lock:
            if index in self._frames:
                self._frames.move_to_end(index)
                return self._frames[index]
            frame = self._frames[index] = self._read(index)
            _ = frame.placed  # once, and by one thread
            if len(self._frames) > self._held:
                self._frames.popitem(last=False)
            return frame

    def sweep(self, index: int) -> PlacedSweep | None:
        """The LiDAR of a frame, where it has any."""
        return self[index].sweep
