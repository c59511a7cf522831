"""Whole jobs: train, process, score, report; cluster.py alone knows Ray."""
