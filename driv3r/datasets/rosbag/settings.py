"""driv3r-bag.yaml: what of a bag is read, where its topics and frames do not tell."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from driv3r.config import build_config, read_yaml
from driv3r.datasets.folder.rig_file import Recording, make_rigid, parse_transform
from driv3r.datasets.reader import CAR_M
from driv3r.errors import DatasetError
from driv3r.types import Transform

NAME = "driv3r-bag.yaml"
NO_POSES = "none"
Clock = Literal["header", "log"]


@dataclass(frozen=True)
class CameraTopics:
    """A camera: its topics, and what differs from what they tell.

    `camera_info` is beside `image` unless told, `frame` that of the images' headers. `rectified`
    images are those of a topic with "rect" in its last name, unless told.
    """

    image: str
    camera_info: str | None = None
    name: str | None = None
    frame: str | None = None
    rectified: bool | None = None


@dataclass(frozen=True)
class FixedTransform:
    """A transform that the bag lacks: `parent_T_child` as a matrix, or translation and turn."""

    parent: str
    child: str
    parent_T_child: Any


@dataclass(frozen=True)
class BagSettings:
    """All of the file's keys. Without `cameras`, all that have an image and a camera_info.

    `poses` is /tf, a topic of nav_msgs/Odometry, PoseStamped or PoseWithCovarianceStamped, or
    "none". `clock` says whether times are those of headers or of the log.
    """

    cameras: tuple[CameraTopics, ...] | None = None
    lidar: str | None = None
    poses: str | None = None
    base_frame: str | None = None
    world_frame: str | None = None
    transforms: tuple[FixedTransform, ...] = ()
    ground_z_m: float | None = None
    clock: Clock = "header"
    reference_camera: str | None = None
    group_within_ms: float | None = None

    @property
    def recording(self) -> Recording:
        """How exposures are grouped."""
        return Recording(
            reference_camera=self.reference_camera, group_within_ms=self.group_within_ms
        )

    def fixed(self) -> dict[tuple[str, str], Transform]:
        """parent_T_child by (parent, child); DatasetError where one is no rigid transform."""
        found = {}
        for each in self.transforms:
            where = f"{NAME}: the transform {each.parent} to {each.child}"
            written = parse_transform(each.parent_T_child, where)
            found[each.parent, each.child] = make_rigid(written, where)
        return found


def read_settings(path: Path | None) -> BagSettings:
    """The file's settings, or those of a bag that has none.

    Raises ConfigError on unknown or ill-typed keys, DatasetError on values that can not be.
    """
    if path is None:
        return BagSettings()
    settings = build_config(read_yaml(path), BagSettings, str(path))
    ground, within = settings.ground_z_m, settings.group_within_ms
    if ground is not None and not abs(ground) <= CAR_M:
        raise DatasetError(
            f"{path}: ground_z_m is {ground}, expected the road's height in the base frame in "
            f"metres, {CAR_M:g} at most"
        )
    if within is not None and not 0 < within < 1e6:
        raise DatasetError(f"{path}: group_within_ms is {within}, expected a positive number")
    if settings.cameras is not None and not settings.cameras:
        raise DatasetError(f"{path}: cameras is empty; name one, or leave the key out")
    return settings
