"""Alignment: where the car is, from its images and the depth a network predicts for them."""
