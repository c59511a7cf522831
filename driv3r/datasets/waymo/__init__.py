"""Waymo Perception folders, v1 TFRecord and v2 Parquet: `WaymoReader`."""

from driv3r.datasets.waymo.reader import WaymoReader

__all__ = ["WaymoReader"]
