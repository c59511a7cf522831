"""Parts of one thing against things beside each other, as tracks of middles and sizes."""

import numpy as np
from street import STEP_US

from driv3r.fusion.moving.detections import Detection
from driv3r.fusion.moving.merging import merge_tracks


def seen(frame, center, size):
    """A detection of a thing at a place."""
    return Detection(
        frame, STEP_US * frame, np.array(center, float), np.eye(3) * 0.01,
        np.array([1.0, 0, 0]), np.array(size, float), np.zeros((0, 3), np.float32),
        np.zeros((0, 3), np.uint8), np.zeros(3), np.zeros(0, np.int64), number=int(center[1] * 10),
    )  # fmt: skip


def drive(frames, offset, size, speed=3.0):
    return [seen(f, [10 + speed * f + offset[0], offset[1], offset[2]], size) for f in frames]


def test_a_cab_and_its_load_are_one_and_the_larger_tells_the_place():
    load, cab = drive(range(5), (0, 0, 1), (5, 2.4, 2.5)), drive(range(6), (4, 0, 1), (2.5, 2.4, 2))
    (whole,) = merge_tracks([cab, load])
    assert [d.frame for d in whole] == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose([d.center_world[0] for d in whole], 10 + 3.0 * np.arange(6))
    assert [len(d.also) for d in whole] == [1, 1, 1, 1, 1, 0]


def test_cars_beside_and_behind_each_other_stay_two():
    first = drive(range(5), (0, 0, 0.7), (4.3, 1.8, 1.4))
    for offset in ((0, 3.5, 0.7), (7.0, 0, 0.7)):
        assert len(merge_tracks([first, drive(range(5), offset, (4.3, 1.8, 1.4))])) == 2


def test_one_that_overtakes_close_by_stays_another():
    slow = drive(range(5), (0, 0, 0.7), (4.3, 1.8, 1.4))
    fast = drive(range(5), (-2, 2.0, 0.7), (4.3, 1.8, 1.4), speed=4.0)
    assert len(merge_tracks([slow, fast])) == 2


def test_tracks_of_other_times_stay_apart():
    early, late = (drive(r, (0, 0, 0.7), (4.3, 1.8, 1.4)) for r in (range(3), range(3, 6)))
    assert len(merge_tracks([early, late])) == 2
