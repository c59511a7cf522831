"""ROS 2 bags and MCAP files."""

from driv3r.datasets.rosbag.reader import RosbagReader

__all__ = ["RosbagReader"]
