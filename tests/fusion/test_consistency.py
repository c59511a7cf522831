"""What other views say of a pixel, against closed forms on a street that is known exactly."""

import dataclasses

import numpy as np
import pytest
from street import CAMERAS, WALL_X_M, camera, car, see, window

from driv3r.errors import ConfigError, GeometryError
from driv3r.fusion import FusionConfig
from driv3r.fusion.consistency import find_static, gather_evidence, lift_pixels, list_compared

CONFIG = FusionConfig(pixel_stride=1)
ONE = (camera("only"),)


def wall_rows(pixels):
    return np.flatnonzero((np.abs(pixels.ray_world[:, 2]) < 0.02) & (pixels.range_m > 30))


def test_a_pixel_becomes_the_inverse_variance_mean_of_its_views():
    """Two views of a wall ahead, one of them a hundredth too far: b = sigma * range of each."""
    frames = window([see(0, cameras=ONE), see(1, scale=1.01, sigma=0.01, cameras=ONE)])
    pixels = gather_evidence(frames, 0, CONFIG)
    alone = lift_pixels(frames[0], CONFIG)
    rows = wall_rows(pixels)
    straight = rows[np.abs(pixels.ray_world[rows, 1]) < 0.01]
    assert len(straight)
    range_m = alone.range_m[straight]
    own, other = 1 / (0.005 * range_m) ** 2, 1 / (0.01 * 1.01 * range_m) ** 2
    expected_m = range_m + other * 0.01 * range_m / (own + other)
    found_m = (pixels.point_world[straight] - frames[0].world_T_cam[0, :3, 3]) @ [1.0, 0, 0]
    np.testing.assert_allclose(found_m, expected_m, rtol=1e-3)
    np.testing.assert_allclose(pixels.error_m[straight], 1 / np.sqrt(own + other), rtol=1e-2)
    assert (pixels.agrees[rows] == 1).all()
    assert not pixels.through[rows].any()


def test_free_space_is_seen_through_and_occlusion_says_nothing():
    """A car stands ahead in the first frame only: the others look through its place."""
    frames = window([see(0, standing=[car(15, 0)]), see(1), see(2), see(3)])
    pixels = gather_evidence(frames, 0, CONFIG)
    on_car = (np.abs(pixels.point_world[:, 0] - 13) < 0.2) & (pixels.point_world[:, 2] > 0.6)
    inner = on_car & (np.abs(pixels.point_world[:, 1]) < 0.5)
    assert inner.sum() > 20
    assert (pixels.through[inner] == 6).all()  # three frames of two cameras
    assert not find_static(pixels, CONFIG)[inner].any()
    later = gather_evidence(frames, 2, CONFIG)
    behind = (np.abs(later.point_world[:, 1]) < 1) & (later.point_world[:, 0] > WALL_X_M - 1)
    assert behind.any()
    assert not later.through[behind].any()
    assert find_static(later, CONFIG)[behind].all()


def test_the_other_camera_of_the_same_frame_counts_and_the_own_does_not():
    pixels = gather_evidence(window([see(0)]), 0, CONFIG)
    assert set(np.unique(pixels.agrees[wall_rows(pixels)])) == {0, 1}
    alone = gather_evidence(window([see(0, cameras=ONE)]), 0, CONFIG)
    assert not alone.agrees.any()
    assert not alone.through.any()


def test_offsets_name_the_compared_frames():
    config = FusionConfig(offsets=(1, 4))
    assert list_compared(2, 8, config) == [1, 2, 3, 6]
    assert list_compared(0, 1, config) == [0]


def test_the_own_car_and_pixels_without_depth_are_no_street():
    frame = see(0)
    depth_m = frame.depth_m.copy()
    depth_m[0, 20] = np.nan
    depth_m[1] = 1.0  # a bonnet a metre ahead of a lens that is two metres from the rear axle
    pixels = lift_pixels(dataclasses.replace(frame, depth_m=depth_m), CONFIG)
    assert not (pixels.pixel[pixels.view == 0] // 120 == 20).any()
    bonnet = pixels.point_world[pixels.view == 1]
    assert not ((np.abs(bonnet[:, 1]) < 1.2) & (bonnet[:, 2] > 0.1) & (bonnet[:, 2] < 2.2)).any()


@pytest.mark.parametrize(
    "wrong", [{"voxel_m": 0.0}, {"max_error_m": float("nan")}, {"offsets": (0,)}, {"voxel_m": 30.0}]
)
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        FusionConfig(**wrong)


def test_frames_that_do_not_fit_are_refused():
    frame = see(0)
    for expected, wrong in {
        "index": {"index": -1},
        "1 cameras": {"cameras": CAMERAS[:1]},
        "have depth but times": {"time_cam_us": np.array([-1, 5])},
    }.items():
        with pytest.raises(GeometryError, match=expected):
            dataclasses.replace(frame, **wrong)
