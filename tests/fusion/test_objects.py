"""Objects of tracks: the box of the whole thing whatever is seen of it, and parts that are none."""

import numpy as np
import pytest
from street import STEP_US, make_objects

from driv3r.fusion import FusionConfig
from driv3r.fusion.moving.detections import Detection

SIZE_M = np.array([6.0, 2.0, 1.5])
TIMES_US = STEP_US * np.arange(5)


def part_of_box(frame, x_from, x_to, speed=8.0, error_m=0.05, width=2.0, y=5.0):
    """A detection of a box's points between two shares of its length; it drives along x."""
    start = 15.0 + speed * frame * STEP_US * 1e-6
    low = np.array([start + x_from * SIZE_M[0], y - width / 2, 0.5])
    high = np.array([start + x_to * SIZE_M[0], y + width / 2, 2.0])
    points = np.stack(np.meshgrid(*np.linspace(low, high, 12).T), axis=-1).reshape(-1, 3)
    middle = (low + high) / 2
    ray = middle / np.linalg.norm(middle)
    covariance = np.outer(ray, ray) * error_m**2 + np.eye(3) * 0.01
    n = len(points)
    return Detection(
        frame, STEP_US * frame, middle, covariance, ray, high - low, points.astype(np.float32),
        np.zeros((n, 3), np.uint8), np.zeros(3), np.arange(n, dtype=np.int32),
    )  # fmt: skip


def test_a_truck_of_which_but_the_near_end_is_seen_at_first():
    """Its own near side tells the place where depth is exact."""
    whole = [part_of_box(frame, 0.0, 1.0) for frame in range(1, 5)]
    track = [part_of_box(0, 0.0, 0.4), *whole]
    objects = make_objects([track], TIMES_US, FusionConfig())
    np.testing.assert_allclose(objects.size_m[0, :2], [6.0, 2.0], rtol=0.12)
    middles = objects.world_T_object[:, 0, 3]
    expected = 18.0 + 8.0 * TIMES_US * 1e-6
    np.testing.assert_allclose(middles, expected, atol=0.4)
    assert objects.velocity_world_mps[:, 0] == pytest.approx(8.0, abs=0.6)


def test_what_goes_along_within_a_box_is_a_part_and_beside_it_none():
    truck = [part_of_box(frame, 0.0, 1.0) for frame in range(5)]
    lamp = [part_of_box(frame, 0.8, 0.9, width=0.3) for frame in range(5)]
    beside = [part_of_box(frame, 0.3, 0.9, y=8.0) for frame in range(5)]
    overtaken = [part_of_box(frame, 0.8, 0.9, speed=2.0, width=0.3) for frame in range(5)]
    for other, count in ((lamp, 1), (beside, 2), (overtaken, 2)):
        objects = make_objects([truck, other], TIMES_US, FusionConfig())
        assert len(objects.size_m) == count
        assert set(objects.track_id.tolist()) == set(range(count))
