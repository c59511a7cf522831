"""Formats that hold a whole log over time."""
