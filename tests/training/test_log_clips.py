"""Clips of logs: of a made street whose depths are known in closed form, and of a real drive."""

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from driv3r.datasets import open_dataset
from driv3r.datasets.pandaset import PandaSetReader
from driv3r.datasets.preprocess import prepare_images, prepare_rig
from driv3r.errors import ConfigError
from driv3r.geometry.transforms import from_rotvec
from driv3r.training.clip_pool import MOTION_VALID, MOVING, VALID, ClipPool, RawClip
from driv3r.training.log_clips import (
    LogClipConfig,
    clip_starts,
    label_points,
    read_log_clips,
    write_points,
)
from driv3r.types import Boxes, Camera, Frame, Rig, Scene, Sweep, View

CPU = torch.device("cpu")
SIZE_HW = (80, 160)
CONFIG = LogClipConfig(size_hw=SIZE_HW, frames=3, stride=2, max_m=60.0)
GAP_S, SPEED_MPS, LATE_S = 0.5, 4.0, 0.05
FOCAL_PX = 2 * 80.0  # of the full images, 176 x 320: cropped to 160 x 320, then halved
AHEAD = np.array([[0.0, 0, 1, 1], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
BACK = from_rotvec(np.array([0, 0, np.pi]), np.zeros(3)) @ AHEAD
EGO_T_LIDAR = from_rotvec(np.zeros(3), np.array([0.0, 0.0, 3.0]))
WALL_X_M, BOARD_X_M = 40.0, 14.0  # the board hides a part of the wall from cameras, not from LiDAR
BOARD_Y_M, BOARD_TOP_M = 3.0, 2.2


def world_T_ego_at(time_s: float) -> np.ndarray:
    return from_rotvec(np.zeros(3), np.array([SPEED_MPS * time_s, 0.0, 0.0]))


def scan(x_m: float, time_us: int) -> Sweep:
    """What a LiDAR 3 m above the road meets of the board and of the wall behind it, no road."""
    azimuth, elevation = np.meshgrid(
        np.deg2rad(np.arange(-40, 40, 0.33)), np.deg2rad(np.linspace(-20, 20, 41))
    )
    ahead = np.ones_like(azimuth)
    rays = np.stack([ahead, np.tan(azimuth), np.tan(elevation) / np.cos(azimuth)], -1)
    rays = rays.reshape(-1, 3)
    on_board = rays * (BOARD_X_M - x_m)
    meets = (np.abs(on_board[:, 1]) < BOARD_Y_M) & (on_board[:, 2] + 3.0 < BOARD_TOP_M)
    points = np.where(meets[:, None], on_board, rays * (WALL_X_M - x_m))
    points = points[points[:, 2] > -3.0].astype(np.float32)
    return Sweep(points, time_us, world_T_ego_at(x_m / SPEED_MPS) @ EGO_T_LIDAR)


def make_frame(index: int) -> Frame:
    """Cameras fire 50 ms after the LiDAR, from where the car is by then."""
    time_us = 1_000_000 + int(index * GAP_S * 1e6)
    place = world_T_ego_at(index * GAP_S + LATE_S)
    rng = np.random.default_rng(index)
    views = tuple(
        View(rng.integers(1, 255, (176, 320, 3), np.uint8), time_us + 50_000, place @ ego_T_cam)
        for ego_T_cam in (AHEAD, BACK)
    )
    sweep = scan(index * GAP_S * SPEED_MPS, time_us)
    return Frame(time_us, world_T_ego_at(index * GAP_S), views, sweep)


def make_scene(count: int = 4, **changes) -> Scene:
    K = np.array([[FOCAL_PX, 0, 160], [0, FOCAL_PX, 88], [0, 0, 1.0]])
    cameras = tuple(
        Camera(name, K, (176, 320), place) for name, place in (("ahead", AHEAD), ("back", BACK))
    )
    frames = [make_frame(i) for i in range(count)]
    times_us = np.array([frame.time_us for frame in frames], np.int64)
    scene = Scene("street", Rig(cameras, EGO_T_LIDAR), frames, times_us, np.ones(count, bool))
    return dataclasses.replace(scene, **changes)


def board_box(speed_mps: float) -> Boxes:
    center = np.array([BOARD_X_M, 0.0, BOARD_TOP_M / 2])
    size_m = np.array([[0.1, 2 * BOARD_Y_M, BOARD_TOP_M]])
    return make_boxes(from_rotvec(np.zeros(3), center)[None], size_m, np.array([speed_mps]))


def make_boxes(world_T_box: np.ndarray, size_m: np.ndarray, speed_mps: np.ndarray) -> Boxes:
    names = tuple(str(i) for i in range(len(size_m)))
    velocity_mps = np.c_[speed_mps, 0 * speed_mps, 0 * speed_mps]
    return Boxes(names, names, world_T_box, size_m, velocity_mps)


def board_pixels(index: int, grow_px: float) -> np.ndarray:
    """Which pixels of the camera ahead have their centre on the board, or `grow_px` around it."""
    away_m = BOARD_X_M - (SPEED_MPS * (index * GAP_S + LATE_S) + 1)
    u, v = np.arange(160) + 0.5 - 80, np.arange(80) + 0.5 - 40
    half, top, bottom = (80 * m / away_m for m in (BOARD_Y_M, 1.5 - BOARD_TOP_M, 1.5))
    beside = np.abs(u)[None] < half + grow_px
    return beside & ((v > top - grow_px) & (v < bottom + grow_px))[:, None]


@cache
def street_clips(boxes=None) -> list[RawClip]:
    return list(read_log_clips(make_scene(boxes=boxes), CONFIG, CPU))


def test_depth_is_that_of_the_planes_and_what_the_board_hides_is_absent() -> None:
    (first, last) = street_clips()
    assert (first.frames, first.views) == (3, 2)
    for clip, start in ((first, 0), (last, 1)):
        for t in range(3):
            camera_x_m = SPEED_MPS * ((start + t) * GAP_S + LATE_S) + 1  # 1 m ahead of ego
            valid = (clip.labels[t, 0] & VALID > 0).numpy()
            depth_m = clip.depth_m[t, 0].double().numpy()
            on_board = valid & board_pixels(start + t, -2)
            off_board = valid & ~board_pixels(start + t, 1)
            assert on_board.sum() > 200
            assert off_board.sum() > 1000
            np.testing.assert_allclose(depth_m[on_board], BOARD_X_M - camera_x_m, rtol=5e-4)
            np.testing.assert_allclose(depth_m[off_board], WALL_X_M - camera_x_m, rtol=5e-4)
            assert (clip.labels[t] & (MOVING | MOTION_VALID)).sum() == 0
            assert (clip.labels[t, 1] == 0).all()  # nothing behind the car
    x, y, z = scan(0.0, 0).points_lidar.T
    behind = (np.abs(x - WALL_X_M) < 1e-3) & (np.abs(y) < 2 * BOARD_Y_M) & (z + 3 < BOARD_TOP_M)
    assert behind.sum() > 50  # the LiDAR, higher up, saw what the filter had to take


def test_rig_images_and_ego_rates() -> None:
    first, last = street_clips()
    scene = make_scene()
    np.testing.assert_allclose(first.K[0], [[80, 0, 80], [0, 80, 40], [0, 0, 1]])
    np.testing.assert_allclose(first.ego_T_cam, np.stack([AHEAD, BACK]), atol=1e-6)
    np.testing.assert_allclose(first.time_s, [0, 0.5, 1.0], atol=1e-6)
    expected = np.zeros((3, 6))
    expected[1:, 0] = SPEED_MPS
    for clip in (first, last):
        np.testing.assert_allclose(clip.ego_rate, expected, atol=1e-5)
    view = scene.frames[3].views[1]
    assert view is not None
    means = view.image[8:168].reshape(80, 2, 160, 2, 3).mean((1, 3))
    np.testing.assert_allclose(last.images[2, 1].permute(1, 2, 0), means, atol=0.51)
    work = prepare_rig(scene.rig, SIZE_HW)
    for shown, image in zip(
        first.images[1], prepare_images(scene.frames[1], work), strict=True
    ):  # as `process` has them
        assert image is not None
        np.testing.assert_array_equal(shown.permute(1, 2, 0), image)


@pytest.mark.parametrize(
    ("speed_mps", "label"),
    [
        (3.0, VALID | MOVING | MOTION_VALID),
        (0.3, VALID),
        (np.nan, VALID),
        (0.1, VALID | MOTION_VALID),
    ],
)
def test_boxes_say_what_moves(speed_mps: float, label: int) -> None:
    first, _ = street_clips(lambda index: None if index == 1 else board_box(speed_mps))
    labels = first.labels[0, 0].numpy()
    valid = labels > 0
    assert (labels[valid & board_pixels(0, -1)] == label).all()
    assert (labels[valid & ~board_pixels(0, 1)] == VALID | MOTION_VALID).all()
    assert set(np.unique(first.labels[1])) == {0, VALID}  # not annotated


def test_what_moves_counts_before_what_nobody_knows() -> None:
    """And boxes are turned, and grown by a tenth of a metre."""
    turned = from_rotvec(np.array([0, 0, np.pi / 2]), np.array([10.0, 0, 0]))[None]
    sizes_m = np.array([[4.0, 2, 2], [4, 2, 2]])
    boxes = make_boxes(np.repeat(turned, 2, 0), sizes_m, np.array([2, 0.3]))
    points = np.array([[10, 1.9, 0], [10, 2.05, 0], [10, 2.15, 0], [11.5, 0, 0]], float)
    moves, stands = VALID | MOVING | MOTION_VALID, VALID | MOTION_VALID
    assert label_points(points, boxes).tolist() == [moves, moves, stands, stands]
    empty = make_boxes(np.zeros((0, 4, 4)), np.zeros((0, 3)), np.zeros(0))
    assert label_points(points, empty).tolist() == [stands] * 4


def test_the_nearest_point_of_a_pixel_wins_in_any_order() -> None:
    uv = np.array([[2.99, 1.0], [2.0, 1.99], [2.5, 1.5], [0.0, 0.0], [3.9, 2.9]])
    depth_m, labels = np.array([9.0, 4, 6, 30, 8]), np.array([1, 5, 7, 1, 1], np.uint8)
    for order in (np.arange(5), np.arange(5)[::-1]):
        depth, label = write_points(uv[order], depth_m[order], labels[order], (3, 4))
        assert (depth[1, 2], label[1, 2]) == (4, 5)
        assert (depth[0, 0], depth[2, 3], np.count_nonzero(label)) == (30, 8, 3)


def test_missing_images_are_black_and_missing_sweeps_leave_nothing_known() -> None:
    scene = make_scene(3)
    frames = list(scene.frames)
    frames[0] = dataclasses.replace(frames[0], views=(None, frames[0].views[1]))
    frames[2] = dataclasses.replace(frames[2], sweep=None)
    (clip,) = read_log_clips(dataclasses.replace(scene, frames=frames), CONFIG, CPU)
    assert clip.images[0, 0].max() == 0
    assert clip.images[2].min() > 0
    assert (clip.labels[[0, 2]] == 0).all()
    assert (clip.depth_m[0, 0] == 1).all()  # no sky
    assert clip.labels[1, 0].any()


def test_every_frame_is_in_a_clip_and_read_once() -> None:
    for count, expected in ((2, [0]), (3, [0]), (4, [0, 1]), (6, [0, 2, 3]), (7, [0, 2, 4])):
        assert clip_starts(range(count), CONFIG) == expected
    config = dataclasses.replace(CONFIG, moments=(2, 99))
    asked: list[int] = []
    clips = list(read_log_clips(make_scene(6, boxes=asked.append), config, CPU))
    assert asked == [2, 3, 4, 5]
    assert [clip.frames for clip in clips] == [3, 3]
    pool = ClipPool(1.0)
    for clip in clips:
        pool.add(clip)
    (short,) = read_log_clips(make_scene(2), CONFIG, CPU)
    assert short.frames == 2


def test_what_can_not_be_trained_on_is_refused_at_once() -> None:
    scene = make_scene(3)
    for moments in ((2, 5), (7, 9)):
        with pytest.raises(ConfigError, match="has 3 frames"):
            read_log_clips(scene, dataclasses.replace(CONFIG, moments=moments), CPU)
    with pytest.raises(ConfigError, match="has no LiDAR"):
        read_log_clips(make_scene(3, rig=Rig(scene.rig.cameras)), CONFIG, CPU)
    blind = [dataclasses.replace(frame, sweep=None) for frame in scene.frames]
    with pytest.raises(ConfigError, match="no frame of 0 to 2"):
        list(read_log_clips(make_scene(3, frames=blind), CONFIG, CPU))


@pytest.mark.parametrize(
    "changes",
    [
        {"size_hw": (0, 4)},
        {"frames": 1},
        {"stride": 0},
        {"stride": 5},
        {"min_m": 90.0},
        {"max_m": 1e6},
        {"moments": (3, 3)},
        {"moments": (-1, 3)},
    ],
)
def test_a_config_out_of_range_is_refused(changes) -> None:
    with pytest.raises(ConfigError, match="expected"):
        LogClipConfig(**changes)


@pytest.fixture(scope="module")
def reader(recordings: Path) -> PandaSetReader:
    if not (recordings / "pandaset" / "002").is_dir():
        pytest.skip("no PandaSet sequence 002 beside the checkout (../shared/data/pandaset)")
    return PandaSetReader(recordings / "pandaset")


def test_the_real_drive(reader: PandaSetReader) -> None:
    scene = reader.read("002")
    config = LogClipConfig(size_hw=(128, 224), moments=(0, 8), frames=8)
    without_boxes = dataclasses.replace(scene, boxes=None)
    (clip,) = read_log_clips(without_boxes, config, CPU)
    valid = clip.labels & VALID > 0
    assert 0.01 < valid.float().mean() < 0.4
    assert (valid.float().mean((2, 3)) > 0.01).all()
    assert clip.depth_m[valid].min() >= 0.5
    assert clip.depth_m[valid].max() <= 80
    assert (clip.labels & MOTION_VALID).max() == 0
    assert clip.ego_rate[0].abs().max() == 0
    assert (clip.images.float().mean((2, 3, 4)) > 20).all()


def test_what_moves_on_the_real_drive(reader: PandaSetReader) -> None:
    """Speeds of its moving cars are between a walk and 20 m/s, and ego_rate is the car's own."""
    scene = reader.read("002")
    boxes = scene.boxes
    assert boxes is not None
    config = LogClipConfig(size_hw=(128, 224), moments=(36, 39), frames=3)
    (clip,) = read_log_clips(scene, config, CPU)
    motion = clip.labels[clip.labels & MOTION_VALID > 0]
    moving = (motion & MOVING > 0).float().mean()
    assert 0.001 < moving < 0.5
    assert (clip.labels[clip.labels & MOVING > 0] == (VALID | MOVING | MOTION_VALID)).all()
    assert (clip.labels[clip.labels > 0] & VALID > 0).all()
    np.testing.assert_allclose(clip.ego_rate[1:, 0], 5.5, atol=0.5)  # 1.1 m in 0.2 s
    np.testing.assert_allclose(clip.ego_rate[1:, 1:], 0, atol=0.15)
    annotated = boxes(37)
    assert annotated is not None
    speeds = annotated.speed_mps[annotated.speed_mps > 0.5]
    assert 0 < len(speeds) < len(annotated.speed_mps) / 2
    assert speeds.max() < 25


def test_a_single_moment_tells_no_speed(reader: PandaSetReader, recordings: Path) -> None:
    assert open_dataset("ddad", recordings / "ddad_dgp").read("scene_01").boxes is None
    boxes = reader.read("001").boxes
    assert boxes is not None
    alone = boxes(0)
    assert alone is not None
    assert np.isnan(alone.speed_mps).any()
    assert (np.isnan(alone.speed_mps) | (alone.speed_mps == 0)).all()
