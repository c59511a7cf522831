"""Depth by matching, on a made world: walls whose look is a smooth random function of the place."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from driv3r.geometry.cameras import unproject
from driv3r.geometry.transforms import apply
from driv3r.models.driv3r.cost_volume import (
    NUM_DEPTHS,
    MatchingCosts,
    MatchingInputs,
    build_cost_volume,
    depth_hypotheses,
)
from driv3r.models.driv3r.depth_sweep import PlaneSweepDepth, convex_upsample, soft_bin_targets
from driv3r.models.driv3r.local_matching import LOG_OFFSETS, MIDDLE, WINDOW, LocalMatching
from driv3r.models.driv3r.matcher import centre, correlate
from driv3r.models.driv3r.reprojection import STRIDE, planar_motion, read_volume
from driv3r.models.driv3r.sampled_correlation import as_vectors, channels_last, correlate_at
from driv3r.models.layers.xfeat import pool
from tests.models.made_cameras import (
    HALF_LEFT,
    LEFT,
    SIZE_HW,
    make_cameras,
    make_cell_rays,
    make_centres,
)

TURNS = (HALF_LEFT, LEFT)
DEPTH_M = torch.full((1, 1, 2, 384), 14.0)
WALL_M = 14.0  # ahead of the car at first, and to its left
STEP = planar_motion(torch.tensor([[5.0]]), torch.tensor([[0.1]]), torch.tensor([[0.5]]))


def cast(world_T_ego: np.ndarray, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each camera's cells meet the nearer of two walls: points [v n 3], depth [v n]."""
    points, depths = [], []
    for camera in make_cameras(*TURNS):
        rays = unproject(camera, make_centres(stride))
        rays = rays / rays[..., 2:]
        world_T_cam = world_T_ego @ camera.ego_T_cam
        ways, eye = rays @ world_T_cam[:3, :3].T, world_T_cam[:3, 3]
        with np.errstate(divide="ignore"):
            depth_m = (WALL_M - eye[:2]) / ways[:, :2]
        depth_m = np.where(depth_m > 0, depth_m, np.inf).min(1)
        points.append(apply(world_T_cam, rays * depth_m[:, None]))
        depths.append(depth_m)
    return np.stack(points), np.stack(depths)


