"""Argoverse 2 sensor logs: `Argoverse2Reader`, its splits and what it says of the car."""

from driv3r.datasets.argoverse2.log import LIDAR
from driv3r.datasets.argoverse2.reader import GROUND_Z_M, SPLITS, Argoverse2Reader

__all__ = ["GROUND_Z_M", "LIDAR", "SPLITS", "Argoverse2Reader"]
