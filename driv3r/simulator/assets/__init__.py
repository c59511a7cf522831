"""Meshes of what stands and moves in a generated street."""
