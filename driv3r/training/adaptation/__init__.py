"""Weights adapted to recorded logs, by their LiDAR or by their images alone."""
