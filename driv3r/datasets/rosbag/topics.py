"""Which topics of a bag a log is made from: by ROS's names, or as driv3r-bag.yaml has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from driv3r.datasets.rosbag.bag import (
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    ODOMETRY,
    POINTS,
    POSE,
    POSE_COVARIANCE,
)
from driv3r.datasets.rosbag.settings import NO_POSES, BagSettings, CameraTopics
from driv3r.errors import DatasetError
from driv3r.settings import PLAIN_NAME
from driv3r.types import Repair

TF = ("/tf", "/tf_static")
FIRST_NAMES = ("image_raw", "image_color", "image")  # of several images beside one camera_info
TRANSPORT = "compressed"


@dataclass(frozen=True)
class ChosenCamera:
    """A camera whose topics are all there."""

    name: str
    image: str
    camera_info: str
    rectified: bool
    frame: str | None = None


@dataclass(frozen=True)
class Chosen:
    """The topics of a log. `poses` are tried in this order, "/tf" stands for the transforms."""

    cameras: tuple[ChosenCamera, ...]
    lidar: str | None
    poses: tuple[str, ...]

    def all(self) -> set[str]:
        """Every topic that is read, the transforms' too."""
        cameras = {topic for each in self.cameras for topic in (each.image, each.camera_info)}
        return {*cameras, *self.poses, *TF} | ({self.lidar} if self.lidar else set())


def choose_topics(
    topics: Mapping[str, str], settings: BagSettings, where: str, repairs: list[Repair]
) -> Chosen:
    """The topics to read; DatasetError where one that is named is not there, or no camera is."""
    wanted = settings.cameras if settings.cameras is not None else _find_cameras(topics)
    cameras = []
    for each in wanted:
        camera, lack = _complete(each), ""
        if topics.get(camera.image) not in (IMAGE, COMPRESSED):
            lack = f"there is no topic of images {camera.image}"
        elif topics.get(camera.camera_info) != CAMERA_INFO:
            lack = f"{camera.image} has no camera_info at {camera.camera_info}"
        if not lack:
            cameras.append(camera)
        elif settings.cameras is not None:
            raise DatasetError(f"{where}: {lack}. {_list_topics(topics)}")
        else:
            repairs.append(Repair(camera.name, f"left out: {lack}"))
    if not cameras:
        raise DatasetError(
            f"{where} holds no camera: expected topics of images with a camera_info beside each, "
            f"such as /front/image_raw and /front/camera_info. {_list_topics(topics)}"
        )
    _check_names([camera.name for camera in cameras], where)
    lidar = _choose_lidar(topics, settings, where, repairs)
    poses = _choose_poses(topics, settings, where, repairs)
    return Chosen(tuple(cameras), lidar, poses)


def _find_cameras(topics: Mapping[str, str]) -> tuple[CameraTopics, ...]:
    """One topic of images a folder of topics: raw before rectified, plain before compressed."""
    best: dict[PurePosixPath, str] = {}
    for topic, kind in sorted(topics.items()):
        if kind in (IMAGE, COMPRESSED):
            folder = _plain(topic).parent
            if folder not in best or _rank(topic) < _rank(best[folder]):
                best[folder] = topic
    return tuple(CameraTopics(topic) for _, topic in sorted(best.items()))


def _plain(topic: str) -> PurePosixPath:
    """The topic that a transport such as .../compressed belongs to."""
    path = PurePosixPath(topic)
    return path.parent if path.name.startswith(TRANSPORT) else path


def _rank(topic: str) -> tuple[bool, bool, int, str]:
    last = _plain(topic).name
    order = FIRST_NAMES.index(last) if last in FIRST_NAMES else len(FIRST_NAMES)
    return "depth" in topic.lower(), "rect" in last, order, topic


def _complete(camera: CameraTopics) -> ChosenCamera:
    plain = _plain(camera.image)
    rectified = "rect" in plain.name if camera.rectified is None else camera.rectified
    name = camera.name or "_".join(plain.parent.parts[1:]) or plain.name
    info = camera.camera_info or str(plain.parent / "camera_info")
    return ChosenCamera(name, camera.image, info, rectified, camera.frame)


def _check_names(names: list[str], where: str) -> None:
    strange = [name for name in names if not PLAIN_NAME.fullmatch(name)]
    if strange or len(set(names)) < len(names):
        raise DatasetError(
            f"{where}: the cameras would be named {', '.join(names)}; expected each another plain "
            "name of letters, digits, '_', '-' and '.': give them under cameras in driv3r-bag.yaml"
        )


def _choose_lidar(
    topics: Mapping[str, str], settings: BagSettings, where: str, repairs: list[Repair]
) -> str | None:
    clouds = sorted(topic for topic, kind in topics.items() if kind == POINTS)
    if settings.lidar is not None:
        if settings.lidar not in clouds:
            raise DatasetError(
                f"{where}: there is no topic of points {settings.lidar}. {_list_topics(topics)}"
            )
        return settings.lidar
    if len(clouds) > 1:
        reason = f"left out: there are {', '.join(clouds)}; name one as lidar in driv3r-bag.yaml"
        repairs.append(Repair("lidar", reason))
    return clouds[0] if len(clouds) == 1 else None


def _choose_poses(
    topics: Mapping[str, str], settings: BagSettings, where: str, repairs: list[Repair]
) -> tuple[str, ...]:
    """The topic that is named, else the transforms and the only odometry."""
    asked = settings.poses
    if asked == NO_POSES:
        return ()
    if asked in TF:
        return TF[:1]
    if asked is not None:
        if topics.get(asked) not in (ODOMETRY, POSE, POSE_COVARIANCE):
            raise DatasetError(
                f"{where}: there is no topic of poses {asked} (nav_msgs/Odometry, PoseStamped, "
                f"PoseWithCovarianceStamped, /tf, or none). {_list_topics(topics)}"
            )
        return (asked,)
    found = sorted(topic for topic, kind in topics.items() if kind == ODOMETRY)
    if len(found) > 1:
        reason = f"{', '.join(found)} are left out; name one as poses in driv3r-bag.yaml"
        repairs.append(Repair("poses", reason))
    return (TF[0], *(found if len(found) == 1 else ()))


def _list_topics(topics: Mapping[str, str]) -> str:
    listed = ", ".join(f"{topic} ({kind.split('/')[-1]})" for topic, kind in sorted(topics.items()))
    return f"The bag has {listed or 'no topic of a type that is read'}"
