"""A log without a rig file: one camera, of which nothing is known but its images."""

from pathlib import Path

from driv3r.datasets.folder.exposures import IMAGES, LOOSE, image_folder
from driv3r.datasets.folder.rig_file import RigCamera, RigFile
from driv3r.datasets.folder.unknown import assume_K, assume_place
from driv3r.datasets.folder.video import SUFFIXES, size_of_video
from driv3r.datasets.images import read_size
from driv3r.datasets.reader import Root
from driv3r.errors import DatasetError
from driv3r.settings import PLAIN_NAME

NO_CAMERAS = ("lidar", "masks")  # folders of a log that may hold images, or nothing of a camera


def list_cameras(log: Path) -> dict[str, list[Path]]:
    """Files of everything in a log that can be a camera, by name: images, or a video."""
    folder = image_folder(log)
    entries = sorted(folder.iterdir())
    found = {LOOSE: [path for path in entries if path.suffix.lower() in IMAGES]}
    for path in entries:
        if path.is_dir() and path.name not in NO_CAMERAS:
            found[path.name] = [p for p in sorted(path.iterdir()) if p.suffix.lower() in IMAGES]
        elif path.suffix.lower() in SUFFIXES:
            found[path.stem] = [path]
    return {name: files for name, files in found.items() if files}


def assume_rig(root: Root, log: Path) -> RigFile:
    """The rig of a log's single camera, all of it assumed but the size of its images.

    Raises DatasetError where the log has no camera, several, or one that can not be read.
    """
    found = list_cameras(log)
    if len(found) != 1:
        told = f"holds the cameras {', '.join(found)}" if found else "holds no images"
        raise DatasetError(
            f"no rig file at {log / 'rig.yaml'}, and {image_folder(log)} {told}; only a single "
            "camera may go without one. Write one (docs/how-to/own-rig.md), make one from another "
            "calibration with `driv3r rig from`, or give each camera or clip a folder of its own"
        )
    ((name, files),) = found.items()
    if not PLAIN_NAME.fullmatch(name):
        raise DatasetError(
            f"the camera {name!r} of {log} has no plain name of letters, digits, '_', '-' and '.'; "
            "rename its folder or video"
        )
    size_hw = _find_size(root, files)
    where = f"camera {name} of {log}"
    K, ego_T_cam = assume_K(size_hw, None, where), assume_place(None, 0.0, where)
    return RigFile((RigCamera(name, size_hw, K, ego_T_cam, unknown=("intrinsics", "ego_T_cam")),))


def _find_size(root: Root, files: list[Path]) -> tuple[int, int]:
    """(h, w) of the first file that tells it; the first one's DatasetError where none does."""
    inside = [root.resolve_inside(path.relative_to(root.path).as_posix()) for path in files]
    if inside[0].suffix.lower() in SUFFIXES:
        return size_of_video(inside[0])
    errors = []
    for path in inside:
        try:
            return read_size(path)
        except DatasetError as error:
            errors.append(error)
    raise errors[0]
