"""Zenseact Open Dataset: sequences and drives of a wide front camera, LiDAR and OxTS poses.

Layout, frames and lens as in Zenseact's development kit (https://github.com/zenseact/zod, MIT).
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.folder.exposures import Exposure
from driv3r.datasets.folder.lidar import read_points as read_file_points
from driv3r.datasets.folder.poses import PosePath
from driv3r.datasets.folder.records import RecordMaker
from driv3r.datasets.folder.rig_file import Recording, make_rigid, parse_transform
from driv3r.datasets.folder.times import check_steps
from driv3r.datasets.reader import FARTHEST_M, Root, check_place, make_camera, read_json
from driv3r.datasets.scenes import PLAIN_NAME, make_scene
from driv3r.datasets.zod.boxes import EPOCH, REMEDY, with_boxes
from driv3r.errors import ConfigError, DatasetError
from driv3r.types import Camera, Repair, Rig, Scene, Transform

KINDS = {"sequence": "sequences", "drive": "drives"}  # of a log's name, and its folder
CAMERA = "camera_front"
FACES = ("blur", "dnat", "original")  # how images are anonymised: the first that is there
LIDAR = "lidar_velodyne"
GROUND_Z_M = 0.0  # the ego origin is the rear axle's centre, put down onto the road
OWN_CAR_M = np.array([[-1.5, -3.0, -1.5], [1.5, 3.0, 0.5]])  # the devkit leaves out points of it
TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d[:_]\d\d[:_]\d\d)[._](\d{6})Z?$")
ROTATION_SLACK = 1e-3
LATEST_S = 1e11  # the year 5138; milliseconds taken for seconds are later
SPLITS = ("train", "val")


class ZodReader:
    """Logs of a ZOD folder: `sequence_000002`, `drive_000005`. `sweeps` adds nothing."""

    card: ClassVar[DatasetCard] = DatasetCard(
        title="Zenseact Open Dataset: sequences and drives",
        sensors="1 fisheye camera ahead 3848x2168 (120 degrees, 10 Hz), VLS-128 and two VLP-16 as "
        "one cloud (9 Hz), OxTS; boxes of one keyframe",
        splits=("train", "val"),
        licence="CC BY-SA 4.0",
        source="https://zod.zenseact.com after an application: zod download --subset=sequences",
        layout="""\
