"""Refinement by tracks on rendered streets: the truth is the world's own depth and path."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from driv3r.errors import GeometryError
from driv3r.geometry.cameras import project, unproject
from driv3r.geometry.transforms import angle_rad, apply, from_rotvec, invert
from driv3r.simulator.export.clips import render_frame
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.simulator.scene.world import make_world
from driv3r.tracking.depth_refinement import RefineConfig, TrackRefiner
from driv3r.tracking.rig_pnp import RigObservations
from driv3r.tracking.triangulation import TriangulationConfig, triangulate
from driv3r.types import Prediction, Rig

SIZE_HW = (256, 448)
GAP_S = 0.5
TIMES_S = tuple(0.3 + GAP_S * i for i in range(4))
SIGMA = 0.15
FAR_M = 200.0  # the sky


class Drive(NamedTuple):
    """Surround frames GAP_S apart, what a network with smooth errors says of them, the truth."""

    rig: Rig
    images: list[list[np.ndarray]]
    depth_m: list[np.ndarray]
    predictions: list[Prediction]
    prev_T_curr: list[np.ndarray]


def err_smoothly(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A factor on depth: waves of about SIGMA, longer than an eighth of the image."""
    y, x = np.mgrid[: shape[0], : shape[1]] / shape[1]
    waves = sum(
        np.sin(2 * np.pi * (rng.uniform(-2, 2) * x + rng.uniform(-2, 2) * y) + rng.uniform(0, 6))
        for _ in range(4)
    )
    return np.exp(SIGMA / np.sqrt(2) * waves)


@pytest.fixture(scope="module")
def drive() -> Drive:
    world = make_world(31, 3.0, "suburb")  # a dry sunny street, driven at 8 m/s
    rig, renderer = make_rig(SIZE_HW), Renderer(world)
    small = make_rig((SIZE_HW[0] // 2, SIZE_HW[1] // 2))
    rng = np.random.default_rng(0)
    images, depths, predictions, motions = [], [], [], []
    for i, time_s in enumerate(TIMES_S):
        views = [view for view, _ in render_frame(renderer, rig, time_s)]
        images.append([view.image for view in views])
        depth_m = np.stack([view.depth_m for view in views])[:, 1::2, 1::2]
        depths.append(np.where(depth_m > 0, depth_m, FAR_M))
        moving = np.stack([view.moving for view in views])[:, 1::2, 1::2]
        wrong = np.stack([err_smoothly(rng, (128, 224)) for _ in views])
        heights = np.stack([heights_m(c, d) for c, d in zip(rig.cameras, depths[-1], strict=True)])
        ground = np.abs(heights) < 0.2  # which networks know well
        stated = np.where(ground, depths[-1], depths[-1] * wrong).astype(np.float32)
        sigma = np.where(ground, 0.03, SIGMA).astype(np.float32)
        prev_T_curr = None
        if i:
            true = invert(world.ego.world_T_ego(TIMES_S[i - 1])) @ world.ego.world_T_ego(time_s)
            motions.append(true)
            prev_T_curr = from_rotvec(np.array([0, 0, 0.003]), np.zeros(3)) @ true
            prev_T_curr[:3, 3] *= 1.2
        predictions.append(
            Prediction(small.cameras, stated, sigma, moving.astype(np.float32), prev_T_curr)
        )
    return Drive(rig, images, depths, predictions, motions)


def heights_m(camera, depth_m: np.ndarray) -> np.ndarray:
    """Of each pixel's point above the ego frame's origin."""
    rows, columns = np.mgrid[: depth_m.shape[0], : depth_m.shape[1]]
    uv = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], 1) * 2
    points = apply(camera.ego_T_cam, unproject(camera, uv) * depth_m.reshape(-1, 1))
    return points[:, 2].reshape(depth_m.shape)


def run(drive: Drive, known: bool = False, config: RefineConfig | None = None) -> list[Prediction]:
    refiner = TrackRefiner(drive.rig, config)
    out = []
    for i, (images, prediction) in enumerate(zip(drive.images, drive.predictions, strict=True)):
        truth = drive.prev_T_curr[i - 1] if known and i else None
        out.append(refiner.step(images, prediction, GAP_S if i else 0.0, truth))
    return out


def abs_rel(depth_m: np.ndarray, truth_m: np.ndarray, among: np.ndarray) -> float:
    seen = (truth_m < 60) & among
    return float((np.abs(depth_m - truth_m) / truth_m)[seen].mean())


def test_depth_and_motion_come_nearer_the_truth(drive: Drive):
    refined = run(drive)
    assert refined[0] is drive.predictions[0]
    before, after = [], []
    for i in range(1, len(TIMES_S)):
        wrong = drive.predictions[i].sigma == np.float32(SIGMA)
        still = wrong & (drive.predictions[i].motion < 0.5)
        before.append(abs_rel(drive.predictions[i].depth_m, drive.depth_m[i], still))
        after.append(abs_rel(refined[i].depth_m, drive.depth_m[i], still))
        found, truth = refined[i].prev_T_curr, drive.prev_T_curr[i - 1]
        assert found is not None
        off = invert(truth) @ found
        assert np.linalg.norm(off[:3, 3]) < 0.04 * np.linalg.norm(truth[:3, 3])
        assert np.degrees(angle_rad(off)) < 0.15
    assert np.mean(after) < 0.8 * np.mean(before)


