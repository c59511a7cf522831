"""What is there of a dataset, and what would go wrong: `driv3r datasets check`.

`check_dataset` looks at a reader's splits and scenes, `check_scene` at one scene.
"""

from collections.abc import Callable, Sequence

from driv3r.datasets.check.results import DatasetCheck, SceneCheck, SensorCheck, SplitCheck
from driv3r.datasets.check.scene import check_scene
from driv3r.datasets.reader import Reader
from driv3r.errors import Driv3rError

__all__ = [
    "DatasetCheck",
    "SceneCheck",
    "SensorCheck",
    "SplitCheck",
    "check_dataset",
    "check_scene",
]


def check_dataset(
    reader: Reader,
    splits: Sequence[str],
    scene_ids: Sequence[str] = (),
    limit: int | None = None,
    quick: bool = False,
    report: Callable[[float, int], None] = lambda done, total: None,
) -> DatasetCheck:
    """Look at the scenes of some splits, or at `scene_ids` among them, `limit` at most.

    A split that is not there is told in its `problem`; a scene that can not be read in its `error`.
    `quick` opens the files of each scene's first and last frame only. `report` hears how many
    scenes of how many are done.
    """
    found = tuple(_list_scenes(reader, split) for split in splits)
    listed = list(dict.fromkeys(name for split in found for name in split.scene_ids))
    chosen = (list(scene_ids) or listed)[:limit]
    scenes = []
    for i, scene_id in enumerate(chosen):
        scenes.append(
            check_scene(reader, scene_id, quick, lambda share, i=i: report(i + share, len(chosen)))
        )
        report(i + 1, len(chosen))
    return DatasetCheck(found, tuple(scenes))


def _list_scenes(reader: Reader, split: str) -> SplitCheck:
    try:
        return SplitCheck(split, reader.scenes(split))
    except Driv3rError as error:
        return SplitCheck(split, (), str(error))
