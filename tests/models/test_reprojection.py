import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.geometry.cameras import project
from driv3r.geometry.transforms import apply, invert
from driv3r.models.driv3r.reprojection import (
    OUTSIDE,
    find_neighbours,
    lies_inside,
    planar_motion,
    read_volume,
    reproject,
    subsample,
)
from tests.models.made_cameras import HALF_LEFT, LEFT, SIZE_HW, make_cameras, make_cell_rays

MOTION = planar_motion(torch.tensor([[[6.0]]]), torch.tensor([[[0.3]]]), torch.tensor([[[0.5]]]))


@given(st.floats(-30, 30), st.floats(-1, 1), st.floats(0.05, 1))
@settings(max_examples=30, deadline=None)
def test_driving_twice_on_a_circle_is_driving_twice_as_long(speed_mps, yaw_rate, dt_s):
    """The chord is shorter than the arc, so the speed is scaled to the same arc."""

    def chord_T(gap: float) -> torch.Tensor:
        half = yaw_rate * gap / 2
        chord_mps = speed_mps * float(np.sinc(half / np.pi))
        return planar_motion(
            *(torch.tensor(x, dtype=torch.float64) for x in (chord_mps, yaw_rate, gap))
        )

    torch.testing.assert_close(chord_T(dt_s) @ chord_T(dt_s), chord_T(2 * dt_s))


def test_looking_into_a_source_is_projecting_into_where_that_camera_was():
    cell_rays, cameras = make_cell_rays(), make_cameras(np.eye(3), LEFT)
    depth_m = torch.rand(1, 1, 2, cell_rays.rays_cam.shape[2], 1) * 20 + 5
    swapped = torch.tensor([[1, 0]])
    for source, sources in ((cell_rays, cameras), (cell_rays.take(swapped), cameras[::-1])):
        pixels = reproject(source, cell_rays, MOTION, depth_m)[0, 0, ..., 0, :].numpy()
        for i, (camera, there) in enumerate(zip(cameras, sources, strict=True)):
            points_cam = (cell_rays.rays_cam[0, i] * depth_m[0, 0, i]).double().numpy()
            points_ego = apply(camera.ego_T_cam, points_cam)
            points_last = apply(MOTION[0, 0, 0].double().numpy(), points_ego)
            uv, z = project(there, apply(invert(there.ego_T_cam), points_last))[:2]
            ahead = z > 0.5
            assert ahead.sum() > 20
            np.testing.assert_allclose(pixels[i][ahead], uv[ahead], atol=0.02)
            assert (pixels[i][z < 0] == OUTSIDE).all()


def test_a_volume_is_read_between_its_cells_and_is_silent_outside():
    ramp = torch.arange(12.0).expand(8, 12) + 10 * torch.arange(8.0)[:, None]
    volume = ramp.expand(1, 1, 1, 1, 8, 12)
    pixels = torch.tensor([[4.0, 4.0], [10.0, 20.0], [-90.0, 9.0]]).expand(1, 1, 1, 1, 3, 2)
    read = read_volume(volume, pixels, (64, 96)).flatten()
    torch.testing.assert_close(read, torch.tensor([0.0, 0.75 + 20.0, 0.0]))
    read = read_volume(volume, pixels / 2, (32, 48)).flatten()
    torch.testing.assert_close(read, torch.tensor([0.0, 0.75 + 20.0, 0.0]))
    assert lies_inside(pixels, (64, 96)).flatten().tolist() == [True, True, False]


def test_cells_are_thinned_in_rows():
    cells = torch.arange(16 * 24)
    assert subsample(cells, SIZE_HW, 2, -1)[10:14].tolist() == [20, 22, 48, 50]


def test_neighbours_look_the_same_way_nearest_first():
    ego_T_cam = make_cell_rays(np.eye(3), LEFT, HALF_LEFT, -np.eye(3)).ego_T_cam
    calibrated = torch.ones(1, 4, dtype=torch.bool)
    nearest, next_nearest = (i[0].tolist() for i in find_neighbours(ego_T_cam, calibrated, 2))
    assert nearest[:2] == [2, 2]
    assert next_nearest[0] == 1
    assert {nearest[2], next_nearest[2]} == {0, 1}
    without = find_neighbours(ego_T_cam, torch.tensor([[True, True, False, True]]), 1)[0][0]
    assert without[:2].tolist() in ([1, 0], [1, 3])
    assert find_neighbours(ego_T_cam[:, :1], calibrated[:, :1], 2) == []
