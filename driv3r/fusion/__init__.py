"""From a log's per-frame predictions to what stands still and what moves."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from driv3r.fusion.ahead import work_ahead
from driv3r.fusion.consistency import find_moving, find_static, gather_evidence
from driv3r.fusion.frames import FrameWindow, FusedFrame, FusionConfig
from driv3r.fusion.lidar import StaticReturns
from driv3r.fusion.moving.detections import Detection, find_detections
from driv3r.fusion.moving.merging import merge_tracks
from driv3r.fusion.moving.objects import find_objects, gather
from driv3r.fusion.moving.shapes import DetectionShapes, list_parts
from driv3r.fusion.moving.tracker import is_moving, link_tracks
from driv3r.fusion.resampling import fill_between
from driv3r.fusion.static import StaticFusion, VoxelSums, sum_pixels
from driv3r.store.reconstruction import Reconstruction

__all__ = ["FrameWindow", "FusedFrame", "FusionConfig", "StaticFusion", "fuse"]


@dataclass(frozen=True, eq=False)
class _Examined:
    """What one frame tells: voxels that stand, detections, and their voxels should they stand."""

    still: VoxelSums
    found: list[Detection]
    standing: list[VoxelSums]


def fuse(
    frames: FrameWindow,
    config: FusionConfig,
    report: Callable[[int], None] = lambda done: None,
    threads: int = 1,
) -> Reconstruction:
    """Fuse a log: each frame is held against the others, then the log is decided as a whole.

    `report` is told how many frames are compared. The number of threads changes no byte.
    """
    static, returns = StaticFusion(config), StaticReturns()
    shapes, detections = DetectionShapes(), list[Detection]()
    cameras, lidar = config.source != "lidar", config.source != "cameras"
    tasks = (partial(_examine, frames, index, config) for index in range(len(frames)))
    for index, examined in enumerate(work_ahead(tasks, threads)):
        if cameras:
            static.add(examined.still)
        if lidar:
            returns.add(frames, index, config)
        detections += shapes.put(index, examined.found, examined.standing)
        report(index + 1)
    tracks = merge_tracks([t for t in link_tracks(detections, config) if is_moving(t, config)])
    if cameras:
        for detection in _list_standing(detections, tracks):
            static.add(shapes.sums(detection))
    whole = ([shapes.with_points(detection) for detection in track] for track in tracks)
    objects = find_objects(whole, frames.time_us, config)
    for evidence in returns.list_evidence(gather(objects, frames.time_us)):
        static.add(sum_pixels(evidence, config))
    told = gather([each for each in objects if each.is_possible], frames.time_us)
    return Reconstruction(static.result(frames, threads), told)


def _examine(frames: FrameWindow, index: int, config: FusionConfig) -> _Examined:
    pixels = gather_evidence(frames, index, config)
    moves, exact = find_moving(pixels, config), find_static(pixels, config)
    stands = pixels.take(exact & ~moves)
    still = sum_pixels(stands, config, fill_between(stands, config))
    moving = pixels.take(moves)
    found = find_detections(moving, config)
    standing = [sum_pixels(moving.take(d.rows[exact[moves][d.rows]]), config) for d in found]
    return _Examined(still, found, standing)


def _list_standing(detections: list[Detection], tracks: list[list[Detection]]) -> list[Detection]:
    """The detections that are in no moving track: they go back into the map."""
    parts = (part for track in tracks for detection in track for part in list_parts(detection))
    moved = {(part.frame, part.number) for part in parts}
    return [each for each in detections if (each.frame, each.number) not in moved]
