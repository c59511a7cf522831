"""KITTI raw and KITTI odometry."""

from driv3r.datasets.kitti.reader import KittiReader

__all__ = ["KittiReader"]
