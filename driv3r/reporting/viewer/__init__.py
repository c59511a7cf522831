"""A live viewer of finished logs in the browser: `driv3r view`."""

from driv3r.reporting.viewer.server import LogViewer, ViewerConfig

__all__ = ["LogViewer", "ViewerConfig"]
