"""Networks of published systems."""
