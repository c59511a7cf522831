"""A segment of either format as a rig and frames: times, poses, rolling shutters."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from driv3r.datasets.reader import Datum, FrameSources, check_place, make_camera, place_ego
from driv3r.datasets.waymo.segment import (
    CAMERA_NAMES,
    FRONT_CAMERA,
    LASER_NAMES,
    TOP_LASER,
    CameraSetup,
    Exposure,
    Segment,
    SegmentFrame,
)
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import BODY_T_CAM
from driv3r.types import Camera, Repair, Rig, RollingShutter, RowsRead, Transform

GROUND_Z_M = 0.0  # the vehicle's origin lies on the road (see docs/datasets/waymo.md)
CAMERA_T_CAM = BODY_T_CAM  # Waymo's cameras have a body's axes: x out of the lens, y left, z up
HALF_TURN_US = 50_000  # of the TOP LiDAR, from a frame's start to its pose, about
NEAR_START_US = 200_000  # of the FRONT exposure; one that is farther off has another unit of time
SAME_PLACE_M, SAME_TURN = 1e-2, 1e-5  # of two poses that were rounded to 32 bits
READ: dict[int, RowsRead] = {1: "down", 2: "right", 3: "up", 4: "left"}
LONGEST_READ_S = 0.2  # of an image; Waymo's take 0.05
LATEST_S = 1e11  # the year 5138


def make_rig(segment: Segment, repairs: list[Repair]) -> tuple[Rig, tuple[int, ...]]:
    """The rig, and the numbers of its cameras in its order; what is left out goes to `repairs`.

    Raises DatasetError where no camera has both a calibration and images.
    """
    seen = {number for frame in segment.frames for number in frame.exposures}
    strange = sorted(seen - segment.cameras.keys())
    for number in strange:
        name = CAMERA_NAMES.get(number, str(number))
        repairs.append(Repair(name, "left out of the rig: it has images and no calibration"))
    numbers = tuple(sorted(seen & segment.cameras.keys()))
    for number in sorted(segment.cameras.keys() - seen):
        name = CAMERA_NAMES.get(number, str(number))
        repairs.append(Repair(name, "left out of the rig: no frame has an image of it"))
    if not numbers:
        raise DatasetError(
            f"{segment.images} has images of {len(seen)} cameras and the calibration tells of "
            f"{len(segment.cameras)} others; fetch the images and the calibration"
        )
    cameras = tuple(_make_camera(number, segment.cameras[number]) for number in numbers)
    return Rig(cameras, _place_lidar(segment, repairs), GROUND_Z_M), numbers


def _make_camera(number: int, setup: CameraSetup) -> Camera:
    """Waymo counts pixels from the corner of the first, as we do; make_camera from its centre."""
    name = CAMERA_NAMES.get(number, str(number))
    if len(setup.intrinsic) != 9:
        raise DatasetError(
            f"camera {name} has {len(setup.intrinsic)} intrinsics, expected f_u, f_v, c_u, c_v, "
            "k1, k2, p1, p2, k3; fetch the file again"
        )
    fx, fy, cx, cy, *distortion = setup.intrinsic
    K = np.array([[fx, 0.0, cx - 0.5], [0.0, fy, cy - 0.5], [0.0, 0.0, 1.0]])
    ego_T_cam = setup.vehicle_T_camera @ CAMERA_T_CAM
    return make_camera(name, K, setup.size_hw, ego_T_cam, tuple(distortion))


def main_laser(segment: Segment) -> int:
    """The number of the LiDAR whose frame sweeps are in: TOP, else the first that is calibrated."""
    return TOP_LASER if TOP_LASER in segment.lasers else min(segment.lasers)


def _place_lidar(segment: Segment, repairs: list[Repair]) -> Transform | None:
    """ego_T_lidar: the TOP LiDAR's place, else the first's; None where nothing was returned."""
    if not any(frame.has_returns for frame in segment.frames):
        repairs.append(Repair("lidar", "no frame has a range image: no sweep is read"))
        return None
    if not segment.lasers:
        raise DatasetError(f"{segment.returns} has range images and no LiDAR has a calibration")
    number = main_laser(segment)
    ego_T_lidar = segment.lasers[number].vehicle_T_laser
    check_place(f"LiDAR {LASER_NAMES.get(number, number)}", ego_T_lidar)
    return ego_T_lidar


def make_records(
    segment: Segment, rig: Rig, numbers: Sequence[int], repairs: list[Repair]
) -> list[FrameSources]:
    """Every frame of a segment, as many as `segment.frames`.

    A frame's time is its pose's: `find_time_us`.
    """
    doubts: Counter[str] = Counter()
    records = []
    for frame in segment.frames:
        cameras = tuple(
            _take_camera(segment, frame, number, camera, doubts)
            for number, camera in zip(numbers, rig.cameras, strict=True)
        )
        lidar: Datum | Repair | None = None
        if isinstance(frame.world_T_vehicle, Repair):
            time_us, world_T_ego = place_ego(rig, cameras, None)
            lidar = frame.world_T_vehicle
        else:
            time_us, world_T_ego = find_time_us(frame), frame.world_T_vehicle
        if rig.ego_T_lidar is not None and lidar is None:
            lidar = Repair("lidar", f"{segment.returns} has no range image of {frame.part}")
            if frame.has_returns:
                lidar = Datum(segment.returns, time_us, world_T_ego @ rig.ego_T_lidar, frame.part)
        records.append(FrameSources(time_us, world_T_ego, cameras, lidar, True, frame.part))
    for name, count in doubts.items():
        reason = (
            f"{count} of {len(records)} images tell an impossible rolling shutter: their lines are "
            "taken as read at one time"
        )
        repairs.append(Repair(name, reason))
    return records


def find_time_us(frame: SegmentFrame) -> int:
    """The time of a frame's pose, which is later than its start.

    It is the FRONT image's own where that has the very pose, as Waymo's frames do; otherwise half a
    turn of the TOP LiDAR after the start, as dataset.proto has it.
    """
    front = frame.exposures.get(FRONT_CAMERA)
    if isinstance(front, Exposure) and not isinstance(frame.world_T_vehicle, Repair):
        apart = np.abs(front.world_T_vehicle - frame.world_T_vehicle)
        same = apart[:3, 3].max() < SAME_PLACE_M and apart[:3, :3].max() < SAME_TURN
        if same and abs(front.time_s * 1e6 - frame.start_us) < NEAR_START_US:
            return round(front.time_s * 1e6)
    return frame.start_us + HALF_TURN_US


def _take_camera(
    segment: Segment, frame: SegmentFrame, number: int, camera: Camera, doubts: Counter[str]
) -> Datum | Repair:
    exposure = frame.exposures.get(number)
    if exposure is None:
        return Repair(camera.name, f"{segment.images} has no image of it in the frame {frame.part}")
    if isinstance(exposure, Repair):
        return exposure
    if not 0 <= exposure.time_s < LATEST_S:
        reason = f"left out: {exposure.time_s} is no time in seconds: pose_timestamp of"
        return Repair(camera.name, f"{reason} {segment.images}#{exposure.part}")
    setup = segment.cameras[number]
    shutter = None
    if setup.shutter_direction in READ and np.isfinite(_timing(exposure)).all():
        shutter = make_shutter(exposure, setup)
        if shutter is None:
            doubts[camera.name] += 1
    world_T_cam = exposure.world_T_vehicle @ camera.ego_T_cam
    time_us = round(exposure.time_s * 1e6)
    return Datum(segment.images, time_us, world_T_cam, exposure.part, shutter)


def _timing(exposure: Exposure) -> Float[np.ndarray, "n"]:
    moved = (*exposure.velocity_world_mps, *exposure.turn_vehicle_radps)
    return np.array(
        [exposure.shutter_s, exposure.trigger_s, exposure.readout_done_s, *moved], np.float64
    )


def make_shutter(exposure: Exposure, setup: CameraSetup) -> RollingShutter | None:
    """How an image's lines were read; None where its times can not be.

    Waymo's camera model: a line's time is the middle of its exposure, so that from the outer edge
    of the first to that of the last line pass readout_done - trigger - shutter, beginning half a
    shutter after the trigger. The velocity is told of the vehicle's origin in the world, the turn
    in the vehicle's frame (dataset.proto has it in the world, the model that Waymo projects with
    does not: waymo-open-dataset issue 462); the camera adds turn x its place on the car.
    """
    read_s = exposure.readout_done_s - exposure.trigger_s - exposure.shutter_s
    edge_s = exposure.trigger_s + 0.5 * exposure.shutter_s - exposure.time_s
    possible = 0 < read_s < LONGEST_READ_S and exposure.shutter_s >= 0
    if not possible or abs(edge_s) > LONGEST_READ_S:
        return None
    vehicle_T_cam = setup.vehicle_T_camera @ CAMERA_T_CAM
    turn = exposure.turn_vehicle_radps
    velocity_vehicle = exposure.world_T_vehicle[:3, :3].T @ exposure.velocity_world_mps
    velocity_vehicle = velocity_vehicle + np.cross(turn, vehicle_T_cam[:3, 3])
    return RollingShutter(
        round(edge_s * 1e6),
        round((edge_s + read_s) * 1e6),
        READ[setup.shutter_direction],
        vehicle_T_cam[:3, :3].T @ velocity_vehicle,
        vehicle_T_cam[:3, :3].T @ turn,
    )