def test_points_remembered_of_earlier_frames_help(drive: Drive):
    forgetful = replace(RefineConfig(), triangulation=TriangulationConfig(max_landmarks=0))
    still = drive.predictions[-1].motion < 0.5
    with_them, without = (
        abs_rel(run(drive, True, config)[-1].depth_m, drive.depth_m[-1], still)
        for config in (RefineConfig(), forgetful)
    )
    assert with_them < 0.98 * without


def test_sigma_shrinks_where_tracks_tell_and_stays_true(drive: Drive):
    refined = run(drive, known=True)[-1]
    stated, truth = drive.predictions[-1], drive.depth_m[-1]
    seen = (truth < 60) & (stated.motion < 0.5)
    assert (refined.sigma <= stated.sigma * (1 + 1e-6)).all()
    assert refined.sigma[seen].mean() < 0.95 * stated.sigma[seen].mean()
    off = np.abs(np.log(refined.depth_m[seen] / truth[seen])) / refined.sigma[seen]
    assert np.mean(off < np.log(10)) > 0.85


def test_a_known_motion_is_used_and_not_looked_for(drive: Drive):
    refined = run(drive, known=True)
    for mine, given in zip(refined, drive.predictions, strict=True):
        assert mine.prev_T_curr is given.prev_T_curr


def test_a_missing_camera_is_left_as_it_is(drive: Drive):
    refiner = TrackRefiner(drive.rig)
    refiner.step(drive.images[0], drive.predictions[0], 0.0)
    gone = drive.predictions[1].depth_m.copy()
    gone[2] = np.nan
    images = [None if v == 2 else image for v, image in enumerate(drive.images[1])]
    refined = refiner.step(images, replace(drive.predictions[1], depth_m=gone), GAP_S)
    assert np.isnan(refined.depth_m[2]).all()
    assert np.isfinite(refined.depth_m[np.isfinite(gone)]).all()


def test_pixels_without_depth_stay_without_and_cost_no_others(drive: Drive):
    """Published systems give no depth of the sky."""
    refiner = TrackRefiner(drive.rig)
    for i in (0, 1):
        holes = drive.predictions[i].depth_m.copy()
        holes[:, :20] = np.nan
        whole = replace(drive.predictions[i], depth_m=holes)
        refined = refiner.step(drive.images[i], whole, GAP_S * i)
    np.testing.assert_array_equal(np.isnan(refined.depth_m), np.isnan(holes))
    assert (refined.depth_m != holes)[:, 20:].mean() > 0.5


def test_nothing_to_see_leaves_depth_and_keeps_the_motion(drive: Drive):
    refiner = TrackRefiner(drive.rig)
    grey = [np.full((*SIZE_HW, 3), 90, np.uint8)] * 6
    refiner.step(grey, drive.predictions[0], 0.0)
    refined = refiner.step(grey, drive.predictions[1], GAP_S)
    np.testing.assert_array_equal(refined.depth_m, drive.predictions[1].depth_m)
    assert refined.prev_T_curr is not None
    assert drive.predictions[1].prev_T_curr is not None
    np.testing.assert_allclose(refined.prev_T_curr, drive.predictions[1].prev_T_curr, atol=1e-9)


def test_state_round_trip_gives_the_same_next_answer(drive: Drive):
    going, resumed = TrackRefiner(drive.rig), TrackRefiner(drive.rig)
    for i in range(3):
        going.step(drive.images[i], drive.predictions[i], GAP_S if i else 0.0)
    resumed.load_state({name: array.copy() for name, array in going.save_state().items()})
    a, b = (r.step(drive.images[3], drive.predictions[3], GAP_S) for r in (going, resumed))
    np.testing.assert_array_equal(a.depth_m, b.depth_m)
    np.testing.assert_array_equal(a.prev_T_curr, b.prev_T_curr)
    fresh = TrackRefiner(drive.rig)
    fresh.load_state(TrackRefiner(drive.rig).save_state())
    assert fresh.step(drive.images[0], drive.predictions[0], 0.0) is drive.predictions[0]
    with pytest.raises(GeometryError, match="restart the log"):
        fresh.load_state({"grey": np.zeros((6, 2, 2), np.uint8)})


def test_triangulation_of_exact_tracks_gives_the_error_itself():
    rng = np.random.default_rng(4)
    camera = make_rig(SIZE_HW).cameras[1]
    prev_T_curr = from_rotvec(np.array([0.01, -0.005, 0.06]), np.array([4.0, 0.2, 0.05]))
    uv = rng.uniform((40, 40), (400, 210), (300, 2))
    truth = unproject(camera, uv) * rng.uniform(5, 30, (300, 1))
    error = rng.normal(0, 0.2, 300)
    last_T_cam = invert(camera.ego_T_cam) @ prev_T_curr @ camera.ego_T_cam
    there = apply(last_T_cam, truth)
    _, ahead, inside = project(camera, there)
    stated = apply(camera.ego_T_cam, truth * np.exp(-error)[:, None])
    seen = RigObservations(
        stated[inside],
        there[inside, :2] / there[inside, 2:],
        np.ones(int(inside.sum()), int),
        np.full(int(inside.sum()), 0.2),
    )
    measured = triangulate(camera, seen, prev_T_curr, TriangulationConfig())
    assert len(measured.error) > 0.9 * inside.sum() > 30
    stated_cam = apply(invert(camera.ego_T_cam), stated[inside])
    nearest = np.linalg.norm(stated_cam[:, None] - measured.points_cam, axis=2).argmin(0)
    np.testing.assert_allclose(measured.error, error[inside][nearest], atol=1e-9)
