"""DDAD and other datasets in the Dataset Governance Policy (DGP) layout, by plain JSON."""

import io
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from driv3r.datasets.cards import DatasetCard
from driv3r.datasets.images import read_file
from driv3r.datasets.reader import (
    Datum,
    FrameSources,
    Root,
    Row,
    check_place,
    make_camera,
    make_pose,
    place_ego,
    read_json,
)
from driv3r.datasets.scenes import check_scene_ids, make_scene
from driv3r.errors import ConfigError, DatasetError
from driv3r.types import Camera, Repair, Rig, Scene, Transform

SPLITS = {"train": "0", "val": "1", "test": "2", "train_overfit": "3"}  # DGP's enum DatasetSplit
LENS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
GROUND_Z_M = 0.0  # DDAD's ego origin lies on the road
PINHOLE = ("fx", "fy", "cx", "cy", "skew")
ZIP_START = b"PK\x03\x04"
MOST_BYTES = 2**28  # that a point cloud may inflate to: a sweep takes a few MB
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DdadReader:
    """Scenes of a DGP dataset by folder name. Every sample is a keyframe: `sweeps` adds nothing.

    The ego frame is the one that the calibrations' extrinsics lead to. DDAD's origin lies on the
    road, so that `ground_z_m` is 0; other DGP datasets are taken to do the same, as no file tells.
    `split_file` chooses among several scene tables, by its path or by its name in `root`.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="DDAD and other datasets in the DGP layout",
        sensors="6 cameras 1936x1216, LiDAR (4 Luminar H2 as one cloud, 250 m); 10 Hz",
        splits=("train", "val", "test", "train_overfit"),
        licence="CC BY-NC-SA 4.0 (no commercial use)",
        source="train and val as one tar of 257 GB: https://github.com/TRI-ML/DDAD",
        layout="""\
