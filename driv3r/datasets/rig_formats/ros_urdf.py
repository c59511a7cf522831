"""A robot's URDF for places, and ROS camera_info YAML files for intrinsics.

REP 103 and 105: base_link is x forward, y left, z up; an optical frame is z forward, x right,
y down. http://wiki.ros.org/urdf/XML/joint: rpy turn about the fixed axes x, then y, then z.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from driv3r.config import read_yaml
from driv3r.datasets.folder.rig_file import RigCamera, RigFile
from driv3r.datasets.rig_formats.options import ImportOptions
from driv3r.datasets.xml_files import read_xml
from driv3r.errors import ConfigError, DatasetError
from driv3r.geometry.transforms import BODY_T_CAM, invert, make_transform
from driv3r.types import Transform

BASES, FOOTPRINT = ("base_link", "base_footprint"), "base_footprint"
LENSES = {
    "plumb_bob": "opencv",
    "rational_polynomial": "opencv",
    "equidistant": "opencv_fisheye",
    "fisheye": "opencv_fisheye",
}
Chain = dict[str, tuple[str, Transform]]  # link -> its parent, parent_T_link


def read(path: Path, options: ImportOptions) -> tuple[RigFile, str]:
    """The cameras of the camera_info files, at the links of their names.

    The link of a camera `front` is front_optical_frame, front_camera_optical_frame, front_link or
    front; what is not called optical has a body's axes, which are turned. A LiDAR is a link with
    lidar or velodyne in its name. Raises DatasetError on a link that is missing or may move.
    """
    if not options.camera_info:
        raise ConfigError(
            "a URDF tells no intrinsics: give each camera's camera_info YAML with --camera-info"
        )
    chain = _read_chain(path)
    base = next((name for name in BASES if _known(chain, name)), None)
    if base is None:
        raise DatasetError(f"{path} has no link {' or '.join(BASES)}, the car's own frame")
    cameras = tuple(_read_camera(info, chain, base, path) for info in options.camera_info)
    lidars = [name for name in chain if "lidar" in name.lower() or "velodyne" in name.lower()]
    ego_T_lidar = _place(chain, lidars[-1], base, path) if lidars else None
    ground_z_m = 0.0
    if base != FOOTPRINT and _known(chain, FOOTPRINT):
        ground_z_m = float(_place(chain, FOOTPRINT, base, path)[2, 3])
    note = "The road is at base_footprint." if ground_z_m else f"The road is taken to be at {base}."
    return RigFile(cameras, ego_T_lidar, ground_z_m), note


def _known(chain: Chain, link: str) -> bool:
    return link in chain or any(parent == link for parent, _ in chain.values())


def _read_chain(path: Path) -> Chain:
    chain: Chain = {}
    for joint in read_xml(path).iter("joint"):
        parent, child = joint.find("parent"), joint.find("child")
        if joint.get("type") != "fixed" or parent is None or child is None:
            continue
        origin = joint.find("origin")
        told = {} if origin is None else origin.attrib
        try:
            xyz, rpy = (
                np.array([float(v) for v in told.get(key, "0 0 0").split()])
                for key in ("xyz", "rpy")
            )
            turn = Rotation.from_euler("xyz", rpy).as_matrix()
            place = make_transform(turn, xyz)
        except ValueError as error:
            raise DatasetError(f"{path}: joint {joint.get('name')}: {error}") from error
        chain[str(child.get("link"))] = str(parent.get("link")), place
    return chain


def _place(chain: Chain, link: str, base: str, path: Path) -> Transform:
    """base_T_link by way of the root that both hang from by fixed joints."""

    def climb(name: str) -> tuple[str, Transform]:
        root_T_link, seen = np.eye(4), set()
        while name in chain and name not in seen:
            seen.add(name)
            name, parent_T_link = chain[name]
            root_T_link = parent_T_link @ root_T_link
        return name, root_T_link

    (root, root_T_base), (other, root_T_link) = climb(base), climb(link)
    if root != other:
        raise DatasetError(f"{path}: no fixed joints lead from {base} to {link}")
    return invert(root_T_base) @ root_T_link


def _read_camera(info: Path, chain: Chain, base: str, path: Path) -> RigCamera:
    told = read_yaml(info)
    try:
        name = str(told["camera_name"])
        size_hw = int(told["image_height"]), int(told["image_width"])
        K = np.array(told["camera_matrix"]["data"], np.float64).reshape(3, 3)
        model = str(told["distortion_model"])
        distortion = tuple(float(k) for k in told["distortion_coefficients"]["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{info} is no camera_info as ROS's camera_calibration writes it: {error!r}"
        ) from error
    if model not in LENSES:
        raise DatasetError(f"{info}: the model {model} is none of {', '.join(LENSES)}")
    stems = [name, f"{name}_camera"]
    links = [
        f"{stem}{end}" for end in ("_optical_frame", "_optical", "_link", "") for stem in stems
    ]
    link = next((each for each in links if each in chain), None)
    if link is None:
        raise DatasetError(f"{path} has none of the links {', '.join(links)} of camera {name}")
    ego_T_cam = _place(chain, link, base, path)
    if "optical" not in link:
        ego_T_cam = ego_T_cam @ BODY_T_CAM
    lens: Any = LENSES[model] if any(distortion) or LENSES[model] != "opencv" else "pinhole"
    return RigCamera(name, size_hw, K, ego_T_cam, lens, distortion if lens != "pinhole" else ())
