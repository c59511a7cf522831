"""Logs as Waymo Perception v2 Parquet files, one a component, for the Waymo reader.

What is lost: boxes' pitch and roll in the car's frame, their categories but for five types, the
LiDAR's intensities and rings, images that are missing or broken. All else comes back: JPEGs to the
byte, times to the microsecond, poses as they are, points to half a digit of a 32-bit place in the
world (1.6e-5 m within 512 m).
"""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.transform import Rotation

from driv3r.datasets.images import read_file
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.datasets.reader import Reader
from driv3r.datasets.waymo.log import CAMERA_T_CAM, HALF_TURN_US
from driv3r.datasets.waymo.parquet_segment import FRAMES, SHUTTER, VELOCITY
from driv3r.datasets.waymo.range_images import to_points
from driv3r.datasets.waymo.segment import TOP_LASER, LaserReturn, LaserSetup
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import apply, invert
from driv3r.simulator.export.marker import mark_generated
from driv3r.types import Camera, Frame, Scene, Sweep, Transform

SPLITS = {"train": "training", "val": "validation", "test": "testing"}
CAMERAS = {  # numbers of Waymo's CameraName
    "CAM_FRONT": 1,
    "CAM_FRONT_LEFT": 2,
    "CAM_FRONT_RIGHT": 3,
    "CAM_BACK_LEFT": 6,
    "CAM_BACK": 7,
    "CAM_BACK_RIGHT": 8,
}
GLOBAL_SHUTTER = 5
ROWS, COLUMNS = 64, 2650  # as Waymo's TOP LiDAR has them
TYPES = {"vehicle.bicycle": 4, "vehicle.motorcycle": 4, "vehicle": 1, "human.pedestrian": 2}
LARGE, GROUP = ("camera_image", "lidar", "lidar_pose"), 8  # rows of a group
LENS = ("k1", "k2", "p1", "p2", "k3")
Rows = list[dict[str, Any]]


def write_logs(source: Reader, split: str, root: Path, report: Callable[[int, int], None]) -> None:
    """Write all logs of a split below `root`, in training/, validation/ or testing/.

    `report` is told of the frames written and of all. Raises ConfigError where `source` is no
    nuScenes folder, a log is there already, or pyarrow is not installed, DatasetError on a rig that
    Waymo's format can not hold.
    """
    if not isinstance(source, NuScenesReader):
        raise ConfigError(
            f"the logs come from a {type(source).__name__}, expected a world's NuScenesReader"
        )
    folder = root / SPLITS.get(split.split("_")[-1], split)
    scenes = [source.read(name) for name in source.scenes(split)]
    total, done = sum(len(scene.frames) for scene in scenes), 0
    for scene in scenes:
        log = _Log(source.root, scene)
        for index in range(len(scene.frames)):
            log.add(index)
            done += 1
            report(done, total)
        log.write(folder)
    if scenes and all(scene.generated for scene in scenes):
        mark_generated(root)


class _Log:
    """One log's rows by component."""

    def __init__(self, source: Path, scene: Scene) -> None:
        self._source, self._scene = source, scene
        self._laser: LaserSetup | None = None
        self._rows: dict[str, Rows] = defaultdict(list)
        self._rows["camera_calibration"] = [_camera_row(scene, c) for c in scene.rig.cameras]

    def add(self, index: int) -> None:
        """The rows of one frame."""
        scene, frame = self._scene, self._scene.frames[index]
        key = _key(scene, frame)
        pose = _to_world(scene, frame.world_T_ego).ravel()
        self._rows["vehicle_pose"].append(key | _under("VehiclePose", {"world_from_vehicle": pose}))
        self._rows["camera_image"] += _image_rows(self._source, scene, frame)
        self._rows["lidar_box"] += _box_rows(scene, index, frame)
        if frame.sweep is not None and scene.rig.ego_T_lidar is not None:
            self._add_sweep(key | {"key.laser_name": TOP_LASER}, frame, frame.sweep)

    def _add_sweep(self, key: dict[str, Any], frame: Frame, sweep: Sweep) -> None:
        scene = self._scene
        if self._laser is None:
            assert scene.rig.ego_T_lidar is not None
            self._laser = _make_laser(scene.rig.ego_T_lidar, sweep)
            self._rows["lidar_calibration"] = [_laser_row(scene, self._laser)]
        points_world = apply(_to_world(scene, sweep.world_T_lidar), _points(sweep))
        world_T_vehicle = _to_world(scene, frame.world_T_ego)
        image = make_range_image(points_world, world_T_vehicle, self._laser)
        assert image.pixel_poses is not None
        self._rows["lidar"].append(key | _values("LiDAR", _with_channels(image.ranges_m)))
        self._rows["lidar_pose"].append(key | _values("LiDARPose", image.pixel_poses))

    def write(self, folder: Path) -> None:
        """A file a component; none of what the log does not have."""
        poses = folder / FRAMES / f"{self._scene.id}.parquet"
        if poses.exists():
            raise ConfigError(f"{poses} is there already; give another root, or delete it")
        for component, rows in self._rows.items():
            if rows:
                _write_component(folder / component / f"{self._scene.id}.parquet", rows)


