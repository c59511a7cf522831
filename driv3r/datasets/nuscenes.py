"""nuScenes v1.0 folders (real or generated), by way of the official devkit's tables."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from driv3r.datasets.devkit import Tables
from driv3r.datasets.images import read_file
from driv3r.datasets.reader import (
    Datum,
    FrameSources,
    Row,
    make_camera,
    make_pose,
    make_scene,
    place_ego,
    resolve_inside,
)
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import interpolate, invert
from driv3r.types import Camera, Repair, Rig, Scene, Transform

CAMERAS = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_RIGHT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_FRONT_LEFT",
)
LIDAR = "LIDAR_TOP"
LIDAR_NEAR_US = 30_000
CAMERA_PERIOD_US = 83_333  # 12 Hz, for a scene too short to show its own
POINT_FLOATS = 5  # x y z intensity ring
CALIBRATION = ("sensor_token", "rotation", "translation", "camera_intrinsic")


class NuScenesReader:
    """Scenes of a nuScenes folder by name; with `sweeps` all camera frames, not just keyframes."""

    def __init__(self, root: Path, sweeps: bool = False) -> None:
        self._root, self._sweeps = root.resolve(), sweeps
        self._versions = sorted(path.name for path in self._root.glob("v1.0-*") if path.is_dir())
        self._tables: dict[str, Tables] = {}
        if not self._versions:
            raise DatasetError(
                f"{root} is no nuScenes root: expected a table folder v1.0-trainval, v1.0-mini or "
                "v1.0-test in it, beside samples/"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Scene names of an official split that the tables hold; `all` for every one they hold.

        Raises ConfigError on an unknown split, DatasetError when the tables hold none of it.
        """
        official = _official_splits()
        if split == "all":
            held = (name for version in self._versions for name in self._open(version).scene_named)
            return tuple(dict.fromkeys(held))
        if split not in official:
            raise ConfigError(f"unknown split {split!r}; known are all, {', '.join(official)}")
        version = self._version_for(split)
        held = self._open(version).scene_named
        found = tuple(name for name in official[split] if name in held)
        if not found:
            some = ", ".join(list(held)[:5]) + (", ..." if len(held) > 5 else "")
            raise DatasetError(
                f"{self._root / version} holds no scene of split {split!r}; it holds {len(held)}: "
                f"{some}. Take them with --split all"
            )
        return found

    def read(self, scene_id: str) -> Scene:
        """One scene by its name; its tables are resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown scene or missing rows, UnsafePathError on files outside.
        """
        tables = self._tables_holding(scene_id)
        scene = tables.scene_named[scene_id]
        samples = tables.samples_of(scene)
        log = _Log.of_samples(self._root, tables, samples)
        records = log.all_records() if self._sweeps else log.keyframe_records()
        repairs = list(tables.repairs)
        promised = scene.get("nbr_samples", len(samples))
        if promised != len(samples):
            reason = f"nbr_samples is {promised}, the tables hold {len(samples)}"
            repairs.append(Repair(f"{tables.folder.name}/scene.json", reason))
        return make_scene(scene_id, log.rig, records, read_points, repairs)

    def _open(self, version: str) -> Tables:
        if version not in self._tables:
            self._tables[version] = Tables(self._root, version)
        return self._tables[version]

    def _version_for(self, split: str) -> str:
        suited = "v1.0-test" if split == "test" else "v1.0-trainval"
        if split.startswith("mini_"):
            suited = "v1.0-mini"
        if suited in self._versions:
            return suited
        if len(self._versions) == 1:
            return self._versions[0]
        raise DatasetError(
            f"split {split!r} is read from {suited}, but {self._root} has only "
            f"{', '.join(self._versions)}; take a split of those, or --split all"
        )

    def _tables_holding(self, scene_id: str) -> Tables:
        last = "v1.0-trainval" if scene_id in _official_splits()["test"] else "v1.0-test"
        # Loaded tables first, then the likeliest: loading the wrong ones takes many seconds.
        order = sorted(self._versions, key=lambda name: (name not in self._tables, name == last))
        for version in order:
            if scene_id in self._open(version).scene_named:
                return self._tables[version]
        raise DatasetError(
            f"no scene {scene_id!r} in {', '.join(order)} of {self._root}; "
            "list them with the split all"
        )


