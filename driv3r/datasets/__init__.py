"""Recorded drives as scenes: one reader a dataset, chosen by name."""

import os
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


def open_dataset(
    name: str,
    root: Path,
    *,
    sweeps: bool = False,
    follow_links: bool = False,
    split_file: Path | None = None,
) -> Reader:
    """The reader of the dataset `name` at `root`; `sweeps` adds the frames between keyframes.

    `follow_links` lets links in `root` lead to files outside of it. `split_file` is the scene table
    of a DGP root that has several. Raises ConfigError on an unknown name or a split file that the
    dataset does not take, DatasetError where `root` is not such a dataset.
    """
    if name not in READERS:
        raise ConfigError(f"unknown dataset {name!r}; known are {', '.join(READERS)}")
    if not os.path.isdir(root):  # Path.is_dir raises on a name too long or a closed folder
        raise DatasetError(f"the {name} root {root} is not a folder; give the dataset's top folder")
    if READERS[name] is DdadReader:
        return DdadReader(Path(root), sweeps, follow_links, split_file)
    if split_file is not None:
        raise ConfigError(
            f"{name} has no split files, but {split_file} is given; leave --split-file out: only "
            "ddad (a DGP root) takes one"
        )
    return READERS[name](Path(root), sweeps=sweeps, follow_links=follow_links)
