"""What cells are taught lies on their own rays: against a plane's closed form."""

import numpy as np
import pytest
import torch

from driv3r.geometry.cameras import rays_of
from driv3r.geometry.transforms import from_rotvec
from driv3r.models.driv3r.ego_motion_sweep import SPEEDS_MPS, YAW_RATES
from driv3r.models.driv3r.inputs import Inputs, Outputs
from driv3r.models.driv3r.losses import LossWeights, Targets, compute_losses, find_cell_targets
from driv3r.models.driv3r.reprojection import (
    around_cell_centers,
    cell_center_log_depth,
    make_cell_rays,
)
from driv3r.training.batches import Draw, assemble
from driv3r.training.clip_pool import VALID, RawClip
from driv3r.types import Camera
from tests.models.made_cameras import FORWARD

SIZE_HW, HEIGHT_M = (128, 192), 1.5
ALONE = torch.ones(1, 1, 1, *SIZE_HW, dtype=torch.bool)


@pytest.fixture(scope="module")
def camera() -> Camera:
    """Looks ahead and down, so that it sees nothing but the road, from 2 m to 45 m."""
    K = np.array([[177.0, 0, 93.3], [0, 177.0, 60.7], [0, 0, 1]])
    ego_T_cam = from_rotvec(np.array([0.0, 0.36, 0.0]), np.array([1.0, 0.2, HEIGHT_M]))
    ego_T_cam[:3, :3] @= FORWARD
    return Camera("road", K, SIZE_HW, ego_T_cam)


@pytest.fixture(scope="module")
def road_m(camera) -> torch.Tensor:
    """Depth of the plane z = 0 at pixels' centres."""
    down = (rays_of(camera) @ camera.ego_T_cam[:3, :3].T)[..., 2]
    return torch.from_numpy(-HEIGHT_M / down).float()[None, None, None]


@pytest.fixture(scope="module")
def inputs(camera) -> Inputs:
    K, ego_T_cam = (torch.from_numpy(x).float()[None, None] for x in (camera.K, camera.ego_T_cam))
    return Inputs(
        torch.zeros(1, 1, 1, 3, *SIZE_HW), torch.ones(1, 1, 1, dtype=torch.bool),
        torch.zeros(1, 1, 5, *SIZE_HW), K, ego_T_cam, torch.zeros(1, 1),
        torch.ones(1, 1, dtype=torch.bool),
    )  # fmt: skip


