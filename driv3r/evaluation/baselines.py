"""What knows the rig but not the image: the floors that a network has to beat."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from driv3r.errors import CheckpointError
from driv3r.geometry.ground_plane import FAR_PLANE_M
from driv3r.settings import PACKAGE
from driv3r.types import Rig

SHIPPED_PRIOR = PACKAGE / "weights" / "positional-prior.safetensors"
BINS_M = np.geomspace(0.5, 100.0, 161)


class PositionalPrior:
    """A constant depth per pixel position of each training camera, found by optical axis.

    The constant is the Abs Rel optimum: the median of the training depths weighted by 1 / depth.
    """

    def __init__(self, depth_m: Float[np.ndarray, "v h w"], axis_ego: Float[np.ndarray, "v 3"]):
        self.depth_m, self.axis_ego = depth_m, axis_ego

    def predict(self, rig: Rig) -> Float[np.ndarray, "v h w"]:
        """For each camera the prior of the training camera that looks most nearly its way.

        At another image size it is stretched.
        """
        axes = np.stack([camera.ego_T_cam[:3, 2] for camera in rig.cameras])
        nearest = np.argmax(axes @ self.axis_ego.T, axis=1)
        sizes_wh = [(camera.size_hw[1], camera.size_hw[0]) for camera in rig.cameras]
        planes = zip(self.depth_m[nearest].astype(np.float64), sizes_wh, strict=True)
        return np.stack([cv2.resize(depth_m, size_wh) for depth_m, size_wh in planes])

    def save(self, path: Path) -> None:
        """Write the prior as safetensors."""
        save_file({"depth_m": self.depth_m, "axis_ego": self.axis_ego}, path)

    @classmethod
    def load(cls, path: Path = SHIPPED_PRIOR) -> "PositionalPrior":
        """Read a prior; CheckpointError where the file is not one."""
        try:
            arrays = load_file(path)
            return cls(arrays["depth_m"], arrays["axis_ego"])
        except (OSError, KeyError, SafetensorError) as error:
            raise CheckpointError(
                f"{path} is not a positional prior ({error}); make it with tools/fit_prior.py"
            ) from error


class PriorFitter:
    """Collects training depths of one rig, a histogram a pixel."""

    def __init__(self, views: int, size_hw: tuple[int, int]):
        self.weight = np.zeros((views, *size_hw, len(BINS_M) + 1))

    def add(self, depth_m: Float[np.ndarray, "v h w"]) -> None:
        """One surround frame of true depth; 0 is sky, which LiDAR does not see."""
        bins = np.digitize(depth_m, BINS_M)
        seen = (depth_m > 0.5) & (depth_m < 80.0)
        v, y, x = np.nonzero(seen)
        np.add.at(self.weight, (v, y, x, bins[seen]), 1.0 / depth_m[seen])

    def fit(self, axis_ego: Float[np.ndarray, "v 3"]) -> PositionalPrior:
        """The weighted medians; pixels that never met anything are far."""
        below = np.cumsum(self.weight, axis=-1)
        middle = np.argmax(below >= 0.5 * below[..., -1:], axis=-1)
        edges = np.r_[BINS_M[0], BINS_M, BINS_M[-1]]
        depth_m = np.sqrt(edges[middle] * edges[middle + 1])
        depth_m = np.where(below[..., -1] > 0, depth_m, FAR_PLANE_M)
        return PositionalPrior(depth_m.astype(np.float32), axis_ego.astype(np.float32))
