"""What looks wrong about a rig: each finding says what was given, what was expected, the remedy."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from driv3r.datasets.folder.rig_file import ROTATION_SLACK, WIDE_LENSES, RigCamera, RigFile
from driv3r.datasets.reader import CAR_M, FOCAL_SHARES
from driv3r.geometry.transforms import BODY_T_CAM
from driv3r.types import Transform

LONG_CAR_M = 8.0  # from the ego origin to a sensor of a car; trucks and buses reach farther
LEAST_HEIGHT_M, LARGEST_HEIGHT_M = 0.15, 4.5  # of a camera over the road
UPRIGHT, LEVEL = 0.5, 0.7  # cosines: image down against the car's down; axis off the horizontal
SAME_M, SAME_COSINE = 0.01, 0.999
CENTRE_SHARE, FACTOR_SLACK, SQUARE_SLACK = 0.15, 0.08, 0.1
WIDE_DEG, NARROW_DEG = 140.0, 8.0
ROAD_REACH_M, ROAD_SLACK_M, ROAD_BIN_M = 12.0, 0.25, 0.1
ENOUGH_POINTS = 200
RED_OVER_BLUE, BRIGHT = 30.0, 140.0  # of the sky, which is blue or grey but at sunset
OPENGL_R_CV = np.diag([1.0, -1.0, -1.0])  # x right, y up, z backward
UNITS = {"centimetres": 100.0, "millimetres": 1000.0}


@dataclass(frozen=True)
class Finding:
    """Something about a sensor that is wrong, or that is seldom right (doubtful)."""

    level: Literal["wrong", "doubtful"]
    sensor: str
    given: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level}: {self.sensor}: {self.given}; expected {self.expected}. {self.remedy}"


def check_rig(file: RigFile) -> list[Finding]:
    """All findings of a rig file alone: rotations, places, axes, lenses."""
    found = [finding for camera in file.cameras for finding in _check_camera(camera)]
    if file.ego_T_lidar is not None:
        found += [*_check_rotation("lidar", file.ego_T_lidar)]
    return [*found, *_check_units(file), *_check_axes(file), *_check_heights(file), *_twins(file)]


def _check_camera(camera: RigCamera) -> Iterator[Finding]:
    yield from _check_rotation(camera.name, camera.ego_T_cam)
    yield from _check_focal(camera)
    yield from _check_centre(camera)


def _check_rotation(name: str, ego_T_sensor: Transform) -> Iterator[Finding]:
    rotation = ego_T_sensor[:3, :3]
    off = float(np.abs(rotation.T @ rotation - np.eye(3)).max())
    if off > ROTATION_SLACK:
        yield Finding(
            "wrong",
            name,
            f"the rotation is not orthonormal: R^T R is {off:.3g} off the identity",
            f"{ROTATION_SLACK:g} at most",
            "Give a rotation matrix, of rows and columns of length 1, or a quaternion",
        )
    elif np.linalg.det(rotation) < 0:
        yield Finding(
            "wrong",
            name,
            "the rotation is a mirror: det R is -1",
            "1",
            "One axis has the wrong sign, or the frame is left-handed: turn that axis about",
        )


def _check_units(file: RigFile) -> Iterator[Finding]:
    places_m = {camera.name: camera.ego_T_cam[:3, 3] for camera in file.cameras}
    if file.ego_T_lidar is not None:
        places_m["lidar"] = file.ego_T_lidar[:3, 3]
    farthest = max(places_m, key=lambda name: float(np.linalg.norm(places_m[name])))
    way_m = float(np.linalg.norm(places_m[farthest]))
    if way_m <= LONG_CAR_M:
        return
    unit = next((name for name, k in UNITS.items() if 0.3 < way_m / k <= LONG_CAR_M), None)
    remedy = (
        f"These are {unit}: divide the translations by {UNITS[unit]:g}"
        if unit
        else "Give translations in metres, from the car's own origin"
    )
    yield Finding(
        "wrong" if way_m > CAR_M else "doubtful",
        farthest,
        f"it lies {way_m:.4g} m from the car's origin",
        f"{LONG_CAR_M:g} m at most of a car",
        remedy,
    )


def is_upright(ego_T_cam: Transform) -> bool:
    """Whether image rows go down the car's z and the camera does not look up or down steeply."""
    return bool(-ego_T_cam[2, 1] > UPRIGHT and abs(ego_T_cam[2, 2]) < LEVEL)


