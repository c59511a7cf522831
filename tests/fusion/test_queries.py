"""Questions to a reconstruction, answered in closed form on a street that is known exactly."""

from dataclasses import replace

import numpy as np
import pytest
from street import STEP_US, WALL_X_M, K, camera, car, see, window

from driv3r.errors import StoreError
from driv3r.fusion import FusionConfig, fuse
from driv3r.geometry.transforms import from_rotvec
from driv3r.store.reconstruction import BEYOND_M
from driv3r.types import Camera

STEP_S = STEP_US * 1e-6


@pytest.fixture(scope="module")
def drive():
    """The car drives at 1.4 m/s; another comes at 4 m/s on the right, a third stands at y = 6."""
    frames = window(
        [
            see(i, moving=[car(30 - 4 * STEP_S * i, -4)], standing=[car(20, 6)], ego_x=0.7 * i)
            for i in range(8)
        ]
    )
    return fuse(frames, FusionConfig(pixel_stride=1)), frames


def test_an_object_is_between_its_states_at_a_time_between_frames(drive):
    fused, frames = drive
    track = fused.track(0)
    middle_us = int((track.time_us[2] + track.time_us[3]) // 2)
    snapshot = fused.at(middle_us)
    expected = (track.world_T_object[2, :3, 3] + track.world_T_object[3, :3, 3]) / 2
    np.testing.assert_allclose(snapshot.world_T_object[0, :3, 3], expected, atol=1e-6)
    at_state = fused.at(int(track.time_us[3]))
    np.testing.assert_allclose(at_state.world_T_object[0], track.world_T_object[3], atol=1e-12)
    assert len(fused.at(int(track.time_us[0]) - 1).track_id) == 0
    assert len(fused.at(int(track.time_us[-1]) + 1).track_id) == 0
    assert len(fused.at(int(track.time_us[-1])).track_id) == 1
    size = np.ptp(snapshot.points_world, axis=0)
    assert size[2] == pytest.approx(np.ptp(track.points_object[:, 2]), abs=1e-5)
    assert set(snapshot.points_track.tolist()) == {0}


def test_turning_objects_turn_evenly(drive):
    fused, _ = drive
    moving = fused.moving
    turn = np.array([[0.0, 0, 0.3 * i] for i in range(len(moving.track_id))])
    turned = from_rotvec(turn, moving.world_T_object[:, :3, 3])
    again = replace(fused, moving=replace(moving, world_T_object=turned))
    at_us = int(moving.time_us[1] + (moving.time_us[2] - moving.time_us[1]) // 4)
    expected = from_rotvec(np.array([0, 0, 0.3 * 1.25]), np.zeros(3))
    found = again.at(at_us).world_T_object[0]
    np.testing.assert_allclose(found[:3, :3], expected[:3, :3], atol=1e-5)


def test_a_box_holds_what_a_mask_over_everything_finds(drive):
    fused, _ = drive
    low, high = np.array([10.0, -6.0, -1.0]), np.array([30.0, 8.0, 3.0])
    times = fused.moving.time_us
    part = fused.box(low, high, int(times[2]), int(times[4]))
    places = fused.static.points_world
    inside = ((places >= low) & (places <= high)).all(-1)
    np.testing.assert_array_equal(part.static.index, fused.static.index[inside])
    assert 0 < inside.sum() < len(inside)
    center = fused.moving.world_T_object[:, :3, 3]
    states = (
        ((center >= low) & (center <= high)).all(-1) & (times >= times[2]) & (times <= times[4])
    )
    np.testing.assert_array_equal(part.moving.time_us, times[states])
    assert part.track(0).size_m.tolist() == fused.track(0).size_m.tolist()
    empty = fused.box(np.full(3, 900.0), np.full(3, 901.0))
    assert (
        len(empty.static.hits) == len(empty.moving.time_us) == len(empty.moving.points_track) == 0
    )


def test_a_camera_sees_wall_road_and_cars_at_their_depth(drive):
    """Each ray is held against the planes and boxes of the street."""
    fused, frames = drive
    frame = frames[3]
    own = camera("left", 0.5)
    lens = Camera(own.name, K, own.size_hw, own.ego_T_cam)
    truth = see(3, moving=[car(24, -4)], standing=[car(20, 6)], ego_x=2.1, cameras=(lens,))
    seen = fused.camera(lens, frame.world_T_cam[0], frame.time_us)
    known = np.isfinite(seen.depth_m) & (truth.depth_m[0] < WALL_X_M)
    assert known.mean() > 0.5
    off = np.abs(np.log(seen.depth_m[known] / truth.depth_m[0][known]))
    assert np.median(off) < 0.01
    assert np.mean(off > 0.1) < 0.08  # at edges of the cars
    moves = truth.motion[0] > 0.5
    assert (seen.track[moves] == 0).mean() > 0.5
    far_from_car = ~moves & (np.arange(120) < 55)
    assert (seen.track[far_from_car] == -1).all()
    assert seen.rgb[known].min() >= 20


def test_an_object_far_behind_the_wall_is_hidden(drive):
    """Places of objects, unlike those of tiles, may be farther than depth is sorted to."""
    fused, frames = drive
    moving, frame = fused.moving, frames[3]
    away = moving.world_T_object.copy()
    away[:, :2, 3] = [BEYOND_M + 15, 0.5]
    far = replace(fused, moving=replace(moving, world_T_object=away))
    tele = np.array([[900.0, 0, 60], [0, 900, 20], [0, 0, 1]])
    lens, at_us = replace(camera("left", 0.5), K=tele), frame.time_us
    before_wall, beyond_wall = frame.world_T_cam[0], frame.world_T_cam[0].copy()
    beyond_wall[0, 3] = WALL_X_M + 10
    wall_m = fused.camera(lens, before_wall, at_us).depth_m
    walled = np.isfinite(wall_m)
    assert walled.mean() > 0.4
    seen = far.camera(lens, before_wall, at_us)
    np.testing.assert_array_equal(seen.depth_m[walled], wall_m[walled])
    assert (seen.track[walled] == -1).all()
    assert (far.camera(lens, beyond_wall, at_us).track == 0).any()


def test_what_is_not_there_is_said(drive):
    fused, _ = drive
    with pytest.raises(StoreError, match=r"no track 7: tracks are \[0\]"):
        fused.track(7)
    blind = fuse(window([see(0, scale=np.nan)]), FusionConfig())
    assert len(blind.at(0).track_id) == 0
    seen = blind.camera(camera("left"), np.eye(4), 0)
    assert np.isnan(seen.depth_m).all()
