"""One nuScenes scene's table rows as frames: keyframes alone, or all exposures of a camera."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from driv3r.datasets.match_times import match_nearest
from driv3r.datasets.nuscenes.layouts import NUSCENES, Layout
from driv3r.datasets.nuscenes.tables import Tables
from driv3r.datasets.reader import (
    Datum,
    FrameSources,
    Root,
    Row,
    check_place,
    make_camera,
    make_pose,
    place_ego,
)
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import interpolate, invert
from driv3r.types import Camera, Repair, Rig, Transform

LIDAR_NEAR_US = 30_000
OTHERS_NEAR_US = 60_000  # of another LiDAR's sweep: turns of 10 Hz LiDARs that are not in step
CAMERA_PERIOD_US = 83_333  # 12 Hz, for a scene too short to show its own
GROUND_Z_M = 0.0  # the ego origin lies on the road
CALIBRATION = ("sensor_token", "rotation", "translation", "camera_intrinsic", "camera_distortion")


@dataclass(frozen=True, eq=False)
class Log:
    """One scene's table rows, and the rig they imply; `repairs` are of the choice of sensors."""

    root: Root
    tables: Tables
    samples: list[Row]
    rig: Rig
    calibration_of: dict[str, Row]
    lidar: str | None
    others: tuple[str, ...]
    repairs: tuple[Repair, ...]

    @classmethod
    def of_samples(
        cls, root: Root, tables: Tables, samples: list[Row], layout: Layout = NUSCENES
    ) -> "Log":
        """The log of a scene's samples; DatasetError where no camera has a row in any."""
        first_row: dict[str, Row] = {}
        for sample in samples:
            for channel, token in sample["data"].items():
                first_row.setdefault(channel, tables.get("sample_data", token))
        found = _of_modality(first_row, "camera")
        names = [name for name in layout.cameras if name in found]
        names += sorted(set(found) - set(names))
        if not names:
            raise DatasetError(f"no camera in sample {samples[0]['token']!r} of {root.path}")
        lidar, others, repairs = _choose_lidars(_of_modality(first_row, "lidar"), layout)
        calibration_of = {
            name: tables.get("calibrated_sensor", first_row[name]["calibrated_sensor_token"])
            for name in (*names, lidar, *others)
            if name is not None
        }
        cameras = tuple(_make_camera(name, calibration_of[name], first_row[name]) for name in names)
        place = None if lidar is None else _place(calibration_of[lidar], "calibrated_sensor")
        if place is not None:
            check_place(str(lidar), place)
        rig = Rig(cameras, place, GROUND_Z_M)
        return cls(root, tables, samples, rig, calibration_of, lidar, others, repairs)

    def keyframe_records(self) -> list[FrameSources]:
        """A frame for every sample."""
        records = []
        for sample in self.samples:
            cameras = tuple(self._keyframe(sample, camera.name) for camera in self.rig.cameras)
            lidar = None if self.lidar is None else self._keyframe(sample, self.lidar)
            time_us, world_T_ego = place_ego(self.rig, cameras, lidar)
            token = sample["token"]
            records.append(FrameSources(time_us, world_T_ego, cameras, lidar, True, token))
        return records

    def all_records(self) -> list[FrameSources]:
        """A frame for every exposure of the first camera.

        Keyframes have their own sample's data of every sensor, however far off in time, so that
        they are scored as without sweeps; between them each sensor gives its nearest other datum.
        """
        chains = {
            name: self._chain(name) for name in self.calibration_of if name not in self.others
        }
        reference = chains[self.rig.cameras[0].name]
        times_us = _times(reference)
        spacing_us = int(np.median(np.diff(times_us))) if len(times_us) > 1 else CAMERA_PERIOD_US
        samples = [self._sample_of(row) for row in reference]
        taken = {name: [self._take(row, name) for row in chain] for name, chain in chains.items()}
        within_us = {self.lidar: LIDAR_NEAR_US}  # of a camera: half the time to the next frame
        data = {
            name: self._match(
                name, chain, taken[name], samples, times_us, within_us.get(name, spacing_us // 2)
            )
            for name, chain in chains.items()
        }
        world_T_ego = self._ego_poses(taken, times_us)
        records = []
        for i, row in enumerate(reference):
            cameras = tuple(
                data[camera.name][i]
                or Repair(camera.name, f"no exposure within {spacing_us // 2} us of the frame")
                for camera in self.rig.cameras
            )
            lidar = None if self.lidar is None else data[self.lidar][i]
            sample = samples[i]
            named = (False, "") if sample is None else (True, sample["token"])
            records.append(FrameSources(row["timestamp"], world_T_ego[i], cameras, lidar, *named))
        return records

    def find_others(self, records: Sequence[FrameSources]) -> dict[Path, list[Datum]]:
        """By a sweep's file, those of the other LiDARs nearest in time, placed in its frame."""
        sweeps = [record.lidar for record in records if isinstance(record.lidar, Datum)]
        at_us = np.array([sweep.time_us for sweep in sweeps], np.int64)
        found: dict[Path, list[Datum]] = {sweep.path: [] for sweep in sweeps if self.others}
        for name in self.others:
            chain = self._chain(name)
            for sweep, row in zip(
                sweeps, match_nearest(at_us, _times(chain), OTHERS_NEAR_US), strict=True
            ):
                other = None if row is None else self._take(chain[row], name)
                if isinstance(other, Datum):
                    placed = invert(sweep.world_T_sensor) @ other.world_T_sensor
                    found[sweep.path].append(replace(other, world_T_sensor=placed))
        return found

    def find_gaps(self, records: Sequence[FrameSources]) -> list[Repair]:
        """What the frames that `all_records` gives lack as a whole."""
        between = [record for record in records if not record.is_keyframe]
        blind = sum(record.lidar is None for record in between)
        lost = len(self.samples) - (len(records) - len(between))
        first = self.rig.cameras[0].name
        gaps = []
        if lost > 0:
            reason = f"{lost} of {len(self.samples)} samples have no row of this camera: no frames"
            gaps.append(Repair(first, reason))
        if not between:
            gaps.append(Repair(first, "sweeps were asked for, and its rows are keyframes alone"))
        if self.lidar is not None and blind:
            reason = f"{blind} of {len(between)} frames between keyframes have no sweep within"
            gaps.append(Repair(self.lidar, f"{reason} {LIDAR_NEAR_US} us"))
        return gaps

    def _sample_of(self, row: Row) -> Row | None:
        """The sample whose keyframe a sample_data row is."""
        if not row["is_key_frame"]:
            return None
        named_by = f"sample_data {row['token']!r}"
        sample = self.tables.find("sample", row["sample_token"], named_by)
        return sample if sample["data"].get(row["channel"]) == row["token"] else None

    def _match(
        self,
        channel: str,
        chain: list[Row],
        taken: list[Datum | Repair],
        samples: list[Row | None],
        times_us: Int[np.ndarray, "t"],
        within_us: int,
    ) -> list[Datum | Repair | None]:
        """A sensor's datum for each frame: its sample's, or the nearest that is no sample's."""
        claimed = {sample["data"].get(channel) for sample in samples if sample is not None}
        free = [j for j, row in enumerate(chain) if row["token"] not in claimed]
        between = [i for i, sample in enumerate(samples) if sample is None]
        nearest = match_nearest(times_us[between], _times(chain)[free], within_us)
        out = [None if sample is None else self._keyframe(sample, channel) for sample in samples]
        for i, j in zip(between, nearest, strict=True):
            out[i] = None if j is None else taken[free[j]]
        return out

    def _ego_poses(
        self, taken: dict[str, list[Datum | Repair]], at_us: Int[np.ndarray, "t"]
    ) -> Float[np.ndarray, "t 4 4"]:
        """world_T_ego at given times, between the ego poses known from all sensors."""
        ego_T_sensor = {camera.name: camera.ego_T_cam for camera in self.rig.cameras}
        if self.lidar is not None and self.rig.ego_T_lidar is not None:
            ego_T_sensor[self.lidar] = self.rig.ego_T_lidar
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
        return self.tables.chain_of(self.tables.get("sample_data", token))

    def _keyframe(self, sample: Row, channel: str) -> Datum | Repair:
        if channel not in sample["data"]:
            twice = (sample["token"], channel) in self.tables.claimed_twice
            rows = "several keyframe rows, none taken," if twice else "no row"
            return Repair(channel, f"sample_data has {rows} for sample {sample['token']!r}")
        return self._take(self.tables.get("sample_data", sample["data"][channel]), channel)

    def _take(self, row: Row, channel: str) -> Datum | Repair:
        """The datum of a sample_data row, or why it can not be used."""
        named_by = f"sample_data {row['token']!r}"
        ego_pose = self.tables.find("ego_pose", row["ego_pose_token"], named_by)
        token = row["calibrated_sensor_token"]
        calibration = self.tables.find("calibrated_sensor", token, named_by)
        path = self.root.resolve_inside(self.tables.prefix + row["filename"])
        first = self.calibration_of[channel]
        if any(calibration.get(key) != first.get(key) for key in CALIBRATION):
            reason = f"calibrated_sensor {token!r} differs from the rig's {first['token']!r}"
            return Repair(channel, f"left out: {reason}")
        try:
            world_T_ego = _place(ego_pose, "ego_pose")
        except DatasetError as error:
            return Repair(channel, f"left out: {error}")
        ego_T_sensor = _place(calibration, "calibrated_sensor")
        return Datum(path, row["timestamp"], world_T_ego @ ego_T_sensor)


def _of_modality(first_row: dict[str, Row], modality: str) -> list[str]:
    return sorted(name for name, row in first_row.items() if row["sensor_modality"] == modality)


def _choose_lidars(
    found: list[str], layout: Layout
) -> tuple[str | None, tuple[str, ...], tuple[Repair, ...]]:
    """The channel of the sweeps, others to add to them, and what is to be said of the choice."""
    if not found:
        none = Repair("lidar", "no sample has a row of modality lidar: no sweep is read")
        return None, (), (none,)
    known = [name for name in layout.lidars if name in found]
    chosen = (known or found)[0]
    if layout.all_lidars and known:
        return chosen, tuple(dict.fromkeys((*known, *found)))[1:], ()
    if known or len(found) == 1:
        return chosen, (), ()
    names = " or ".join(layout.lidars)
    reason = f"one of {len(found)} LiDARs, none of them named {names}; the others "
    return chosen, (), (Repair(chosen, f"{reason}({', '.join(found[1:])}) are not read"),)


def _times(rows: list[Row]) -> Int[np.ndarray, "n"]:
    return np.array([row["timestamp"] for row in rows], np.int64)


def _place(row: Row, table: str) -> Transform:
    return make_pose(row["rotation"], row["translation"], f"{table} {row['token']!r}")


def _make_camera(name: str, calibration: Row, row: Row) -> Camera:
    where = f"calibrated_sensor {calibration['token']!r}"
    try:
        K = np.array(calibration["camera_intrinsic"], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: camera_intrinsic is no matrix: {error}") from error
    if K.shape != (3, 3):
        raise DatasetError(f"{where}: camera_intrinsic of {name} has shape {K.shape}, not (3, 3)")
    try:
        distortion = tuple(float(k) for k in calibration.get("camera_distortion") or ())
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: camera_distortion is no list of numbers: {error}") from error
    ego_T_cam = _place(calibration, "calibrated_sensor")
    return make_camera(name, K, (row["height"], row["width"]), ego_T_cam, distortion)
