"""nuScenes v1.0 folders: `NuScenesReader` and the official splits."""

from driv3r.datasets.nuscenes.reader import NuScenesReader, official_splits

__all__ = ["NuScenesReader", "official_splits"]
