"""Logs as raw drives of KITTI, which `driv3r.datasets.kitti` reads back."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from driv3r.datasets.reader import Reader
from driv3r.errors import ConfigError
from driv3r.geometry.cameras import is_pinhole
from driv3r.geometry.transforms import apply, from_rotvec, invert
from driv3r.simulator.export.layouts.kitti_tracklets import Tracklets
from driv3r.simulator.export.marker import mark_generated
from driv3r.types import Camera, Frame, Rig, Scene, Transform

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARTH_M = 6_378_137.0  # as KITTI's development kit has it
START_DEG = (49.015, 8.434)  # where every drive's first packet lies: Karlsruhe
IMU_HEIGHT_M = 0.93  # over the road, as on KITTI's car
FIRST_CAMERA = 2  # the colour cameras are image_02, image_03; further ones follow
REST = [0.0] * 19 + [4, 9, 6, 6, 6]  # of a packet: velocities, which nobody reads, and states


def write_logs(source: Reader, split: str, root: Path, report: Callable[[int, int], None]) -> None:
    """All logs of a split as `<date>/<date>_drive_<number>_sync` below `root`.

    The cameras are image_02 and on, in the rig's order; all are placed by P_rect = K [R | t]. An
    OXTS packet lies at every sensor's time, so that poses are read back as they are, from the
    first one's place. Logs of one day share its calibration: one of another rig gets the next free
    day's folder. A box that is away for a frame goes on as another tracklet. `report` is told of
    the frames written and of all. Raises ConfigError where a drive is there already, or a rig can
    not be told in KITTI's files: lenses that bend, no LiDAR.
    """
    scenes = [source.read(name) for name in source.scenes(split)]
    total, done = sum(len(scene.frames) for scene in scenes), 0
    calibrations: dict[str, dict[str, str]] = {}
    for index, scene in enumerate(scenes):
        placed = _Placed.of_scene(scene)
        date = _choose_date(int(scene.time_us[0]), placed.calibration(), calibrations)
        folder = root / date / f"{date}_drive_{_number(scene.id, scenes, index):04d}_sync"
        if folder.exists():
            raise ConfigError(f"{folder} is there already; give another root, or delete it")
        for name, text in calibrations[date].items():
            _write(root / date / name, text)
        drive = _Drive(folder, placed)
        for i, frame in enumerate(scene.frames):
            drive.add(i, frame, scene)
            done += 1
            report(done, total)
        drive.finish(scene.poses_known)
    if scenes and all(scene.generated for scene in scenes):
        mark_generated(root)


def _number(name: str, scenes: Sequence[Scene], index: int) -> int:
    """The drive's number: that in its log's name where it tells them apart, else its place."""
    told = [re.findall(r"\d+", scene.id)[-1:] for scene in scenes]
    apart = all(told) and len({int(each[0]) for each in told}) == len(told)
    return int(told[index][0]) if apart and int(told[index][0]) < 10_000 else index


def _choose_date(
    start_us: int, calibration: dict[str, str], known: dict[str, dict[str, str]]
) -> str:
    """The log's day, or the next one that is free or has the same calibration; noted in `known`."""
    day = EPOCH + timedelta(microseconds=start_us)
    while known.setdefault(f"{day:%Y_%m_%d}", calibration) != calibration:
        day += timedelta(days=1)
    return f"{day:%Y_%m_%d}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _numbers(values: np.ndarray | Sequence[float]) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


