"""LiDAR in the static map: what other sweeps look through moves, the rest stands."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from driv3r.fusion.consistency import PixelEvidence, list_compared
from driv3r.fusion.frames import FrameWindow, FusedFrame, FusionConfig
from driv3r.fusion.sweeps import RangeImage, SweepOf
from driv3r.fusion.tiles import TileCache
from driv3r.geometry.transforms import apply, invert
from driv3r.kernels.range_image import compare_with_sweep
from driv3r.types import MovingObjects

ERROR_M, ERROR_SHARE = 0.2, 0.01  # of a range against another sweep's: poses, grazing returns
SWEEP_ERROR_M = 0.03  # of a return
MARGIN_M = 0.3  # around the box of a moving object
UNSEEN = 128  # grey of a return that no camera sees
HELD_BYTES = 32 << 20


def compare_sweeps(
    sweep_of: SweepOf, index: int, count: int, config: FusionConfig
) -> tuple[Int32[np.ndarray, "n"], Int32[np.ndarray, "n"]]:
    """How many of the sweeps around see a surface at each return of one, and look through it."""
    own = sweep_of(index)
    n = 0 if own is None else len(own.points_lidar)
    agrees, through = np.zeros(n, np.int32), np.zeros(n, np.int32)
    for other in list_compared(index, count, config):
        sweep = sweep_of(other) if other != index else None
        if own is not None and sweep is not None:
            observe_sweep(sweep.image, own.points_world, agrees, through)
    return agrees, through


def observe_sweep(
    image: RangeImage,
    points_world: Float[np.ndarray, "n 3"],
    sees: Int32[np.ndarray, "n"],
    misses: Int32[np.ndarray, "n"],
) -> None:
    """Add to each point whether a sweep sees a surface there, or looks through it."""
    compare_with_sweep(
        points_world, image.lidar_T_world, image.low_rad, image.step_rad,
        image.nearest_m, image.farthest_m, ERROR_M, ERROR_SHARE, sees, misses,
    )  # fmt: skip


def find_static_returns(
    agrees: Int32[np.ndarray, "n"], through: Int32[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    """Returns that stand: seen as often as looked through."""
    return through <= agrees


class StaticReturns:
    """Every frame's returns that stand, with colours, held like tiles until objects are known."""

    def __init__(self) -> None:
        self._frames = TileCache(HELD_BYTES)

    def add(self, frames: FrameWindow, index: int, config: FusionConfig) -> None:
        """Those of one frame's sweep."""
        own = frames.sweep(index)
        if own is None:
            return
        agrees, through = compare_sweeps(frames.sweep, index, len(frames), config)
        near = np.linalg.norm(own.points_lidar, axis=-1) <= config.max_depth_m
        points = own.points_world[near & find_static_returns(agrees, through)]
        rgb = find_colours(frames[index], points)
        origin = own.world_T_lidar[:3, 3]
        time_us = np.array([own.time_us])
        self._frames[index] = {"points": points, "rgb": rgb, "origin": origin, "time_us": time_us}

    def list_evidence(self, moving: MovingObjects) -> Iterator[PixelEvidence]:
        """What each frame's returns tell the static map: those in no moving object's box."""
        for index in self._frames:
            yield self._evidence(index, moving)

    def _evidence(self, index: int, moving: MovingObjects) -> PixelEvidence:
        kept = self._frames[index]
        points = kept["points"]
        outside = ~find_in_objects(points, moving, index)
        points, rgb = points[outside], kept["rgb"][outside]
        ray = points - kept["origin"]
        range_m = np.linalg.norm(ray, axis=-1)
        n = len(points)
        none, error_m = np.zeros(n, np.int32), np.full(n, SWEEP_ERROR_M)
        return PixelEvidence(
            frame=index,
            columns=1,
            view=none,
            pixel=none,
            time_us=np.full(n, kept["time_us"][0]),
            point_world=points,
            ray_world=ray / range_m[:, None],
            range_m=range_m,
            error_m=error_m,
            own_error_m=error_m,
            agrees=none,
            through=none,
            motion=np.zeros(n),
            edge=np.zeros(n),
            rgb=rgb,
        )


def find_colours(
    frame: FusedFrame, points_world: Float[np.ndarray, "n 3"]
) -> UInt8[np.ndarray, "n 3"]:
    """Colours of points from the first camera that has them in its image, grey without one."""
    pixel, _ = frame.placed.locate(points_world)
    rgb = np.full((len(points_world), 3), UNSEEN, np.uint8)
    for row, view in reversed(list(enumerate(frame.placed.view))):
        seen = pixel[row] >= 0
        rgb[seen] = frame.rgb[view].reshape(-1, 3)[pixel[row][seen]]
    return rgb


def find_in_objects(
    points_world: Float[np.ndarray, "n 3"], moving: MovingObjects, frame: int
) -> Bool[np.ndarray, "n"]:
    """Points within the box of an object at a frame."""
    inside = np.zeros(len(points_world), bool)
    for state in np.flatnonzero(moving.frame == frame):
        points = apply(invert(moving.world_T_object[state]), points_world)
        half_m = moving.size_m[moving.track_id[state]] / 2 + MARGIN_M
        inside |= (np.abs(points) <= half_m).all(-1)
    return inside
