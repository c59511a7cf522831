"""What an import of a calibration is told, and where a rig of no car is put on one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from driv3r.errors import ConfigError
from driv3r.geometry.transforms import BODY_T_CAM
from driv3r.types import Transform


@dataclass(frozen=True)
class ImportOptions:
    """What the file itself does not say: see `driv3r rig from --help`."""

    camera_info: tuple[Path, ...] = ()
    metres_per_unit: float | None = None
    height_m: float | None = None
    yaw_deg: float = 0.0
    scene: str | None = None


def place_first(options: ImportOptions, kind: str) -> Transform:
    """ego_T_cam of a first camera that looks level, the ego origin on the road below it.

    Raises ConfigError where nobody says how high it is.
    """
    if options.height_m is None or not 0 < options.height_m < 10:
        raise ConfigError(
            f"{kind} does not tell where the car is: --height-m is {options.height_m}, expected "
            "the first camera's height over the road in metres, 0 to 10 (and --yaw-deg where it "
            "does not look forward)"
        )
    ego_T_cam = np.eye(4)
    ego_T_cam[:3, :3] = (
        Rotation.from_euler("z", options.yaw_deg, degrees=True).as_matrix() @ BODY_T_CAM[:3, :3]
    )
    ego_T_cam[2, 3] = options.height_m
    return ego_T_cam


def describe_place(options: ImportOptions) -> str:
    """What was assumed, for the file's head."""
    return (
        f"Assumed: the first camera looks level, {options.yaw_deg:g} degrees left of forward, "
        f"{options.height_m:g} m over the road; the car's origin is on the road below it."
    )
