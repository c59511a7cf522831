"""Frames' records from exposures, sweeps and ego poses that each have times of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int64

from driv3r.datasets.folder.exposures import Exposure, group, match, times_of, tolerance_us
from driv3r.datasets.folder.rig_file import Recording
from driv3r.datasets.reader import Datum, FrameSources
from driv3r.errors import DatasetError
from driv3r.types import Camera, Repair, Rig, Transform


@runtime_checkable
class PosesAt(Protocol):
    """Where the car was at any time."""

    def at(
        self, time_us: Int64[np.ndarray, "m"]
    ) -> tuple[Float[np.ndarray, "m 4 4"], Bool[np.ndarray, "m"]]:
        """world_T_ego, and whether it is known at each time."""
        ...


@dataclass(frozen=True, eq=False)
class RecordMaker:
    """Groups what the sensors of a log gave into frames, each at its own time and place.

    Without `poses` all places are the identity. `unplaced` says of a log none of whose frames has
    a pose what is wrong, and the remedy.
    """

    recording: Recording
    poses: PosesAt | None
    repairs: list[Repair]
    unplaced: str

    def make(
        self, rig: Rig, exposures: Mapping[str, Sequence[Exposure]], sweeps: Sequence[Exposure]
    ) -> list[FrameSources]:
        """The frames around the reference camera's exposures; DatasetError where none has a pose.

        `sweeps` are of the LiDAR, in order of time. What belongs to no frame is counted.
        """
        reference, frames = group(exposures, self.recording, self.repairs)
        places: dict[int, Transform | None] = {}
        for each in (*exposures.values(), sweeps):
            places |= self._place_all(times_of(each))
        references_us = times_of([frame[reference] for frame in frames])
        chosen = self._match(references_us, sweeps)
        records = []
        for i, frame in enumerate(frames):
            time_us = frame[reference].time_us
            world_T_ego = places[time_us]
            if world_T_ego is not None:
                cameras = tuple(
                    _camera_datum(frame.get(camera.name), camera, places) for camera in rig.cameras
                )
                lidar = _lidar_datum(chosen[i], rig, places) if i in chosen else None
                records.append(FrameSources(time_us, world_T_ego, cameras, lidar, True))
        self._count_unplaced(len(frames) - len(records), len(frames))
        return records

    def _place_all(self, times_us: Int64[np.ndarray, "n"]) -> dict[int, Transform | None]:
        if self.poses is None or not len(times_us):
            return {time_us: np.eye(4) for time_us in times_us.tolist()}
        world_T_ego, known = self.poses.at(times_us)
        return {
            time_us: place if found else None
            for time_us, place, found in zip(times_us.tolist(), world_T_ego, known, strict=True)
        }

    def _match(
        self, references_us: Int64[np.ndarray, "n"], sweeps: Sequence[Exposure]
    ) -> dict[int, Exposure]:
        """The LiDAR sweep of each frame that has one near."""
        within_us = tolerance_us(references_us, self.recording)
        chosen = match(references_us, times_of(sweeps), within_us)
        if len(chosen) < len(sweeps):
            reason = f"{len(sweeps) - len(chosen)} of {len(sweeps)} sweeps belong to no frame"
            self.repairs.append(Repair("lidar", reason))
        return {frame: sweeps[index] for frame, index in chosen.items()}

    def _count_unplaced(self, count: int, of: int) -> None:
        if count == of:
            raise DatasetError(f"none of {of} frames {self.unplaced}")
        if count:
            self.repairs.append(Repair("frames", f"{count} of {of} left out: no pose near"))


def _camera_datum(
    exposure: Exposure | None, camera: Camera, places: dict[int, Transform | None]
) -> Datum | Repair:
    if exposure is None:
        return Repair(camera.name, "no exposure near enough in time to the frame's")
    world_T_ego = places[exposure.time_us]
    if world_T_ego is None:
        reason = f"left out: no pose near its time, {exposure.time_us} us"
        return Repair(camera.name, reason)
    world_T_cam = world_T_ego @ camera.ego_T_cam
    return Datum(exposure.file, exposure.time_us, world_T_cam, exposure.part)


def _lidar_datum(sweep: Exposure, rig: Rig, places: dict[int, Transform | None]) -> Datum | Repair:
    world_T_ego = places[sweep.time_us]
    if world_T_ego is None or rig.ego_T_lidar is None:
        return Repair("lidar", f"left out: no pose near its time, {sweep.time_us} us")
    return Datum(sweep.file, sweep.time_us, world_T_ego @ rig.ego_T_lidar, sweep.part)
