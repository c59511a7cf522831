"""Finished logs in the formats of other programs: one file a format, one line of the registry."""

from driv3r.export.registry import ExportFormat, list_formats
from driv3r.export.selection import ExportSelection, SelectedLog, select
from driv3r.export.writing import Exported, export_log

__all__ = [
    "ExportFormat",
    "ExportSelection",
    "Exported",
    "SelectedLog",
    "export_log",
    "list_formats",
    "select",
]
