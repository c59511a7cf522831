"""The posed images of a selected log."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from jaxtyping import Float

from driv3r.export.selection import SelectedLog
from driv3r.types import Camera


@dataclass(frozen=True, eq=False)
class PosedView:
    """One image: `full` is the recorded image's camera, `working` that of the log's maps.

    `crop` (y0, x0, h, w) is the part of the recorded image that the working one shows. `path` is
    the image's file relative to the dataset's root.
    """

    frame: int
    view: int
    time_us: int
    full: Camera
    working: Camera
    crop: tuple[int, int, int, int]
    world_T_cam: Float[np.ndarray, "4 4"]
    path: str

    @property
    def stem(self) -> str:
        """A plain name: camera and frame, without an ending."""
        return f"{self.working.name}/{self.frame:06d}"

    @property
    def suffix(self) -> str:
        """The image file's ending, in small letters."""
        return PurePosixPath(self.path).suffix.lower()


def list_views(selected: SelectedLog) -> Iterator[PosedView]:
    """Every image of the chosen frames that has a file and a pose, frame by frame."""
    store = selected.store
    header = store.header
    world_T_ego, time_us = store.world_T_ego_cam(), store.time_cam_us
    for frame in selected.frames:
        for view, camera in enumerate(store.rig.cameras):
            path, place = store.image_paths[frame][view], world_T_ego[frame, view]
            if path is None or time_us[frame, view] < 0 or not np.isfinite(place).all():
                continue
            yield PosedView(
                frame,
                view,
                int(time_us[frame, view]),
                header.full_cameras[view],
                camera,
                header.crops[view],
                place @ camera.ego_T_cam,
                path,
            )
