"""Logs of one's own cameras: folders of images or videos, a rig.yaml, perhaps poses and LiDAR.

A log is `{images/<camera>/<time>.jpg, rig.yaml, poses.csv, lidar/<time>.ply}`; the root is a log,
or a folder of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.folder.exposures import Exposure, find_videos, list_exposures
from driv3r.datasets.folder.lidar import list_sweeps, read_points
from driv3r.datasets.folder.lone_camera import assume_rig, list_cameras
from driv3r.datasets.folder.masks import read_mask
from driv3r.datasets.folder.poses import PosePath, find_poses, read_poses
from driv3r.datasets.folder.records import RecordMaker
from driv3r.datasets.folder.rig_file import RigFile, make_rig, read_rig_file
from driv3r.datasets.folder.times import check_steps
from driv3r.datasets.folder.unknown import describe_unknown
from driv3r.datasets.folder.video import VideoFrames
from driv3r.datasets.images import read_image
from driv3r.datasets.reader import Datum, Root
from driv3r.datasets.scenes import PLAIN_NAME, make_scene
from driv3r.errors import ConfigError, DatasetError
from driv3r.settings import fingerprint
from driv3r.types import Camera, Repair, Rig, Scene


class FolderReader:
    """Logs in the folder layout. Every frame is a keyframe: `sweeps` adds nothing.

    `rig` is the rig file of all logs; without one each has its own rig.yaml, or the root has. A log
    of a single camera may go without.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="Images or videos of one's own rig",
        sensors="any cameras; poses and a LiDAR where there are any",
        splits=("all",),
        licence="your own",
        source="one's own recordings, described by a rig.yaml (docs/how-to/own-rig.md)",
        layout="""\
rig.yaml                          the cameras and where they are
images/front/<time>.jpg           a folder a camera; or images/front.mp4 (driv3r[video])
poses.csv                         if known
lidar/<time>.ply                  or .pcd, .npy, .bin, .las and .laz (driv3r[las])
masks/front.png                   if wanted
or folders of this kind, one a log""",
        ground="as rig.yaml has it: ground_z_m",
    )

    def __init__(
        self,
        root: Path,
        sweeps: bool = False,
        follow_links: bool = False,
        rig: Path | None = None,
    ) -> None:
        self._root, self._rig = Root(root.resolve(), follow_links), rig
        top = self._root.path
        self._logs = (
            {_log_id(top): top}
            if self._is_log(top)
            else {
                path.name: path
                for path in sorted(top.iterdir())
                if path.is_dir() and PLAIN_NAME.fullmatch(path.name) and self._is_log(path)
            }
        )
        if not self._logs:
            raise DatasetError(
                f"{root} holds no log: expected images/<camera>/<time>.jpg in it or in its "
                "folders, with the camera names of rig.yaml (docs/how-to/own-rig.md), or the "
                "images or video of one camera"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Log names of `all`, or the one that is named; ConfigError on anything else."""
        if split == "all":
            return tuple(self._logs)
        if split not in self._logs:
            raise ConfigError(
                f"unknown split {split!r}; a folder has none of its own: take all, or one log of "
                f"{', '.join(self._logs)}"
            )
        return (split,)

    def read(self, scene_id: str) -> Scene:
        """One log by its name; its names, times and poses are resolved now, files when indexed.

        Without a file of poses all poses are the identity and `poses_known` is False; LiDAR is left
        out then, as nothing tells how the car moved between its time and the cameras', and where
        something of a camera is unknown (`calibrated` is False), which LiDAR can not fit. Raises
        DatasetError on an unknown log or files that do not hold together, ConfigError on a rig file
        of other keys, UnsafePathError on files outside.
        """
        if scene_id not in self._logs:
            raise DatasetError(f"no log {scene_id!r} in {self._root.path}: {', '.join(self._logs)}")
        return _Log.of_folder(self._root, self._logs[scene_id], self._rig).make(scene_id)

    def _is_log(self, folder: Path) -> bool:
        if (folder / "images").is_dir() or (folder / "images.csv").is_file():
            return True
        path = _find_rig_file(self._root.path, folder, self._rig)
        if not path.is_file():  # below the top, a folder of images is a camera, and no log
            return folder == self._root.path and len(list_cameras(folder)) == 1
        names = [camera.name for camera in read_rig_file(path).cameras]
        return any((folder / name).is_dir() or find_videos(folder, name) for name in names)


def _log_id(folder: Path) -> str:
    return folder.name if PLAIN_NAME.fullmatch(folder.name) else "log"


def _find_rig_file(root: Path, folder: Path, given: Path | None) -> Path:
    if given is not None:
        return given
    own = folder / "rig.yaml"
    return own if own.is_file() else root / "rig.yaml"


def _read_rig(root: Root, folder: Path, given: Path | None) -> RigFile:
    path = _find_rig_file(root.path, folder, given)
    if given is None and not path.exists() and not (folder / "images.csv").is_file():
        return assume_rig(root, folder)
    return read_rig_file(path)


@dataclass(frozen=True, eq=False)
class _Log:
    root: Root
    folder: Path
    file: RigFile
    poses: PosePath | None
    repairs: list[Repair]

    @classmethod
    def of_folder(cls, root: Root, folder: Path, given: Path | None) -> "_Log":
        file = _read_rig(root, folder, given)
        path = find_poses(folder)
        return cls(root, folder, file, None if path is None else read_poses(path), [])

    def make(self, scene_id: str) -> Scene:
        names = [camera.name for camera in self.file.cameras]
        recording, repairs = self.file.recording, self.repairs
        exposures = list_exposures(self.root, self.folder, names, recording, repairs)
        held = tuple(camera for camera in self.file.cameras if camera.name in exposures)
        rig = make_rig(replace(self.file, cameras=held))
        unknown = [camera.unknown for camera in held]
        for camera, parts in zip(rig.cameras, unknown, strict=True):
            repairs += describe_unknown(camera, parts, rig.ground_z_m)
        unplaced = (
            f"of {self.folder} lies between two poses of its file; are the times of images and "
            "poses of one clock? Set recording.time_unit, or take the file of poses away"
        )
        maker = RecordMaker(recording, self.poses, repairs, unplaced)
        records = maker.make(rig, exposures, self._list_sweeps(rig))
        images, folder = _ImageSource(), self.folder / "masks"
        ignored = tuple(read_mask(folder, camera) for camera in rig.cameras)
        facts = [recording_facts(self.file, held), fingerprint(ignored)]
        scene = make_scene(
            self.root.path,
            scene_id,
            rig,
            records,
            lambda sweep: read_points(sweep.path, recording),
            repairs,
            facts,
            images.read,
        )
        placed, calibrated = self.poses is not None, not any(unknown)
        return replace(scene, poses_known=placed, calibrated=calibrated, ignored=ignored)

    def _list_sweeps(self, rig: Rig) -> list[Exposure]:
        """The LiDAR sweeps in order of time, where they can be placed."""
        folder = self.folder / "lidar"
        if not folder.is_dir():
            return []
        lost = {
            "rig.yaml has no ego_T_lidar": rig.ego_T_lidar is None,
            "there are no poses, so that nothing tells how the car moved between its times and "
            "the cameras'": self.poses is None,
            "what is unknown of the cameras is assumed, and no point of LiDAR fits an image": any(
                camera.unknown for camera in self.file.cameras
            ),
        }
        for reason, holds in lost.items():
            if holds:
                self.repairs.append(Repair("lidar", f"left out: {reason}"))
                return []
        timed = list_sweeps(folder, self.file.recording)
        if not timed:
            self.repairs.append(Repair("lidar", f"{folder.name}/ holds no sweep of a known suffix"))
        check_steps([time_us for time_us, _ in timed], f"{folder}")
        return [
            Exposure(self.root.resolve_inside(path.relative_to(self.root.path).as_posix()), time_us)
            for time_us, path in timed
        ]


class _ImageSource:
    """Reads what a datum names: an image, or a frame of a video."""

    def __init__(self) -> None:
        self._videos = VideoFrames()

    def read(self, datum: Datum, camera: Camera) -> UInt8[np.ndarray, "h w 3"]:
        """The image of a camera; DatasetError where it is missing, broken or of another size."""
        if not datum.part:
            return read_image(datum.path, camera.size_hw)
        image = self._videos.read(datum.path, int(datum.part))
        if image.shape[:2] != camera.size_hw:
            raise DatasetError(
                f"the video is {image.shape[:2]} (h, w), rig.yaml says {camera.size_hw}: "
                f"{datum.path}"
            )
        return image


def recording_facts(file: RigFile, held: Sequence[object]) -> str:
    """A digest of what decides how files are read beside the rig itself."""
    return fingerprint([file.recording, list(held)])
