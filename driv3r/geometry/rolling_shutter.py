"""Images whose lines are read one after the other while the camera moves."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from driv3r.geometry.cameras import lift_depth, project
from driv3r.geometry.transforms import from_rotvec
from driv3r.types import Camera, RollingShutter, Transform

STEPS = 4  # of the fixed point: each leaves the share of a readout in which a point crosses a line


def crop_shutter(
    shutter: RollingShutter, crop: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> RollingShutter:
    """The shutter of a crop (y0, x0, h, w) of an image of `size_hw`, at whatever size."""
    first, side, whole = (
        (crop[0], crop[2], size_hw[0]) if shutter.by_rows else (crop[1], crop[3], size_hw[1])
    )
    before, after = first / whole, 1 - (first + side) / whole
    if shutter.backwards:
        before, after = after, before
    readout_us = shutter.last_us - shutter.first_us
    return replace(
        shutter,
        first_us=round(shutter.first_us + before * readout_us),
        last_us=round(shutter.last_us - after * readout_us),
    )


def project_rolling(
    camera: Camera, points_cam: Float[np.ndarray, "n 3"], shutter: RollingShutter | None
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """`project` of points that stand still, each seen when the line that it falls on is read.

    `points_cam` are in the camera's frame at the exposure's own time; depth is told at the line's.
    """
    uv, depth_m, inside = project(camera, points_cam)
    if shutter is None:
        return uv, depth_m, inside
    for _ in range(STEPS):
        cam_T_line = place_lines(camera, uv, shutter)
        moved_m = points_cam - cam_T_line[:, :3, 3]
        points_line = np.einsum("nji,nj->ni", cam_T_line[:, :3, :3], moved_m)
        uv, depth_m, inside = project(camera, points_line)
    return uv, depth_m, inside


def place_lines(
    camera: Camera, uv: Float[np.ndarray, "n 2"], shutter: RollingShutter
) -> Float[np.ndarray, "n 4 4"]:
    """The camera when each pixel's line is read, in its own frame at the exposure's time."""
    dt_s = _line_times(camera, uv, shutter)[:, None]
    return from_rotvec(shutter.turn_cam_radps * dt_s, shutter.velocity_cam_mps * dt_s)


def place_image_lines(camera: Camera, shutter: RollingShutter) -> Float[np.ndarray, "l 4 4"]:
    """`place_lines` of every row or column of the image, by its number."""
    middles = np.arange(camera.size_hw[0 if shutter.by_rows else 1]) + 0.5
    return place_lines(camera, np.stack([middles, middles], axis=-1), shutter)


def lift_rolling(
    camera: Camera,
    depth_m: Float[np.ndarray, "h w"],
    world_T_cam: Transform,
    shutter: RollingShutter | None,
) -> Float[np.ndarray, "h w 3"]:
    """`lift_depth` of depth at the time of each pixel's line."""
    if shutter is None:
        return lift_depth(camera, depth_m, world_T_cam)
    world_T_line = world_T_cam @ place_image_lines(camera, shutter)
    points_line = lift_depth(camera, depth_m, np.eye(4))
    lines = points_line if shutter.by_rows else points_line.swapaxes(0, 1)  # [line along 3]
    points_world = lines @ world_T_line[:, :3, :3].swapaxes(1, 2) + world_T_line[:, None, :3, 3]
    return points_world if shutter.by_rows else points_world.swapaxes(0, 1)


def with_ego_motion(
    shutter: RollingShutter | None, ego_T_cam: Transform, rate: Float[np.ndarray, "6"] | None
) -> RollingShutter | None:
    """The shutter of a camera on a car that turns (rad/s) and shifts (m/s) at a `rate`.

    None where the rate is not known: lines are then taken to be read at one time.
    """
    if shutter is None or rate is None:
        return None
    turn, place = rate[:3], ego_T_cam[:3, 3]
    cam_R_ego = ego_T_cam[:3, :3].T
    velocity = cam_R_ego @ (rate[3:] + np.cross(turn, place))
    return replace(shutter, velocity_cam_mps=velocity, turn_cam_radps=cam_R_ego @ turn)


def _line_times(
    camera: Camera, uv: Float[np.ndarray, "n 2"], shutter: RollingShutter
) -> Float[np.ndarray, "n"]:
    """Seconds from the exposure's own time at which each pixel's line is read."""
    axis = 1 if shutter.by_rows else 0
    share = uv[:, axis] / camera.size_hw[1 - axis]
    share = np.clip(np.where(np.isfinite(share), share, 0.5), 0.0, 1.0)
    if shutter.backwards:
        share = 1 - share
    return (shutter.first_us + share * (shutter.last_us - shutter.first_us)) * 1e-6
