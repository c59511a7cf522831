"""Reciprocal matches against the official ones; sparse alignment of made scenes."""

import dataclasses

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from made_views import both_orders, compare_poses, make_views, predict_pairs

from driv3r.alignment.pointmaps import FixedCameras, cast_rays
from driv3r.alignment.reciprocal_matching import find_nearest, match_reciprocal
from driv3r.alignment.sparse import (
    Matches,
    SparseConfig,
    align_sparse,
    match_pairs,
    merge_own_points,
)
from driv3r.errors import ConfigError, GeometryError

LARGE = (128, 192)  # matches are whole pixels: in a small image half of one is a large angle
SHORT = SparseConfig(coarse_steps=60, fine_steps=100)


@pytest.mark.parametrize("step", [8, 4])
def test_reciprocal_matches_are_the_official_ones(step, golden):
    official = np.load(golden("mast3r/functions.npz"))
    xy_first, xy_second = match_reciprocal(official["desc1"], official["desc2"], step)
    expected = official[f"nn_sub{step}_xy1"], official[f"nn_sub{step}_xy2"]
    found = {(*a, *b) for a, b in zip(xy_first.tolist(), xy_second.tolist(), strict=True)}
    assert len(found) == len(xy_first)
    assert found == {
        (*a, *b) for a, b in zip(expected[0].tolist(), expected[1].tolist(), strict=True)
    }


def test_matches_are_each_others_nearest_in_images_of_any_size():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(20, 30, 8)), rng.normal(size=(24, 18, 8))
    first, second = (d / np.linalg.norm(d, axis=-1, keepdims=True) for d in (first, second))
    xy_first, xy_second = match_reciprocal(first, second, 2)
    assert len(xy_first) > 20
    there = xy_second[:, 1] * 18 + xy_second[:, 0]
    here = xy_first[:, 1] * 30 + xy_first[:, 0]
    flat_first, flat_second = first.reshape(-1, 8), second.reshape(-1, 8)
    np.testing.assert_array_equal(find_nearest(flat_first[here], flat_second), there)
    np.testing.assert_array_equal(find_nearest(flat_second[there], flat_first), here)
    with pytest.raises(ConfigError, match="1 at least"):
        match_reciprocal(first, second, 0)


def make_descriptors(views, pairs, noise=0.0):
    """Unit descriptors that tell places of the world apart, as both images of a pair show them."""
    rng = np.random.default_rng(0)
    waves, phase = rng.normal(0, 1.0, (3, 24)), rng.uniform(0, 2 * np.pi, 24)
    seen = np.cos(views.lift() @ waves + phase)
    seen = np.stack([seen[list(pair)] for pair in pairs])
    seen = seen + rng.normal(0, noise, seen.shape)
    return seen / np.linalg.norm(seen, axis=-1, keepdims=True)


def spoil(matches: Matches, share: float) -> Matches:
    """Matches of which some lead anywhere."""
    rng = np.random.default_rng(0)
    wild = rng.random(len(matches.pair)) < share
    xy = matches.xy.copy()
    xy[wild, 1] = rng.integers(0, [LARGE[1], LARGE[0]], (np.count_nonzero(wild), 2))
    return dataclasses.replace(matches, xy=xy)


def test_descriptors_of_a_scene_match_where_it_is_the_same():
    views = make_views(2, size_hw=LARGE)
    pairs = [(0, 1)]
    descriptors = make_descriptors(views, pairs)
    matches = match_pairs(descriptors, np.full(descriptors.shape[:-1], 4.0))
    np.testing.assert_array_equal(matches.weight, 4.0)
    x, y = matches.xy.transpose(2, 1, 0)
    world = views.lift()
    apart = np.linalg.norm(world[0][y[0], x[0]] - world[1][y[1], x[1]], axis=-1)
    assert len(apart) > 100
    assert np.median(apart) < 0.1


def test_canonical_points_are_the_mean_in_one_unit():
    views = make_views(3)
    pairs = predict_pairs(views, both_orders(3))
    points, confidence = merge_own_points(pairs)
    rays = cast_rays(views.K, (32, 48))
    ratio = points / (rays * views.depth[..., None])
    for image in range(3):
        np.testing.assert_allclose(ratio[image], ratio[image, 0, 0, 2], rtol=1e-9)
    assert confidence.min() > 3
    one_way = dataclasses.replace(
        pairs, pairs=pairs.pairs[:2], points=pairs.points[:2], confidence=pairs.confidence[:2]
    )
    with pytest.raises(GeometryError, match="image 1 comes first in no pair"):
        merge_own_points(one_way)


def see_scene(truth, told, wild):
    """Pointmaps as told, with noise and outliers; matches as the truth has them, some astray."""
    names = both_orders(len(truth.K), reach=2)
    pairs = predict_pairs(told, names, noise=0.01, outliers=0.1)
    descriptors = make_descriptors(truth, names, noise=0.02)
    matches = match_pairs(descriptors, np.ones(descriptors.shape[:-1]))
    return pairs, spoil(matches, wild)


@pytest.fixture(scope="module")
def spoilt():
    """Four cameras, their pointmaps, and matches of which 30 % are wrong."""
    views = make_views(4, spread_m=2.0, size_hw=LARGE)
    return views, *see_scene(views, views, wild=0.3)


