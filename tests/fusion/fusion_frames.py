"""Frames for the tests of fusion, put together from points or seen by cameras."""

import numpy as np

from driv3r.fusion import FusedFrame
from driv3r.types import MovingObjects, StaticMap

START_US = 1_600_000_000_000_000


def make_frame(index, views, motion=0.0, time_us=None, depth_m=10.0, sigma=0.02, rgb=90):
    """One view per list of points, which become its first pixels; the other pixels are NaN."""
    width = max(4, *(len(points) for points in views))
    shape = (len(views), 1, width)
    points_world, depth = np.full((*shape, 3), np.nan), np.full(shape, np.nan)
    for v, points in enumerate(views):
        points_world[v, 0, : len(points)] = np.reshape(points, (-1, 3))
        depth[v, 0, : len(points)] = depth_m
    if time_us is None:
        time_us = [START_US + 500_000 * index] * len(views)
    return FusedFrame(
        index,
        np.array(time_us, np.int64),
        points_world,
        depth,
        np.full(shape, sigma),
        np.full(shape, motion),
        np.full((*shape, 3), rgb, np.uint8),
    )


def fill_box(center, size, rng, n=300):
    return np.asarray(center) + rng.uniform(-0.5, 0.5, (n, 3)) * size


def assert_same_bytes(a, b):
    for name in type(a).__dataclass_fields__:
        left, right = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        assert (left.dtype, left.shape) == (right.dtype, right.shape), name
        assert left.tobytes() == right.tobytes(), name


def assert_valid(result: StaticMap | MovingObjects):
    """The types that the store writes, and rows that fit each other."""
    if isinstance(result, StaticMap):
        dtypes = {"index": "i4", "hits": "i8", "weight": "i8", "rgb": "u1"}
        dtypes |= {"first_frame": "i4", "last_frame": "i4"}
        rows = dict.fromkeys(dtypes, len(result.index))
    else:
        dtypes = {"track_id": "i8", "frame": "i4", "time_us": "i8", "center_world": "f8"}
        dtypes |= {"size_m": "f8", "velocity_world_mps": "f8"}
        rows = dict.fromkeys(dtypes, len(result.track_id))
        dtypes |= {"points_world": "f4", "points_state": "i4"}
        rows |= dict.fromkeys(("points_world", "points_state"), len(result.points_state))
    triples = {"index", "rgb", "center_world", "size_m", "velocity_world_mps", "points_world"}
    for name, dtype in dtypes.items():
        array = getattr(result, name)
        assert array.dtype == np.dtype(dtype), name
        assert array.shape == ((rows[name], 3) if name in triples else (rows[name],)), name
