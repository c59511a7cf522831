"""Pedestrians and cyclists."""
