"""The rig of a nuScenes scene, as its reader has it."""

import dataclasses
from pathlib import Path

from driv3r.datasets.folder.rig_file import RigCamera, RigFile
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.datasets.rig_formats.options import ImportOptions
from driv3r.errors import ConfigError
from driv3r.types import Rig


def read(path: Path, options: ImportOptions) -> tuple[RigFile, str]:
    """The rig of `--scene`, of a nuScenes root; ConfigError where no scene is named."""
    if options.scene is None:
        raise ConfigError("nuScenes has a calibration a scene: name one with --scene scene-0061")
    return describe_rig(NuScenesReader(path).read(options.scene).rig), f"Scene {options.scene}."


def describe_rig(rig: Rig) -> RigFile:
    """A rig of pinhole or OpenCV cameras as a rig file."""
    cameras = []
    for camera in rig.cameras:
        K = camera.K.copy()
        K[:2, 2] -= 0.5
        lens = "opencv" if camera.distortion else "pinhole"
        cameras.append(
            RigCamera(camera.name, camera.size_hw, K, camera.ego_T_cam, lens, camera.distortion)
        )
    return dataclasses.replace(
        RigFile(tuple(cameras)), ego_T_lidar=rig.ego_T_lidar, ground_z_m=rig.ground_z_m
    )
