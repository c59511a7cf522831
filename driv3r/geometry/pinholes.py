"""The pinhole that a lens's images are looked at through.

Networks, projection and fusion know pinholes. Images of a lens that bends straight lines are
sampled through it at the working size, so that none need be undistorted beforehand.
"""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from driv3r.errors import GeometryError
from driv3r.geometry.cameras import is_pinhole, pixel_grid, project, unproject
from driv3r.geometry.lenses import unbend, widest_angle
from driv3r.types import Camera

WIDEST_DEG, WIDEST_UNASKED_DEG = 150.0, 110.0  # a pinhole's edges stretch by 1 / cos^2
OUTSIDE_PX = -1e4  # a pixel that no image has


def pinhole_of(camera: Camera) -> Camera:
    """The pinhole camera, of the same image size, that a camera's images are made into.

    Of Brown's lenses it has the focal lengths and centre; of others the angle across is
    `pinhole_fov_deg`, by default the lens's own, 110 at most. Raises GeometryError where that is
    more than a pinhole or the lens has.
    """
    plain = replace(camera, lens="brown_conrady", distortion=(), pinhole_fov_deg=None)
    if camera.lens == "brown_conrady":
        K = camera.K.copy()
        K[0, 1] = 0.0
        return replace(plain, K=K)
    height, width = camera.size_hw
    own_deg = 2 * math.degrees(_half_angle(camera))
    wanted_deg = camera.pinhole_fov_deg
    if wanted_deg is None:
        wanted_deg = min(own_deg, WIDEST_UNASKED_DEG)
    if not 1.0 <= wanted_deg <= WIDEST_DEG or wanted_deg > own_deg + 1.0:
        raise GeometryError(
            f"camera {camera.name}: the field of view to look at is {wanted_deg:g} degrees, "
            f"expected 1 to {min(WIDEST_DEG, own_deg):.0f}: the lens has {own_deg:.0f} across, and "
            f"a pinhole {WIDEST_DEG:g} at most"
        )
    focal_px = 0.5 * width / math.tan(math.radians(wanted_deg) / 2)
    return replace(
        plain, K=np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1.0]])
    )


def _half_angle(camera: Camera) -> float:
    """The angle (rad) off the axis of what lies half an image's width off its centre."""
    edge = np.array([0.5 * camera.size_hw[1] / camera.K[0, 0], 0.0])
    x, _, z = unbend(camera.lens, camera.distortion, edge)
    if not np.isfinite(z):
        return widest_angle(camera.lens, camera.distortion)
    return float(np.arctan2(abs(x), z))


def looked_at(camera: Camera) -> Camera:
    """The camera itself if it is a pinhole, else the pinhole that it is looked at through."""
    return camera if is_pinhole(camera) else pinhole_of(camera)


def find_sources(camera: Camera, pinhole: Camera) -> Float32[np.ndarray, "h w 2"]:
    """Where in a camera's image each pixel of a pinhole at its place lies, or OUTSIDE_PX.

    As cv2.remap counts: from the centre of the first pixel.
    """
    rays = unproject(pinhole, pixel_grid(pinhole.size_hw))
    uv, _, inside = project(camera, rays)
    last = np.array([camera.size_hw[1] - 1, camera.size_hw[0] - 1])
    return np.where(inside[..., None], np.clip(uv - 0.5, 0, last), OUTSIDE_PX).astype(np.float32)
