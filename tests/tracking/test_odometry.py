"""Odometry against closed forms and against rendered streets with exact truth."""

import copy
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from driv3r.errors import ConfigError, GeometryError
from driv3r.geometry.cameras import crop_resize, project, resize_camera, unproject
from driv3r.geometry.transforms import angle_rad, apply, from_rotvec, invert, to_rotvec
from driv3r.simulator.export.clips import render_frame
from driv3r.simulator.rendering.renderer import Renderer
from driv3r.simulator.scene.camera_rig import make_rig
from driv3r.simulator.scene.world import make_world
from driv3r.tracking.feature_tracker import TrackerConfig
from driv3r.tracking.odometry import OdometryConfig, RigOdometry
from driv3r.tracking.rig_pnp import (
    EFFECTIVE_SAMPLE_FRACTION,
    NOISE_PX,
    RigObservations,
    find_inliers,
    information_matrix,
    ransac_hypotheses,
    refine_motion,
)
from driv3r.types import Prediction, Rig

SIZE_HW = (256, 448)
GAP_S = 0.5
MOTION = from_rotvec(np.array([0.004, -0.006, 0.08]), np.array([4.0, 0.25, 0.03]))  # prev_T_curr
PX = 2.0


class Seen(NamedTuple):
    """What one surround frame gives to odometry."""

    images: Sequence[np.ndarray | None]
    depth_m: np.ndarray
    sigma: np.ndarray
    motion: np.ndarray

    def given(self, rig: Rig) -> tuple[Sequence[np.ndarray | None], Prediction]:
        """As odometry takes it."""
        size_hw = (self.depth_m.shape[1], self.depth_m.shape[2])
        cameras = tuple(resize_camera(camera, size_hw) for camera in rig.cameras)
        return self.images, Prediction(cameras, self.depth_m, self.sigma, self.motion, None)


class Street(NamedTuple):
    """Two surround frames GAP_S apart with exact depth, and the true prev_T_curr."""

    rig: Rig
    frames: list[Seen]
    truth: np.ndarray


