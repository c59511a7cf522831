"""Images of one's own rig as a dataset: `FolderReader`, and the rig file that it is read with."""

from driv3r.datasets.folder.reader import FolderReader
from driv3r.datasets.folder.rig_file import RigFile, make_rig, read_rig_file, write_rig_file

__all__ = ["FolderReader", "RigFile", "make_rig", "read_rig_file", "write_rig_file"]
