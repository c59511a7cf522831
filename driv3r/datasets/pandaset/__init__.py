"""PandaSet folders: `PandaSetReader` and the names of its cameras."""

from driv3r.datasets.pandaset.reader import CAMERAS, PandaSetReader

__all__ = ["CAMERAS", "PandaSetReader"]
