"""A KITTI-360 folder of one short drive with the genuine calibration; images are a tenth as large.

Files are written as KITTI-360's are, without the reader's code.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from tests.datasets.tiny_kitti import POINTS_VELO, numbers, write, write_image, write_points

DRIVE = "2013_05_28_drive_0003_sync"
MOMENTS = 6
STANDING = 2  # the frame that has no pose, as the car hardly moved before it
START = datetime(2013, 5, 28, 8, 46, 2, 904483, UTC)
START_US = int(START.timestamp()) * 1_000_000 + 904_483
STEP_US, FISHEYE_LATE_US, LIDAR_LATE_US = 104_000, 3_000, -2_000
WIDE_HW, ROUND_HW = (38, 141), (140, 140)
CAM_T_POSE = {  # upper rows of pose_T_cam
    "image_00": (
        "0.0371783278 -0.0986182135 0.9944306009 1.5752681039 0.9992675562 -0.0053553387 "
        "-0.0378902567 0.0043914093 0.0090621821 0.9951109327 0.0983468786 -0.6500000000"
    ),
    "image_01": (
        "0.0194000864 -0.1051529641 0.9942668106 1.5977241400 0.9997374956 -0.0100836652 "
        "-0.0205732716 0.5981494900 0.0121891942 0.9944049345 0.1049297370 -0.6488433108"
    ),
    "image_02": (
        "0.9950000000 0.0 0.0998749218 0.7 0.0998749218 0.0 -0.9950000000 -0.4 0.0 1.0 0.0 -0.86"
    ),
    "image_03": (
        "-0.9950000000 0.0 0.0998749218 0.7 0.0998749218 0.0 0.9950000000 0.4 0.0 1.0 0.0 -0.86"
    ),
}
VELO_T_CAM0 = (
    "0.04307104361 -0.08829286498 0.995162929 0.8043914418 -0.999004371 0.007784614041 "
    "0.04392796942 0.2993489574 -0.01162548558 -0.9960641394 -0.08786966659 -0.1770225824"
)
R_RECT = "0.999974 -0.007141 -0.000089 0.007141 0.999969 -0.003247 0.000112 0.003247 0.999995"
P_RECT = {
    "00": "55.2554261 0 68.2049453 0 0 55.2554261 23.8769549 0 0 0 1 0",
    "01": "55.2554261 0 68.2049453 -32.8318735 0 55.2554261 23.8769549 0 0 0 1 0",
}
MEI = {
    "xi": 2.2134047507854890,
    "k1": 1.6798235660113681e-02,
    "k2": 1.6548773243373522,
    "p1": 4.2223943394772046e-04,
    "p2": 4.2462134260997584e-04,
    "gamma1": 133.63220825849971,
    "gamma2": 133.57883350012958,
    "u0": 71.694323510126321,
    "v0": 70.576498308221585,
}
GOLDEN_FRAMES = (0, 3)
# The authors' scripts leave tangential terms out, so that they are compared without.
UNTILTED = MEI | {"p1": 0.0, "p2": 0.0}


def world_T_pose(i: int) -> np.ndarray:
    """The IMU (x forward, y right, z down) goes 1 m a moment 30 degrees left of the world's x."""
    out = np.diag([1.0, -1, -1, 1])
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    out[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ out[:3, :3]
    out[:3, 3] = [1000 + i * c, 3000 + i * s, 115.0]
    return out


def write_yaml(path: Path, name: str, values: dict[str, float]) -> None:
    """As OpenCV writes it, camodocal's way."""
    of = {"mirror": ("xi",), "distortion": ("k1", "k2", "p1", "p2")}
    lines = ["%YAML:1.0", "---", "model_type: MEI", f"camera_name: {name}"]
    lines += [f"image_width: {ROUND_HW[1]}", f"image_height: {ROUND_HW[0]}"]
    for group, keys in (of | {"projection": ("gamma1", "gamma2", "u0", "v0")}).items():
        lines += [f"{group}_parameters:", *(f"   {key}: {values[key]:.16e}" for key in keys)]
    write(path, "\n".join(lines) + "\n")


def write_calibration(folder: Path) -> None:
    lines = [f"{name}: {rows}\n" for name, rows in CAM_T_POSE.items()]
    write(folder / "calib_cam_to_pose.txt", "".join(lines))
    write(folder / "calib_cam_to_velo.txt", VELO_T_CAM0 + "\n")
    lines = ["calib_time: 01-Jan-2013 00:00:00\n", "corner_dist: 1.300000e-01\n"]
    for number, rows in P_RECT.items():
        lines.append(f"S_rect_{number}: {WIDE_HW[1]} {WIDE_HW[0]}\n")
        lines.append(f"R_rect_{number}: {R_RECT}\n")
        lines.append(f"P_rect_{number}: {rows}\n")
    write(folder / "perspective.txt", "".join(lines))
    for name in ("image_02", "image_03"):
        write_yaml(folder / f"{name}.yaml", name, MEI)


def write_times(path: Path, late_us: int) -> None:
    at = [START + timedelta(microseconds=i * STEP_US + late_us) for i in range(MOMENTS)]
    write(path, "".join(f"{time:%Y-%m-%d %H:%M:%S.%f}072\n" for time in at))


def write_drive(
    root: Path, cameras: tuple[int, ...] = (0, 1, 2, 3), standing: int | None = STANDING
) -> Path:
    """A drive of 9.6 m/s, of which one frame may have no pose."""
    write_calibration(root / "calibration")
    for camera in cameras:
        fisheye = camera > 1
        folder = root / "data_2d_raw" / DRIVE / f"image_{camera:02d}"
        write_times(folder / "timestamps.txt", FISHEYE_LATE_US * fisheye)
        for i in range(MOMENTS):
            path = folder / ("data_rgb" if fisheye else "data_rect") / f"{i:010d}.png"
            write_image(path, 10 * camera + i, False, ROUND_HW if fisheye else WIDE_HW)
    scans = root / "data_3d_raw" / DRIVE / "velodyne_points"
    write_times(scans / "timestamps.txt", LIDAR_LATE_US)
    for i in range(MOMENTS):
        write_points(scans / "data" / f"{i:010d}.bin", POINTS_VELO)
    poses = [f"{i} {numbers(world_T_pose(i)[:3])}\n" for i in range(MOMENTS) if i != standing]
    write(root / "data_poses" / DRIVE / "poses.txt", "".join(poses))
    write_boxes(root)
    return root


def label_file(root: Path) -> Path:
    return root / "data_3d_bboxes" / "train" / f"{DRIVE}.xml"


def place_box(heading_rad: float, center: tuple[float, float, float]) -> np.ndarray:
    out = np.eye(4)
    c, s = np.cos(heading_rad), np.sin(heading_rad)
    out[:2, :2], out[:3, 3] = [[c, -s], [s, c]], center
    return out


def write_object(
    count: int, kind: tuple[int, int], at: int, world_T_box: np.ndarray, size_m: tuple
) -> str:
    """An object as OpenCV's FileStorage has it; `kind` is semanticId and instanceId."""
    stretched = world_T_box @ np.diag([*size_m, 1.0])
    matrices = {"transform": stretched, "vertices": CUBE}
    parts = [f"<object{count}>", f"<index>{count}</index>", "<label>car</label>"]
    parts += [f"<semanticId>{kind[0]}</semanticId><instanceId>{kind[1]}</instanceId>"]
    parts += [f"<timestamp>{at}</timestamp><dynamic>0</dynamic>"]
    parts += ["<start_frame>1</start_frame><end_frame>4</end_frame>"]
    for name, matrix in matrices.items():
        rows, columns = matrix.shape
        parts.append(
            f'<{name} type_id="opencv-matrix"><rows>{rows}</rows><cols>{columns}</cols><dt>f</dt>'
            f"<data>\n{numbers(matrix)}</data></{name}>"
        )
    return "\n".join([*parts, f"</object{count}>\n"])


CUBE = np.array([[x, y, z] for x in (0.5, -0.5) for y in (0.5, -0.5) for z in (0.5, -0.5)])
PARKED = place_box(0.4, (1012.0, 3003.0, 114.0))
PARKED_M, DRIVING_M, HOUSE_M = (4.4, 1.8, 1.5), (4.1, 1.7, 1.4), (12.0, 9.0, 8.0)


def driving(i: int) -> np.ndarray:
    """A car ahead that goes 0.8 m a moment along the world's x."""
    return place_box(0.0, (1020.0 + 0.8 * i, 3010.0, 114.0))


def write_boxes(root: Path) -> None:
    """A parked car (mirrored, as hand-drawn boxes may be), one that drives, a house, one far off.

    Frames 1 to 4 are annotated.
    """
    mirrored = PARKED @ np.diag([1.0, -1.0, 1.0, 1.0])
    objects = [((13, 7), -1, mirrored, PARKED_M), ((11, 2), -1, PARKED, HOUSE_M)]
    objects += [((13, 9), i, driving(i), DRIVING_M) for i in range(1, 5)]
    objects += [((13, 8), -1, place_box(0.0, (1300.0, 3000.0, 114.0)), PARKED_M)]
    objects += [((13, 7), -1, driving(0), PARKED_M)]  # again, of another window
    text = "".join(write_object(count, *each) for count, each in enumerate(objects, 1))
    write(label_file(root), f'<?xml version="1.0"?>\n<opencv_storage>\n{text}</opencv_storage>\n')
