"""Scores against LiDAR, ego poses and motion truth: pure functions and their protocol cards."""