def _official_splits() -> dict[str, list[str]]:
    from nuscenes.utils.splits import create_splits_scenes  # slow to import

    return create_splits_scenes()


def read_points(path: Path) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, LiDAR frame) of a .pcd.bin; DatasetError unless it is whole points."""
    data = read_file(path)
    if len(data) == 0 or len(data) % (4 * POINT_FLOATS):
        raise DatasetError(
            f"{len(data)} bytes are no whole number of points of {POINT_FLOATS} float32: {path}"
        )
    return np.frombuffer(data, "<f4").reshape(-1, POINT_FLOATS)[:, :3].astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Log:
    """One scene's table rows, and the rig they imply."""

    root: Path
    tables: Tables
    samples: list[Row]
    rig: Rig
    calibration_of: dict[str, Row]

    @classmethod
    def of_samples(cls, root: Path, tables: Tables, samples: list[Row]) -> "_Log":
        first_row: dict[str, Row] = {}
        for sample in samples:
            for channel, token in sample["data"].items():
                first_row.setdefault(channel, tables.devkit.get("sample_data", token))
        found = {name for name, row in first_row.items() if row["sensor_modality"] == "camera"}
        names = [name for name in CAMERAS if name in found] + sorted(found - set(CAMERAS))
        if not names:
            raise DatasetError(f"no camera in sample {samples[0]['token']!r} of {root}")
        calibration_of = {
            name: tables.devkit.get("calibrated_sensor", first_row[name]["calibrated_sensor_token"])
            for name in (*names, LIDAR)
            if name in first_row
        }
        cameras = tuple(_make_camera(name, calibration_of[name], first_row[name]) for name in names)
        lidar = calibration_of.get(LIDAR)
        rig = Rig(cameras, None if lidar is None else _place(lidar, "calibrated_sensor"))
        return cls(root, tables, samples, rig, calibration_of)

    def keyframe_records(self) -> list[FrameSources]:
        records = []
        for sample in self.samples:
            cameras = tuple(self._keyframe(sample, camera.name) for camera in self.rig.cameras)
            lidar = self._keyframe(sample, LIDAR) if self.rig.ego_T_lidar is not None else None
            time_us, world_T_ego = place_ego(self.rig, cameras, lidar)
            records.append(FrameSources(time_us, world_T_ego, cameras, lidar, True))
        return records

    def all_records(self) -> list[FrameSources]:
        """A frame for every exposure of the first camera, the others' nearest ones beside it."""
        chains = {name: self._chain(name) for name in self.calibration_of}
        reference = chains[self.rig.cameras[0].name]
        times_us = _times(reference)
        spacing_us = int(np.median(np.diff(times_us))) if len(times_us) > 1 else CAMERA_PERIOD_US
        nearest = {
            name: match_nearest(
                times_us, _times(chain), LIDAR_NEAR_US if name == LIDAR else spacing_us // 2
            )
            for name, chain in chains.items()
        }
        taken = {name: [self._take(row, name) for row in chain] for name, chain in chains.items()}
        world_T_ego = self._ego_poses(taken, times_us)
        records = []
        for i, row in enumerate(reference):
            cameras = tuple(
                _pick(taken[camera.name], nearest[camera.name][i])
                or Repair(camera.name, f"no exposure within {spacing_us // 2} us of the frame")
                for camera in self.rig.cameras
            )
            lidar = _pick(taken[LIDAR], nearest[LIDAR][i]) if LIDAR in taken else None
            keyframe = row["is_key_frame"]
            records.append(FrameSources(row["timestamp"], world_T_ego[i], cameras, lidar, keyframe))
        return records

    def _ego_poses(
        self, taken: dict[str, list[Datum | Repair]], at_us: Int[np.ndarray, "t"]
    ) -> Float[np.ndarray, "t 4 4"]:
        """world_T_ego at given times, between the ego poses known from all sensors."""
        ego_T_sensor = {camera.name: camera.ego_T_cam for camera in self.rig.cameras}
        if self.rig.ego_T_lidar is not None:
            ego_T_sensor[LIDAR] = self.rig.ego_T_lidar
        known = {
            datum.time_us: datum.world_T_sensor @ invert(ego_T_sensor[name])
            for name, data in taken.items()
            for datum in data
            if isinstance(datum, Datum)
        }
        if not known:
            raise DatasetError(f"no usable ego pose in the scene's tables: {self.tables.folder}")
        times_us = sorted(known)
        return interpolate(np.array(times_us), np.stack([known[t] for t in times_us]), at_us)

    def _chain(self, channel: str) -> list[Row]:
        token = next(s["data"][channel] for s in self.samples if channel in s["data"])
        return self.tables.chain_of(self.tables.devkit.get("sample_data", token))

    def _keyframe(self, sample: Row, channel: str) -> Datum | Repair:
        if channel not in sample["data"]:
            return Repair(channel, f"sample_data has no row for sample {sample['token']!r}")
        return self._take(self.tables.devkit.get("sample_data", sample["data"][channel]), channel)

    def _take(self, row: Row, channel: str) -> Datum | Repair:
        """The datum of a sample_data row, or why it can not be used."""
        named_by = f"sample_data {row['token']!r}"
        ego_pose = self.tables.find("ego_pose", row["ego_pose_token"], named_by)
        token = row["calibrated_sensor_token"]
        calibration = self.tables.find("calibrated_sensor", token, named_by)
        path = resolve_inside(self.root, row["filename"])
        first = self.calibration_of[channel]
        if any(calibration[key] != first[key] for key in CALIBRATION):
            reason = f"calibrated_sensor {token!r} differs from the rig's {first['token']!r}"
            return Repair(channel, f"left out: {reason}")
        try:
            world_T_ego = _place(ego_pose, "ego_pose")
        except DatasetError as error:
            return Repair(channel, f"left out: {error}")
        ego_T_sensor = _place(calibration, "calibrated_sensor")
        return Datum(path, row["timestamp"], world_T_ego @ ego_T_sensor)