def sight_points(rng, noise_px=0.3, outliers=0.3, depth_error=0.0, sigma=0.01):
    """Points of the last ego frame as a rig sees them after MOTION."""
    rig = make_rig(SIZE_HW)
    parts = []
    for index, camera in enumerate(rig.cameras):
        uv = rng.uniform((0, 0), (SIZE_HW[1], SIZE_HW[0]), (150, 2))
        points_cam = unproject(camera, uv) * rng.uniform(4, 50, (150, 1))
        points_last = apply(camera.ego_T_cam, points_cam)
        points_now = apply(invert(camera.ego_T_cam) @ invert(MOTION), points_last)
        uv_now, _, inside = project(camera, points_now)
        uv_now += rng.normal(0, noise_px, uv_now.shape)
        wild = rng.random(len(uv)) < outliers
        uv_now[wild] = rng.uniform((0, 0), (SIZE_HW[1], SIZE_HW[0]), (wild.sum(), 2))
        stretched = points_cam * np.exp(rng.normal(0, depth_error, (150, 1)))
        variance_discount = apply(camera.ego_T_cam, stretched)[inside]
        xy = unproject(camera, uv_now[inside])[:, :2]
        n = int(inside.sum())
        parts.append((variance_discount, xy, np.full(n, index), np.full(n, sigma)))
    return rig, RigObservations(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def solve(rig, seen):
    hypotheses = ransac_hypotheses(rig, seen, PX, seed=0)
    best = max(hypotheses, key=lambda T: int(find_inliers(rig, seen, T, PX).sum()))
    return invert(refine_motion(rig, seen, best, PX))


def errors_of(prev_T_curr, truth):
    """Translation error in metres and rotation error in degrees."""
    error = invert(truth) @ prev_T_curr
    return np.linalg.norm(error[:3, 3]), np.degrees(angle_rad(error))


@pytest.mark.parametrize("seed", range(4))
def test_points_with_noise_and_outliers_give_the_motion(seed):
    rig, seen = sight_points(np.random.default_rng(seed))
    shift_m, turn_deg = errors_of(solve(rig, seen), MOTION)
    assert shift_m < 0.01 * np.linalg.norm(MOTION[:3, 3])
    assert turn_deg < 0.1


def test_stating_the_depth_error_beats_ignoring_it():
    stated, ignored = [], []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rig, seen = sight_points(rng, depth_error=0.1, sigma=0.1)
        stated.append(errors_of(solve(rig, seen), MOTION)[0])
        blind = dataclasses.replace(seen, sigma=np.zeros_like(seen.sigma))
        ignored.append(errors_of(solve(rig, blind), MOTION)[0])
    assert np.mean(stated) < 0.7 * np.mean(ignored)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_one_point_seen_often_gives_nothing_wild(count):
    rig = make_rig(SIZE_HW)
    point_last = apply(rig.cameras[0].ego_T_cam, np.array([[0.5, 0.2, 9.0]]))
    xy = np.array([[0.5 / 9.0, 0.2 / 9.0]])
    seen = RigObservations(
        np.repeat(point_last, count, 0),
        np.repeat(xy, count, 0),
        np.zeros(count, int),
        np.full(count, 0.01),
    )
    for ego_T_last in [np.eye(4), *ransac_hypotheses(rig, seen, PX, seed=0)]:
        assert np.isfinite(refine_motion(rig, seen, ego_T_last, PX)).all()
    np.testing.assert_allclose(refine_motion(rig, seen, np.eye(4), PX), np.eye(4), atol=1e-9)


@pytest.fixture(scope="module")
def street():
    world = make_world(31, 1.0, "suburb")  # a dry sunny street, driven at 8 m/s
    rig, renderer = make_rig(SIZE_HW), Renderer(world)
    frames = []
    for time_s in (0.3, 0.3 + GAP_S):
        views = [view for view, _ in render_frame(renderer, rig, time_s)]
        depth_m = np.stack([view.depth_m for view in views])
        moving = np.stack([view.moving for view in views]).astype(np.float32)
        images = [view.image for view in views]
        frames.append(Seen(images, depth_m, np.full_like(depth_m, 0.02), moving))
    truth = invert(world.ego.world_T_ego(0.3)) @ world.ego.world_T_ego(0.3 + GAP_S)
    return Street(rig, frames, truth)


def rough(truth):
    """A guess 15 % too long and a degree off."""
    turn = from_rotvec(np.array([0.0, 0.0, np.radians(1.0)]), np.zeros(3))
    guess = turn @ truth
    guess[:3, 3] *= 1.15
    return guess


def run(rig, frames: list[Seen], prior, config=None):
    odometry = RigOdometry(rig, config)
    assert odometry.step(*frames[0].given(rig), 0.0, None) is None
    return odometry.step(*frames[1].given(rig), GAP_S, prior)


def assert_close(prev_T_curr, truth, share=0.05, turn_deg=0.4):
    assert prev_T_curr is not None
    shift_m, angle_deg = errors_of(prev_T_curr, truth)
    assert shift_m < share * np.linalg.norm(truth[:3, 3])
    assert angle_deg < turn_deg


def assert_same(a, b):
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a, b, strict=True)


def test_rendered_street_gives_the_motion(street: Street):
    rig, frames, truth = street
    first, again = (run(rig, frames, rough(truth)) for _ in range(2))
    assert_close(first, truth)
    assert_same(first, again)


def test_without_a_guess_the_speed_is_found(street: Street):
    assert_close(run(street.rig, street.frames, None), street.truth)


def test_depth_of_another_size_gives_the_motion(street: Street):
    rig, frames, truth = street
    coarse = [
        Seen(
            f.images,
            *(np.ascontiguousarray(a[:, 1::3, 1::3]) for a in (f.depth_m, f.sigma, f.motion)),
        )
        for f in frames
    ]
    assert coarse[0].depth_m.shape == (6, 85, 149)
    assert_close(run(rig, coarse, rough(truth)), truth, share=0.08, turn_deg=0.6)


def test_smaller_working_width_gives_the_motion(street: Street):
    rig, frames, truth = street
    found = run(rig, frames, rough(truth), OdometryConfig(TrackerConfig(max_width_px=300)))
    assert_close(found, truth, share=0.08, turn_deg=0.6)


def test_missing_cameras_are_done_without(street: Street):
    rig, frames, truth = street
    gone = [
        f._replace(images=[None if view in missing else i for view, i in enumerate(f.images)])
        for f, missing in zip(frames, ((1, 4), (2,)), strict=True)
    ]
    assert_close(run(rig, gone, rough(truth)), truth, share=0.08, turn_deg=0.6)


def test_nothing_to_see_gives_none(street: Street):
    rig, frames, truth = street
    grey = np.full((*SIZE_HW, 3), 90, np.uint8)
    blank = [f._replace(images=[grey] * 6) for f in frames]
    assert run(rig, blank, truth) is None
    assert run(rig, [f._replace(images=[None] * 6) for f in frames], truth) is None
    no_depth = [f._replace(depth_m=np.full_like(f.depth_m, np.nan)) for f in frames]
    assert run(rig, no_depth, truth) is None
    all_move = [f._replace(motion=np.ones_like(f.motion)) for f in frames]
    assert run(rig, all_move, truth) is None