def depth_errors(answer, views):
    """The median ratio to the truth, and the median error when that is made good."""
    ratio = answer.depth / views.depth
    return np.median(ratio), np.median(np.abs(ratio / np.median(ratio) - 1))


def test_free_cameras_are_recovered(spoilt):
    """1 % noise, 10 % outliers in points and 30 % wrong matches. Measured: 0.44 degrees, places
    off by 2.1 % of their spread, focal lengths by 0.8 %, depths by 2.1 %."""
    views, pairs, matches = spoilt
    answer = align_sparse(pairs, matches, config=SHORT)
    turn, place, _ = compare_poses(answer.world_T_cam, views.world_T_cam, metric=False)
    assert turn < 0.8
    assert place < 0.05
    np.testing.assert_allclose(answer.K, views.K, rtol=0.02)
    assert depth_errors(answer, views)[1] < 0.04
    assert answer.scale == "similarity"
    np.testing.assert_allclose(answer.world_T_cam[0], np.eye(4), atol=1e-6)


def test_known_cameras_make_the_answer_metric(spoilt):
    """The same with known K and poses. Measured: 0.6 % off the true size, depths 1.9 %."""
    views, pairs, matches = spoilt
    answer = align_sparse(pairs, matches, FixedCameras(views.K, views.world_T_cam), SHORT)
    np.testing.assert_array_equal(answer.world_T_cam, views.world_T_cam)
    np.testing.assert_allclose(answer.K, views.K, rtol=1e-6)
    assert answer.scale == "metric"
    scale, error = depth_errors(answer, views)
    assert scale == pytest.approx(1.0, abs=0.02)
    assert error < 0.04
    apart = np.linalg.norm(answer.lift() - views.lift(), axis=-1)
    assert np.median(apart / views.depth) < 0.05


def test_wrong_matches_pull_less_with_a_smaller_power(spoilt):
    """30 % wrong matches: measured 2.7 degrees with the paper's power of 1.5, 0.20 with 0.5."""
    views, pairs, matches = spoilt
    turns = []
    for power in (1.5, 0.5):
        config = SparseConfig(coarse_steps=100, coarse_power=power, fine_steps=0)
        answer = align_sparse(pairs, matches, config=config)
        turns.append(compare_poses(answer.world_T_cam, views.world_T_cam, metric=False)[0])
    assert turns[1] < 0.4
    assert turns[1] < 0.3 * turns[0]


def test_the_fine_descent_mends_bent_pointmaps():
    """Pointmaps bent by up to 12 %. Measured: places from 14 % of their spread to 1.5 %, depths
    from 4.9 % to 2.5 %."""
    views = make_views(4, spread_m=2.0, size_hw=LARGE)
    rng = np.random.default_rng(5)
    row, column = np.indices(LARGE)
    waves = [
        np.sin(column / rng.uniform(25, 40) + rng.uniform(0, 6))
        * np.sin(row / rng.uniform(25, 40) + rng.uniform(0, 6))
        for _ in range(4)
    ]
    bent = views._replace(depth=views.depth * (1 + 0.12 * np.stack(waves)))
    pairs, matches = see_scene(views, bent, wild=0.0)
    places, errors = [], []
    for steps in (0, 100):
        config = dataclasses.replace(SHORT, fine_steps=steps)
        answer = align_sparse(pairs, matches, FixedCameras(K=views.K), config)
        places.append(compare_poses(answer.world_T_cam, views.world_T_cam, metric=False)[1])
        errors.append(depth_errors(answer, views)[1])
    assert places[1] < 0.3 * places[0]
    assert errors[1] < 0.7 * errors[0]


def test_matches_of_unknown_points_do_not_count(spoilt):
    """Whatever the matches of unknown pixels say, the answer is the same."""
    _, pairs, matches = spoilt
    points = pairs.points.copy()
    points[:, :, :, 128:] = np.nan
    known = dataclasses.replace(pairs, points=points)
    astray = (matches.xy[..., 0] >= 128).any(-1)
    xy = matches.xy.copy()
    xy[astray] = xy[astray, :, ::-1].clip(0, 127)
    xy[astray, 0, 0] = 150
    config = dataclasses.replace(SHORT, coarse_steps=5, fine_steps=5)
    answers = [
        align_sparse(known, each, config=config)
        for each in (matches, dataclasses.replace(matches, xy=xy))
    ]
    assert 0.2 < astray.mean() < 0.6
    assert np.isfinite(answers[0].depth).all()
    np.testing.assert_array_equal(answers[0].depth, answers[1].depth)


def test_matches_that_leave_images_apart_are_refused():
    views = make_views(3)
    pairs = predict_pairs(views, both_orders(3))
    matches = Matches(np.array([0]), np.zeros((1, 2, 2), int), np.ones(1))
    with pytest.raises(GeometryError, match="2 groups"):
        align_sparse(pairs, matches)
    nothing = Matches(np.zeros(0, int), np.zeros((0, 2, 2), int), np.zeros(0))
    with pytest.raises(GeometryError, match="no matches"):
        align_sparse(pairs, nothing)


@pytest.mark.parametrize(
    "wrong", [{"cell_px": 0}, {"fine_learning_rate": -0.1}, {"coarse_power": np.nan}]
)
def test_configs_that_can_not_work_are_refused(wrong):
    with pytest.raises((ConfigError, TypeCheckError)):
        SparseConfig(**wrong)
