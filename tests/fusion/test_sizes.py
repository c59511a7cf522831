"""Sizes from silhouettes, against boxes whose every side is known."""

from dataclasses import replace

import numpy as np
import pytest
from street import STEP_US, make_objects

from driv3r.fusion import FusionConfig
from driv3r.fusion.moving.detections import Detection
from driv3r.fusion.moving.sizes import KINDS, estimate_size, middle_behind, silhouette
from driv3r.fusion.moving.tracker import link_tracks

TIMES_US = STEP_US * np.arange(6)
CAR_M, PERSON_M = np.array([4.4, 1.9, 1.6]), np.array([0.7, 0.6, 1.75])


def rays(degrees) -> np.ndarray:
    """Directions away from a camera that sees a thing at angles to its heading."""
    turn = np.radians(np.atleast_1d(np.asarray(degrees, float)))
    return np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=-1)


def see(size_m, away) -> np.ndarray:
    """Width across the ray, and height, in closed form."""
    return np.stack(
        [size_m[0] * np.abs(away[:, 1]) + size_m[1] * np.abs(away[:, 0]),
         np.full(len(away), size_m[2])], axis=-1
    )  # fmt: skip


def seen_sides(size_m, away, n=20_000, seed=0) -> np.ndarray:
    """Points of the sides of a box that face the camera, each as often as the image has it."""
    rng = np.random.default_rng(seed)
    ends, sides = np.abs(away[0]) * size_m[1], np.abs(away[1]) * size_m[0]
    on_end = rng.random(n) < ends / (ends + sides)
    points = rng.uniform(-0.5, 0.5, (n, 3)) * size_m
    points[on_end, 0] = -np.sign(away[0]) * size_m[0] / 2
    points[~on_end, 1] = -np.sign(away[1]) * size_m[1] / 2
    return points


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_thing_that_is_seen_from_all_sides_has_its_size(kind):
    size_m = np.array(KINDS[kind].size_m) * [1.05, 0.95, 1.0]
    away = rays([0, 40, 90, 140])
    found, of = estimate_size(see(size_m, away), away)
    assert of is KINDS[kind]
    np.testing.assert_allclose(found, size_m, rtol=0.08)


def test_what_is_not_seen_is_as_of_its_kind():
    away = rays([178, 180, 182])  # from ahead: the length is not seen
    found, of = estimate_size(see(CAR_M, away), away)
    assert of.size_m[0] == 4.63
    np.testing.assert_allclose(found, [4.63, 1.93, 1.66], atol=0.1)


def test_more_frames_are_no_proof_of_an_error_that_stays():
    away = rays(np.full(200, 90.0))
    wide = see(np.array([6.0, 1.9, 1.6]), away)
    many, _ = estimate_size(wide, away)
    few, _ = estimate_size(wide[:3], away[:3])
    np.testing.assert_allclose(many, few, atol=1e-6)


@pytest.mark.parametrize("degrees", [0, 20, 65, 90, 150, 250])
def test_the_middle_lies_behind_what_is_seen(degrees):
    (away,) = rays(degrees + 0.01)
    points = seen_sides(CAR_M, away)
    along = middle_behind(CAR_M, away[None])[0]
    # The mean place of what is seen is so far before the middle along the ray.
    assert -(points.mean(0) @ away) == pytest.approx(np.linalg.norm(along), abs=0.05)
    wide_m, tall_m = silhouette(points, away)
    assert wide_m == pytest.approx(see(CAR_M, away[None])[0, 0], rel=0.12)
    assert tall_m == pytest.approx(CAR_M[2], rel=0.03)


def drive(size_m, speed_mps, error_m=2.0, motion=0.9, frames=6):
    """Detections of a thing that comes along x, its depth smeared along the ray."""
    track, rng = [], np.random.default_rng(1)
    for frame in range(frames):
        middle = np.array([26.0 - speed_mps * frame * STEP_US * 1e-6, 4.0, size_m[2] / 2])
        ray = middle / np.linalg.norm(middle)
        heading = np.diag([-1.0, -1.0, 1.0])
        points = middle + seen_sides(size_m, heading @ ray, 600, frame) @ heading
        points += rng.normal(0, error_m, (600, 1)) * ray
        covariance = np.outer(ray, ray) * error_m**2 + np.eye(3) * 0.09
        track.append(
            Detection(
                frame, STEP_US * frame, np.median(points, axis=0), covariance, ray, np.ones(3),
                points.astype(np.float32), np.zeros((600, 3), np.uint8), np.zeros(3),
                np.arange(600), motion,
            )
        )  # fmt: skip
    return track


def test_a_car_whose_depth_is_smeared_is_no_truck():
    objects = make_objects([drive(CAR_M, 4.0)], TIMES_US, FusionConfig())
    np.testing.assert_allclose(objects.size_m[0], CAR_M, atol=0.4)
    expected = 26.0 - 4.0 * TIMES_US * 1e-6
    np.testing.assert_allclose(objects.world_T_object[:, 0, 3], expected, atol=0.7)
    np.testing.assert_allclose(objects.world_T_object[:, 1, 3], 4.0, atol=0.4)


def test_a_box_stands_where_all_of_its_parts_do():
    """The middle of what is joined is that of its larger part."""
    whole = drive(CAR_M, 4.0)
    joined = [
        replace(d, center_world=d.center_world + np.array([1.2, 0.0, 0.0])) for d in whole
    ]  # fmt: skip
    one, other = (make_objects([track], TIMES_US, FusionConfig()) for track in (whole, joined))
    np.testing.assert_allclose(
        other.world_T_object[:, :3, 3], one.world_T_object[:, :3, 3], atol=0.1
    )


def test_nothing_is_said_of_what_is_faster_than_anything_of_its_size():
    walks, flies = (
        make_objects([drive(PERSON_M, speed, 0.6)], TIMES_US, FusionConfig()) for speed in (1.5, 9)
    )
    assert len(walks.size_m) == 1
    np.testing.assert_allclose(walks.size_m[0], PERSON_M, atol=0.3)
    assert len(flies.size_m) == 0
    exact = make_objects([drive(PERSON_M, 9.0, 0.05)], TIMES_US, FusionConfig())
    assert len(exact.size_m) == 1  # a piece of a car that is measured, not guessed


def test_what_may_move_goes_on_with_a_track_and_starts_none():
    sure, unsure = drive(CAR_M, 4.0, 0.3), drive(CAR_M, 4.0, 0.3, motion=0.65)
    config = FusionConfig()
    assert link_tracks(unsure, config) == []
    (track,) = link_tracks([*sure[:3], *unsure[3:]], config)
    assert [d.motion for d in track] == [0.9] * 3 + [0.65] * 3
