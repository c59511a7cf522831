"""Tables of a nuScenes folder, loaded so that gaps and faults in them stay with their scenes."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from driv3r.datasets.reader import Row, read_json
from driv3r.datasets.scenes import check_scene_ids
from driv3r.errors import DatasetError
from driv3r.types import Repair

FIELDS: dict[str, dict[str, type]] = {
    "sensor": {"token": str, "channel": str, "modality": str},
    "calibrated_sensor": {
        "token": str,
        "sensor_token": str,
        "translation": list,
        "rotation": list,
        "camera_intrinsic": list,
    },
    "ego_pose": {"token": str, "translation": list, "rotation": list},
    "scene": {"token": str, "name": str},
    "sample": {"token": str, "timestamp": int, "scene_token": str},
    "sample_data": {
        "token": str,
        "sample_token": str,
        "ego_pose_token": str,
        "calibrated_sensor_token": str,
        "timestamp": int,
        "is_key_frame": bool,
        "filename": str,
        "height": int,
        "width": int,
    },
}
LEAST_US = 1e14  # 1973: seconds and milliseconds of today are less
OFFICIAL = ("v1.0-trainval", "v1.0-mini", "v1.0-test")


@dataclass(frozen=True)
class Version:
    """A folder of tables, relative to the root; `prefix` goes before the files that they name.

    `scene` names its only scene, where its folder does and not the table.
    """

    name: str
    folder: str
    prefix: str = ""
    scene: str = ""


def find_versions(root: Path) -> list[Version]:
    """The table folders below a root, sorted.

    An official one counts as soon as it holds any of the needed tables, so that a missing one is
    told; another `v1.0-*` (a copy, a download's part) only where it holds them all.
    """
    names = sorted(
        folder.name
        for folder in root.glob("v1.0-*")
        if (any(_tables_in(folder)) if folder.name in OFFICIAL else holds_tables(folder))
    )
    return [Version(name, name) for name in names]


def holds_tables(folder: Path) -> bool:
    """Whether a folder has all the tables that are needed."""
    return all(_tables_in(folder))


def _tables_in(folder: Path) -> list[bool]:
    return [os.path.isfile(folder / f"{table}.json") for table in FIELDS]


class Tables:
    """A version's tables, as the official devkit links them; those not of sensor data are not read.

    `repairs` says what was missing and filled. Raises DatasetError where a needed table is missing,
    is no JSON or lacks fields, UnsafePathError where a scene's name can name no folder.
    """

    def __init__(self, root: Path, version: Version) -> None:
        self.folder, self.prefix = root / version.folder, version.prefix
        self.repairs: list[Repair] = []
        self._loaded: dict[str, list[Row]] = {}
        self._dropped: dict[str, str] = {}
        self._dropped_of_sample: dict[str, str] = {}
        self._row_of: dict[str, dict[str, Row]] = {}
        for table in FIELDS:  # in this order: the last refers to those before
            self._load_table(table)
        self._name_channels()
        self.claimed_twice = self._leave_out_rivals()
        self._find_first_samples()
        self._link_by_time("sample", lambda row: row["scene_token"])
        scene_of = {row["token"]: row["scene_token"] for row in self._loaded["sample"]}
        self._link_by_time(
            "sample_data", lambda row: (scene_of[row["sample_token"]], row["channel"])
        )
        if version.scene and len(self._loaded["scene"]) == 1:
            self._loaded["scene"][0]["name"] = version.scene
        self.scene_named = {row["name"]: row for row in self._loaded["scene"]}
        if len(self.scene_named) < len(self._loaded["scene"]):
            twice, _ = Counter(row["name"] for row in self._loaded["scene"]).most_common(1)[0]
            raise DatasetError(f"{self._file('scene')} holds two scenes named {twice!r}")
        check_scene_ids(self.scene_named, str(self._file("scene")))

    def _file(self, table: str) -> Path:
        return self.folder / f"{table}.json"

    def _note(self, table: str, reason: str) -> None:
        self.repairs.append(Repair(f"{self.folder.name}/{table}.json", reason))

    def _load_table(self, table_name: str) -> None:
        path = self._file(table_name)
        rows = read_json(path)
        if not isinstance(rows, list):
            raise DatasetError(f"{path} holds {type(rows).__name__}, expected a list of rows")
        for number, row in enumerate(rows):
            _settle_numbers(row)
            _check_row(row, FIELDS[table_name], f"{path} row {number}")
        rows = self._without_repeats(table_name, rows)
        if table_name == "sample_data":
            rows = self._without_dangling(rows)
        self._loaded[table_name] = rows
        self._row_of[table_name] = {row["token"]: row for row in rows}

    def get(self, table: str, token: str) -> Row:
        """The row of a token; KeyError where there is none."""
        return self._row_of[table][token]

    def _name_channels(self) -> None:
        """Give sample_data its channel and modality, and samples their keyframes by channel."""
        for sample in self._loaded["sample"]:
            sample["data"] = {}
        for row in self._loaded["sample_data"]:
            calibration = self.get("calibrated_sensor", row["calibrated_sensor_token"])
            sensor = self.get("sensor", calibration["sensor_token"])
            row["channel"], row["sensor_modality"] = sensor["channel"], sensor["modality"]
            if row["is_key_frame"]:
                self.get("sample", row["sample_token"])["data"][row["channel"]] = row["token"]

    def _without_repeats(self, table_name: str, rows: list[Row]) -> list[Row]:
        """Each token's row once; DatasetError where two rows of a token differ."""
        first: dict[Any, Row] = {}
        for row in rows:
            token = row.get("token")
            if first.setdefault(token, row) != row:
                raise DatasetError(
                    f"{self._file(table_name)} holds two rows of token {token!r} that differ; "
                    "remove the wrong one"
                )
        if len(first) < len(rows):
            self._note(table_name, f"{len(rows) - len(first)} rows repeat another, left out")
        return list(first.values())

    def _without_dangling(self, rows: list[Row]) -> list[Row]:
        """Leave out rows that name nothing, remembering which sample they belong to."""
        sensors = {row["token"] for row in self._loaded["sensor"]}
        calibrations = self._loaded["calibrated_sensor"]
        sensor_of = {row["token"]: row["sensor_token"] for row in calibrations}
        samples = {row["token"] for row in self._loaded["sample"]}
        kept = []
        for row in rows:
            calibration, sample = row["calibrated_sensor_token"], row["sample_token"]
            gap = None
            if calibration not in sensor_of:
                gap = f"calibrated_sensor {calibration!r}, which calibrated_sensor.json lacks"
            elif sensor_of[calibration] not in sensors:
                gap = f"a sensor {sensor_of[calibration]!r}, which sensor.json lacks"
            elif sample not in samples:
                gap = f"sample {sample!r}, which sample.json lacks"
            if gap is None:
                kept.append(row)
                continue
            reason = f"sample_data {row['token']!r} names {gap}"
            self._dropped[row["token"]] = self._dropped_of_sample[sample] = reason
        if self._dropped:
            self._note("sample_data", f"{len(self._dropped)} rows with dangling tokens left out")
        return kept

    def _leave_out_rivals(self) -> set[tuple[str, str]]:
        """(sample, channel) of which several rows say that they are the keyframe: none is taken."""
        rows = (row for row in self._loaded["sample_data"] if row["is_key_frame"])
        counts = Counter((row["sample_token"], row["channel"]) for row in rows)
        rivals = {of for of, count in counts.items() if count > 1}
        for sample, channel in rivals:
            self.get("sample", sample)["data"].pop(channel, None)
        return rivals

    def _find_first_samples(self) -> None:
        lacking = [row for row in self._loaded["scene"] if "first_sample_token" not in row]
        if not lacking:
            return
        first: dict[str, Row] = {}
        for row in self._loaded["sample"]:
            known = first.setdefault(row["scene_token"], row)
            if row["timestamp"] < known["timestamp"]:
                first[row["scene_token"]] = row
        for row in lacking:
            row["first_sample_token"] = (
                first[row["token"]]["token"] if row["token"] in first else ""
            )
        self._note("scene", f"{len(lacking)} rows lack first_sample_token; found by time")

    def _link_by_time(self, table: str, group_of: Callable[[Row], Any]) -> None:
        """Fill `prev` and `next` of a table, unless every row has them."""
        rows = self._loaded[table]
        lacking = sum(not {"prev", "next"} <= row.keys() for row in rows)
        if not lacking:
            return
        groups: dict[Any, list[Row]] = defaultdict(list)
        for row in rows:
            groups[group_of(row)].append(row)
        for group in groups.values():
            group.sort(key=lambda row: row["timestamp"])
            tokens = ["", *(row["token"] for row in group), ""]
            for row, before, after in zip(group, tokens, tokens[2:], strict=False):
                row["prev"], row["next"] = before, after
        self._note(table, f"{lacking} of {len(rows)} rows lack prev or next; all linked by time")

    def find(self, table: str, token: str, named_by: str) -> Row:
        """The row of a token; DatasetError names table and token when there is none."""
        try:
            return self.get(table, token)
        except KeyError:
            reason = self._dropped.get(token, f"{table} has no row {token!r}")
            raise DatasetError(f"{reason} (named by {named_by} of {self.folder})") from None

    def walk(self, table: str, token: str, named_by: str) -> list[Row]:
        """The row of a token and all that follow it by `next`."""
        rows: list[Row] = []
        seen: set[str] = set()
        while token:
            row = self.find(table, token, named_by)
            if token in seen:
                raise DatasetError(f"{table} {token!r} follows itself in {self._file(table)}")
            seen.add(token)
            rows.append(row)
            named_by, token = f"{table} {token!r}", row["next"]
        return rows

    def samples_of(self, scene: Row) -> list[Row]:
        """A scene's samples in order; DatasetError where rows of them are missing."""
        samples = self.walk("sample", scene["first_sample_token"], f"scene {scene['name']!r}")
        for sample in samples:
            if sample["scene_token"] != scene["token"]:
                raise DatasetError(
                    f"scene {scene['name']!r} leads to sample {sample['token']!r}, which is of "
                    f"scene {sample['scene_token']!r} in {self._file('sample')}; repair the links"
                )
            if sample["token"] in self._dropped_of_sample:
                raise DatasetError(f"{self._dropped_of_sample[sample['token']]}: {self.folder}")
        if not samples:
            raise DatasetError(f"scene {scene['name']!r} has no sample in {self._file('sample')}")
        return samples

    def chain_of(self, row: Row) -> list[Row]:
        """All sample_data of one sensor in a scene, in order, given any of them."""
        seen = {row["token"]}
        while row["prev"]:
            row = self.find("sample_data", row["prev"], f"sample_data {row['token']!r}")
            if row["token"] in seen:
                raise DatasetError(f"sample_data {row['token']!r} precedes itself")
            seen.add(row["token"])
        return self.walk("sample_data", row["token"], "its own chain")


def _settle_numbers(row: Any) -> None:
    """What Lyft's tables write otherwise: times with a fraction of a microsecond, sizes of null."""
    if not isinstance(row, dict):
        return
    time_us = row.get("timestamp")
    if isinstance(time_us, float) and LEAST_US <= time_us < 2**63:
        row["timestamp"] = round(time_us)
    for side in ("height", "width"):
        if row.get(side, 0) is None:
            row[side] = 0


def _check_row(row: Any, fields: dict[str, type], where: str) -> None:
    if not isinstance(row, dict):
        raise DatasetError(f"{where} is no object")
    for field, expected in fields.items():
        value = row.get(field)
        if not isinstance(value, expected) or (isinstance(value, int) and not 0 <= value < 2**63):
            raise DatasetError(
                f"{where}: field {field!r} is {value!r}, expected a {expected.__name__}"
            )
    for link in ("prev", "next", "first_sample_token"):
        if link in row and not isinstance(row[link], str):
            raise DatasetError(f"{where}: field {link!r} is {row[link]!r}, expected a token")