def _inverted(matrix: Transform) -> Transform:
    return np.linalg.inv(matrix)


def _turned(cv_axes: Float[np.ndarray, "3 3"]) -> Callable[[Transform], Transform]:
    def turn(matrix: Transform) -> Transform:
        out = matrix.copy()
        out[:3, :3] = matrix[:3, :3] @ cv_axes
        return out

    return turn


MISTAKES: dict[str, Callable[[Transform], Transform]] = {
    "it is camera_T_ego, not ego_T_cam: give the inverse": _inverted,
    "its camera frame is x forward, y left, z up (ROS, a car's body): turn its axes to OpenCV's, "
    "x right, y down, z forward": _turned(BODY_T_CAM[:3, :3]),
    "its camera frame is OpenGL's or Blender's (y up, z backward): turn its y and z about": (
        _turned(OPENGL_R_CV)
    ),
}


def _check_axes(file: RigFile) -> Iterator[Finding]:
    """Cameras that do not stand upright, and the mistake whose undoing puts them so."""
    regular = [c for c in file.cameras if abs(np.linalg.det(c.ego_T_cam[:3, :3])) > 0.5]
    fallen = [camera for camera in regular if not is_upright(camera.ego_T_cam)]

    def mended(mistake: str) -> int:
        places = [MISTAKES[mistake](camera.ego_T_cam) for camera in fallen]
        heights_m = [place[2, 3] - file.ground_z_m for place in places]
        return sum(
            1 + int(0 < height_m < LARGEST_HEIGHT_M)
            for place, height_m in zip(places, heights_m, strict=True)
            if is_upright(place)
        )

    best = max(MISTAKES, key=mended)
    remedy = f"It looks as if {best}" if fallen and mended(best) else "Check the order of its axes"
    for camera in fallen:
        axis, down = camera.ego_T_cam[:3, 2], camera.ego_T_cam[:3, 1]
        yield Finding(
            "wrong" if mended(best) else "doubtful",
            camera.name,
            f"the image's down is {_words(down)} of the car, and it looks {_words(axis)}",
            "an image whose down is the car's down, of a camera that looks about level",
            remedy,
        )


def _words(direction: Float[np.ndarray, "3"]) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return (("forward", "left", "up"), ("backward", "right", "down"))[int(direction[axis] < 0)][
        axis
    ]


def _check_heights(file: RigFile) -> Iterator[Finding]:
    for camera in file.cameras:
        height_m = float(camera.ego_T_cam[2, 3]) - file.ground_z_m
        if height_m < LEAST_HEIGHT_M:
            where = "under" if height_m < 0 else "at"
            yield Finding(
                "wrong" if height_m <= 0 else "doubtful",
                camera.name,
                f"it lies {where} the road, {height_m:.2f} m over it (ground_z_m "
                f"{file.ground_z_m:g})",
                f"{LEAST_HEIGHT_M:g} m or more",
                "Set ground_z_m to the road's height in the ego frame: below 0 where the origin is "
                "an axle, an IMU or a camera",
            )
        elif LARGEST_HEIGHT_M < height_m <= CAR_M:
            yield Finding(
                "doubtful",
                camera.name,
                f"it lies {height_m:.2f} m over the road",
                f"{LARGEST_HEIGHT_M:g} m at most",
                "Check the unit of ego_T_cam and ground_z_m: both are metres",
            )