ddad.json                         scenes by split; of several such files choose with --split-file
000000/                           a scene
  scene_*.json
  calibration/*.json
  rgb/CAMERA_01/*.png             and five more cameras
  point_cloud/LIDAR/*.npz""",
        ground="on the road below the middle of the rear axle (DDAD's README)",
    )

    def __init__(
        self,
        root: Path,
        sweeps: bool = False,
        follow_links: bool = False,
        split_file: Path | None = None,
    ) -> None:
        self._root = Root(root.resolve(), follow_links)
        self._table, splits = _find_splits(self._root.path, split_file)
        self._files_of: dict[str, list[str]] = {
            split: _strings(field(entry, "filenames", where=str(self._table)), str(self._table))
            for split, entry in splits.items()
        }
        self._file_of = _name_scenes([name for files in self._files_of.values() for name in files])
        check_scene_ids(self._file_of, str(self._table))

    def scenes(self, split: str) -> tuple[str, ...]:
        """Scene ids of train, val, test, train_overfit or all.

        Raises ConfigError on an unknown split, DatasetError when the dataset lists none in it.
        """
        if split == "all" and self._file_of:
            return tuple(self._file_of)
        if split not in (*SPLITS, "all"):
            raise ConfigError(f"unknown split {split!r}; known are all, {', '.join(SPLITS)}")
        files = set() if split == "all" else set(self._files_of.get(SPLITS[split], []))
        if not files:
            others = f"{', '.join(self._file_of)}. Take them with --split all"
            raise DatasetError(
                f"{self._table} lists no scene in split {split!r}; it lists "
                f"{others if self._file_of else 'none at all: give the table that lists some'}"
            )
        return tuple(scene_id for scene_id, file in self._file_of.items() if file in files)

    def read(self, scene_id: str) -> Scene:
        """One scene by its id; its JSON is resolved now, its files when frames are indexed.

        Raises DatasetError on an unknown scene or missing rows, UnsafePathError on files outside.
        """
        if scene_id not in self._file_of:
            raise DatasetError(
                f"no scene {scene_id!r} in {self._table}: {', '.join(self._file_of)}"
            )
        log = _Log.of_file(self._root, self._root.resolve_inside(self._file_of[scene_id]))
        point_format = log.point_format
        return make_scene(
            self._root.path,
            scene_id,
            log.rig,
            log.records(),
            lambda sweep: read_points(sweep.path, point_format),
            (),
            point_format,
        )


def field(row: Any, *path: str, where: str, expected: type = object) -> Any:
    """The nested entry at `path`; DatasetError says what is missing or mistyped `where`."""
    for depth, name in enumerate(path):
        if not isinstance(row, dict) or name not in row:
            raise DatasetError(f"{where} lacks {'.'.join(path[: depth + 1])}")
        row = row[name]
    if not isinstance(row, expected):
        raise DatasetError(f"{where}: {'.'.join(path)} is {row!r}, expected a {expected.__name__}")
    return row


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DatasetError(f"{where}: expected a list of strings, got {value!r}")
    return value


def _check_unique(names: list[str], where: str, what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DatasetError(f"{where} holds {what} twice ({', '.join(map(repr, twice))}); repair it")


def _find_splits(root: Path, split_file: Path | None) -> tuple[Path, dict[str, Any]]:
    """The scene table and its scene_splits: the given one, or the only one in the root."""
    if split_file is not None:
        path = split_file if split_file.is_file() else root / split_file.name
        table = read_json(path)
        if not _names_scenes(table):
            raise DatasetError(f"{path} has no scene_splits; give a table that lists scenes")
        return path, table["scene_splits"]
    tables = {path: read_json(path) for path in sorted(root.glob("*.json"))}
    found = [path for path, table in tables.items() if _names_scenes(table)]
    if len(found) > 1:
        raise DatasetError(
            f"{root} has {len(found)} JSON files with scene_splits: "
            f"{', '.join(path.name for path in found)}; choose one with --split-file"
        )
    if not found:
        raise DatasetError(
            f"{root} has no JSON file with scene_splits, expected one such as "
            "scene_dataset_v1.0.json or ddad.json; give the folder that holds it"
        )
    return found[0], tables[found[0]]["scene_splits"]


def _names_scenes(table: Any) -> bool:
    return isinstance(table, dict) and isinstance(table.get("scene_splits"), dict)


def _name_scenes(files: list[str]) -> dict[str, str]:
    """Scene id -> file: the folder's name, or the JSON's stem where folders hold several scenes."""
    files = list(dict.fromkeys(files))
    for name in (lambda file: Path(file).parent.name, lambda file: Path(file).stem):
        named = {name(file): file for file in files}
        if len(named) == len(files) and all(named):
            return named
    raise DatasetError(f"neither folders nor file names tell the scenes apart: {files[:5]}")


def _parse_time_us(text: Any, where: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: timestamp {text!r} is no ISO 8601 time") from error
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    time_us = (time - EPOCH) // timedelta(microseconds=1)
    if time_us < 0:
        raise DatasetError(f"{where}: timestamp {text!r} is before 1970; repair it")
    return time_us


def _parse_pose(pose: Any, where: str) -> Transform:
    wxyz = [field(pose, "rotation", key, where=where) for key in ("qw", "qx", "qy", "qz")]
    xyz = [field(pose, "translation", key, where=where) for key in ("x", "y", "z")]
    return make_pose(wxyz, xyz, where)


def read_points(path: Path, point_format: Sequence[str]) -> Float[np.ndarray, "n 3"]:
    """x, y, z (metres, sensor frame) of an npz with one array, `data` where there are several."""
    data = read_file(path)
    if not data.startswith(ZIP_START):  # np.load would try .npy and pickles
        raise DatasetError(f"the point cloud is no npz archive: {path} starts with {data[:4]!r}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise ValueError(f"it inflates to {size} bytes, expected {MOST_BYTES} at most")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            points = arrays[arrays.files[0] if len(arrays.files) == 1 else "data"]
    except Exception as error:  # what a damaged archive raises is up to numpy and zipfile
        raise DatasetError(f"the point cloud can not be read: {path}: {error}") from error
    if points.ndim != 2 or points.shape[1] != len(point_format) or points.dtype.kind != "f":
        raise DatasetError(
            f"the point cloud is {points.dtype} {points.shape}, expected floats "
            f"(n, {len(point_format)}) for {', '.join(point_format)}: {path}"
        )
    return points[:, [point_format.index(axis) for axis in "XYZ"]]


@dataclass(frozen=True, eq=False)
class _Log:
    """One scene's JSON with its data by key, and the rig of its first calibration."""

    root: Root
    path: Path
    samples: list[Row]
    data: dict[str, Row]
    rig: Rig
    lidar: str | None
    point_format: tuple[str, ...]
    places: dict[str, Row]

    @classmethod
    def of_file(cls, root: Root, path: Path) -> "_Log":
        where, scene = str(path), read_json(path)
        rows = field(scene, "data", where=where, expected=list)
        data = {field(row, "key", where=where, expected=str): row for row in rows}
        _check_unique([row["key"] for row in rows], f"{where}: data", "keys")
        samples = field(scene, "samples", where=where, expected=list)
        images, clouds = _of_kind(data, "image", where), _of_kind(data, "point_cloud", where)
        if not samples or not images:
            raise DatasetError(f"{where} holds no sample or no image")
        key = field(samples[0], "calibration_key", where=where, expected=str)
        first = _calibration(root, path, key)
        cameras = tuple(_make_camera(name, first, images[name], where) for name in sorted(images))
        if not clouds:
            rig = Rig(cameras, ground_z_m=GROUND_Z_M)
            return cls(root, path, samples, data, rig, None, (), first)
        lidar = "LIDAR" if "LIDAR" in clouds else min(clouds)
        point_format = _strings(field(clouds[lidar], "point_format", where=where), where)
        if not {"X", "Y", "Z"} <= set(point_format):
            raise DatasetError(f"{where}: point_format {point_format} lacks X, Y or Z")
        ego_T_lidar = _parse_pose(field(first, lidar, "extrinsics", where=where), where)
        check_place(lidar, ego_T_lidar)
        rig = Rig(cameras, ego_T_lidar, GROUND_Z_M)
        return cls(root, path, samples, data, rig, lidar, tuple(point_format), first)

    def file_of(self, kind: Row) -> str:
        """A datum's file, relative to the root."""
        folder = self.path.parent.relative_to(self.root.path)
        return str(folder / field(kind, "filename", where=str(self.path), expected=str))

    def records(self) -> list[FrameSources]:
        calibrations: dict[str, dict[str, Row]] = {}
        records = []
        for sample in self.samples:
            key = field(sample, "calibration_key", where=str(self.path), expected=str)
            if key not in calibrations:
                calibrations[key] = _calibration(self.root, self.path, key)
            rows = self._rows_of(sample)
            take: Callable[[str, str], Datum | Repair] = partial(
                self._take, rows, calibrations[key]
            )
            cameras = tuple(take(camera.name, "image") for camera in self.rig.cameras)
            lidar = None if self.lidar is None else take(self.lidar, "point_cloud")
            time_us, world_T_ego = place_ego(self.rig, cameras, lidar)
            records.append(FrameSources(time_us, world_T_ego, cameras, lidar, True))
        return records

    def _rows_of(self, sample: Row) -> dict[str, Row]:
        where = str(self.path)
        rows = {}
        for key in _strings(field(sample, "datum_keys", where=where), where):
            if key not in self.data:
                raise DatasetError(f"{where}: data has no row {key!r}, which a sample names")
            rows[self.data[key]["id"]["name"]] = self.data[key]
        if len(rows) < len(sample["datum_keys"]):
            raise DatasetError(
                f"{where}: a sample names several data of one sensor: {sample['datum_keys']}; "
                "repair its datum_keys"
            )
        return rows

    def _take(
        self, rows: dict[str, Row], calibration: dict[str, Row], name: str, kind: str
    ) -> Datum | Repair:
        """A sample's datum of one sensor, or why there is none."""
        if name not in rows:
            return Repair(name, "the sample names no datum of this sensor")
        if calibration.get(name) != self.places[name]:
            return Repair(name, "left out: the sample's calibration differs from the rig's")
        row, where = rows[name], f"{self.path} datum {rows[name]['key']!r}"
        content = field(row, "datum", kind, where=where)
        path = self.root.resolve_inside(self.file_of(content))
        if kind == "point_cloud" and content.get("point_format") != list(self.point_format):
            return Repair(name, f"left out: point_format differs from {self.point_format}")
        time_us = _parse_time_us(field(row, "id", "timestamp", where=where), where)
        pose = field(content, "pose", where=where)
        try:
            return Datum(path, time_us, _parse_pose(pose, f"{where} pose"))
        except DatasetError as error:
            return Repair(name, f"left out: {error}")


def _of_kind(data: dict[str, Row], kind: str, where: str) -> dict[str, Row]:
    """Sensor name -> the content of its first datum of a kind."""
    found: dict[str, Row] = {}
    for row in data.values():
        name = field(row, "id", "name", where=where, expected=str)
        if kind in field(row, "datum", where=where, expected=dict):
            found.setdefault(name, field(row, "datum", kind, where=where, expected=dict))
    return found


def _calibration(root: Root, scene_file: Path, key: Any) -> dict[str, Row]:
    """Sensor name -> its intrinsics and extrinsics (ego_T_sensor) of a calibration file."""
    folder = scene_file.parent.relative_to(root.path)
    path = root.resolve_inside(str(folder / "calibration" / f"{key}.json"))
    table, where = read_json(path), str(path)
    names = _strings(field(table, "names", where=where), where)
    _check_unique(names, where, "names")
    columns = {kind: field(table, kind, where=where) for kind in ("intrinsics", "extrinsics")}
    for kind, entries in columns.items():
        if not isinstance(entries, list) or len(entries) != len(names):
            raise DatasetError(f"{where}: expected {len(names)} {kind}, one a name")
    return {name: {kind: columns[kind][i] for kind in columns} for i, name in enumerate(names)}


def _make_camera(name: str, calibration: dict[str, Row], image: Row, where: str) -> Camera:
    lens = field(calibration, name, "intrinsics", where=f"{where} calibration", expected=dict)
    try:
        fx, fy, cx, cy, skew = (float(field(lens, key, where=where)) for key in PINHOLE)
        distortion = tuple(float(lens.get(key, 0.0)) for key in LENS)
        height, width = (int(field(image, side, where=where)) for side in ("height", "width"))
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(
            f"{where}: intrinsics or size of {name} are no numbers: {lens}"
        ) from error
    unknown = [key for key in set(lens) - {*PINHOLE, *LENS} if lens[key]]
    if unknown:
        raise DatasetError(f"{where}: {name} has a lens model not known here: {unknown}")
    K = np.array([[fx, skew, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    ego_T_cam = _parse_pose(field(calibration, name, "extrinsics", where=where), where)
    return make_camera(name, K, (height, width), ego_T_cam, distortion)
