"""KITTI-360."""

from driv3r.datasets.kitti360.reader import Kitti360Reader

__all__ = ["Kitti360Reader"]
