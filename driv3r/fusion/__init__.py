"""From a log's per-frame predictions to what stands still and what moves."""

from collections.abc import Callable

from driv3r.fusion.consistency import find_moving, find_static, gather_evidence
from driv3r.fusion.frames import FrameWindow, FusedFrame, FusionConfig
from driv3r.fusion.lidar import StandingReturns
from driv3r.fusion.moving.detections import Detection, find_detections
from driv3r.fusion.moving.merging import merge_tracks
from driv3r.fusion.moving.objects import make_objects
from driv3r.fusion.moving.shapes import DetectionShapes, list_parts
from driv3r.fusion.moving.tracker import is_moving, link_tracks
from driv3r.fusion.resampling import fill_between
from driv3r.fusion.static import StaticFusion, sum_pixels
from driv3r.store.reconstruction import Reconstruction

__all__ = ["FrameWindow", "FusedFrame", "FusionConfig", "StaticFusion", "fuse"]


def fuse(
    frames: FrameWindow,
    config: FusionConfig,
    report: Callable[[int], None] | None = None,
    threads: int = 1,
) -> Reconstruction:
    """Fuse a log: each frame is held against the others, then the log is decided as a whole.

    `report` is told how many frames are compared. The number of threads changes no byte.
    """
    static, shapes, detections = StaticFusion(config), DetectionShapes(), list[Detection]()
    returns = StandingReturns()
    for index in range(len(frames)):
        pixels = gather_evidence(frames, index, config, threads)
        moves, exact = find_moving(pixels, config), find_static(pixels, config)
        if config.source != "lidar":
            static.add(sum_pixels(fill_between(pixels.take(exact & ~moves), config), config))
        if config.source != "cameras":
            returns.add(frames, index, config)
        moving = pixels.take(moves)
        found = find_detections(moving, config)
        standing = [sum_pixels(moving.take(d.rows[exact[moves][d.rows]]), config) for d in found]
        detections += shapes.put(index, found, standing)
        if report is not None:
            report(index + 1)
    tracks = merge_tracks([t for t in link_tracks(detections, config) if is_moving(t, config)])
    parts = (part for track in tracks for detection in track for part in list_parts(detection))
    moved = {(part.frame, part.number) for part in parts}
    for detection in detections:
        if (detection.frame, detection.number) not in moved and config.source != "lidar":
            static.add(shapes.sums(detection))
    whole = ([shapes.with_points(detection) for detection in track] for track in tracks)
    objects = make_objects(whole, frames.time_us, config)
    for index in range(len(frames)):
        evidence = returns.evidence(index, objects)
        if evidence is not None:
            static.add(sum_pixels(evidence, config))
    return Reconstruction(static.result(frames), objects)
