import math
from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest
from fusion_frames import assert_same_bytes, assert_valid, make_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.errors import ConfigError, GeometryError
from driv3r.fusion import FusedFrame, FusionConfig, StaticFusion, fuse, static
from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import apply, from_rotvec, invert
from driv3r.store.morton import morton_order
from driv3r.types import Camera

CONFIG = FusionConfig()


def make_random_frames(seed, count=6, shape=(2, 3, 20)):
    """Crowded points, so that voxels are shared by frames, with every kind of pixel among them."""
    rng = np.random.default_rng(seed)
    frames = []
    for index in rng.permutation(count).tolist():
        depth_m = rng.uniform(1.0, 45.0, shape)
        depth_m[rng.random(shape) < 0.1] = np.nan
        frames.append(
            FusedFrame(
                index,
                np.full(shape[0], 500_000 * index),
                rng.normal(0.0, 0.4, (*shape, 3)) + [25.5, -1e5, 0.0],
                depth_m,
                rng.uniform(0.0, 0.2, shape),
                rng.random(shape) * 0.7,
                rng.integers(0, 256, (*shape, 3), dtype=np.uint8),
            )
        )
    return frames


def fuse_static(frames, config=CONFIG):
    fusion = StaticFusion(config)
    for frame in frames:
        fusion.add(frame)
    return fusion


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 6), max_size=3),
    order=st.permutations(range(6)),
    pending=st.sampled_from([0, 50, 1 << 18]),
)
def test_order_and_split_change_no_byte(seed, cuts, order, pending):
    frames = make_random_frames(seed)
    whole = fuse_static(frames).result()
    shuffled = [frames[i] for i in order]
    bounds = [0, *sorted(cuts), len(frames)]
    with patch.object(static, "PENDING_ROWS", pending):
        merged = StaticFusion(CONFIG)
        for low, high in zip(bounds[:-1], bounds[1:], strict=True):
            part = fuse_static(shuffled[low:high])
            part.result()  # a look in between changes nothing
            merged.merge(part)
        assert_same_bytes(merged.result(), whole)


@dataclass
class SlowSum:
    hits: int = 0
    weight: int = 0
    rgb: tuple[int, ...] = (0, 0, 0)
    frames: set[int] = field(default_factory=set)


def add_up_slowly(frames, config):
    """Every voxel's sums, pixel by pixel."""
    voxels = defaultdict(SlowSum)
    for frame in frames:
        for at in np.ndindex(frame.depth_m.shape):
            depth, sigma = float(frame.depth_m[at]), float(frame.sigma[at])
            sure = depth <= config.max_depth_m and sigma <= config.max_sigma
            if not (sure and frame.motion[at] < config.moving_above):
                continue
            ratio = config.voxel_m / max(sigma * depth, config.voxel_m)
            weight = max(1, round(16 * ratio * ratio))
            row = voxels[tuple(math.floor(x / config.voxel_m) for x in frame.points_world[at])]
            row.hits += 1
            row.weight += weight
            colours = zip(row.rgb, frame.rgb[at].tolist(), strict=True)
            row.rgb = tuple(s + weight * c for s, c in colours)
            row.frames.add(frame.index)
    return voxels


