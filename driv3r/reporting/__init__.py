"""The HTML report, its charts and images."""
