"""Formats of points and surfaces."""
