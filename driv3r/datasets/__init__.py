"""Recorded drives as scenes: one reader a dataset, chosen by name."""

import os
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from driv3r.datasets.argoverse2 import Argoverse2Reader
from driv3r.datasets.ddad import DdadReader
from driv3r.datasets.folder import FolderReader
from driv3r.datasets.kitti import KittiReader
from driv3r.datasets.kitti360 import Kitti360Reader
from driv3r.datasets.nuscenes import LyftReader, NuScenesReader, T4Reader, TruckScenesReader
from driv3r.datasets.pandaset import PandaSetReader
from driv3r.datasets.reader import Reader
from driv3r.datasets.remote import RemoteReader
from driv3r.datasets.rosbag import RosbagReader
from driv3r.datasets.waymo import WaymoReader
from driv3r.datasets.zod import ZodReader
from driv3r.errors import ConfigError, DatasetError
from driv3r.settings import url_of

READERS: dict[str, Callable[..., Reader]] = {
    "nuscenes": NuScenesReader,
    "ddad": DdadReader,
    "pandaset": PandaSetReader,
    "kitti": KittiReader,
    "kitti360": Kitti360Reader,
    "truckscenes": TruckScenesReader,
    "lyft": LyftReader,
    "t4": T4Reader,
    "zod": ZodReader,
    "rosbag": RosbagReader,
    "folder": FolderReader,
    "waymo": WaymoReader,
    "argoverse2": Argoverse2Reader,
}


@cache
def list_readers() -> dict[str, Callable[..., Reader]]:
    """Every dataset's reader: ours, and those of installed packages (group driv3r.datasets).

    A reader is called with the root and, by name, `sweeps` and `follow_links`.
    """
    return {each.name: each.load() for each in entry_points(group="driv3r.datasets")} | READERS


def choose_reader(name: str) -> Callable[..., Reader]:
    """The reader of a dataset's name; ConfigError lists the names where there is none."""
    if name not in list_readers():
        raise ConfigError(f"no dataset {name!r}; known: {', '.join(list_readers())}")
    return list_readers()[name]


def open_dataset(
    name: str,
    root: Path,
    *,
    sweeps: bool = False,
    follow_links: bool = False,
    split_file: Path | None = None,
    rig: Path | None = None,
) -> Reader:
    """The reader of the dataset `name` at `root`; `sweeps` adds the frames between keyframes.

    `follow_links` lets links in `root` lead to files outside of it. `split_file` is the scene table
    of a DGP root that has several, `rig` the rig file of a folder of one's own images. `root` may
    be a URL of an object store where the reader has a `remote` layout. Raises ConfigError on an
    unknown name, or a file or URL that the dataset does not take, DatasetError where `root` is not
    such a dataset.
    """
    make, url = choose_reader(name), url_of(Path(root))
    if url is None and not os.path.isdir(root):  # Path.is_dir raises on a name that is too long
        raise DatasetError(f"the {name} root {root} is not a folder; give the dataset's top folder")
    if rig is not None and make is not FolderReader:
        raise ConfigError(
            f"{name} tells its own rig, but {rig} is given; leave --rig out: only folder (images "
            "of one's own) takes one"
        )
    if make is DdadReader and url is None:
        return DdadReader(Path(root), sweeps, follow_links, split_file)
    if split_file is not None:
        raise ConfigError(
            f"{name} has no split files, but {split_file} is given; leave --split-file out: only "
            "ddad (a DGP root) takes one"
        )
    if url is not None:
        return _open_remote(name, make, url, sweeps=sweeps, follow_links=follow_links)
    if make is FolderReader:
        return FolderReader(Path(root), sweeps, follow_links, rig)
    return make(Path(root), sweeps=sweeps, follow_links=follow_links)


def _open_remote(name: str, make: Callable[..., Reader], url: str, **options: bool) -> Reader:
    """The reader of a root in an object store; ConfigError where the dataset's takes none."""
    layout = getattr(make, "remote", None)
    if layout is None:
        able = [each for each, reader in list_readers().items() if hasattr(reader, "remote")]
        raise ConfigError(
            f"{name} is read from folders, and {url} is none: copy or mount it (rclone, gcsfuse, "
            f"mount-s3) and give that folder; URLs are taken of {', '.join(able)}"
        )
    return RemoteReader(make, url, layout, **options)
