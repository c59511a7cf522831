"""Street furniture, plants, barriers, poles."""