def _to_world(scene: Scene, world_T_src: Transform) -> Transform:
    """A pose in the coordinates of the dataset that the log is of."""
    out = world_T_src.copy()
    out[:3, 3] += scene.origin_world
    return out


def _points(sweep: Sweep) -> Float[np.ndarray, "n 3"]:
    points = sweep.points_lidar.astype(np.float64)
    return points[np.linalg.norm(points, axis=1) > 0]  # a range of 0 is none


def _key(scene: Scene, frame: Frame) -> dict[str, Any]:
    """A frame is named by its first shot's time, half a turn before its pose's."""
    return {
        "key.segment_context_name": scene.id,
        "key.frame_timestamp_micros": frame.time_us - HALF_TURN_US,
    }


def _under(component: str, values: dict[str, Any]) -> dict[str, Any]:
    """Columns of a component; a pose's numbers are one level deeper."""
    return {
        f"[{component}Component].{name}{'.transform' * isinstance(value, np.ndarray)}": value
        for name, value in values.items()
    }


def _camera_row(scene: Scene, camera: Camera) -> dict[str, Any]:
    if camera.name not in CAMERAS:
        raise DatasetError(
            f"Waymo has no camera for {camera.name}, only for {', '.join(CAMERAS)}; leave it out"
        )
    if camera.lens != "brown_conrady" or len(camera.distortion) > len(LENS) or camera.K[0, 1]:
        raise DatasetError(
            f"{camera.name} has the lens {camera.lens} {camera.distortion} and K "
            f"{camera.K.tolist()}; Waymo's format holds k1, k2, p1, p2, k3 and no skew"
        )
    lens = (*camera.distortion, *(0.0,) * len(LENS))[: len(LENS)]
    fx, fy, cx, cy = camera.K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    values = {"f_u": fx, "f_v": fy, "c_u": cx, "c_v": cy} | dict(zip(LENS, lens, strict=True))
    height, width = camera.size_hw
    key = {"key.segment_context_name": scene.id, "key.camera_name": CAMERAS[camera.name]}
    return key | _under(
        "CameraCalibration",
        {f"intrinsic.{name}": value for name, value in values.items()}
        | {
            "extrinsic": (camera.ego_T_cam @ invert(CAMERA_T_CAM)).ravel(),
            "width": width,
            "height": height,
            "rolling_shutter_direction": GLOBAL_SHUTTER,
        },
    )


def _image_rows(source: Path, scene: Scene, frame: Frame) -> Rows:
    """The images as they lie there; no velocity is told, as all lines are of one time."""
    rows = []
    for camera, view in zip(scene.rig.cameras, frame.views, strict=True):
        if view is None:
            continue
        values: dict[str, Any] = {
            "image": read_file(source / view.path),
            "pose": _to_world(scene, view.world_T_cam @ invert(camera.ego_T_cam)).ravel(),
            "pose_timestamp": view.time_us * 1e-6,
        } | dict.fromkeys((*VELOCITY, *SHUTTER))
        number = {"key.camera_name": CAMERAS[camera.name]}
        rows.append(_key(scene, frame) | number | _under("CameraImage", values))
    return rows


def _box_rows(scene: Scene, index: int, frame: Frame) -> Rows:
    boxes = None if scene.boxes is None else scene.boxes(index)
    if boxes is None:
        return []
    rows = []
    vehicle_T_box = invert(frame.world_T_ego) @ boxes.world_T_box
    for i, name in enumerate(boxes.instance):
        place = vehicle_T_box[i]
        values: dict[str, Any] = {
            "type": next((n for label, n in TYPES.items() if boxes.label[i].startswith(label)), 0),
            "box.heading": float(np.arctan2(place[1, 0], place[0, 0])),
        }
        velocity_mps = boxes.velocity_world_mps[i]
        for axis, center, side, speed in zip(
            "xyz", place[:3, 3], boxes.size_m[i], velocity_mps, strict=True
        ):
            values |= {f"box.center.{axis}": float(center), f"box.size.{axis}": float(side)}
            values[f"speed.{axis}"] = float(speed) if np.isfinite(speed) else None
        key = _key(scene, frame) | {"key.laser_object_id": name}
        rows.append(key | _under("LiDARBox", values))
    return rows


