"""Transforms, cameras and alignments: pure functions on numpy arrays."""
