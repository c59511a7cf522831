"""What a world holds, and how it moves."""
