"""ROS 2 bags: folders with metadata.yaml, .mcap and .db3 files; each is a log."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.folder.exposures import Exposure
from driv3r.datasets.folder.records import RecordMaker
from driv3r.datasets.reader import Datum, Root, check_place
from driv3r.datasets.rosbag.bag import COMPRESSED, METADATA, Bag, Place
from driv3r.datasets.rosbag.cameras import check_info, place_camera
from driv3r.datasets.rosbag.clouds import decode_points
from driv3r.datasets.rosbag.frames import BASES, FOOTPRINT, WORLDS, ChainPoses, make_path
from driv3r.datasets.rosbag.images import check_encoding, decode, size_of
from driv3r.datasets.rosbag.recording import Recording
from driv3r.datasets.rosbag.settings import NAME, BagSettings, read_settings
from driv3r.datasets.rosbag.topics import TF, Chosen, ChosenCamera, choose_topics
from driv3r.datasets.scenes import PLAIN_NAME, make_scene
from driv3r.errors import ConfigError, DatasetError
from driv3r.settings import fingerprint
from driv3r.types import Camera, Repair, Rig, Scene, Transform

FILES = (".mcap", ".db3")


class RosbagReader:
    """Bags of a folder, or the folder that is one. Every frame is a keyframe: `sweeps` adds none.

    A driv3r-bag.yaml beside a bag, or in the root for all, says what topics and frames do not.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="ROS 2 bags and MCAP files",
        sensors="any cameras with image and camera_info; a LiDAR and poses where there are any",
        splits=("all",),
        licence="your own",
        source="one's own recordings: ros2 bag record (docs/datasets/rosbag.md)",
        layout="""\
drive_1.mcap                      a log; or .db3
drive_2/                          a log: a rosbag2 folder
  metadata.yaml
  drive_2_0.mcap                  or .db3, and more of them
driv3r-bag.yaml                   topics and frames, if they are to be told; or beside one bag
or the folder drive_2 by itself""",
        ground="as driv3r-bag.yaml has it (ground_z_m), else at the frame base_footprint, else at "
        "the base frame",
        extra="rosbag",
    )

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root = Root(root.resolve(), follow_links)
        top = self._root.path
        found = [top] if (top / METADATA).is_file() else _find_bags(top)
        names = [path.name if path.is_dir() else path.stem for path in found]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DatasetError(
                f"{root} holds several bags of the name {', '.join(twice)}; expected a name each: "
                "rename them"
            )
        self._bags = dict(zip(names, found, strict=True))
        if not self._bags:
            raise DatasetError(
                f"{root} holds no bag: expected .mcap or .db3 files, or folders with "
                f"{METADATA}, with names of letters, digits, '_', '-' and '.'; give the folder "
                "that holds them"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Names of the bags of `all`, or the one that is named; ConfigError on anything else."""
        if split == "all":
            return tuple(self._bags)
        if split not in self._bags:
            raise ConfigError(
                f"unknown split {split!r}; bags have none of their own: take all, or one bag of "
                f"{', '.join(self._bags)}"
            )
        return (split,)

    def read(self, scene_id: str) -> Scene:
        """One bag by its name. It is read through once; images and points again when indexed.

        Without transforms or odometry `poses_known` is False, and LiDAR is left out, as nothing
        tells how the car moved between its times and the cameras'. Raises DatasetError on an
        unknown or broken bag or messages that do not hold together, ConfigError on other keys in
        driv3r-bag.yaml and without rosbags, UnsafePathError on files outside.
        """
        if scene_id not in self._bags:
            raise DatasetError(f"no bag {scene_id!r} in {self._root.path}: {', '.join(self._bags)}")
        path = self._inside(self._bags[scene_id])
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        inside = [self._inside(file) for file in files if file.suffix in (*FILES, ".zstd")]
        sizes = [[file.name, file.stat().st_size] for file in inside if file.is_file()]
        settings = read_settings(self._find_settings(path))
        log = _Log.of_bag(Bag(path), settings)
        return log.make(self._root, scene_id, [fingerprint([sizes, settings])])

    def _inside(self, path: Path) -> Path:
        return self._root.resolve_inside(path.relative_to(self._root.path).as_posix())

    def _find_settings(self, bag: Path) -> Path | None:
        folder = bag if bag.is_dir() else bag.parent
        for place in (folder, self._root.path):
            if (place / NAME).exists():
                return self._inside(place / NAME)
        return None


def _find_bags(top: Path) -> list[Path]:
    return [
        path
        for path in sorted(top.iterdir())
        if (path.suffix in FILES and PLAIN_NAME.fullmatch(path.stem))
        or (PLAIN_NAME.fullmatch(path.name) and (path / METADATA).exists())
    ]


@dataclass(frozen=True, eq=False)
class _Log:
    bag: Bag
    settings: BagSettings
    chosen: Chosen
    recording: Recording
    repairs: list[Repair]
    base: str

    @classmethod
    def of_bag(cls, bag: Bag, settings: BagSettings) -> "_Log":
        repairs: list[Repair] = []
        chosen = choose_topics(bag.topics, settings, str(bag.path), repairs)
        recording = Recording.of_bag(bag, chosen, settings.clock, repairs)
        for (parent, child), parent_T_child in settings.fixed().items():
            recording.tree.given[child] = parent, parent_T_child
        known = recording.tree.frames()
        base = settings.base_frame or next((each for each in BASES if each in known), BASES[0])
        return cls(bag, settings, chosen, recording, repairs, base)

    def make(self, root: Root, scene_id: str, facts: list[str]) -> Scene:
        """The scene of the bag."""
        made: list[tuple[Camera, ChosenCamera]] = []
        frames: dict[str, str] = {}  # -> the camera that is there
        for topics in self.chosen.cameras:
            camera = self._make_camera(topics, frames)
            if camera is not None:
                made.append((camera, topics))
        if not made:
            reasons = "; ".join(f"{each.where}: {each.reason}" for each in self.repairs)
            raise DatasetError(f"{self.bag.path} holds no camera that can be read: {reasons}")
        poses = self._find_poses()
        ego_T_lidar, sweeps = self._place_lidar(poses is not None)
        rig = Rig(tuple(camera for camera, _ in made), ego_T_lidar, self._find_ground())
        exposures = {
            camera.name: self.recording.exposures(topics.image, self.repairs, camera.name)
            for camera, topics in made
        }
        unplaced = (
            f"of {self.bag.path} lies between two poses; are the times of images and poses of one "
            "clock? Name the topic of poses in driv3r-bag.yaml, or set poses: none"
        )
        maker = RecordMaker(self.settings.recording, poses, self.repairs, unplaced)
        records = maker.make(rig, exposures, sweeps)
        scene = make_scene(
            root.path,
            scene_id,
            rig,
            records,
            self._read_points,
            self.repairs,
            facts,
            self._read_image,
        )
        return replace(scene, poses_known=poses is not None)

    def _make_camera(self, topics: ChosenCamera, frames: dict[str, str]) -> Camera | None:
        """The camera, None (and a repair) where it was not asked for and can not be read.

        Two of one frame would be at one place, as stereo cameras are in some bags.
        """
        image, info = (self.recording.tracks[each] for each in (topics.image, topics.camera_info))
        compressed = self.bag.topics[topics.image] == COMPRESSED
        frame = topics.frame or image.frame or info.frame
        try:
            check_encoding(image.first, compressed)
            check_info(info.first, size_of(image.first, compressed))
            if frame in frames:
                raise DatasetError(
                    f"its frame {frame} is the camera {frames[frame]}'s, expected one of its own; "
                    f"name it, or only one of these cameras, under cameras in {NAME}"
                )
        except DatasetError as error:
            if self.settings.cameras is not None:
                raise DatasetError(f"{self.bag.path}: {topics.image}: {error}") from error
            self.repairs.append(Repair(topics.name, f"left out: {error}"))
            return None
        frames[frame] = topics.name
        ego_T_optical = self.recording.tree.rigid(self.base, frame)
        return place_camera(topics, info.first, ego_T_optical, frame)

    def _find_poses(self) -> ChainPoses | None:
        """world_T_ego by the first of the topics that tells it; None where none does."""
        tree, asked = self.recording.tree, self.settings.poses
        for topic in self.chosen.poses:
            if topic == TF[0]:
                world = self.settings.world_frame
                above = [parent for parent, _ in tree.climb(self.base)]
                world = world or next((each for each in WORLDS if each in above), None)
                found = None if world is None else tree.poses(world, self.base)
                if found is not None:
                    return found
            elif topic in self.recording.rows:
                path = make_path(self.recording.rows[topic], topic, self.repairs)
                child = self.recording.posed[topic] or self.base
                return ChainPoses((path, tree.rigid(child, self.base)))
        if asked not in (None, "none") or self.settings.world_frame is not None:
            raise DatasetError(
                f"{self.bag.path}: {asked or TF[0]} tells no poses of {self.base} in "
                f"{self.settings.world_frame or ', '.join(WORLDS)}; known frames: "
                f"{', '.join(tree.frames()[:30])}. Set world_frame and base_frame in {NAME}"
            )
        return None

    def _place_lidar(self, poses_known: bool) -> tuple[Transform | None, list[Exposure]]:
        """ego_T_lidar and the sweeps; none where the frame is not on the car."""
        topic = self.chosen.lidar
        if topic is None:
            return None, []
        try:
            if not poses_known:
                raise DatasetError(
                    "there are no poses, so that nothing tells how the car moved between its times "
                    "and the cameras'"
                )
            frame = self.recording.tracks[topic].frame
            ego_T_lidar = self.recording.tree.rigid(self.base, frame)
            check_place("the LiDAR", ego_T_lidar)
        except DatasetError as error:
            if self.settings.lidar is not None and poses_known:
                raise
            self.repairs.append(Repair("lidar", f"left out: {error}"))
            return None, []
        return ego_T_lidar, self.recording.exposures(topic, self.repairs, "lidar")

    def _find_ground(self) -> float:
        """The road's height in the base frame."""
        if self.settings.ground_z_m is not None:
            return self.settings.ground_z_m
        if self.base == FOOTPRINT:
            return 0.0
        if FOOTPRINT in self.recording.tree.frames():
            return float(self.recording.tree.rigid(self.base, FOOTPRINT)[2, 3])
        reason = (
            f"there is no frame {FOOTPRINT}: the road is taken to be at {self.base}; set "
            f"ground_z_m in {NAME}"
        )
        self.repairs.append(Repair("ground", reason))
        return 0.0

    def _read_image(self, datum: Datum, camera: Camera) -> UInt8[np.ndarray, "h w 3"]:
        place = Place.parse(datum.part)
        compressed = self.bag.topics[place.topic] == COMPRESSED
        return decode(self.bag.read(place), compressed, camera.size_hw, f"{datum.path}#{place}")

    def _read_points(self, datum: Datum) -> Float[np.ndarray, "n 3"]:
        place = Place.parse(datum.part)
        return decode_points(self.bag.read(place), f"{datum.path}#{place}")
