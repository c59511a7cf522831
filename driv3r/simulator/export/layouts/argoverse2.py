"""Logs in Argoverse 2's sensor layout, which `driv3r.datasets.argoverse2` reads back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from driv3r.datasets.argoverse2 import GROUND_Z_M, LIDAR, SPLITS
from driv3r.datasets.argoverse2.tables import PLACE, write_table
from driv3r.datasets.images import read_file
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.datasets.reader import Reader
from driv3r.errors import ConfigError
from driv3r.geometry.transforms import apply, from_rotvec, invert, to_quaternion
from driv3r.simulator.export.marker import mark_generated
from driv3r.types import Boxes, Camera, Frame, Rig, Scene, Sweep, Transform

# The world's car has one camera to the rear, Argoverse 2's has two: it takes the left one's name.
CAMERAS = {
    "CAM_FRONT": "ring_front_center",
    "CAM_FRONT_RIGHT": "ring_front_right",
    "CAM_BACK_RIGHT": "ring_side_right",
    "CAM_BACK": "ring_rear_left",
    "CAM_BACK_LEFT": "ring_side_left",
    "CAM_FRONT_LEFT": "ring_front_left",
}
CATEGORIES = {
    "vehicle.car": "REGULAR_VEHICLE",
    "vehicle.truck": "TRUCK",
    "vehicle.bus.rigid": "BUS",
    "vehicle.motorcycle": "MOTORCYCLE",
    "vehicle.bicycle": "BICYCLE",
    "human.pedestrian.adult": "PEDESTRIAN",
}
INTRINSIC = (
    *("sensor_name", "fx_px", "fy_px", "cx_px", "cy_px"),
    *("k1", "k2", "k3", "height_px", "width_px"),
)
ANNOTATION = (
    *("timestamp_ns", "track_uuid", "category", "length_m", "width_m", "height_m"),
    *PLACE,
    "num_interior_pts",
)
NS = 1000  # in a microsecond


def write_logs(source: Reader, split: str, root: Path, report: Callable[[int, int], None]) -> None:
    """All logs of a split as `<split>/<log>` below `root`, their frames one after the other.

    The ego frame is lifted from the road to Argoverse 2's, and a pose is written at each sensor's
    own time. Points are float32 in that frame (the recordings' are halves), of intensity, laser and
    offset 0, which are not known here; no map is written. Image files are copied. `report` is told
    of the frames written and of all. Raises ConfigError where `source` is no nuScenes folder, or
    its split or cameras have no name in Argoverse 2.
    """
    if not isinstance(source, NuScenesReader):
        raise ConfigError(
            f"the logs come from a {type(source).__name__}, expected a world's NuScenesReader"
        )
    folder = root / _name_split(split)
    scenes = [source.read(name) for name in source.scenes(split)]
    total, done = sum(len(scene.frames) for scene in scenes), 0
    for scene in scenes:
        log = _Log.of_scene(folder / scene.id, source.root, scene)
        for i, frame in enumerate(scene.frames):
            log.add(frame, None if scene.boxes is None else scene.boxes(i))
            done += 1
            report(done, total)
        log.finish()
    if scenes and all(scene.generated for scene in scenes):
        mark_generated(root)


def _name_split(split: str) -> str:
    """Of the official splits the one that nuScenes' own names: mini_val is val."""
    named = [name for name in SPLITS if name in split.split("_")]
    if len(named) != 1:
        raise ConfigError(f"split {split!r} is none of {', '.join(SPLITS)}; write one of them")
    return named[0]


@dataclass(frozen=True, eq=False)
class _Log:
    """One log as it is written: files of frames at once, its tables in the end.

    `ego_T_axle` places Argoverse 2's ego frame in the source's.
    """

    folder: Path
    images: Path
    rig: Rig
    names: tuple[str, ...]
    ego_T_axle: Transform
    world_T_axle: dict[int, Transform] = field(default_factory=dict)  # by time in ns
    annotations: list[tuple] = field(default_factory=list)

    @classmethod
    def of_scene(cls, folder: Path, images: Path, scene: Scene) -> "_Log":
        unknown = [c.name for c in scene.rig.cameras if c.name not in CAMERAS or c.distortion]
        if unknown or scene.rig.ego_T_lidar is None:
            raise ConfigError(
                f"{scene.id} has {', '.join(unknown) or 'no LiDAR'}, expected a LiDAR and pinholes "
                f"of {', '.join(CAMERAS)}: Argoverse 2 has no names for others"
            )
        height_m = scene.rig.ground_z_m - GROUND_Z_M
        ego_T_axle = from_rotvec(np.zeros(3), np.array([0.0, 0.0, height_m]))
        names = tuple(CAMERAS[camera.name] for camera in scene.rig.cameras)
        return cls(folder, images, scene.rig, names, ego_T_axle)

    def add(self, frame: Frame, boxes: Boxes | None) -> None:
        """Write a frame's images and points, and note its poses and boxes."""
        cameras = zip(self.rig.cameras, self.names, frame.views, strict=True)
        for camera, name, view in cameras:
            if view is not None:
                self._note_pose(view.time_us, view.world_T_cam @ invert(camera.ego_T_cam))
                path = self.folder / "sensors" / "cameras" / name / f"{view.time_us * NS}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(read_file(self.images / view.path))
        if frame.sweep is None or self.rig.ego_T_lidar is None:
            return
        world_T_ego = frame.sweep.world_T_lidar @ invert(self.rig.ego_T_lidar)
        self._note_pose(frame.sweep.time_us, world_T_ego)
        axle_T_lidar = invert(self.ego_T_axle) @ self.rig.ego_T_lidar
        points = apply(axle_T_lidar, frame.sweep.points_lidar.astype(np.float64))
        self._write_points(frame.sweep.time_us, points)
        if boxes is not None:
            self.annotations.extend(self._annotate(frame.sweep, boxes))

    def _note_pose(self, time_us: int, world_T_ego: Transform) -> None:
        self.world_T_axle.setdefault(time_us * NS, world_T_ego @ self.ego_T_axle)

    def _write_points(self, time_us: int, points_axle: Float[np.ndarray, "n 3"]) -> None:
        columns = dict(zip("xyz", points_axle.astype(np.float32).T, strict=True))
        byte = np.zeros(len(points_axle), np.uint8)
        columns |= {"intensity": byte, "laser_number": byte, "offset_ns": byte.astype(np.int32)}
        write_table(self.folder / "sensors" / "lidar" / f"{time_us * NS}.feather", columns)

    def _annotate(self, sweep: Sweep, boxes: Boxes) -> Iterator[tuple]:
        """Rows of annotations.feather, as ANNOTATION names their columns."""
        axle_T_world = invert(self.world_T_axle[sweep.time_us * NS])
        points_world = apply(sweep.world_T_lidar, sweep.points_lidar.astype(np.float64))
        for i, (track, label) in enumerate(zip(boxes.instance, boxes.label, strict=True)):
            own = apply(invert(boxes.world_T_box[i]), points_world)
            inside = np.all(np.abs(own) <= boxes.size_m[i] / 2, axis=1)
            category = CATEGORIES.get(label, label.upper().replace(".", "_"))
            place = _row_of(axle_T_world @ boxes.world_T_box[i])
            size_m = boxes.size_m[i].tolist()
            yield (sweep.time_us * NS, track, category, *size_m, *place, int(inside.sum()))

    def finish(self) -> None:
        """Write calibration, poses and boxes."""
        axle_T_ego = invert(self.ego_T_axle)
        cameras = dict(zip(self.names, self.rig.cameras, strict=True))
        places = {name: axle_T_ego @ camera.ego_T_cam for name, camera in cameras.items()}
        if self.rig.ego_T_lidar is not None:
            places[LIDAR] = axle_T_ego @ self.rig.ego_T_lidar
        for name, columns, rows in (
            ("calibration/intrinsics", INTRINSIC, [_intrinsics(*each) for each in cameras.items()]),
            ("calibration/egovehicle_SE3_sensor", ("sensor_name", *PLACE),
             [(sensor, *_row_of(place)) for sensor, place in places.items()]),
            ("city_SE3_egovehicle", ("timestamp_ns", *PLACE),
             [(at_ns, *_row_of(place)) for at_ns, place in sorted(self.world_T_axle.items())]),
            ("annotations", ANNOTATION, self.annotations),
        ):  # fmt: skip
            values = zip(*rows, strict=True) if rows else [()] * len(columns)
            table = dict(zip(columns, map(list, values), strict=True))
            write_table(self.folder / f"{name}.feather", table)


def _row_of(dst_T_src: Transform) -> list[float]:
    return [*to_quaternion(dst_T_src).tolist(), *dst_T_src[:3, 3].tolist()]


def _intrinsics(name: str, camera: Camera) -> tuple:
    """A row of intrinsics.feather, whose pixel centres are whole numbers."""
    (fx, _, cx), (_, fy, cy), _ = camera.K.astype(np.float64).tolist()
    height, width = camera.size_hw
    return (name, fx, fy, cx - 0.5, cy - 0.5, 0.0, 0.0, 0.0, height, width)