trainval-sequences-full.json      or -mini, and trainval-drives-*.json: needed for train and val
sequences/000002/                 a log; or drives/000005
  calibration.json, ego_motion.json, info.json
  camera_front_blur/*.jpg         or camera_front_dnat
  lidar_velodyne/*.npy
  annotations/object_detection.json""",
        ground="on the road below the middle of the rear axle (RWTH Aachen's adapter says so; see "
        "docs/datasets/zod.md)",
    )

    def __init__(self, root: Path, sweeps: bool = False, follow_links: bool = False) -> None:
        self._root = Root(root.resolve(), follow_links)
        self._logs = {
            f"{kind}_{path.parent.name}": path.parent.relative_to(self._root.path).as_posix()
            for kind, folder in KINDS.items()
            for path in sorted((self._root.path / folder).glob("*/calibration.json"))
            if PLAIN_NAME.fullmatch(path.parent.name)
        }
        if not self._logs:
            raise DatasetError(
                f"{root} holds no ZOD log: expected sequences/<id>/calibration.json or drives/...; "
                "give the folder that holds sequences/ (single_frames/ are no logs)"
            )

    def scenes(self, split: str) -> tuple[str, ...]:
        """Logs of `all`, of an official split, or the one that is named.

        Raises ConfigError on an unknown split, DatasetError where its table or all of its logs are
        not there.
        """
        if split == "all":
            return tuple(self._logs)
        if split in self._logs:
            return (split,)
        if split not in SPLITS:
            raise ConfigError(
                f"unknown split {split!r}; known: all, train, val, and logs: "
                f"{', '.join(list(self._logs)[:20])}"
            )
        listed = self._read_split(split)
        found = tuple(name for name in self._logs if name in listed)
        if not found:
            raise DatasetError(
                f"none of the {len(listed)} logs of {split} is in {self._root.path}; fetch them, "
                "or take --split all"
            )
        return found

    def _read_split(self, split: str) -> set[str]:
        listed: set[str] = set()
        tables = sorted(self._root.path.glob("trainval-*.json"))
        for kind, folder in KINDS.items():
            for table in tables:
                if table.name.startswith(f"trainval-{folder}-"):
                    content = read_json(self._root.resolve_inside(table.name))
                    try:
                        listed |= {f"{kind}_{row['id']}" for row in content[split]}
                    except (KeyError, TypeError) as error:
                        raise DatasetError(
                            f"{table} is no table of splits: expected a list of rows with an id "
                            f"under {split}; {REMEDY}"
                        ) from error
        if not tables:
            raise DatasetError(
                f"{self._root.path} has no trainval-sequences-*.json or trainval-drives-*.json, "
                f"which tell the split {split}; fetch them, or take --split all"
            )
        return listed

    def read(self, scene_id: str) -> Scene:
        """One log by its name; its tables are resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown log or tables that do not hold together, UnsafePathError
        on files outside.
        """
        if scene_id not in self._logs:
            raise DatasetError(
                f"no log {scene_id!r} in {self._root.path}: {', '.join(list(self._logs)[:20])}"
            )
        folder, repairs = self._logs[scene_id], list[Repair]()
        images = f"{folder}/{CAMERA}_{_find_face(self._root.path / folder)}"
        exposures = _list_files(self._root, images, (".jpg", ".png"))
        if not exposures:
            raise DatasetError(
                f"{self._root.path / images} holds no image, expected .jpg files named "
                "after their time; fetch them"
            )
        camera, ego_T_lidar = _read_calibration(self._root, folder)
        poses = _read_poses(self._root, folder, repairs)
        sweeps = _list_files(self._root, f"{folder}/{LIDAR}", (".npy",))
        if poses is None or not sweeps:
            missing = "poses" if poses is None else f"files in {LIDAR}/"
            repairs.append(Repair("lidar", f"left out: there are no {missing}"))
            sweeps, ego_T_lidar = [], None
        rig = Rig((camera,), ego_T_lidar, GROUND_Z_M)
        unplaced = (
            f"of {self._root.path / folder} lies between two poses of ego_motion.json; {REMEDY}"
        )
        maker = RecordMaker(Recording(), poses, repairs, unplaced)
        records = maker.make(rig, {camera.name: exposures}, sweeps)
        scene = make_scene(
            self._root.path,
            scene_id,
            rig,
            records,
            lambda sweep: read_points(sweep.path),
            repairs,
        )
        scene = replace(scene, poses_known=poses is not None)
        return with_boxes(scene, self._root, folder, records)


