"""Our network."""
