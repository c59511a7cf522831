"""Figures against LiDAR and ego poses, and the protocols they follow."""
