"""KITTI folders of one short log each: a raw drive with the rig of 2011-09-26, and a sequence.

Files are written as KITTI's are, without the reader's code; images are a tenth of the size.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np

DATE, DRIVE, SEQUENCE = "2011_09_26", "2011_09_26_drive_0001_sync", "00"
MOMENTS = 5
SIZE_HW = (37, 124)
START = datetime(2011, 9, 26, 13, 2, 25, 964389, UTC)
START_US = round(START.timestamp()) * 1_000_000 - 1_000_000 + 964_389
STEP_US, LIDAR_LATE_US, RIGHT_LATE_US = 103_500, -13_000, 40
SPEED_MPS, YAW_RAD, LATITUDE, LONGITUDE, ALTITUDE_M = 10.0, 0.5, 49.015, 8.434, 116.4
ROLL_RAD, PITCH_RAD = 0.02, -0.01
EARTH_M = 6_378_137.0
F, CX, CY = 72.15377, 60.95593, 17.2854
RIGHT_M, BASELINE_M = 0.06, 0.53  # of camera 2 left of camera 0, of 3 right of 2
VELO_T_IMU = np.array(
    [
        [9.999976e-01, 7.553071e-04, -2.035826e-03, -8.086759e-01],
        [-7.854027e-04, 9.998898e-01, -1.482298e-02, 3.195559e-01],
        [2.024406e-03, 1.482454e-02, 9.998881e-01, -7.997231e-01],
        [0, 0, 0, 1],
    ]
)
CAM0_T_VELO = np.array(
    [
        [7.533745e-03, -9.999714e-01, -6.166020e-04, -4.069766e-03],
        [1.480249e-02, 7.280733e-04, -9.998902e-01, -7.631618e-02],
        [9.998621e-01, 7.523790e-03, 1.480755e-02, -2.717806e-01],
        [0, 0, 0, 1],
    ]
)
R_RECT = np.array(
    [
        [9.999239e-01, 9.837760e-03, -7.445048e-03],
        [-9.869795e-03, 9.999421e-01, -4.278459e-03],
        [7.402527e-03, 4.351614e-03, 9.999631e-01],
    ]
)
POINTS_VELO = np.array([[10.0, 0, 0], [5, 2, 1], [-8, -3, 0.5], [0, 20, 2], [12, -3, -1.7]])
# A car 4.2 m long at (12, 3) of the LiDAR's frame in each moment, and one that is there in two.
CAR = ("Car", (1.5, 1.7, 4.2), 0, [(12.0, 3.0, -1.7, 0.3)] * MOMENTS)
WALKER = ("Pedestrian", (1.8, 0.6, 0.8), 2, [(6.0, -2.0, -1.6, -1.2), (6.5, -2.0, -1.6, -1.2)])


def projection(tx_px: float) -> np.ndarray:
    return np.array([[F, 0, CX, tx_px], [0, F, CY, 0], [0, 0, 1, 0]])


P = {
    0: projection(0.0),
    1: projection(-F * BASELINE_M),
    2: projection(F * RIGHT_M),
    3: projection(F * (RIGHT_M - BASELINE_M)),
}


def numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.9e}" for value in np.ravel(values))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_image(path: Path, number: int, grey: bool, size_hw: tuple[int, int] = SIZE_HW) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    cv2.imwrite(str(path), image[..., 0] if grey else image)


def write_points(path: Path, points: np.ndarray = POINTS_VELO) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shine = np.linspace(0, 0.99, len(points))
    np.column_stack([points, shine]).astype("<f4").tofile(path)


def write_times(path: Path, late_us: int, moments: int) -> None:
    lines = []
    for i in range(moments):
        at = START + timedelta(microseconds=i * STEP_US + late_us)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S.%f}445\n")
    write(path, "".join(lines))


def packet(i: int) -> str:
    """The car drives straight on, YAW_RAD left of east."""
    ahead_m = SPEED_MPS * i * STEP_US * 1e-6
    north_m, east_m = ahead_m * np.sin(YAW_RAD), ahead_m * np.cos(YAW_RAD)
    latitude = LATITUDE + np.degrees(north_m / EARTH_M)
    longitude = LONGITUDE + np.degrees(east_m / (EARTH_M * np.cos(np.radians(LATITUDE))))
    first = [latitude, longitude, ALTITUDE_M, ROLL_RAD, PITCH_RAD, YAW_RAD]
    return " ".join(f"{value:.14g}" for value in [*first, *[0.1] * 19]) + " 4 9 6 6 6\n"


def write_calibration(folder: Path) -> None:
    head = "calib_time: 15-Mar-2012 11:37:16\n"
    for name, dst_T_src in (("imu_to_velo", VELO_T_IMU), ("velo_to_cam", CAM0_T_VELO)):
        body = f"R: {numbers(dst_T_src[:3, :3])}\nT: {numbers(dst_T_src[:3, 3])}\n"
        write(folder / f"calib_{name}.txt", head + body)
    lines = [head, "corner_dist: 9.950000e-02\n"]
    for i, matrix in P.items():
        lines.append(f"S_rect_{i:02d}: {SIZE_HW[1]:.6e} {SIZE_HW[0]:.6e}\n")
        lines.append(f"R_rect_{i:02d}: {numbers(R_RECT)}\n")
        lines.append(f"P_rect_{i:02d}: {numbers(matrix)}\n")
    write(folder / "calib_cam_to_cam.txt", "".join(lines))


def tracklets(*tracks: tuple) -> str:
    """As boost's serialization writes them."""
    items = []
    for label, (height, width, length), first, poses in tracks:
        body = "".join(
            f"<item><tx>{x}</tx><ty>{y}</ty><tz>{z}</tz><rx>0</rx><ry>0</ry><rz>{turn}</rz>"
            "<state>2</state><occlusion>0</occlusion><truncation>0</truncation></item>\n"
            for x, y, z, turn in poses
        )
        items.append(
            f'<item class_id="1" tracking_level="0" version="1"><objectType>{label}</objectType>'
            f"<h>{height}</h><w>{width}</w><l>{length}</l><first_frame>{first}</first_frame>\n"
            f"<poses><count>{len(poses)}</count><item_version>2</item_version>{body}</poses>"
            "<finished>1</finished></item>\n"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>\n<!DOCTYPE boost_serialization>\n'
        '<boost_serialization signature="serialization::archive" version="9">\n'
        f"<tracklets><count>{len(items)}</count><item_version>1</item_version>\n{''.join(items)}"
        "</tracklets>\n</boost_serialization>\n"
    )