def test_unrelated_images_give_none(street: Street):
    rig, frames, truth = street
    images = frames[1].images
    shuffled = frames[1]._replace(images=[*images[3:], *images[:3]])
    assert run(rig, [frames[0], shuffled], truth) is None


def test_state_round_trip_gives_the_same_next_answer(street: Street):
    rig, frames, truth = street
    going, resumed = RigOdometry(rig), RigOdometry(rig)
    going.step(*frames[0].given(rig), 0.0, None)
    going.step(*frames[0].given(rig), GAP_S, np.eye(4))
    resumed.load_state({name: array.copy() for name, array in going.save_state().items()})
    for prior in (rough(truth), None):
        a, b = (o.step(*frames[1].given(rig), GAP_S, prior) for o in (going, resumed))
        assert_same(a, b)
    fresh = RigOdometry(rig)
    fresh.load_state(RigOdometry(rig).save_state())
    assert fresh.step(*frames[0].given(rig), 0.0, None) is None


def test_bad_input_is_named(street: Street):
    rig, frames, _ = street
    images, depth_m, sigma, motion = frames[0]
    odometry = RigOdometry(rig)
    short = np.zeros((100, SIZE_HW[1], 3), np.uint8)
    whole = Prediction(rig.cameras, depth_m, sigma, motion, None)
    torn = copy.copy(whole)
    object.__setattr__(torn, "sigma", sigma[:, :9])
    bad = (
        (images[:5], whole, 0.5, None),
        ([short] * 6, whole, 0.5, None),
        (images, torn, 0.5, None),
        (images, whole, float("nan"), None),
        (images, whole, 0.5, np.full((4, 4), np.nan)),
    )
    for arguments in bad:
        # TypeCheckError: the shapes of calls are themselves checked where conftest asks for it.
        with pytest.raises((GeometryError, TypeCheckError)):
            odometry.step(*arguments)
    with pytest.raises(GeometryError, match="restart the log"):
        odometry.load_state({"grey": np.zeros((6, 2, 2), np.uint8)})
    with pytest.raises(ConfigError, match="max_depth_m"):
        TrackerConfig(max_depth_m=-1.0)
    odd = dataclasses.replace(rig.cameras[0], size_hw=(10, 10))
    with pytest.raises(GeometryError, match="one size"):
        RigOdometry(Rig((odd, *rig.cameras[1:])))


def test_what_is_believed_beforehand_holds_the_motion():
    rig, seen = sight_points(np.random.default_rng(5), outliers=0.0)
    given = rough(invert(MOTION))
    free = refine_motion(rig, seen, given, PX * 20)
    firm, loose = (
        refine_motion(rig, seen, given, PX * 20, information=np.eye(6) * weight)
        for weight in (1e12, 1e-6)
    )
    np.testing.assert_allclose(firm, given, atol=1e-5)
    np.testing.assert_allclose(loose, free, atol=1e-5)


def test_stated_information_is_that_of_repeated_draws():
    """Covariance of many answers, against the inverse of what one says (without outliers)."""
    answers, stated = [], []
    for seed in range(60):
        rig, seen = sight_points(np.random.default_rng(seed), noise_px=NOISE_PX, outliers=0.0)
        found = refine_motion(rig, seen, invert(MOTION), PX)
        off = found @ MOTION
        answers.append(np.concatenate([to_rotvec(off), off[:3, 3]]))
        stated.append(
            np.linalg.inv(information_matrix(rig, seen, found, PX) / EFFECTIVE_SAMPLE_FRACTION)
        )
    spread, told = np.std(answers, axis=0), np.sqrt(np.diag(np.mean(stated, axis=0)))
    assert (told / spread > 0.6).all()
    assert (told / spread < 1.9).all()


def test_depth_of_another_crop_is_refused(street: Street):
    """A 4:3 crop of the same cameras: its depth would be read at other places' pixels."""
    rig, frames, _ = street
    images, whole = frames[0].given(rig)
    cropped = tuple(crop_resize(camera, (192, 256))[0] for camera in rig.cameras)
    maps = (a[:, :192, :256] for a in (whole.depth_m, whole.sigma, whole.motion))
    with pytest.raises(GeometryError, match="another crop"):
        RigOdometry(rig).step(images, Prediction(cropped, *maps, None), 0.5, None)