def match_nearest(
    at_us: Int[np.ndarray, "t"], times_us: Int[np.ndarray, "n"], within_us: int
) -> list[int | None]:
    """For each of `at_us` the index of the nearest of `times_us`, each used at most once.

    A time goes to its nearest `at_us`; of several, that one takes the nearest; None is left when
    none lies `within_us`.
    """
    gap_us = np.abs(times_us[:, None] - at_us[None])
    claimed = gap_us.argmin(axis=1)
    out: list[int | None] = []
    for i in range(len(at_us)):
        rivals = np.flatnonzero((claimed == i) & (gap_us[:, i] <= within_us))
        out.append(int(rivals[gap_us[rivals, i].argmin()]) if len(rivals) else None)
    return out


def _pick(data: list[Datum | Repair], index: int | None) -> Datum | Repair | None:
    return None if index is None else data[index]


def _times(rows: list[Row]) -> Int[np.ndarray, "n"]:
    return np.array([row["timestamp"] for row in rows], np.int64)


def _place(row: Row, table: str) -> Transform:
    return make_pose(row["rotation"], row["translation"], f"{table} {row['token']!r}")


def _make_camera(name: str, calibration: Row, row: Row) -> Camera:
    where = f"calibrated_sensor {calibration['token']!r}"
    try:
        K = np.array(calibration["camera_intrinsic"], np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: camera_intrinsic is no matrix: {error}") from error
    if K.shape != (3, 3):
        raise DatasetError(f"{where}: camera_intrinsic of {name} has shape {K.shape}, not (3, 3)")
    ego_T_cam = _place(calibration, "calibrated_sensor")
    return make_camera(name, K, (row["height"], row["width"]), ego_T_cam)