def look_of(points: np.ndarray) -> torch.Tensor:
    """Unit features [1 1 v 64 y x] that vary over some metres."""
    waves = np.random.default_rng(0).normal(0, 1.2, (3, 64))
    phases = np.random.default_rng(1).uniform(0, 2 * np.pi, 64)
    values = np.cos(points @ waves + phases)
    y, x = (n // (STRIDE // 2) for n in SIZE_HW)
    return F.normalize(torch.from_numpy(values).float().transpose(1, 2), dim=1).unflatten(
        2, (y, x)
    )[None, None]


@pytest.fixture(scope="module")
def world() -> tuple[MatchingInputs, torch.Tensor]:
    """Views of now, half a second on, and the true log depth of their cells."""
    now, last = STEP[0, 0].numpy().astype(np.float64), np.eye(4)
    seen = torch.ones(1, 1, 2, dtype=torch.bool)
    fine = [look_of(cast(T, STRIDE // 2)[0]) for T in (now, last)]
    depth_m = torch.from_numpy(cast(now, STRIDE)[1]).float()[None, None]
    return make_views(*fine, seen, seen), depth_m.log()


def make_views(now: torch.Tensor, last: torch.Tensor, known, last_known) -> MatchingInputs:
    """With a matcher and sweep features that are the same ones."""
    maps = (pool(now), pool(last), now, last, now, last)
    return MatchingInputs(make_cell_rays(*TURNS), *maps, known[:, 0], known, last_known)


def at_truth(curve: torch.Tensor, log_depth: torch.Tensor) -> torch.Tensor:
    """A curve's value at the nearest nearest to the true depth."""
    nearest = (depth_hypotheses(log_depth) - log_depth[..., None]).abs().argmin(-1, keepdim=True)
    return curve.gather(-1, nearest)[..., 0]


def test_costs_peak_at_the_true_depth(world):
    views, log_depth = world
    costs = build_cost_volume(views, DEPTH_M, STEP, 0)
    inside = at_truth(costs.seen, log_depth).bool() & (at_truth(costs.parallax, log_depth) > 0.1)
    assert inside.float().mean() > 0.3
    for curve in (costs.correlation, costs.prev_correlation):
        best = depth_hypotheses(log_depth)[curve.argmax(-1)]
        assert (best - log_depth)[inside].abs().median() < 0.08


def test_neighbours_see_what_the_last_image_did_not(world):
    views, log_depth = world
    alone, together = (
        build_cost_volume(views, DEPTH_M, STEP, 0),
        build_cost_volume(views, DEPTH_M, STEP, 2),
    )
    there = [at_truth(c.seen, log_depth) > 0 for c in (alone, together)]
    gained = ~there[0] & there[1]
    assert gained.float().mean() > 0.03
    best = depth_hypotheses(log_depth)[together.correlation.argmax(-1)]
    assert ((best - log_depth)[gained].abs() < 0.15).float().mean() > 0.5


def test_what_strays_from_where_the_still_world_would_be_is_told(world):
    """A patch of the first camera's image is exchanged for one that was elsewhere a frame ago."""
    views, log_depth = world
    still = build_cost_volume(views, log_depth.exp(), STEP, 0)
    inside = at_truth(still.seen, log_depth).bool()
    now = views.now.clone()
    now[0, 0, 0, :, 16:24, 20:28] = views.last[0, 0, 0, :, 4:12, 8:16]  # 12 cells right and down
    moved = build_cost_volume(
        make_views(now, views.last, views.known, views.last_known), log_depth.exp(), STEP, 0
    )
    patch = torch.zeros(1, 1, 2, 16, 24, dtype=torch.bool)
    patch[0, 0, 0, 9:11, 11:13] = True
    patch = patch.flatten(3) & inside
    assert patch.sum() == 4
    assert (moved.best_match_offset[..., 1] - still.best_match_offset[..., 1])[patch].min() > 0.05
    far = moved.best_match_offset[..., 2:].abs().expm1().sum(-1)
    assert (
        far[patch].min()
        > 3 * still.best_match_offset[..., 2:].abs().expm1().sum(-1)[inside].median()
    )
    assert moved.best_match_offset[..., 0][patch].min() > 0.5
    assert not still.best_match_offset[~inside].any()


def test_views_that_are_not_known_are_not_looked_into(world):
    views, _ = world
    none = torch.zeros_like(views.known)
    blind = build_cost_volume(
        make_views(views.now, views.last, none, views.last_known), DEPTH_M, STEP, 2
    )
    assert not blind.correlation.any()
    assert not blind.seen.any()
    first = make_views(views.now, views.last, views.known, none)
    assert build_cost_volume(first, DEPTH_M, STEP, 2).seen.any()  # the neighbour's present image
    assert not build_cost_volume(first, DEPTH_M, STEP, 0).seen.any()


def test_an_untrained_sweep_goes_by_expectation_and_evidence(world):
    views, log_depth = world
    torch.manual_seed(0)
    sweep, x = PlaneSweepDepth(8), torch.randn(2, 8, 16, 24)
    truth = log_depth[0, 0].unflatten(1, (16, 24))
    expected, log_scale = truth + 0.3, torch.full_like(truth, 0.5).log()
    none = torch.zeros(1, 1, 2, 384, NUM_DEPTHS)
    silent = MatchingCosts(*(none,) * 4, torch.zeros(1, 1, 2, 384, 4), *(none,) * 3)
    with torch.no_grad():
        guess = sweep(x, silent, expected, log_scale)
        costs = build_cost_volume(views, DEPTH_M, STEP, 1)
        seen = sweep(x, costs, expected, log_scale)
    torch.testing.assert_close(guess.features, x)
    torch.testing.assert_close(seen.log_prob.exp().sum(1), torch.ones(2, 16, 24))
    depths = depth_hypotheses(truth)[:, None, None]
    off = [((c.log_prob.exp() * depths).sum(1) - truth).abs().median() for c in (guess, seen)]
    assert off[1] < 0.7 * off[0]
    assert seen.log_depth.shape == (2, *SIZE_HW)


def test_sampled_correlations_are_those_of_the_whole_volume(world):
    views, _ = world
    torch.manual_seed(0)
    cells, others = pool(views.now), torch.randn(1, 1, 2, 64, 32, 48)
    pixels = torch.rand(1, 1, 2, 384, 5, 2) * torch.tensor([300.0, 200]) - 50  # outside too
    expected = read_volume(correlate(cells, others), pixels, SIZE_HW)
    own, maps = as_vectors(cells), channels_last(centre(others))
    torch.testing.assert_close(correlate_at(own, maps, pixels, SIZE_HW), expected)
    sampled = correlate_at(own.clone().requires_grad_(), maps, pixels, SIZE_HW)
    torch.testing.assert_close(sampled.detach(), expected)


def test_sweep_features_are_compared_with_all_sources_and_learn(world):
    views, log_depth = world
    one = build_cost_volume(views, DEPTH_M, STEP, 0)
    for cost in (one.sweep_mean, one.sweep_best, one.sweep_prev):
        torch.testing.assert_close(cost, one.correlation)
    both = build_cost_volume(views, DEPTH_M, STEP, 1)
    assert (both.sweep_best >= both.sweep_mean - 1e-5).all()
    features = views.sweep_now.clone().requires_grad_()
    costs = build_cost_volume(dataclasses.replace(views, sweep_now=features), DEPTH_M, STEP, 1)
    at_truth(costs.sweep_mean, log_depth).sum().backward()
    assert features.grad is not None
    assert features.grad.abs().sum() > 0


def test_a_full_size_pixel_is_a_convex_mix_of_the_cells_around():
    torch.manual_seed(0)
    coarse, logits = torch.randn(1, 4, 6), torch.randn(1, 9 * STRIDE**2, 4, 6)
    fine = convex_upsample(coarse, logits)
    around = F.pad(coarse[:, None], (1, 1, 1, 1), mode="replicate")
    most = F.max_pool2d(around, 3, 1)[0, 0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    least = -F.max_pool2d(-around, 3, 1)[0, 0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert ((fine[0] <= most + 1e-5) & (fine[0] >= least - 1e-5)).all()
    middle = logits.unflatten(1, (9, 64)).clone()
    middle[:, 4] = 50.0
    same = convex_upsample(coarse, middle.flatten(1, 2))
    torch.testing.assert_close(same[0], coarse[0].repeat_interleave(8, 0).repeat_interleave(8, 1))


def test_shares_of_depths_have_the_truth_as_their_mean():
    log_depth = torch.tensor([0.5, 2.2, 4.0, -3.0, 9.0])
    below, share = soft_bin_targets(log_depth)
    depths = depth_hypotheses(log_depth)
    mean = depths[below] * (1 - share) + depths[below + 1] * share
    torch.testing.assert_close(mean, log_depth.clamp(depths[0], depths[-1]), atol=1e-3, rtol=1e-3)


def test_local_cues_are_best_at_the_true_depth_and_where_the_still_world_was(world):
    views, _ = world
    local = LocalMatching(16, 0)
    rays = make_cell_rays(*TURNS, stride=STRIDE // 2)
    truth = torch.from_numpy(cast(STEP[0, 0].numpy().astype(np.float64), STRIDE // 2)[1])
    cues = local._cues(views, rays, truth.log().float()[None, None], STEP)
    depths, window = cues[..., : len(LOG_OFFSETS)], cues[..., 2 * len(LOG_OFFSETS) + 1 :]
    seen = cues[..., 2 * len(LOG_OFFSETS)] > 0
    best = depths[seen].argmax(-1)
    moves = cues[..., -1][seen] > 0.1  # where depth is felt
    assert ((best - MIDDLE).abs()[moves] <= 1).float().mean() > 0.8
    fine = window[seen][:, : (2 * WINDOW + 1) ** 2].argmax(-1)
    assert (fine == (2 * WINDOW + 1) ** 2 // 2).float().mean() > 0.8


def test_untrained_local_matching_adds_nothing(world):
    views, _ = world
    log_depth = torch.full((2, *SIZE_HW), 14.0).log()
    rays = make_cell_rays(*TURNS, stride=STRIDE // 2)
    found = LocalMatching(16, 1)(views, rays, log_depth, STEP)
    assert found.features.shape == (2, 16, SIZE_HW[0] // 4, SIZE_HW[1] // 4)
    assert not found.features.any()
    assert not found.log_correction.any()