def _make_laser(vehicle_T_laser: Transform, sweep: Sweep) -> LaserSetup:
    """Rows where the sweep has its returns, as many in each."""
    points = _points(sweep)
    rise_rad = np.arctan2(points[:, 2], np.linalg.norm(points[:, :2], axis=1))
    table = np.quantile(rise_rad, (np.arange(ROWS) + 0.5) / ROWS)
    return LaserSetup(vehicle_T_laser, table, (float(table[0]), float(table[-1])))


def _laser_row(scene: Scene, laser: LaserSetup) -> dict[str, Any]:
    low, high = laser.span_rad
    values = {
        "extrinsic": laser.vehicle_T_laser.ravel(),
        "beam_inclination.min": low,
        "beam_inclination.max": high,
        "beam_inclination.values": laser.inclinations_rad.tolist(),
    }
    key = {"key.segment_context_name": scene.id, "key.laser_name": TOP_LASER}
    return key | _under("LiDARCalibration", values)


def make_range_image(
    points_world: Float[np.ndarray, "n 3"], world_T_vehicle: Transform, laser: LaserSetup
) -> LaserReturn:
    """A range image with one pixel a point, whose own pose puts the point where it was.

    A point goes to the nearest row and column, or to the next pixel that is free. What its
    direction then is off, the place of the vehicle in its pixel's pose takes up.
    """
    laser_T_world = invert(world_T_vehicle @ laser.vehicle_T_laser)
    points_laser = apply(laser_T_world, points_world)
    columns = max(COLUMNS, 4 * len(points_world) // ROWS)
    cell = _choose_cells(points_laser, laser, columns)
    order = np.argsort(cell)
    ranges_m = np.zeros((ROWS, columns), np.float32)
    ranges_m.reshape(-1)[cell] = np.linalg.norm(points_laser, axis=1)
    points_vehicle = to_points(LaserReturn(TOP_LASER, ranges_m, None), laser, world_T_vehicle)
    ypr = Rotation.from_matrix(world_T_vehicle[:3, :3]).as_euler("ZYX").astype(np.float32)
    turned = Rotation.from_euler("ZYX", ypr.astype(np.float64)).apply(points_vehicle)
    poses = np.empty((ROWS, columns, 6), np.float32)
    poses[:] = [*ypr[::-1], *world_T_vehicle[:3, 3]]
    poses.reshape(-1, 6)[cell[order], 3:] = points_world[order] - turned
    return LaserReturn(TOP_LASER, ranges_m, poses)


def _choose_cells(
    points_laser: Float[np.ndarray, "n 3"], laser: LaserSetup, columns: int
) -> Int[np.ndarray, "n"]:
    """Numbers of pixels, row by row, each taken once; there are more than twice as many."""
    x, y, z = points_laser.T
    rise_rad = np.arctan2(z, np.hypot(x, y))
    table = laser.inclinations_rad
    row = ROWS - 1 - np.searchsorted((table[1:] + table[:-1]) / 2, rise_rad)
    x_axis = laser.vehicle_T_laser[:3, 0]
    share = (np.pi - np.arctan2(y, x) - np.arctan2(x_axis[1], x_axis[0])) / (2 * np.pi)
    cell = row * columns + np.floor(share % 1 * columns).astype(np.int64) % columns
    while True:
        again = np.ones(len(cell), bool)
        again[np.unique(cell, return_index=True)[1]] = False
        if not again.any():
            return cell
        cell[again] = (cell[again] + 1) % (ROWS * columns)


def _with_channels(ranges_m: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 4"]:
    """Range, intensity, elongation, whether in a no-label zone (-1: it is not)."""
    none = np.zeros_like(ranges_m)
    return np.stack([ranges_m, none, none, none - 1], axis=-1)


def _values(component: str, image: Float[np.ndarray, "h w c"]) -> dict[str, Any]:
    flat = {"values": image.reshape(-1).tolist(), "shape": list(image.shape)}
    return _under(component, {f"range_image_return1.{name}": v for name, v in flat.items()})


def _write_component(path: Path, rows: Rows) -> None:
    """A file; large rows in small groups, so that one is read without the others."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            f"Waymo's v2 files need pyarrow ({error}): pip install 'driv3r[waymo]'"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name in rows[0]:
        values = [v.tolist() if isinstance(v := row[name], np.ndarray) else v for row in rows]
        kinds = {"camera_name": pa.int8(), "laser_name": pa.int8(), "type": pa.int8()}
        kind = kinds.get(name.rpartition(".")[2])
        if ".range_image_return" in name and name.endswith(".values"):
            kind = pa.list_(pa.float32())
        if any(part in name for part in (".speed.", ".velocity.", ".rolling_shutter_params.")):
            kind = pa.float64()  # of columns that may hold nothing
        arrays[name] = pa.array(values, kind)
    group = GROUP if path.parent.name in LARGE else len(rows)
    parquet.write_table(pa.table(arrays), path, row_group_size=group, compression="zstd")