def _twins(file: RigFile) -> Iterator[Finding]:
    for i, a in enumerate(file.cameras):
        for b in file.cameras[:i]:
            apart_m = float(np.linalg.norm(a.ego_T_cam[:3, 3] - b.ego_T_cam[:3, 3]))
            if apart_m > SAME_M:
                continue
            same_way = float(a.ego_T_cam[:3, 2] @ b.ego_T_cam[:3, 2]) > SAME_COSINE
            yield Finding(
                "wrong" if same_way and np.allclose(a.K, b.K) else "doubtful",
                a.name,
                f"it is at the same place as {b.name}{' and looks the same way' * same_way}",
                f"cameras {SAME_M:g} m apart at least",
                "Was one calibration copied to the other, or the translation left out?",
            )


def _check_focal(camera: RigCamera) -> Iterator[Finding]:
    height, width = camera.size_hw
    fx, fy = float(camera.K[0, 0]), float(camera.K[1, 1])
    if not (fx > 0 and fy > 0 and min(camera.size_hw) > 0):
        yield Finding(
            "wrong", camera.name, f"fx {fx:g}, fy {fy:g}, size {width} x {height}",
            "positive numbers", "Give focal lengths in pixels, and size_wh as width, height",
        )  # fmt: skip
        return
    wide = camera.lens in WIDE_LENSES
    across_deg = math.degrees(width / fx if wide else 2 * math.atan(width / (2 * fx)))
    least, most = (share * max(camera.size_hw) for share in FOCAL_SHARES)
    if not (least <= min(fx, fy) and max(fx, fy) <= most):
        yield Finding(
            "wrong", camera.name, f"fx {fx:g} of an image {width} pixels wide",
            f"{least:g} to {most:g}", "The focal length is in pixels, not in millimetres",
        )  # fmt: skip
    elif not NARROW_DEG < across_deg < (360 if wide else WIDE_DEG):
        yield Finding(
            "doubtful", camera.name, f"fx {fx:g} makes {across_deg:.0f} degrees across",
            f"{NARROW_DEG:g} to {WIDE_DEG:g} of a camera that is no fisheye",
            "Does K belong to images of this size? Is the lens a fisheye (opencv_fisheye)?",
        )  # fmt: skip
    if abs(fx / fy - 1) > SQUARE_SLACK:
        yield Finding(
            "doubtful", camera.name, f"fx {fx:g} and fy {fy:g} differ by {abs(fx / fy - 1):.0%}",
            "square pixels", "Were images resized to another aspect ratio, or K but in part?",
        )  # fmt: skip


def _check_centre(camera: RigCamera) -> Iterator[Finding]:
    height, width = camera.size_hw
    told_w, told_h = 2 * (float(camera.K[0, 2]) + 0.5), 2 * (float(camera.K[1, 2]) + 0.5)
    if abs(camera.K[2, 0]) + abs(camera.K[2, 1]) > 1e-6:
        yield Finding(
            "wrong", camera.name, f"the last row of K is {camera.K[2].tolist()}", "0, 0, 1",
            "K is transposed: give its rows",
        )  # fmt: skip
        return
    if not (_off(told_w, width) > CENTRE_SHARE or _off(told_h, height) > CENTRE_SHARE):
        if (told_w - 1, told_h - 1) == (width, height) or (told_w + 1, told_h + 1) == (
            width,
            height,
        ):
            yield Finding(
                "doubtful", camera.name, "K's centre is half a pixel off the image's middle",
                "an exact middle of the convention that pixel_centre names",
                "Is it the other one? integer: the first pixel's centre is (0, 0), as in OpenCV; "
                "half: (0.5, 0.5), as in COLMAP",
            )  # fmt: skip
        return
    factor = told_w / width
    if _off(told_w, height) < FACTOR_SLACK and _off(told_h, width) < FACTOR_SLACK:
        remedy = "Width and height are exchanged: size_wh is width, then height"
    elif abs(told_h / height / factor - 1) < FACTOR_SLACK:
        remedy = (
            f"K belongs to images of about {told_w:.0f} x {told_h:.0f}: divide fx, fy, cx, cy by "
            f"{factor:.3g}, or give images of that size"
        )
    else:
        remedy = "Does K belong to images of this size, or to a crop? A crop's cx, cy are its own"
    inside = 0 <= camera.K[0, 2] <= width and 0 <= camera.K[1, 2] <= height
    yield Finding(
        "doubtful" if inside else "wrong", camera.name,
        f"cx, cy {camera.K[0, 2]:.1f}, {camera.K[1, 2]:.1f} of an image of {width} x {height}",
        f"about the middle, {(width - 1) / 2:g}, {(height - 1) / 2:g}", remedy,
    )  # fmt: skip


