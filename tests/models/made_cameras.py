"""Two cameras on a car and their cells, for tests of matching."""

import numpy as np
import torch

from driv3r.geometry.cameras import unproject
from driv3r.geometry.transforms import make_transform
from driv3r.models.driv3r.reprojection import STRIDE, CellRays
from driv3r.types import Camera

SIZE_HW = (128, 192)
FORWARD = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
LEFT = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
HALF_LEFT = np.array([[1.0, -1, 0], [1, 1, 0], [0, 0, np.sqrt(2)]]) / np.sqrt(2)


def make_cameras(*turns: np.ndarray) -> list[Camera]:
    """Cameras at one place that look ahead, turned."""
    K = np.array([[120.0, 0, 96], [0, 120, 64], [0, 0, 1]])
    place = np.array([1.5, 0.3, 1.6])
    return [
        Camera(f"camera {i}", K, SIZE_HW, make_transform(turn @ FORWARD, place))
        for i, turn in enumerate(turns)
    ]


def make_centres(stride: int) -> np.ndarray:
    """[n, 2] pixels at the centres of cells."""
    y, x = (np.arange(n // stride) * stride + stride / 2 for n in SIZE_HW)
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def make_cell_rays(*turns: np.ndarray, stride: int = STRIDE) -> CellRays:
    """Those cameras' cells; one ahead and one to the left unless told."""
    cameras = make_cameras(*(turns or (np.eye(3), LEFT)))
    rays = np.stack([unproject(c, make_centres(stride)) for c in cameras])
    rays = rays / rays[..., 2:]
    tensors = (rays, [c.K for c in cameras], [c.ego_T_cam for c in cameras])
    return CellRays(*(torch.from_numpy(np.stack(a)[None]).float() for a in tensors), SIZE_HW)
