"""Datasets in nuScenes' schema: nuScenes itself with its official splits, and its kin."""

from driv3r.datasets.nuscenes.kin import LyftReader, T4Reader, TruckScenesReader
from driv3r.datasets.nuscenes.reader import NuScenesReader
from driv3r.datasets.nuscenes.splits import official_splits

__all__ = ["LyftReader", "NuScenesReader", "T4Reader", "TruckScenesReader", "official_splits"]