def test_sums_are_those_of_a_slow_loop():
    frames = make_random_frames(0, count=8)
    config = FusionConfig(min_hits=3)
    result = fuse_static(frames, config).result()
    assert_valid(result)
    expected = {k: v for k, v in add_up_slowly(frames, config).items() if v.hits >= 3}
    assert len(result.index) == len(expected) > 20
    for row, voxel in enumerate(map(tuple, result.index.tolist())):
        slow = expected[voxel]
        assert (result.hits[row], result.weight[row]) == (slow.hits, slow.weight)
        seen = (result.first_frame[row], result.last_frame[row])
        assert seen == (min(slow.frames), max(slow.frames))
        mean = [math.floor(Fraction(s, slow.weight) + Fraction(1, 2)) for s in slow.rgb]
        assert result.rgb[row].tolist() == mean
    order = morton_order(result.index, config.voxel_m)
    assert np.array_equal(order, np.arange(len(order)))
    assert len(np.unique(result.index // 128, axis=0)) > 1  # the points straddle tiles


PLANE_Z, LOW, HIGH = 0.1, np.array([-1.05, -0.75, 0.1]), np.array([1.05, 0.75, 1.73])


def see_plane_and_box(index, rng):
    """A camera looks at the box on the plane from a random side: depth by ray intersection."""
    camera = Camera("c", np.array([[60.0, 0, 40], [0, 60.0, 30], [0, 0, 1]]), (60, 80), np.eye(4))
    angle, away, up = rng.uniform(0, 2 * np.pi), rng.uniform(4, 7), rng.uniform(2, 5)
    eye = np.array([away * np.cos(angle), away * np.sin(angle), up])
    z = -eye / np.linalg.norm(eye)
    x = np.cross(z, [0.0, 0.0, 1.0])
    x /= np.linalg.norm(x)
    world_T_cam = np.eye(4)
    world_T_cam[:3, :3], world_T_cam[:3, 3] = np.stack([x, np.cross(z, x), z], axis=1), eye
    roll = from_rotvec(np.array([0.0, 0.0, rng.normal()]), np.zeros(3))
    world_T_cam = world_T_cam @ roll
    rays_cam = rays_of(camera)
    rays = rays_cam @ world_T_cam[:3, :3].T
    down = np.where(rays[..., 2] < 0, rays[..., 2], np.nan)
    to_plane = (PLANE_Z - eye[2]) / down
    slabs = np.sort(np.stack([(LOW - eye) / rays, (HIGH - eye) / rays]), axis=0)
    enter, leave = slabs[0].max(-1), slabs[1].min(-1)
    depth_m = np.where(enter < leave, np.fmin(enter, to_plane), to_plane)
    points_world = apply(world_T_cam, rays_cam * depth_m[..., None])
    assert np.allclose(apply(invert(world_T_cam), points_world)[..., 2], depth_m, equal_nan=True)
    shape = (1, *camera.size_hw)
    return FusedFrame(
        index,
        np.array([index]),
        points_world[None],
        depth_m[None],
        np.full(shape, 0.01),
        np.zeros(shape),
        np.full((*shape, 3), 7, np.uint8),
    )


def test_plane_and_box_land_in_their_voxels():
    rng = np.random.default_rng(3)
    result = fuse_static([see_plane_and_box(i, rng) for i in range(12)]).result()
    low, high = result.index * 0.2 - 1e-9, (result.index + 1) * 0.2 + 1e-9
    on_plane = (low[:, 2] <= PLANE_Z) & (high[:, 2] >= PLANE_Z)
    meets_box = ((low <= HIGH) & (high >= LOW)).all(1)
    inside_box = ((low > LOW) & (high < HIGH)).all(1)
    assert (on_plane | (meets_box & ~inside_box)).all()
    cells = {tuple(v) for v in result.index.tolist()}
    top = {(i, j, 8) for i in range(-5, 5) for j in range(-3, 3)}  # wholly under the lid at 1.73
    ground = {(i, j, 0) for i in range(-15, 15) for j in (-7, -6, 5, 6)}
    assert top | ground <= cells
    assert not {(i, j, k) for i in range(-4, 4) for j in range(-2, 2) for k in range(1, 7)} & cells


def test_a_moving_object_leaves_no_voxels():
    rng = np.random.default_rng(0)
    frames = []
    for index in range(5):
        road = rng.uniform([-10, -10, 0], [10, 10, 0.1], (400, 3))
        car = rng.uniform([index, 0, 0.5], [index + 4, 2, 1.5], (200, 3))
        frame = make_frame(index, [road, car])
        frame.motion[1] = 0.9
        frames.append(frame)
    result = fuse(frames, FusionConfig(min_hits=1)).static
    assert result.hits.sum() == 5 * 400
    assert result.index[:, 2].max() == 0


def test_pixels_that_say_nothing_count_nowhere():
    points = np.array([[0.1, 0.1, 0.1]] * 9)
    frame = make_frame(4, [points])
    frame.depth_m[0, 0, 1], frame.depth_m[0, 0, 2] = np.nan, 40.5
    frame.depth_m[0, 0, 3], frame.sigma[0, 0, 4] = -1.0, 0.16
    frame.sigma[0, 0, 5], frame.motion[0, 0, 6] = np.nan, np.nan
    frame.points_world[0, 0, 7, 1] = np.inf
    frame.motion[0, 0, 8] = 0.5
    result = StaticFusion(FusionConfig(min_hits=1))
    result.add(frame)
    assert result.result().hits.tolist() == [1]


@pytest.mark.parametrize("fill", [np.nan, 99.0])
def test_nothing_seen_is_an_empty_map(fill):
    nothing = make_frame(0, [np.zeros((4, 3))], depth_m=fill)
    for frames in ([], [nothing], [nothing, nothing]):
        result = fuse_static(frames).result()
        assert_valid(result)
        assert len(result.index) == 0
    assert result.voxel_m == 0.2


def test_far_worlds_fit_or_say_so():
    far = np.array([[1e5, -4e5, 1e5]] * 2)
    assert fuse_static([make_frame(0, [far])]).result().index.tolist() == [
        [500000, -2000000, 500000]
    ]
    for axis, metres in ((0, 5e5), (1, -5e5), (2, 1.2e5)):
        beyond = np.zeros((2, 3))
        beyond[1, axis] = metres
        with pytest.raises(
            GeometryError, match="1 points lie outside the voxel grid.*near the log"
        ):
            fuse_static([make_frame(0, [beyond])])


def test_different_settings_do_not_merge():
    with pytest.raises(ConfigError, match="one config"):
        StaticFusion(CONFIG).merge(StaticFusion(FusionConfig(voxel_m=0.1)))


@pytest.mark.parametrize(
    "wrong",
    [{"voxel_m": 0.0}, {"voxel_m": 30.0}, {"max_depth_m": -1.0}, {"max_sigma": math.nan}]
    + [{"min_hits": 0}, {"max_speed_mps": math.inf}, {"max_size_ratio": 0.5}],
)
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FusionConfig(**wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [("index", -1), ("sigma", np.zeros((1, 1, 5))), ("rgb", np.zeros((1, 1, 4, 3)))]
    + [("time_us", np.array([1, 2])), ("time_us", np.array([-1]))],
)
def test_frames_that_do_not_fit_are_refused(name, value):
    frame = make_frame(0, [np.zeros((4, 3))])
    object.__setattr__(frame, name, value)  # past the types that only tests check
    with pytest.raises(GeometryError, match="frame"):
        frame.__post_init__()
