"""Formats of grids of cells."""
