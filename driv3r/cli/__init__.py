"""The command line: the only place that prints and exits."""

from driv3r.cli.app import app, main

__all__ = ["app", "main"]
