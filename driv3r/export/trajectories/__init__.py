"""Formats of paths."""
