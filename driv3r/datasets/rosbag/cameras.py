"""Cameras from sensor_msgs/CameraInfo and the place of their optical frame.

Its definition: K and D are of the raw image, P of the rectified one, which R turns the camera to;
plumb_bob, rational_polynomial and equidistant are OpenCV's models, and pixel centres are whole
numbers. REP 103: an optical frame has z forward, x right, y down.
"""

import numpy as np

from driv3r.datasets.folder.rig_file import make_rigid
from driv3r.datasets.reader import make_camera
from driv3r.datasets.rosbag.bag import Message
from driv3r.datasets.rosbag.topics import ChosenCamera
from driv3r.errors import DatasetError
from driv3r.geometry.transforms import invert, make_transform
from driv3r.types import Camera, LensModel, Transform

LENSES: dict[str, tuple[LensModel, tuple[int, ...]]] = {  # model, numbers of coefficients
    "": ("brown_conrady", (0,)),
    "plumb_bob": ("brown_conrady", (0, 4, 5)),
    "rational_polynomial": ("brown_conrady", (8, 12, 14)),
    "equidistant": ("kannala_brandt", (4,)),
    "fisheye": ("kannala_brandt", (4,)),
}
UPRIGHT = 0.7  # of the axis along the car's z: no camera of a car looks straight up


def check_info(info: Message, size_hw: tuple[int, int] | None) -> None:
    """DatasetError where a camera_info can not be of images of this size, or is no calibration."""
    told_hw = info.height, info.width
    for expected, holds in {
        f"a calibration, but K is {info.k.tolist()}": bool(np.any(info.k)),
        f"no binning, but it is {info.binning_x} x {info.binning_y}": max(
            info.binning_x, info.binning_y
        )
        <= 1,
        f"no region of interest, but it is {info.roi}": (
            info.roi.width,
            info.roi.height,
            info.roi.x_offset,
            info.roi.y_offset,
        )
        in ((0, 0, 0, 0), (info.width, info.height, 0, 0)),
        f"the size of its images, {size_hw} (h, w), but it is {told_hw}": size_hw
        in (None, told_hw),
    }.items():
        if not holds:
            raise DatasetError(f"its camera_info: expected {expected}; calibrate the camera anew")


def place_camera(
    chosen: ChosenCamera, info: Message, ego_T_optical: Transform, frame: str
) -> Camera:
    """The camera of a camera_info; DatasetError names what is no calibration or lens."""
    if ego_T_optical[2, 2] > UPRIGHT:
        raise DatasetError(
            f"camera {chosen.name}: its frame {frame} has z upward, expected an optical frame (z "
            "forward, x right, y down: REP 103); name that as frame under cameras in "
            "driv3r-bag.yaml"
        )
    size_hw = info.height, info.width
    if chosen.rectified:
        where = f"camera {chosen.name}: R of {chosen.camera_info}"
        turn = make_rigid(make_transform(info.r.reshape(3, 3), np.zeros(3)), where)
        K = info.p.reshape(3, 4)[:, :3]
        return make_camera(chosen.name, K, size_hw, ego_T_optical @ invert(turn))
    model = info.distortion_model
    lens, counts = LENSES.get(model, (None, ()))
    distortion = tuple(info.d.tolist())
    if lens is None or len(distortion) not in counts:
        known = "; ".join(f"{name or '(none)'}: {count}" for name, (_, count) in LENSES.items())
        raise DatasetError(
            f"camera {chosen.name} has the distortion_model {model!r} with {len(distortion)} "
            f"coefficients at {chosen.camera_info}, expected one of {known}; calibrate it anew, or "
            "record rectified images"
        )
    return make_camera(chosen.name, info.k.reshape(3, 3), size_hw, ego_T_optical, distortion, lens)
