"""Whole jobs: train, process, score, report; ray_backend.py alone knows Ray."""
