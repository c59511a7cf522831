"""Edges of depth, and places between pixels, on planes whose depth is a closed form."""

import numpy as np
import pytest
from street import car, see, window

from driv3r.fusion import FusionConfig, fuse
from driv3r.fusion.consistency import find_static, gather_evidence, lift_pixels
from driv3r.fusion.resampling import fill_between
from driv3r.kernels.view_consistency import measure_edges

CONFIG = FusionConfig(pixel_stride=1)


def edges_of(depth_m, stride=1):
    edge = np.empty((1, *(size // stride for size in depth_m.shape)))
    measure_edges(depth_m[None], stride, edge)
    return edge[0]


def test_a_plane_has_no_edge_at_any_slant_and_a_step_has_one():
    rows, columns = np.mgrid[0:40, 0:60]
    slanted = 1 / (0.02 + 0.004 * rows + 0.001 * columns)  # inverse depth of a plane is linear
    assert edges_of(slanted)[2:-2, 2:-2].max() < 1e-7
    assert np.isinf(edges_of(slanted)[:2]).all()
    smooth = 10 + 5 * np.tanh((columns - 30) / 2)  # as a network draws the side of a car
    edge = edges_of(smooth)[20]
    assert edge[28:33].min() > 0.006
    assert max(edge[5:20].max(), edge[42:55].max()) < 1e-3
    holed = slanted.copy()
    holed[20, 30] = np.nan
    assert np.isinf(edges_of(holed)[18:23, 28:33]).all()


@pytest.mark.parametrize("stride", [2, 3])
def test_edges_of_a_stride_are_those_of_its_pixels(stride):
    depth_m = np.random.default_rng(0).uniform(5, 50, (42, 60))
    start = stride // 2
    np.testing.assert_array_equal(
        edges_of(depth_m, stride), edges_of(depth_m)[start::stride, start::stride]
    )


def test_pixels_at_the_side_of_a_car_are_left_out_unless_they_are_told_to_be_exact():
    frames = [see(i, standing=[car(15, 0)], sigma=0.03) for i in range(2)]
    pixels = gather_evidence(window(frames), 0, CONFIG)
    side = pixels.edge > CONFIG.max_edge
    inner = np.isfinite(pixels.edge)
    assert (side & inner).sum() > 50
    assert not find_static(pixels, CONFIG)[side].any()
    exact = [see(i, standing=[car(15, 0)], sigma=0.002) for i in range(2)]
    assert find_static(gather_evidence(window(exact), 0, CONFIG), CONFIG)[side & inner].mean() > 0.5


def test_a_road_is_filled_between_its_rows_and_walls_and_jumps_are_not():
    pixels = lift_pixels(see(0, standing=[car(12, 0)]), CONFIG)
    filled = fill_between(pixels, CONFIG)
    extra = filled.point_world[len(pixels) :]
    np.testing.assert_array_equal(filled.point_world[: len(pixels)], pixels.point_world)
    assert len(extra) > 500
    on_car = np.abs(extra[:, 2] - 1.5) < 0.01  # its roof is level, too
    assert np.abs(extra[~on_car, 2]).max() < 0.01
    assert (extra[:, 0] < 40).all()


def test_the_road_of_one_frame_has_no_gaps_as_far_as_it_is_exact():
    static = fuse(window([see(0)]), FusionConfig(pixel_stride=1, min_hits=1)).static
    road = static.index[np.abs(static.points_world[:, 2]) < 0.05]
    ahead = {(x, y) for x, y, _ in road.tolist() if 50 <= x < 100 and -10 <= y < 10}
    assert len(ahead) == 50 * 20  # 10 to 20 m ahead, 4 m wide
