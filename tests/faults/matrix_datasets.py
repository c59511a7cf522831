"""Faults of what `driv3r datasets` is given."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.faults import harms
from tests.faults.matrix_runs import Prepare, plain
from tests.faults.place import FIRST, Place
from tests.faults.rows import CommandFault

datasets = partial(CommandFault, "driv3r datasets")


def checking(*more: str, harm: Callable[[Path], object] = lambda root: None) -> Prepare:
    """A check of a copy of the dataset that is harmed."""

    def prepare(place: Place, _: pytest.MonkeyPatch) -> list[str]:
        root = place.data()
        harm(root)
        return ["datasets", "check", "nuscenes", "--root", "data", "--split", "val", *more]

    return prepare


def without_images(root: Path) -> None:
    for path in root.glob(f"samples/CAM_*/{FIRST}*"):
        path.unlink()


def cut_image(root: Path) -> None:
    harms.cut(0.5)(next(root.glob(f"samples/CAM_FRONT/{FIRST}*")))


def without_poses_of_one(root: Path) -> None:
    path = root / "v1.0-trainval/ego_pose.json"
    path.write_text(path.read_text().replace(FIRST, "scene-9999"))


DATASETS = (
    datasets("wrong type", "`show` of a name that is not known",
             plain("datasets", "show", "nuscene"), 2,
             "ConfigError: no dataset 'nuscene'; known: nuscenes"),
    datasets("missing", "`check` of no folder",
             plain("datasets", "check", "nuscenes", "--root", "gone"), 2,
             "DatasetError: the nuscenes root gone is not a folder"),
    datasets("wrong type", "`check` of another dataset's folder",
             plain("datasets", "check", "nuscenes", "--root", "."), 2,
             "DatasetError: . is no nuScenes root: expected a table folder"),
    datasets("missing", "`check` of a scene whose images are all gone",
             checking(harm=without_images), 1, f"{FIRST}: NO IMAGE...1 of 2 scenes are usable"),
    datasets("missing", "`check` of a scene whose poses are gone",
             checking(harm=without_poses_of_one), 1,
             f"{FIRST}: NOT READABLE: DatasetError: ...1 of 2 scenes are usable"),
    datasets("truncated", "`check` of an image that is cut", checking(harm=cut_image), 0,
             "CAM_FRONT 67% (1 of 3 do not open)...repaired 1 x: view left out: the image is cut"),
    datasets("unwritable", "`check` with --json below a file",
             checking("--json", "data/v1.0-trainval/scene.json/x.json"), 2,
             "ConfigError: can not write data/v1.0-trainval/scene.json/x.json"),
)  # fmt: skip
