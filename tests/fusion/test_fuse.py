"""Moving boxes on a street that is known exactly: tracks, boxes, speeds, and what stands."""

import numpy as np
import pytest
from street import STEP_US, assert_same_bytes, car, see, window

from driv3r.fusion import FusionConfig, fuse
from driv3r.fusion.consistency import find_static, gather_evidence
from driv3r.fusion.resampling import fill_between
from driv3r.fusion.static import StaticFusion, sum_pixels

CONFIG = FusionConfig(pixel_stride=1)
STEP_S = STEP_US * 1e-6


def states_of(moving, track):
    return np.flatnonzero(moving.track_id == track)


def test_two_cars_are_two_tracks_with_their_speeds_headings_and_boxes():
    """One drives ahead at 6 m/s on the left, one comes at 4 m/s on the right."""
    frames = [
        see(i, moving=[car(12 + 6 * STEP_S * i, 4), car(30 - 4 * STEP_S * i, -4)]) for i in range(6)
    ]
    moving = fuse(window(frames), CONFIG).moving
    assert len(moving.size_m) == 2
    for track in range(2):
        rows = states_of(moving, track)
        assert len(rows) == 6
        ahead = moving.world_T_object[rows[0], 1, 3] > 0
        speed = 6.0 if ahead else -4.0
        np.testing.assert_allclose(moving.velocity_world_mps[rows, 0], speed, atol=0.4)
        np.testing.assert_allclose(moving.velocity_world_mps[rows, 1:], 0, atol=0.4)
        np.testing.assert_allclose(moving.world_T_object[rows, 0, 0], np.sign(speed), atol=0.02)
        true_x = (12 + 6 * STEP_S * np.arange(6)) if ahead else (30 - 4 * STEP_S * np.arange(6))
        assert np.abs(moving.world_T_object[rows, 0, 3] - true_x).max() < 0.8
        assert np.abs(moving.world_T_object[rows, 1, 3] - (4 if ahead else -4)).max() < 0.6
        assert moving.size_m[track, 0] > 3.5  # the whole car, of which an end was seen
        assert moving.observed[rows].all()
        assert moving.quality[track] == 1.0


def test_an_object_that_stands_stays_in_the_map_although_the_network_says_it_moves():
    frames = window([see(i, moving=[car(15, 0)]) for i in range(5)])
    fused = fuse(frames, CONFIG)
    assert len(fused.moving.track_id) == 0
    places = fused.static.points_world
    on_car = (np.abs(places[:, 0] - 13) < 0.3) & (np.abs(places[:, 1]) < 1) & (places[:, 2] > 0.4)
    assert on_car.sum() > 20


def test_a_car_that_drives_off_leaves_no_voxel_where_it_stood():
    """The network says nothing of it; other frames see the road and the wall through its place."""
    frames = [see(i, standing=[car(15, 0)] if i < 2 else []) for i in range(7)]
    places = fuse(window(frames), CONFIG).static.points_world
    inside = (np.abs(places[:, 0] - 15) < 2.2) & (np.abs(places[:, 1]) < 1.2)
    assert not (inside & (places[:, 2] > 0.4)).any()
    assert (np.abs(places[:, 0] - 40) < 0.3).sum() > 100  # the wall is there


def test_a_moving_car_leaves_no_trail():
    frames = window([see(i, moving=[car(10 + 3 * i, 0)]) for i in range(6)])
    places = fuse(frames, CONFIG).static.points_world
    street = (places[:, 0] < 36) & (np.abs(places[:, 1]) < 1.5)
    assert (street & (places[:, 2] < 0.2)).sum() > 50
    assert not (street & (places[:, 2] > 0.4)).any()


def test_a_missed_frame_is_bridged_and_marked():
    frames = [see(i, moving=[car(12 + 3 * i, 4)] if i != 3 else []) for i in range(6)]
    moving = fuse(window(frames), CONFIG).moving
    rows = states_of(moving, 0)
    assert len(moving.size_m) == 1
    assert moving.frame[rows].tolist() == [0, 1, 2, 3, 4, 5]
    assert moving.observed[rows].tolist() == [True, True, True, False, True, True]
    assert abs(moving.world_T_object[rows[3], 0, 3] - 21) < 1.0


def test_a_single_sighting_is_no_track():
    frames = [see(i, moving=[car(12, 4)] if i == 2 else []) for i in range(5)]
    assert len(fuse(window(frames), CONFIG).moving.track_id) == 0


def test_nothing_seen_is_empty_and_valid():
    fused = fuse(window([see(0, scale=np.nan)]), CONFIG)
    assert len(fused.static.index) == len(fused.moving.track_id) == 0
    assert fused.moving.world_T_object.shape == (0, 4, 4)
    assert fused.static.points_world.shape == (0, 3)


def test_order_and_split_of_frames_change_no_byte_of_the_map():
    frames = window([see(i, standing=[car(15, 3)], ego_x=0.5 * i) for i in range(6)])

    def sums(index):
        pixels = gather_evidence(frames, index, CONFIG)
        standing = pixels.take(find_static(pixels, CONFIG))
        return sum_pixels(standing, CONFIG, fill_between(standing, CONFIG))

    whole = StaticFusion(CONFIG)
    for index in range(6):
        whole.add(sums(index))
    first, second = StaticFusion(CONFIG), StaticFusion(CONFIG)
    for index in (5, 0, 3):
        first.add(sums(index))
    for index in (4, 1, 2):
        second.add(sums(index))
    second.merge(first)
    assert_same_bytes(whole.result(frames), second.result(frames))
    assert_same_bytes(fuse(frames, CONFIG).static, whole.result(frames))


def test_sums_are_those_of_a_slow_loop():
    frames = window([see(0, standing=[car(15, 3)])])
    pixels = gather_evidence(frames, 0, CONFIG)
    sums = sum_pixels(pixels, CONFIG)
    cells = {}
    for i in range(len(pixels)):
        cell = tuple(np.floor(pixels.point_world[i] / CONFIG.voxel_m).astype(int))
        weight = max(round(16 * min(0.05 / pixels.error_m[i], 1.0) ** 2), 1)
        entry = cells.setdefault(cell, [0, 0, 0])
        entry[0] += 1
        entry[1] += weight
        entry[2] += weight * int(pixels.rgb[i, 0])
    assert sorted(map(tuple, sums.total[:3].T.tolist())) == sorted(map(tuple, cells.values()))


@pytest.mark.parametrize("step_m", [0.0, 0.7])
def test_the_surface_lies_finer_than_its_voxel(step_m):
    places = fuse(window([see(i, ego_x=step_m * i) for i in range(3)]), CONFIG).static.points_world
    wall = (places[:, 2] > 0.5) & (places[:, 0] > 39)
    assert wall.sum() > 50
    assert np.abs(places[wall, 0] - 40).max() < 0.02
