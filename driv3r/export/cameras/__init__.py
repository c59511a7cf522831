"""Formats of posed images and their depth."""