@dataclass(frozen=True, eq=False)
class _Placed:
    """A rig with KITTI's IMU, and its LiDAR turned to look along x."""

    rig: Rig
    ego_T_imu: Transform
    ego_T_velo: Transform

    @classmethod
    def of_scene(cls, scene: Scene) -> "_Placed":
        rig = scene.rig
        bent = [camera.name for camera in rig.cameras if not is_pinhole(camera)]
        if bent or rig.ego_T_lidar is None:
            fault = f"lenses that bend ({', '.join(bent)})" if bent else "no LiDAR"
            raise ConfigError(
                f"the rig of {scene.id} has {fault}, expected pinholes and a LiDAR: KITTI's files "
                "tell nothing else. Undistort the images, or write another layout"
            )
        height_m = rig.ground_z_m + IMU_HEIGHT_M
        ego_T_imu = from_rotvec(np.zeros(3), np.array([0.0, 0.0, height_m]))
        yaw_rad = np.arctan2(rig.ego_T_lidar[1, 0], rig.ego_T_lidar[0, 0])
        quarters = round(float(yaw_rad) / (np.pi / 2))
        c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters % 4]  # exact, and so are turned points
        lidar_T_velo = np.array([[c, s, 0, 0], [-s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        return cls(rig, ego_T_imu, rig.ego_T_lidar @ lidar_T_velo)

    @property
    def velo_T_lidar(self) -> Transform:
        assert self.rig.ego_T_lidar is not None  # as of_scene saw to
        return np.round(invert(self.ego_T_velo) @ self.rig.ego_T_lidar)

    def calibration(self) -> dict[str, str]:
        """The day's three files."""
        ego_T_rect0 = self.rig.cameras[0].ego_T_cam
        rigid = {
            "calib_imu_to_velo.txt": invert(self.ego_T_velo) @ self.ego_T_imu,
            "calib_velo_to_cam.txt": invert(ego_T_rect0) @ self.ego_T_velo,
        }
        files = {
            name: f"R: {_numbers(matrix[:3, :3])}\nT: {_numbers(matrix[:3, 3])}\n"
            for name, matrix in rigid.items()
        }
        numbered = dict(enumerate(self.rig.cameras, FIRST_CAMERA))
        cameras = {0: self.rig.cameras[0], 1: numbered.get(3, self.rig.cameras[0]), **numbered}
        lines = [
            line
            for number, camera in cameras.items()
            for line in _describe(f"{number:02d}", camera, ego_T_rect0)
        ]
        return files | {"calib_cam_to_cam.txt": "".join(f"{line}\n" for line in lines)}

    def world_T_ego(self, frame: Frame) -> Iterator[tuple[int, Transform]]:
        """Time and pose of the car by each sensor, the LiDAR's first."""
        if frame.sweep is not None and self.rig.ego_T_lidar is not None:
            yield frame.sweep.time_us, frame.sweep.world_T_lidar @ invert(self.rig.ego_T_lidar)
        for camera, view in zip(self.rig.cameras, frame.views, strict=True):
            if view is not None:
                yield view.time_us, view.world_T_cam @ invert(camera.ego_T_cam)


def _describe(number: str, camera: Camera, ego_T_rect0: Transform) -> Iterator[str]:
    """A camera's lines, by its rotation and place in the first one's frame; it is rectified."""
    cam_T_rect0 = invert(camera.ego_T_cam) @ ego_T_rect0
    K = camera.K.astype(np.float64) - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])
    size = _numbers([camera.size_hw[1], camera.size_hw[0]])
    yield f"S_{number}: {size}"
    yield f"K_{number}: {_numbers(K)}"
    yield f"D_{number}: {_numbers(np.zeros(5))}"
    yield f"R_{number}: {_numbers(cam_T_rect0[:3, :3])}"
    yield f"T_{number}: {_numbers(cam_T_rect0[:3, 3])}"
    yield f"S_rect_{number}: {size}"
    yield f"R_rect_{number}: {_numbers(np.eye(3))}"
    yield f"P_rect_{number}: {_numbers(K @ cam_T_rect0[:3])}"


@dataclass(frozen=True, eq=False)
class _Drive:
    """One drive as it is written: files of frames at once, times and packets in the end."""

    folder: Path
    placed: _Placed
    times_us: dict[str, list[int | None]] = field(default_factory=dict)
    world_T_ego: dict[int, Transform] = field(default_factory=dict)
    tracklets: Tracklets = field(default_factory=Tracklets)

    def add(self, i: int, frame: Frame, scene: Scene) -> None:
        """Write a frame's images and points, and note the rest."""
        for number, view in enumerate(frame.views, FIRST_CAMERA):
            name = f"image_{number:02d}"
            self.times_us.setdefault(name, []).append(None if view is None else view.time_us)
            if view is not None:
                path = self.folder / name / "data" / f"{i:010d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(cv2.imencode(".png", view.image[..., ::-1])[1].tobytes())
        sweep = frame.sweep
        times_us = self.times_us.setdefault("velodyne_points", [])
        times_us.append(None if sweep is None else sweep.time_us)
        if sweep is not None:
            points = apply(self.placed.velo_T_lidar, sweep.points_lidar).astype("<f4")
            path = self.folder / "velodyne_points" / "data" / f"{i:010d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(np.column_stack([points, np.zeros(len(points), "<f4")]).tobytes())
        poses = list(self.placed.world_T_ego(frame))
        self.world_T_ego.update(poses)
        boxes = None if scene.boxes is None else scene.boxes(i)
        if boxes is not None and poses:
            self.tracklets.add(i, boxes, invert(poses[0][1] @ self.placed.ego_T_velo))

    def finish(self, poses_known: bool) -> None:
        """Write times, packets and tracklets."""
        for name, times_us in self.times_us.items():
            _write_times(self.folder / name, times_us)
        if not poses_known:
            return
        at_us = sorted(self.world_T_ego)
        world_T_imu = np.stack([self.world_T_ego[t] @ self.placed.ego_T_imu for t in at_us])
        for i, packet in enumerate(make_packets(world_T_imu)):
            path = self.folder / "oxts" / "data" / f"{i:010d}.txt"
            _write(path, f"{_numbers(packet)} {' '.join(map(str, REST))}\n")
        _write_times(self.folder / "oxts", at_us)
        if self.tracklets.runs:
            _write(self.folder / "tracklet_labels.xml", self.tracklets.to_xml())


def _write_times(folder: Path, times_us: Sequence[int | None]) -> None:
    """A line a file, empty where there is none."""
    lines = [
        "" if t is None else f"{EPOCH + timedelta(microseconds=t):%Y-%m-%d %H:%M:%S.%f}000"
        for t in times_us
    ]
    _write(folder / "timestamps.txt", "".join(f"{line}\n" for line in lines))


def make_packets(world_T_imu: Float[np.ndarray, "n 4 4"]) -> Float[np.ndarray, "n 6"]:
    """Latitude, longitude (degrees), altitude (m), roll, pitch, yaw (rad) of poses.

    The inverse of the development kit's Mercator formula, the first pose at START_DEG.
    """
    latitude_rad, longitude_rad = np.radians(START_DEG)
    scale_m = EARTH_M * np.cos(latitude_rad)
    way_m = world_T_imu[:, :3, 3] - world_T_imu[0, :3, 3]
    north = np.log(np.tan(np.pi / 4 + latitude_rad / 2)) + way_m[:, 1] / scale_m
    yaw_pitch_roll = Rotation.from_matrix(world_T_imu[:, :3, :3]).as_euler("ZYX")
    return np.column_stack(
        [
            np.degrees(2 * np.arctan(np.exp(north)) - np.pi / 2),
            np.degrees(longitude_rad + way_m[:, 0] / scale_m),
            world_T_imu[:, 2, 3],
            yaw_pitch_roll[:, ::-1],
        ]
    )