def _off(told: float, true: int) -> float:
    return abs(told / true - 1) if true else math.inf


def check_images(
    camera: RigCamera, images: Sequence[UInt8[np.ndarray, "h w 3"]]
) -> Iterator[Finding]:
    """Findings of a camera's RGB images: the colour of the sky.

    Red over blue in the bright upper parts of most images is what BGR that was saved as RGB has.
    """
    warm = []
    for image in images:
        top = image[: len(image) // 3].reshape(-1, 3).astype(float)
        sky = top[top.max(axis=-1) > BRIGHT]
        if len(sky) > len(top) // 5:
            warm.append(float(np.median(sky[:, 0] - sky[:, 2])) > RED_OVER_BLUE)
    if warm and np.mean(warm) > 0.5:
        yield Finding(
            "doubtful", camera.name, "bright upper parts of its images are red, not blue or grey",
            "a sky that is no redder than blue",
            "Were they written as RGB where BGR is meant (cv2.imwrite takes BGR)? Fine at sunset",
        )  # fmt: skip


def check_road(file: RigFile, points_lidar: Float[np.ndarray, "n 3"]) -> Iterator[Finding]:
    """A finding where the LiDAR's road is not at ground_z_m.

    The road is the commonest height (a histogram's mode) of the lowest points of square metres
    near the car.
    """
    if file.ego_T_lidar is None:
        return
    points_ego = points_lidar.astype(float) @ file.ego_T_lidar[:3, :3].T + file.ego_T_lidar[:3, 3]
    near = np.linalg.norm(points_ego, axis=-1) < ROAD_REACH_M
    heights_m = points_ego[near, 2]
    if len(heights_m) < ENOUGH_POINTS:
        yield Finding(
            "doubtful",
            "lidar",
            f"{len(heights_m)} points lie within {ROAD_REACH_M:g} m of the car",
            f"{ENOUGH_POINTS} or more",
            "Are its points metres, in the LiDAR's own frame?",
        )
        return
    _, cell = np.unique(np.floor(points_ego[near, :2]), axis=0, return_inverse=True)
    lowest_m = np.full(cell.max() + 1, np.inf)
    np.minimum.at(lowest_m, cell.reshape(-1), heights_m)
    bins = np.arange(lowest_m.min(), lowest_m.max() + 2 * ROAD_BIN_M, ROAD_BIN_M)
    counts, edges = np.histogram(lowest_m, bins)
    road_z_m = float(edges[counts.argmax()]) + ROAD_BIN_M / 2
    if abs(road_z_m - file.ground_z_m) > ROAD_SLACK_M:
        yield Finding(
            "doubtful", "lidar",
            f"its points have the road at z {road_z_m:.2f} m, ground_z_m is {file.ground_z_m:g}",
            f"{ROAD_SLACK_M:g} m apart at most",
            f"Set ground_z_m to {road_z_m:.2f}, or mend ego_T_lidar: is its z up, is it inverse?",
        )  # fmt: skip
