"""Features tracked from frame to frame: ego motion, triangulated depth, correction."""
