"""Poses of KITTI's GPS/IMU (OXTS RT3003), by the Mercator formula of its development kit."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from driv3r.datasets.folder.poses import PosePath
from driv3r.datasets.kitti.text_files import parse_numbers, read_lines
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert, make_transform
from driv3r.types import Repair, Transform

EARTH_M = 6_378_137.0  # the radius that the kit takes
PACKET = 30  # values; latitude, longitude (degrees), altitude (m), roll, pitch, yaw (rad) are first
LIMITS = (85.0, 180.0, 10_000.0, 2 * np.pi, 2 * np.pi, 2 * np.pi)
NAMES = ("latitude", "longitude", "altitude", "roll", "pitch", "yaw")
BACKWARD_SHARE = 0.05  # of the packets, whose times may run backwards
STEP_LIMIT_US = 1_000_000  # of a pose that goes on from the last two


def make_oxts_poses(packets: Float[np.ndarray, "n 6"]) -> Float[np.ndarray, "n 4 4"]:
    """world_T_imu of latitude, longitude, altitude, roll, pitch and yaw.

    World: x east, y north, z up, its origin where the first packet was; a Mercator map of the scale
    at the first latitude (convertOxtsToPose of the raw data's development kit, pykitti's origin).
    """
    latitude_rad, longitude_rad = np.radians(packets[:, 0]), np.radians(packets[:, 1])
    scale_m = EARTH_M * np.cos(latitude_rad[0])
    north_m = scale_m * np.log(np.tan(np.pi / 4 + latitude_rad / 2))
    place_m = np.stack([scale_m * longitude_rad, north_m, packets[:, 2]], axis=-1)
    turn = Rotation.from_euler("ZYX", packets[:, [5, 4, 3]]).as_matrix()
    return make_transform(turn, place_m - place_m[0])


def read_oxts(times_us: Sequence[int], paths: Sequence[Path], repairs: list[Repair]) -> PosePath:
    """world_T_imu at increasing times, with one more pose at each end, as the car was driving.

    Broken packets, and single ones whose time does not grow, are left out and counted. Raises
    DatasetError where times run backwards or no packet is usable.
    """
    reached_us = np.maximum.accumulate(np.array(times_us, np.int64))
    back = np.flatnonzero(np.array(times_us[1:], np.int64) < reached_us[:-1]) + 1
    if len(back) > BACKWARD_SHARE * len(times_us):
        raise DatasetError(
            f"OXTS times run backwards: {reached_us[back[0] - 1]} us is followed by "
            f"{times_us[back[0]]} us of {paths[back[0]]}; repair its timestamps.txt"
        )
    packets: dict[int, Float[np.ndarray, "6"]] = {}
    faults, last_us = [], -1
    for time_us, path in zip(times_us, paths, strict=True):
        try:
            if time_us <= last_us:
                raise DatasetError(f"its time {time_us} us is not after the one before: {path}")
            packets[time_us] = _read_packet(path)
            last_us = time_us
        except DatasetError as error:
            faults.append(str(error))
    if faults:
        lost = f"{len(faults)} of {len(paths)} packets left out, the first: {faults[0]}"
        repairs.append(Repair("oxts", lost))
    if not packets:
        raise DatasetError(f"no usable OXTS packet: {faults[0] if faults else 'there is none'}")
    poses = make_oxts_poses(np.stack(list(packets.values())))
    return _go_on(np.array(list(packets), np.int64), poses)


def _read_packet(path: Path) -> Float[np.ndarray, "6"]:
    lines = [line for line in read_lines(path) if line]
    if len(lines) != 1:
        raise DatasetError(f"{path} has {len(lines)} lines, expected one packet")
    packet = parse_numbers(lines[0], PACKET, str(path))[: len(LIMITS)]
    for name, value, limit in zip(NAMES, packet.tolist(), LIMITS, strict=True):
        if abs(value) > limit:
            raise DatasetError(
                f"{path}: the {name} is {value:g}, expected {limit:g} at most; degrees of latitude "
                "and longitude, radians of roll, pitch and yaw"
            )
    return packet


def _go_on(times_us: np.ndarray, world_T_imu: Float[np.ndarray, "n 4 4"]) -> PosePath:
    """The path with a pose before and after it: cameras may be some ms outside of the packets."""
    if len(times_us) < 2:
        return PosePath(times_us, world_T_imu)
    ends: list[tuple[int, Transform]] = []
    for last, other in ((0, 1), (-1, -2)):
        step_us = int(times_us[last] - times_us[other])
        if abs(step_us) <= STEP_LIMIT_US:
            step = invert(world_T_imu[other]) @ world_T_imu[last]
            ends.append((int(times_us[last]) + step_us, world_T_imu[last] @ step))
    known = dict(zip(times_us.tolist(), world_T_imu, strict=True)) | dict(ends)
    order = sorted(known)
    return PosePath(np.array(order, np.int64), np.stack([known[at] for at in order]))
