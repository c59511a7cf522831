"""What some frames of a scene say of their sensors: the road, images under LiDAR, boxes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from driv3r.datasets.check.boxes import BoxContent, count_points
from driv3r.datasets.check.edges import (
    Agreement,
    Rims,
    find_rims,
    measure_edges,
    rate_edges,
    summarise,
)
from driv3r.datasets.check.road import Road, measure_road
from driv3r.datasets.folder.rig_check import Finding, check_images, is_upright
from driv3r.datasets.folder.rig_file import RigCamera
from driv3r.geometry.lidar import measure_spacing
from driv3r.geometry.transforms import apply, invert
from driv3r.types import Boxes, Frame, Rig

ROAD_SLACK_M = 0.1
LEAST_BOXES, LEAST_FILLED = 20, 0.5
LEAST_POINTS, TURNED = 200, 1.1
MOVED_M = 1.0  # between frames that tell something new of the same things
MOST_FRAMES = 10
THINNED = 8  # every eighth pixel tells the sky's colour


class SensorComparison:
    """Gathers measures over frames of a scene; what they say together is in `findings`."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._roads: list[Road] = []
        self._rated: list[tuple[Rims, Float[np.ndarray, "s _"]]] = []
        self._images: dict[int, list[np.ndarray]] = {}
        self._content: BoxContent | None = None
        self._place_m: np.ndarray | None = None
        self._frames = 0

    def is_new(self, frame: Frame) -> bool:
        """Whether the car has moved on since the last frame that was added, and few were."""
        place_m = frame.world_T_ego[:3, 3]
        still = (
            self._place_m is not None and float(np.linalg.norm(place_m - self._place_m)) < MOVED_M
        )
        return not still and self._frames < MOST_FRAMES

    def add(self, frame: Frame, boxes: Boxes | None) -> None:
        """Measure a frame."""
        self._place_m = frame.world_T_ego[:3, 3]
        self._frames += 1
        for view, seen in enumerate(frame.views):
            if seen is not None:
                self._images.setdefault(view, []).append(seen.image[::THINNED, ::THINNED])
        if frame.sweep is None:
            return
        points_world = apply(frame.sweep.world_T_lidar, frame.sweep.points_lidar.astype(np.float64))
        points_ego = apply(invert(frame.world_T_ego), points_world)
        road = measure_road(points_ego)
        self._roads += [] if road is None else [road]
        self._rate_edges(frame, points_world, points_ego[:, 2] - self.rig.ground_z_m)
        if boxes is not None:
            place_world = frame.sweep.world_T_lidar[:3, 3]
            counted = count_points(boxes, points_world, place_world)
            self._content = counted if self._content is None else self._content + counted

    def _rate_edges(
        self, frame: Frame, points_world: Float[np.ndarray, "n 3"], height_m: Float[np.ndarray, "n"]
    ) -> None:
        assert frame.sweep is not None
        step_rad, _ = measure_spacing(frame.sweep.own_points)
        for camera, view in zip(self.rig.cameras, frame.views, strict=True):
            if view is not None and is_upright(camera.ego_T_cam):
                rims = find_rims(camera, view.world_T_cam, points_world, height_m, step_rad)
                strength = rate_edges(rims, measure_edges(view.image))
                self._rated.append((rims, strength))

    def measured(self) -> dict[str, Any]:
        """The fields `road`, `edges` and `content` of a SceneCheck."""
        road = None
        if self._roads:
            heights_m = [each.z_m for each in self._roads]
            road = self._roads[int(np.argsort(heights_m)[(len(heights_m) - 1) // 2])]
        return {
            "road": road,
            "edges": summarise(self._rated) if self._rated else None,
            "content": self._content,
        }

    def findings(self) -> list[Finding]:
        """What the measures contradict."""
        measured = self.measured()
        found = [*_check_road(measured["road"], self.rig.ground_z_m)]
        found += _check_edges(measured["edges"])
        found += _check_content(measured["content"])
        for view, images in self._images.items():
            camera = self.rig.cameras[view]
            named = RigCamera(camera.name, camera.size_hw, camera.K, camera.ego_T_cam)
            found += check_images(named, images)
        return found


def _check_road(road: Road | None, ground_z_m: float) -> Iterator[Finding]:
    if road is not None and abs(road.z_m - ground_z_m) > ROAD_SLACK_M:
        yield Finding(
            "doubtful", "lidar",
            f"it has the road at z {road.z_m:.2f} m under the car, {road.z_m - ground_z_m:+.2f} m "
            f"off ground_z_m ({ground_z_m:g})",
            f"{ROAD_SLACK_M:g} m apart at most",
            "Where is the ego origin, and is the LiDAR's place on the car right? A steep camber or "
            "a loaded car can be as far off",
        )  # fmt: skip


def _check_edges(edges: Agreement | None) -> Iterator[Finding]:
    if edges is not None and edges.is_told and not edges.agrees:
        yield Finding(
            "doubtful", "cameras",
            f"images have no more edges where LiDAR sees things end ({edges.own:.2f} of their "
            f"mean) than 16 to 32 pixels beside ({edges.beside:.2f}), by {edges.ends} ends",
            "clearly more",
            "Do calibration, poses and times of cameras and LiDAR belong together?",
        )  # fmt: skip


def _check_content(content: BoxContent | None) -> Iterator[Finding]:
    if content is None:
        return
    if content.near >= LEAST_BOXES and content.filled < LEAST_FILLED * content.near:
        yield Finding(
            "doubtful", "boxes",
            f"{content.filled} of {content.near} boxes within 40 m of the LiDAR hold a point",
            f"{LEAST_FILLED:.0%} or more", "Are boxes and sweeps of one time, in one frame?",
        )  # fmt: skip
    if content.points_turned > max(LEAST_POINTS, TURNED * content.points):
        yield Finding(
            "doubtful", "boxes",
            f"long boxes hold {content.points} points, and {content.points_turned} when they are "
            "turned by 90 degrees",
            "more as they are", "Are length and width exchanged?",
        )  # fmt: skip