@pytest.fixture(scope="module")
def cells_m(camera, inputs) -> torch.Tensor:
    """Depth of the plane along the rays by which the network looks at it."""
    rays = make_cell_rays(inputs.K, inputs.ego_T_cam, SIZE_HW)
    rays_cam = rays.rays_cam[0, 0].double().numpy()
    down = (rays_cam @ camera.ego_T_cam[:3, :3].T)[:, 2]
    return torch.from_numpy(-HEIGHT_M / down).reshape(1, 1, 1, SIZE_HW[0] // 8, SIZE_HW[1] // 8)


def test_a_cell_is_taught_the_depth_of_the_road_on_its_ray(road_m, cells_m):
    assert road_m.min() > 1
    assert 40 < road_m.max() < 200
    cells = find_cell_targets(road_m.log(), torch.ones_like(road_m), ALONE, ~ALONE, ~ALONE)
    torch.testing.assert_close(cells.log_depth.exp().double(), cells_m, rtol=1e-3, atol=0)
    assert (cells.weight == 1).all()
    assert cells.static.all()
    one_pixel = road_m[..., 4::8, 4::8].double()  # whose centre lies half a pixel lower
    assert ((one_pixel / cells_m - 1).abs() > 0.01).double().mean() > 0.3


def test_an_answer_that_is_right_on_the_rays_costs_nothing(road_m, cells_m):
    """By way of the whole loss, of a coarse depth whose scale is one."""
    coarse = cells_m.log().float()
    bins = torch.zeros(1, 1, 1, 64, *coarse.shape[-2:])
    log_prob = torch.zeros(1, 1, len(SPEEDS_MPS) * len(YAW_RATES))
    outputs = Outputs(
        road_m.log(), torch.zeros_like(road_m), torch.zeros_like(road_m), torch.zeros(1, 1, 6),
        coarse, torch.zeros_like(coarse), bins, bins, bins, log_prob,
    )  # fmt: skip
    targets = Targets(
        road_m, ALONE, torch.zeros_like(road_m), ~ALONE, ALONE, torch.zeros(1, 1, 6),
        torch.zeros(1, 1, dtype=torch.bool),
    )  # fmt: skip
    present = torch.ones(1, 1, 1, dtype=torch.bool)
    loss = compute_losses(outputs, targets, present, LossWeights(coarse=1.0))["coarse"]
    assert loss.item() < 1e-3


def test_only_what_is_seen_counts_and_masks_agree():
    """One cell: its four pixels in the middle are at rows and columns 3 and 4."""
    depth_m, seen, sky, moving = torch.full((8, 8), 7.0), *torch.zeros(3, 8, 8).bool()
    depth_m[3:5, 3:5] = torch.tensor([[10.0, 20.0], [40.0, 5.0]])

    def look(weight: float = 0.5):
        maps = (depth_m.log(), torch.full((8, 8), weight) * seen, seen, sky, moving)
        found = find_cell_targets(*(x[None, None, None] for x in maps))
        return found.log_depth.exp().item(), found.weight.item(), found.static.item()

    depth, weight, static = look()
    assert np.isfinite(depth)
    assert (weight, static) == (0, False)
    seen[3, 3] = seen[3, 4] = True  # as where a LiDAR measured two of four
    assert look() == (pytest.approx(1 / np.mean([1 / 10, 1 / 20])), 0.5, True)
    seen[:] = True
    inverse = np.mean([1 / 10, 1 / 20, 1 / 40, 1 / 5])
    assert look() == (pytest.approx(1 / inverse, rel=1e-5), 0.5, True)
    moving[4, 4] = True
    assert look() == (pytest.approx(1 / inverse, rel=1e-5), 0.5, False)
    seen[4, 4] = False  # nothing is known of it
    assert look()[2]
    seen[4, 4] = sky[4, 4] = True
    assert look()[1:] == (0, False)  # neither sky nor a thing
    sky[:] = True
    assert look()[1:] == (0.5, False)


def test_four_pixels_lie_around_each_middle():
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(24.0), indexing="ij")
    for stride in (2, 4, 8):
        middles = torch.arange(16 // stride) * stride + stride / 2
        four = around_cell_centers(rows + 0.5, stride)
        torch.testing.assert_close(four.mean(0), middles[:, None].expand(-1, 24 // stride))
        assert (four - middles[:, None]).abs().max() == 0.5
        assert around_cell_centers(columns, stride).shape == (4, 16 // stride, 24 // stride)


def test_the_tool_looks_where_the_rays_go_through(load_tool, road_m, cells_m):
    tool = load_tool("where_it_errs")
    torch.testing.assert_close(
        cell_center_log_depth(tool.to_log(road_m)).exp().double(), cells_m, rtol=1e-3, atol=0
    )
    large = tool.coarsen(road_m.log(), 8).exp()
    near = (..., slice(64, -8), slice(8, -8))
    assert (large / road_m - 1)[near].mean().abs() < 2e-3  # bilinear: neither nearer nor farther


def test_half_size_truth_is_that_of_the_half_size_camera(camera, road_m):
    """What cameras of half the size see of the road, at their own pixels' centres."""
    clip = RawClip(
        torch.zeros(1, 1, 3, *SIZE_HW, dtype=torch.uint8), road_m[0].half(),
        torch.full((1, 1, *SIZE_HW), VALID, dtype=torch.uint8),
        torch.from_numpy(camera.K).float()[None], torch.from_numpy(camera.ego_T_cam).float()[None],
        torch.zeros(1, 6), torch.zeros(1),
    )  # fmt: skip
    half = Camera("half", np.diag([0.5, 0.5, 1.0]) @ camera.K, (64, 96), camera.ego_T_cam)
    expected = -HEIGHT_M / (rays_of(half) @ camera.ego_T_cam[:3, :3].T)[..., 2]
    targets = assemble([clip], [Draw(0, 1, (0,), half_size=True)])[1]
    np.testing.assert_allclose(targets.depth_m[0, 0, 0], expected, rtol=1e-3)  # float16
    clip.labels[..., 1::2, 1::2] = 0
    assert not assemble([clip], [Draw(0, 1, (0,), half_size=True)])[1].valid.any()
    clip.labels[..., 1::2, 1::2] = VALID
    clip.depth_m[..., 1::2, 1::2] = 0  # sky
    assert (assemble([clip], [Draw(0, 1, (0,), half_size=True)])[1].depth_m == 0).all()
