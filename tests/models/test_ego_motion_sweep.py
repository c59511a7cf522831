import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driv3r.models.driv3r.cost_volume import MatchingInputs
from driv3r.models.driv3r.ego_motion_sweep import (
    SPEEDS_MPS,
    YAW_RATES,
    EgoMotionSweep,
    hypotheses,
    temporal_filter,
)
from driv3r.models.driv3r.losses import soft_ego_targets
from driv3r.models.driv3r.reprojection import STRIDE, CellRays, planar_motion, reproject
from tests.models.made_cameras import SIZE_HW, make_cell_rays


def see(
    cell_rays: CellRays, depth_m: torch.Tensor, speed_mps: float, yaw_rate: float
) -> torch.Tensor:
    """The correlations of cells of a depth after half a second of a motion."""
    motion = planar_motion(*(torch.tensor([[[x]]]) for x in (speed_mps, yaw_rate, 0.5)))
    seen = reproject(cell_rays, cell_rays, motion, depth_m[..., None])[:, :, :, :, 0]
    y, x = (torch.arange(k // STRIDE) * STRIDE + STRIDE / 2.0 for k in SIZE_HW)
    there = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    distance = (seen[..., None, None, :] - there).norm(dim=-1)
    return 10 * torch.exp(-((distance / STRIDE / 2) ** 2))


def vote(cell_rays: CellRays, volume: torch.Tensor, depth_m: torch.Tensor, sigma: torch.Tensor):
    sweep = EgoMotionSweep(8)
    torch.nn.init.constant_(sweep.weight.bias, 3.0)
    tokens = torch.zeros(1, 1, 2, depth_m.shape[-1] // 4, 8)
    # features of cells that tell each from all others have any volume that is wanted
    cells = torch.eye(depth_m.shape[-1]).unflatten(1, volume.shape[-2:]).expand_as(volume)
    fine = torch.zeros(1, 1, 2, 1, 2, 2)
    seen = torch.ones(1, 1, 2, dtype=torch.bool)
    views = MatchingInputs(cell_rays, cells, volume, fine, fine, fine, fine, seen[:, 0], seen, seen)
    with torch.no_grad():
        return sweep(tokens, views, depth_m, sigma, torch.tensor([[0.5]]), torch.zeros(1, 3))


@pytest.mark.parametrize(("speed_mps", "yaw_rate"), [(7.3, 0.08), (0.0, 0.0), (21.0, -0.03)])
def test_the_cells_vote_for_the_true_motion(speed_mps, yaw_rate):
    cell_rays = make_cell_rays()
    torch.manual_seed(0)
    depth_m = 8 + 12 * torch.rand(1, 1, 2, cell_rays.rays_cam.shape[2])
    volume = see(cell_rays, depth_m, speed_mps, yaw_rate)
    best, log_prob, after = vote(cell_rays, volume, depth_m, torch.full_like(depth_m, 0.01))
    assert abs(float(best[0, 0, 0]) - speed_mps) < 0.2
    assert abs(float(best[0, 0, 1]) - yaw_rate) < 0.01
    torch.testing.assert_close(log_prob.exp().sum(), torch.tensor(1.0))
    assert after[0, 2] == 1


def test_cells_of_doubtful_depth_leave_the_speed_to_those_that_are_sure():
    """Most cells are taken for a third too far; they say so, or they do not."""
    cell_rays = make_cell_rays()
    torch.manual_seed(0)
    depth_m = 8 + 12 * torch.rand(1, 1, 2, cell_rays.rays_cam.shape[2])
    volume = see(cell_rays, depth_m, 9.0, 0.0)
    wrong = torch.rand_like(depth_m) < 0.6
    taken_m = torch.where(wrong, depth_m * 1.35, depth_m)
    sure = torch.full_like(depth_m, 0.02)
    off = [
        abs(float(vote(cell_rays, volume, taken_m, sigma)[0][0, 0, 0]) - 9.0)
        for sigma in (sure, torch.where(wrong, 0.4, sure))
    ]
    assert off[0] > 0.6
    assert off[1] < 0.7 * off[0]


def test_what_no_car_can_do_is_not_believed_and_the_order_of_frames_matters():
    """Two speeds are as likely by what is seen; the one near the last speed is taken."""
    rates = hypotheses((5.0, 15.0), (0.0,), torch.zeros(1)).expand(1, 3, 2, 2)
    scores = torch.tensor([[[0.0, 0.0], [4.0, 0.0], [0.0, 0.5]]])
    dt_s = torch.tensor([[0.0, 0.5, 0.5]])
    best, _, _ = temporal_filter(scores, rates, dt_s, torch.zeros(1, 3))
    assert float(best[0, 0, 0]) == 10.0  # nothing seen, nothing known
    assert float(best[0, 2, 0]) < 6.0
    alone, _, _ = temporal_filter(scores[:, 2:], rates[:, 2:], dt_s[:, 2:], torch.zeros(1, 3))
    assert float(alone[0, 0, 0]) > 10.0
    streamed, _, _ = temporal_filter(
        scores[:, 2:], rates[:, 2:], dt_s[:, 2:], prev_rate_after(scores)
    )
    torch.testing.assert_close(streamed[0, 0], best[0, 2])


def prev_rate_after(scores: torch.Tensor) -> torch.Tensor:
    """What is known after the first two frames of the test above."""
    rates = hypotheses((5.0, 15.0), (0.0,), torch.zeros(1)).expand(1, 2, 2, 2)
    return temporal_filter(scores[:, :2], rates, torch.tensor([[0.0, 0.5]]), torch.zeros(1, 3))[2]


@given(st.floats(-3, 40), st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_the_target_chances_have_the_truth_as_their_mean(speed_mps, yaw_rate):
    rate = torch.tensor([[[speed_mps, 0, 0, 0, 0, yaw_rate]]])
    shares = soft_ego_targets(rate)[0, 0]
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
    mean = shares @ hypotheses(SPEEDS_MPS, YAW_RATES, rate)
    inside = torch.stack(
        [
            rate[0, 0, 0].clamp(SPEEDS_MPS[0], SPEEDS_MPS[-1]),
            rate[0, 0, 5].clamp(YAW_RATES[0], YAW_RATES[-1]),
        ]
    )
    torch.testing.assert_close(mean, inside, atol=1e-4, rtol=1e-4)
