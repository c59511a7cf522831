"""Points and voxels of detections, by frame, of which only some are held in memory."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from driv3r.fusion.moving.detections import Detection
from driv3r.fusion.static import VoxelSums
from driv3r.fusion.tiles import TileCache

HELD_BYTES = 32 << 20
_EMPTY = {
    "points_world": np.zeros((0, 3), np.float32),
    "points_rgb": np.zeros((0, 3), np.uint8),
    "rows": np.zeros(0, np.int64),
}


def list_parts(detection: Detection) -> list[Detection]:
    """The detection, and all that were joined to it."""
    return [detection, *(part for also in detection.also for part in list_parts(also))]


class DetectionShapes:
    """What is large of detections: their points, and the sums of their voxels should they stand."""

    def __init__(self) -> None:
        self._frames = TileCache(HELD_BYTES)

    def put(
        self, frame: int, detections: Sequence[Detection], sums: Sequence[VoxelSums]
    ) -> list[Detection]:
        """Keep the shapes of a frame's detections; these without them, numbered."""
        arrays = {}
        for number, (detection, standing) in enumerate(zip(detections, sums, strict=True)):
            large = {name: getattr(detection, name) for name in _EMPTY if name != "rows"}
            for name, array in (large | vars(standing)).items():
                arrays[f"{number} {name}"] = array
        self._frames[frame] = arrays
        return [replace(d, number=number, **_EMPTY) for number, d in enumerate(detections)]

    def with_points(self, detection: Detection) -> Detection:
        """The detection with its points again, and those of its other parts."""
        names = ("points_world", "points_rgb")
        parts = list_parts(detection)
        points = {n: np.concatenate([self._read(part, n) for part in parts]) for n in names}
        return replace(detection, **points)

    def sums(self, detection: Detection) -> VoxelSums:
        """The sums of its voxels."""
        names = ("key", "total", "first", "last")
        return VoxelSums(*(self._read(detection, name) for name in names))

    def _read(self, detection: Detection, name: str) -> np.ndarray:
        return self._frames[detection.frame][f"{detection.number} {name}"]
