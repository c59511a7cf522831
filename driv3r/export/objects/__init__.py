"""Formats of tracked objects."""
