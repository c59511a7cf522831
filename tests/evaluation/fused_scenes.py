"""Boxes, sweeps, maps and tracks whose figures are known beforehand."""

import numpy as np

from driv3r.types import Boxes, MovingObjects, StaticMap, Sweep

EYE = np.eye(4)


def boxes_at(centers, speeds, size=(4.0, 2.0, 1.6)):
    n = len(centers)
    world_T_box = np.tile(EYE, (n, 1, 1))
    world_T_box[:, :3, 3] = centers
    velocity = np.zeros((n, 3))
    velocity[:, 0] = speeds
    names = tuple(f"object {i}" for i in range(n))
    return Boxes(names, ("vehicle.car",) * n, world_T_box, np.tile(size, (n, 1)), velocity)


def sweep_of(points):
    world_T_lidar = EYE.copy()
    world_T_lidar[2, 3] = 1.8
    return Sweep((np.asarray(points, float) - [0, 0, 1.8]).astype(np.float32), 0, world_T_lidar)


def street():
    """Points of a road at z = 0 and a wall at y = 8, as a sweep sees them."""
    x, y = np.meshgrid(np.arange(4, 30, 0.25), np.arange(-7, 7, 0.25))
    road = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    x, z = np.meshgrid(np.arange(4, 30, 0.25), np.arange(0.1, 4, 0.25))
    return np.concatenate([road, np.stack([x, np.full_like(x, 8.0), z], -1).reshape(-1, 3)])


def map_of(points, normal=(0, 0, 0)):
    index = np.floor(points / 0.2).astype(np.int32)
    index, first = np.unique(index, axis=0, return_index=True)
    inside = points[first] / 0.2 - index
    n = len(index)
    ones = np.ones(n, np.int64)
    rgb, frame = np.zeros((n, 3), np.uint8), np.zeros(n, np.int32)
    normal = np.tile(np.rint(np.multiply(normal, 127)).astype(np.int8), (n, 1))
    offset = np.clip(np.floor(inside * 256), 0, 255).astype(np.uint8)
    return StaticMap(0.2, index, offset, ones, frame, ones, rgb, normal, frame, frame)


def states_at(centers, tracks, frames, velocity=0.0):
    m = len(centers)
    world_T_object = np.tile(EYE, (m, 1, 1))
    world_T_object[:, :3, 3] = centers
    speed = np.zeros((m, 3))
    speed[:, 0] = velocity
    k = max(tracks, default=-1) + 1
    return MovingObjects(
        np.array(tracks, np.int64), np.array(frames, np.int32), np.zeros(m, np.int64),
        world_T_object, speed, np.ones(m), np.ones(m, bool), np.ones((k, 3)), np.ones(k),
        np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.zeros(0, np.int32),
    )  # fmt: skip


def named(scores):
    return {score.metric: score.value for score in scores}
