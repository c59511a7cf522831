"""Images, depth, motion and LiDAR of a world."""