def write_raw(root: Path, cameras: tuple[int, ...] = (0, 1, 2, 3), moments: int = MOMENTS) -> Path:
    """A drive of 10 m/s with its day's calibration and tracklets."""
    write_calibration(root / DATE)
    drive = root / DATE / DRIVE
    for camera in cameras:
        folder = drive / f"image_{camera:02d}"
        write_times(folder / "timestamps.txt", RIGHT_LATE_US * (camera % 2), moments)
        for i in range(moments):
            write_image(folder / f"data/{i:010d}.png", 10 * camera + i, camera < 2)
    write_times(drive / "velodyne_points/timestamps.txt", LIDAR_LATE_US, moments)
    write_times(drive / "oxts/timestamps.txt", 0, moments)
    for i in range(moments):
        write_points(drive / f"velodyne_points/data/{i:010d}.bin")
        write(drive / f"oxts/data/{i:010d}.txt", packet(i))
    write(drive / "tracklet_labels.xml", tracklets(CAR, WALKER))
    return root


def world_T_cam0(i: int) -> np.ndarray:
    """The left grey camera goes ahead 1 m a moment and turns right by a hundredth."""
    out = np.eye(4)
    c, s = np.cos(0.01 * i), np.sin(0.01 * i)
    out[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    out[2, 3] = float(i)
    return out


def write_sequence(
    root: Path, cameras: tuple[int, ...] = (0, 1, 2, 3), sequence: str = SEQUENCE
) -> Path:
    """A sequence of the odometry benchmark, its poses where it is one of the first eleven."""
    folder = root / "sequences" / sequence
    for camera in cameras:
        for i in range(MOMENTS):
            write_image(folder / f"image_{camera}/{i:06d}.png", 10 * camera + i, camera < 2)
    for i in range(MOMENTS):
        write_points(folder / f"velodyne/{i:06d}.bin")
    lines = [f"P{i}: {numbers(matrix)}\n" for i, matrix in P.items()]
    write(folder / "calib.txt", "".join(lines) + f"Tr: {numbers(CAM0_T_VELO[:3])}\n")
    times = [f"{i * STEP_US * 1e-6:.6e}\n" for i in range(MOMENTS)]
    write(folder / "times.txt", "".join(times))
    if int(sequence) < 11:
        poses = [numbers(world_T_cam0(i)[:3]) + "\n" for i in range(MOMENTS)]
        write(root / f"poses/{sequence}.txt", "".join(poses))
    return root


def write_annotated(root: Path, top: str, number: int = 1) -> np.ndarray:
    """The depth benchmark's map of a left image, a road 1.65 m below it: depth (m), 0 for none."""
    height, width = SIZE_HW
    K = P[2][:, :3]
    rows, columns = np.mgrid[:height, :width]
    below = (rows - K[1, 2]) / K[1, 1]  # KITTI's K counts from the middle of the first pixel
    depth_m = np.where(below > 0.05, 1.65 / np.maximum(below, 0.05), 0.0)
    depth_m[:, columns[0] % 3 > 0] = 0.0  # annotated maps are half empty
    path = root / top / DRIVE / f"proj_depth/groundtruth/image_02/{number:010d}.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), np.rint(depth_m * 256).astype(np.uint16))
    return depth_m
