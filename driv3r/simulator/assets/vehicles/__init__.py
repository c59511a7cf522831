"""Cars, trucks and buses."""
