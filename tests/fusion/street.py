"""A street of planes and boxes, seen exactly by pinhole cameras: frames for the tests of fusion."""

import numpy as np

from driv3r.fusion import FrameWindow, FusedFrame
from driv3r.fusion.moving.objects import find_objects, gather
from driv3r.geometry.cameras import rays_of
from driv3r.types import Camera

START_US = 1_600_000_000_000_000
STEP_US = 500_000
WALL_X_M, HEIGHT_M = 40.0, 1.5
K = np.array([[60.0, 0.0, 60.0], [0.0, 60.0, 20.0], [0.0, 0.0, 1.0]])
# cam: x right, y down, z forward; ego: x forward, y left, z up
EGO_R_CAM = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def camera(name: str, y_m: float = 0.0) -> Camera:
    ego_T_cam = np.eye(4)
    ego_T_cam[:3, :3] = EGO_R_CAM
    ego_T_cam[:3, 3] = [2.0, y_m, HEIGHT_M]
    return Camera(name, K, (40, 120), ego_T_cam)


CAMERAS = (camera("left", 0.5), camera("right", -0.5))


def car(center_x, center_y, size=(4.0, 2.0, 1.5)):
    """Low and high corner of a box on the road."""
    low = np.array([center_x - size[0] / 2, center_y - size[1] / 2, 0.0])
    return low, low + size


def see(index, moving=(), standing=(), ego_x=0.0, scale=1.0, sigma=0.005, cameras=CAMERAS):
    """A frame of the street: wall, road, standing and moving boxes; depth times `scale`."""
    world_T_ego = np.eye(4)
    world_T_ego[0, 3] = ego_x
    depth, motion, rgb, places = [], [], [], []
    for cam in cameras:
        world_T_cam = world_T_ego @ cam.ego_T_cam
        origin, rays = world_T_cam[:3, 3], rays_of(cam) @ world_T_cam[:3, :3].T
        with np.errstate(divide="ignore", invalid="ignore"):
            depth_m = np.where(rays[..., 0] > 0, (WALL_X_M - origin[0]) / rays[..., 0], np.inf)
            road_m = np.where(rays[..., 2] < 0, -origin[2] / rays[..., 2], np.inf)
        depth_m, moves = np.minimum(depth_m, road_m), np.zeros(depth_m.shape)
        colour = np.full((*depth_m.shape, 3), 90, np.uint8)
        for is_moving, boxes in ((1.0, moving), (0.0, standing)):
            for number, (low, high) in enumerate(boxes):
                with np.errstate(divide="ignore", invalid="ignore"):
                    a, b = (low - origin) / rays, (high - origin) / rays
                enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
                hit = (enter < leave) & (enter > 0) & (enter < depth_m)
                depth_m[hit], moves[hit] = enter[hit], is_moving
                colour[hit] = 30 + 60 * number
        depth.append(depth_m * scale)
        motion.append(moves)
        rgb.append(colour)
        places.append(world_T_cam)
    time_us = START_US + STEP_US * index
    shape = np.shape(depth)
    return FusedFrame(
        index, time_us, cameras, np.full(len(cameras), time_us), world_T_ego, np.stack(places),
        np.array(depth), np.full(shape, sigma), np.array(motion), np.array(rgb),
    )  # fmt: skip


def make_objects(tracks, time_us, config):
    """What is told of tracks."""
    found = find_objects(tracks, time_us, config)
    return gather([each for each in found if each.is_possible], time_us)


def window(frames) -> FrameWindow:
    frames = list(frames)
    return FrameWindow(np.array([f.time_us for f in frames], np.int64), frames.__getitem__)


def assert_same_bytes(a, b):
    for name in type(a).__dataclass_fields__:
        left, right = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        assert (left.dtype, left.shape) == (right.dtype, right.shape), name
        assert left.tobytes() == right.tobytes(), name
