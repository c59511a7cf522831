"""Recorded drives as scenes: one reader a dataset, chosen by name."""

from pathlib import Path

from driv3r.datasets.ddad import DdadReader
from driv3r.datasets.nuscenes import NuScenesReader
from driv3r.datasets.pandaset import PandaSetReader
from driv3r.datasets.reader import Reader
from driv3r.errors import ConfigError, DatasetError

READERS: dict[str, type[NuScenesReader] | type[DdadReader] | type[PandaSetReader]] = {
    "nuscenes": NuScenesReader,
    "ddad": DdadReader,
    "pandaset": PandaSetReader,
}


def open_dataset(name: str, root: Path, *, sweeps: bool = False) -> Reader:
    """The reader of the dataset `name` at `root`; `sweeps` adds the frames between keyframes.

    Raises ConfigError on an unknown name, DatasetError where `root` is not such a dataset.
    """
    if name not in READERS:
        raise ConfigError(f"unknown dataset {name!r}; known are {', '.join(READERS)}")
    if not Path(root).is_dir():
        raise DatasetError(f"the {name} root {root} is not a folder; give the dataset's top folder")
    return READERS[name](Path(root), sweeps=sweeps)
