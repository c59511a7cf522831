"""Depth of a flat road under a rig, which knows nothing of the image."""

import numpy as np
from jaxtyping import Float

from driv3r.geometry.cameras import place_on_road, rays_of
from driv3r.types import Rig

FAR_PLANE_M = 80.0


def predict_ground_plane(rig: Rig) -> Float[np.ndarray, "v h w"]:
    """Depth of the flat road under the rig, and of a far plane above the horizon."""
    planes = []
    for camera in place_on_road(rig).cameras:
        down = -(rays_of(camera) @ camera.ego_T_cam[:3, :3].T)[..., 2]
        depth_m = camera.ego_T_cam[2, 3] / np.maximum(down, 1e-6)
        planes.append(np.where(down > 1e-6, np.minimum(depth_m, FAR_PLANE_M), FAR_PLANE_M))
    return np.stack(planes)