def read_points(path: Path) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, LiDAR frame) of a sweep without those of the own car, as the devkit has it.

    They are freed of the car's motion already. Raises DatasetError on a missing or broken file.
    """
    points = read_file_points(path, Recording())
    own = ((points > OWN_CAR_M[0]) & (points < OWN_CAR_M[1])).all(axis=1)
    return points[~own]


def _find_face(log: Path) -> str:
    """How the images of a log are anonymised."""
    return next((face for face in FACES if (log / f"{CAMERA}_{face}").is_dir()), FACES[0])


def _list_files(root: Root, folder: str, suffixes: tuple[str, ...]) -> list[Exposure]:
    """Files named `<id>_<car>_<time>` in order of time; none where there is no folder."""
    place = root.path / folder
    if not place.is_dir():
        return []
    found = []
    for path in sorted(place.iterdir()):
        if path.suffix.lower() in suffixes:
            inside = root.resolve_inside(path.relative_to(root.path).as_posix())
            found.append(Exposure(inside, _time_of(path)))
    found.sort(key=lambda each: each.time_us)
    check_steps([each.time_us for each in found], str(place), REMEDY)
    return found


def _time_of(path: Path) -> int:
    told = TIME.search(path.stem)
    try:
        second = datetime.fromisoformat(told[1].replace("_", ":")) if told else None
    except ValueError:
        second = None
    if told is None or second is None:
        raise DatasetError(
            f"the name of {path} holds no time, expected <id>_<car>_2022-02-14T13:23:32.140954Z; "
            "fetch the file again under its own name"
        )
    return (second.replace(tzinfo=UTC) - EPOCH) // timedelta(seconds=1) * 1_000_000 + int(told[2])


def _read_calibration(root: Root, folder: str) -> tuple[Camera, Transform]:
    """The front camera, and ego_T_lidar."""
    path = root.resolve_inside(f"{folder}/calibration.json")
    content = read_json(path)
    told = content.get("FC") if isinstance(content, dict) else None
    if not isinstance(told, dict):
        raise DatasetError(f"{path} has no camera FC; {REMEDY}")
    where = f"{path}: FC"
    ego_T_cam, ego_T_lidar = (
        make_rigid(parse_transform(told.get(key), f"{where} {key}"), f"{where} {key}")
        for key in ("extrinsics", "lidar_extrinsics")
    )
    check_place("the LiDAR", ego_T_lidar)
    K = _numbers(told, "intrinsics", ((3, 3), (3, 4)), where)[:, :3]
    distortion = tuple(_numbers(told, "distortion", ((4,),), where).tolist())
    width, height = _numbers(told, "image_dimensions", ((2,),), where).tolist()
    size_hw = int(height), int(width)
    return make_camera(CAMERA, K, size_hw, ego_T_cam, distortion, "kannala_brandt"), ego_T_lidar


def _numbers(
    told: Mapping[str, Any], key: str, shapes: tuple[tuple[int, ...], ...], where: str
) -> np.ndarray:
    try:
        numbers = np.array(told.get(key), np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array(np.nan)
    if numbers.shape not in shapes or not np.isfinite(numbers).all():
        raise DatasetError(
            f"{where} {key} is {str(told.get(key))[:200]}, expected finite numbers of shape "
            f"{' or '.join(map(str, shapes))}; {REMEDY}"
        )
    return numbers


def _read_poses(root: Root, folder: str, repairs: list[Repair]) -> PosePath | None:
    """world_T_ego of ego_motion.json, without those that are none; None where it is not there."""
    path = root.resolve_inside(f"{folder}/ego_motion.json")
    if not path.exists():
        repairs.append(Repair("poses", "there is no ego_motion.json: no pose is known"))
        return None
    content = read_json(path)
    try:
        times_s = np.array(content["timestamps"], np.float64)
        world_T_ego = np.array(content["poses"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{path}: expected numbers under timestamps and poses; {REMEDY}") from (
            error
        )
    count = len(times_s) if times_s.ndim == 1 else 0
    if not count or world_T_ego.shape != (count, 4, 4):
        raise DatasetError(
            f"{path} has timestamps of shape {times_s.shape} and poses of {world_T_ego.shape}, "
            f"expected as many, each of 4 x 4; {REMEDY}"
        )
    if not ((times_s >= 0) & (times_s < LATEST_S)).all():
        raise DatasetError(f"{path}: timestamps are not all seconds since 1970; {REMEDY}")
    usable = _are_rigid(world_T_ego)
    if not usable.all():
        lost = f"{np.sum(~usable)} of {count} of ego_motion.json left out: no rigid transforms"
        repairs.append(Repair("poses", lost))
    times_us, first = np.unique(np.rint(times_s[usable] * 1e6).astype(np.int64), return_index=True)
    if not len(times_us):
        raise DatasetError(f"{path} holds no pose that is a rigid transform; {REMEDY}")
    return PosePath(times_us, world_T_ego[usable][first])


def _are_rigid(world_T_ego: Float[np.ndarray, "n 4 4"]) -> np.ndarray:
    finite = np.isfinite(world_T_ego).all(axis=(1, 2))
    R = np.where(finite[:, None, None], world_T_ego[:, :3, :3], 0.0)
    off = np.abs(np.swapaxes(R, 1, 2) @ R - np.eye(3)).max(axis=(1, 2))
    near = np.abs(np.where(finite[:, None], world_T_ego[:, :3, 3], 0.0)).max(axis=1) <= FARTHEST_M
    return finite & (off <= ROTATION_SLACK) & (np.linalg.det(R) > 0) & near
