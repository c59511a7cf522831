"""The annotated boxes of a nuScenes folder's samples; its tables are read when first asked for."""

from collections import defaultdict
from pathlib import Path

import numpy as np

from driv3r.datasets.boxes import LARGEST_M
from driv3r.datasets.reader import Row, make_pose, read_json
from driv3r.errors import DatasetError
from driv3r.types import Boxes

TABLE = "sample_annotation"


class Annotations:
    """Boxes by sample; DatasetError where tables are missing, are no JSON or lack fields."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        labels = {row["token"]: row["name"] for row in self._rows("category", "token", "name")}
        instances = self._rows("instance", "token", "category_token")
        self._label_of = {
            row["token"]: labels.get(row["category_token"], "unknown") for row in instances
        }
        self._of_sample: dict[str, list[Row]] = defaultdict(list)
        needed = ("sample_token", "instance_token", "translation", "size", "rotation")
        for row in self._rows(TABLE, *needed):
            self._of_sample[row["sample_token"]].append({name: row[name] for name in needed})

    def boxes(self, sample: str, origin_world: tuple[float, float, float]) -> Boxes:
        """The sample's boxes in the world of its log, without velocities."""
        rows = self._of_sample.get(sample, [])
        where = f"{self._folder / TABLE}.json, sample {sample!r}"
        if len({row["instance_token"] for row in rows}) < len(rows):
            raise DatasetError(f"{where} annotates an instance twice; remove the wrong row")
        world_T_box = np.zeros((len(rows), 4, 4))
        for i, row in enumerate(rows):
            world_T_box[i] = make_pose(row["rotation"], row["translation"], where)
            world_T_box[i, :3, 3] -= origin_world
        sizes = [_read_size(row["size"], where) for row in rows]
        return Boxes(
            tuple(row["instance_token"] for row in rows),
            tuple(self._label_of.get(row["instance_token"], "unknown") for row in rows),
            world_T_box,
            np.array(sizes, np.float64).reshape(-1, 3),
            np.full((len(rows), 3), np.nan),
        )

    def _rows(self, table: str, *needed: str) -> list[Row]:
        path = self._folder / f"{table}.json"
        rows = read_json(path)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise DatasetError(f"{path}: expected a list of rows; fetch the tables again")
        for number, row in enumerate(rows):
            lacking = [name for name in needed if name not in row]
            if lacking:
                raise DatasetError(f"{path} row {number} lacks {', '.join(lacking)}")
        if any(not isinstance(row[n], str) for row in rows for n in needed if n.endswith("token")):
            raise DatasetError(f"{path}: a token is no text; fetch the tables again")
        return rows


def has_annotations(folder: Path) -> bool:
    """Whether a version's folder has boxes: the test split's has none."""
    return (folder / f"{TABLE}.json").is_file()


def _read_size(size: object, where: str) -> list[float]:
    """Length, width and height (m) of the table's width, length and height."""
    try:
        width, length, height = (float(side) for side in size)  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{where}: a box of size {size!r}, expected three numbers") from error
    if not all(0 <= side <= LARGEST_M for side in (width, length, height)):
        raise DatasetError(
            f"{where}: a box of size {size!r}, expected 0 to {LARGEST_M:g} m a side; give metres"
        )
    return [length, width, height]
