"""Depth by matching, on a made world: walls whose look is a smooth random function of the place."""

import numpy as np
import pytest
import torch
from driv3r.network.ladder import (
    RUNGS,
    Curves,
    DepthLadder,
    Views,
    enlarge,
    look_up,
    rungs_like,
    share_rungs,
)
from torch.nn import functional as F

from driv3r.geometry.cameras import unproject
from driv3r.geometry.transforms import apply
from driv3r.network.lenses import STRIDE, drive
from driv3r.network.matcher import correlate
from driv3r.network.xfeat import pool
from tests.network.made_lenses import (
    HALF_LEFT,
    LEFT,
    SIZE_HW,
    make_cameras,
    make_centres,
    make_lenses,
)

TURNS = (HALF_LEFT, LEFT)
DEPTH_M = torch.full((1, 1, 2, 384), 14.0)
WALL_M = 14.0  # ahead of the car at first, and to its left
STEP = drive(torch.tensor([[5.0]]), torch.tensor([[0.1]]), torch.tensor([[0.5]]))


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
def world() -> tuple[Views, torch.Tensor]:
    """Views of now, half a second on, and the true log depth of their cells."""
    now, last = np.array(STEP[0, 0], np.float64), np.eye(4)
    seen = torch.ones(1, 1, 2, dtype=torch.bool)
    fine = [look_of(cast(T, STRIDE // 2)[0]) for T in (now, last)]
    depth_m = torch.from_numpy(cast(now, STRIDE)[1]).float()[None, None]
    return make_views(*fine, seen, seen), depth_m.log()


def make_views(now: torch.Tensor, last: torch.Tensor, known, last_known) -> Views:
    """With a matcher that has the same features, coarser."""
    coarse = pool(now)
    volume = correlate(coarse, pool(last)) * (known & last_known)[..., None, None, None]
    return Views(make_lenses(*TURNS), coarse, volume, now, last, known[:, 0], known, last_known)


def at_truth(curve: torch.Tensor, log_depth: torch.Tensor) -> torch.Tensor:
    """A curve's value at the rung nearest to the true depth."""
    rung = (rungs_like(log_depth) - log_depth[..., None]).abs().argmin(-1, keepdim=True)
    return curve.gather(-1, rung)[..., 0]


def test_curves_peak_at_the_true_depth(world):
    views, log_depth = world
    curves = look_up(views, DEPTH_M, STEP, 0)
    inside = at_truth(curves.seen, log_depth).bool() & (at_truth(curves.parallax, log_depth) > 0.1)
    assert inside.float().mean() > 0.3
    for curve in (curves.alike, curves.own):
        best = rungs_like(log_depth)[curve.argmax(-1)]
        assert (best - log_depth)[inside].abs().median() < 0.08


def test_neighbours_see_what_the_last_image_did_not(world):
    views, log_depth = world
    alone, together = look_up(views, DEPTH_M, STEP, 0), look_up(views, DEPTH_M, STEP, 2)
    there = [at_truth(c.seen, log_depth) > 0 for c in (alone, together)]
    gained = ~there[0] & there[1]
    assert gained.float().mean() > 0.03
    best = rungs_like(log_depth)[together.alike.argmax(-1)]
    assert ((best - log_depth)[gained].abs() < 0.15).float().mean() > 0.5


def test_what_strays_from_where_the_still_world_would_be_is_told(world):
    """A patch of the first camera's image is exchanged for one that was elsewhere a frame ago."""
    views, log_depth = world
    still = look_up(views, log_depth.exp(), STEP, 0)
    inside = at_truth(still.seen, log_depth).bool()
    now = views.now.clone()
    now[0, 0, 0, :, 16:24, 20:28] = views.last[0, 0, 0, :, 4:12, 8:16]  # 12 cells right and down
    moved = look_up(
        make_views(now, views.last, views.known, views.last_known), log_depth.exp(), STEP, 0
    )
    patch = torch.zeros(1, 1, 2, 16, 24, dtype=torch.bool)
    patch[0, 0, 0, 9:11, 11:13] = True
    patch = patch.flatten(3) & inside
    assert patch.sum() == 4
    assert (moved.stray[..., 1] - still.stray[..., 1])[patch].min() > 0.05
    far = moved.stray[..., 2:].abs().expm1().sum(-1)
    assert far[patch].min() > 3 * still.stray[..., 2:].abs().expm1().sum(-1)[inside].median()
    assert moved.stray[..., 0][patch].min() > 0.5
    assert not still.stray[~inside].any()


def test_views_that_are_not_known_are_not_looked_into(world):
    views, _ = world
    none = torch.zeros_like(views.known)
    blind = look_up(make_views(views.now, views.last, none, views.last_known), DEPTH_M, STEP, 2)
    assert not blind.alike.any()
    assert not blind.seen.any()
    first = make_views(views.now, views.last, views.known, none)
    assert look_up(first, DEPTH_M, STEP, 2).seen.any()  # the neighbour's present image
    assert not look_up(first, DEPTH_M, STEP, 0).seen.any()


def test_an_untrained_ladder_goes_by_expectation_and_evidence(world):
    views, log_depth = world
    torch.manual_seed(0)
    ladder, x = DepthLadder(8), torch.randn(2, 8, 16, 24)
    truth = log_depth[0, 0].unflatten(1, (16, 24))
    expected, doubt = truth + 0.3, torch.full_like(truth, 0.5)
    silent = Curves(
        *(torch.zeros(1, 1, 2, 384, RUNGS) for _ in range(4)), torch.zeros(1, 1, 2, 384, 4)
    )
    with torch.no_grad():
        same, guess, _ = ladder(x, silent, expected, doubt)
        _, told, matched = ladder(x, look_up(views, DEPTH_M, STEP, 1), expected, doubt)
    torch.testing.assert_close(same, x)
    torch.testing.assert_close(told.exp().sum(1), torch.ones(2, 16, 24))
    rungs = rungs_like(truth)[:, None, None]
    off = [((c.exp() * rungs).sum(1) - truth).abs().median() for c in (guess, told)]
    assert off[1] < 0.7 * off[0]
    assert matched.shape == (2, *SIZE_HW)


def test_a_full_size_pixel_is_a_convex_mix_of_the_cells_around():
    torch.manual_seed(0)
    coarse, logits = torch.randn(1, 4, 6), torch.randn(1, 9 * STRIDE**2, 4, 6)
    fine = enlarge(coarse, logits)
    around = F.pad(coarse[:, None], (1, 1, 1, 1), mode="replicate")
    most = F.max_pool2d(around, 3, 1)[0, 0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    least = -F.max_pool2d(-around, 3, 1)[0, 0].repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert ((fine[0] <= most + 1e-5) & (fine[0] >= least - 1e-5)).all()
    middle = logits.unflatten(1, (9, 64)).clone()
    middle[:, 4] = 50.0
    same = enlarge(coarse, middle.flatten(1, 2))
    torch.testing.assert_close(same[0], coarse[0].repeat_interleave(8, 0).repeat_interleave(8, 1))


def test_shares_of_rungs_have_the_truth_as_their_mean():
    log_depth = torch.tensor([0.5, 2.2, 4.0, -3.0, 9.0])
    below, share = share_rungs(log_depth)
    rungs = rungs_like(log_depth)
    mean = rungs[below] * (1 - share) + rungs[below + 1] * share
    torch.testing.assert_close(mean, log_depth.clamp(rungs[0], rungs[-1]), atol=1e-3, rtol=1e-3)
